"""Every method against the implementation that its users know: torch.optim, optax, schedulefree, prodigyopt.

100 steps in float64 on one least-squares problem with a matrix, a vector and a number; the largest difference of the
params is at most 1e-10.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import prodigyopt
import pytest
import schedulefree
import torch

import zoo
from descenso.averaging import EMA, Last, NonNegative, ScheduleFree
from descenso.methods import ClipNorm, ClipValue, Descent, Freeze, Mechanic, Prodigy, named
from descenso.rules import Adam, Chain, Gradient, Lion, Momentum, Muon, NAdam, Nesterov, Sign, WeightDecay
from descenso.step_sizes import (
    Constant,
    DoG,
    DoWG,
    Exponential,
    InverseSquareRoot,
    OneCycle,
    Polyak,
    PolynomialDecay,
    Schedule,
    StepDecay,
    WarmRestarts,
    Warmup,
)

STEPS = 100
PROBLEM = zoo.quadratic(20.0)

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)  # torch's ASGD keeps its step size in the default dtype
    with jax.enable_x64(True):
        yield
    torch.set_default_dtype(torch.float32)


def run_ours(method, steps: int = STEPS):
    params = PROBLEM.start
    state = method.init(params, xp=np)
    for t in range(steps):
        params, state, _ = method.step(PROBLEM.evaluate(params, t, np), params, state, scale=1.0, xp=np)
    return params, method.eval_params(params, state)


def run_torch(make, leaves=None, scheduler=None):
    params = [torch.nn.Parameter(torch.asarray(p.copy())) for p in PROBLEM.start]
    optimizer = make(params if leaves is None else [params[i] for i in leaves])
    curve = scheduler(optimizer) if scheduler else None
    for t in range(STEPS):
        with torch.no_grad():
            grads = PROBLEM.evaluate(tuple(params), t, torch).grads
        for p, g in zip(params, grads, strict=True):
            p.grad = g.clone()
        optimizer.step()
        if curve:
            curve.step()
    return optimizer, tuple(p.detach().numpy().copy() for p in params)


def run_optax(tx):
    params = tuple(jnp.asarray(p) for p in PROBLEM.start)

    @jax.jit
    def step(params, state, t):
        loss, grads = PROBLEM.evaluate(params, t, jnp)
        updates, state = optax.with_extra_args_support(tx).update(grads, state, params, value=loss)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for t in range(STEPS):
        params, state = step(params, state, t)
    return params, state


def assert_close(ours, theirs):
    worst = max(np.max(np.abs(np.asarray(a) - np.asarray(b))) for a, b in zip(ours, theirs, strict=True))
    moved = max(np.max(np.abs(np.asarray(a) - b)) for a, b in zip(ours, PROBLEM.start, strict=True))
    assert moved > 1e-3
    assert worst <= 1e-10


opt = torch.optim

TORCH = {
    "sgd": (named("sgd", lr=0.1), lambda p: opt.SGD(p, lr=0.1)),
    "sgd, weight decay": (named("sgd", lr=0.1, weight_decay=0.1), lambda p: opt.SGD(p, lr=0.1, weight_decay=0.1)),
    "momentum": (
        named("sgd", lr=0.1, momentum=0.8, weight_decay=0.1),
        lambda p: opt.SGD(p, lr=0.1, momentum=0.8, weight_decay=0.1),
    ),
    "nesterov": (
        named("nesterov", lr=0.1, momentum=0.8),
        lambda p: opt.SGD(p, lr=0.1, momentum=0.8, nesterov=True),
    ),
    "asgd": (
        named("asgd", lr=0.5, lambd=0.01, t0=20, weight_decay=0.1),
        lambda p: opt.ASGD(p, lr=0.5, lambd=0.01, t0=20, weight_decay=0.1),
    ),
    "adagrad": (
        named("adagrad", lr=0.3, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.2),
        lambda p: opt.Adagrad(p, lr=0.3, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.2),
    ),
    "adadelta": (named("adadelta", weight_decay=0.1), lambda p: opt.Adadelta(p, weight_decay=0.1)),
    "rmsprop": (named("rmsprop", weight_decay=0.1), lambda p: opt.RMSprop(p, weight_decay=0.1)),
    "rmsprop, centered with momentum": (
        named("rmsprop", lr=1e-3, momentum=0.9, centered=True),
        lambda p: opt.RMSprop(p, lr=1e-3, momentum=0.9, centered=True),
    ),
    "rprop": (
        named("rprop", lr=0.05, etas=(0.4, 1.3), step_sizes=(1e-5, 0.5)),
        lambda p: opt.Rprop(p, lr=0.05, etas=(0.4, 1.3), step_sizes=(1e-5, 0.5)),
    ),
    "adam": (
        named("adam", lr=0.05, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1),
        lambda p: opt.Adam(p, lr=0.05, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1),
    ),
    "amsgrad": (named("amsgrad", lr=0.05), lambda p: opt.Adam(p, lr=0.05, amsgrad=True)),
    "adamw": (named("adamw", lr=0.05, weight_decay=0.1), lambda p: opt.AdamW(p, lr=0.05, weight_decay=0.1)),
    "adamw, amsgrad": (named("adamw", lr=0.05, amsgrad=True), lambda p: opt.AdamW(p, lr=0.05, amsgrad=True)),
    "adamax": (named("adamax", lr=0.05, weight_decay=0.1), lambda p: opt.Adamax(p, lr=0.05, weight_decay=0.1)),
    "nadam": (named("nadam", lr=0.05, weight_decay=0.1), lambda p: opt.NAdam(p, lr=0.05, weight_decay=0.1)),
    "nadamw": (
        named("nadamw", lr=0.05, weight_decay=0.1, momentum_decay=0.1),
        lambda p: opt.NAdam(p, lr=0.05, weight_decay=0.1, momentum_decay=0.1, decoupled_weight_decay=True),
    ),
    "radam": (named("radam", lr=0.05, weight_decay=0.1), lambda p: opt.RAdam(p, lr=0.05, weight_decay=0.1)),
    "adafactor": (
        named("adafactor", lr=0.2, eps=(1e-12, 1e-2)),
        lambda p: opt.Adafactor(p, lr=0.2, eps=(1e-12, 1e-2)),
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch(name: str):
    method, make = TORCH[name]
    assert_close(run_ours(method)[0], run_torch(make)[1])


def test_asgd_average():
    method, make = TORCH["asgd"]
    optimizer, _ = run_torch(make)
    averages = [optimizer.state[p]["ax"].numpy() for p in optimizer.param_groups[0]["params"]]
    assert_close(run_ours(method)[1], averages)


@pytest.mark.parametrize("nesterov", [False, True])
def test_muon_of_torch(nesterov: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)  # torch orthogonalises in bfloat16 only
    make = lambda p: opt.Muon(p, lr=0.01, weight_decay=0.1, nesterov=nesterov, adjust_lr_fn="match_rms_adamw")  # noqa: E731
    ours = run_ours(named("muon", lr=0.01, weight_decay=0.1, nesterov=nesterov))[0]
    theirs = run_torch(make, leaves=[0])[1]
    assert_close((ours[0], *PROBLEM.start[1:]), (theirs[0], *PROBLEM.start[1:]))


OPTAX = {
    "sign": (Descent(Sign(), Constant(0.01)), optax.sign_sgd(0.01)),
    "signum": (Descent(Chain(Momentum(), Sign()), Constant(0.01)), optax.chain(optax.trace(0.9), optax.sign_sgd(0.01))),
    "lion": (
        Descent(WeightDecay(Lion(0.8, 0.95), 0.1), Constant(0.01)),
        optax.lion(0.01, b1=0.8, b2=0.95, weight_decay=0.1),
    ),
    "nadam": (Descent(NAdam(psi=None), Constant(0.05)), optax.nadam(0.05)),
    "nadamw": (
        named("nadamw", lr=0.05, weight_decay=0.1, momentum_decay=None),
        optax.nadamw(0.05, weight_decay=0.1),
    ),
    "amsgrad, b1 0": (Descent(Adam(b1=0.0), Constant(0.05)), optax.adam(0.05, b1=0.0)),
    "muon": (
        Descent(Muon(nesterov=False, rest=Adam(eps=0.0)), Constant(0.01)),
        optax.contrib.muon(0.01, nesterov=False, eps=0.0, consistent_rms=0.2),
    ),
    "weight decay by a mask": (
        named("adamw", lr=0.05, weight_decay=0.1, mask=(True, False, True)),
        optax.adamw(0.05, weight_decay=0.1, mask=(True, False, True)),
    ),
    "polyak": (Descent(Gradient(), Polyak(1.0)), optax.polyak_sgd(1.0, f_min=1.0)),
    "polyak, floor too low": (Descent(Gradient(), Polyak(0.5, cap=0.7)), optax.polyak_sgd(0.7, f_min=0.5)),
    "dog": (Descent(Gradient(), DoG(1e-2)), optax.contrib.dog(init_step=("heuristic", 1e-2))),
    "dowg": (Descent(Gradient(), DoWG()), optax.contrib.dowg()),
    "mechanic": (
        # smaller first factors amplify a last bit of the start a million times, in optax as here
        Mechanic(Momentum(), Constant(0.1), first=1e-2),
        optax.contrib.mechanize(optax.sgd(0.1, momentum=0.9), s_init=1e-2),
    ),
    "mechanic around adam": (
        Mechanic(Adam(), Schedule(1.0, STEPS)),
        optax.contrib.mechanize(optax.adam(optax.cosine_decay_schedule(1.0, STEPS))),
    ),
    "prodigy": (
        Prodigy(d0=1e-3, decay=0.1, correct=True),
        optax.contrib.prodigy(1.0, estim_lr0=1e-3, weight_decay=0.1, safeguard_warmup=False),
    ),
    "schedule free": (
        Descent(Gradient(), Constant(0.5), ScheduleFree()),
        optax.contrib.schedule_free(optax.sgd(0.5), 0.5),
    ),
    "clip norm": (
        ClipNorm(Descent(Momentum(), Constant(0.1)), 0.3),
        optax.chain(optax.clip_by_global_norm(0.3), optax.sgd(0.1, momentum=0.9)),
    ),
    "clip value": (
        ClipValue(Descent(Momentum(), Constant(0.1)), 0.1),
        optax.chain(optax.clip(0.1), optax.sgd(0.1, momentum=0.9)),
    ),
    "freeze": (
        Freeze(Descent(Adam(), Constant(0.05)), (False, True, False)),
        optax.chain(optax.adam(0.05), optax.masked(optax.set_to_zero(), (False, True, False))),
    ),
    "non-negative": (
        Descent(Gradient(), Constant(0.1), Last(NonNegative())),
        optax.chain(optax.sgd(0.1), optax.keep_params_nonnegative()),
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_optax(name: str):
    method, tx = OPTAX[name]
    assert_close(run_ours(method)[0], run_optax(tx)[0])


@pytest.mark.parametrize("rule", [Gradient(), Nesterov()])
def test_schedule_free_answer_of_optax(rule):
    base = optax.sgd(0.1) if rule == Gradient() else optax.sgd(0.1, momentum=0.9, nesterov=True)
    params, state = run_optax(optax.contrib.schedule_free(base, 0.1))
    answer = optax.contrib.schedule_free_eval_params(state, params)
    assert_close(run_ours(Descent(rule, Constant(0.1), ScheduleFree()))[1], answer)


def run_schedule_free(make):
    params = [torch.nn.Parameter(torch.asarray(p.copy())) for p in PROBLEM.start]
    optimizer = make(params)
    optimizer.train()
    for t in range(STEPS):
        with torch.no_grad():
            grads = PROBLEM.evaluate(tuple(params), t, torch).grads
        for p, g in zip(params, grads, strict=True):
            p.grad = g.clone()
        optimizer.step()
    descending = [p.detach().numpy().copy() for p in params]
    optimizer.eval()
    return descending, [p.detach().numpy().copy() for p in params]


@pytest.mark.parametrize("warmup", [0, 30])
def test_schedulefree_sgd(warmup: int):
    method = named("schedule_free_sgd", lr=0.3, weight_decay=0.1, warmup_steps=warmup)
    make = lambda p: schedulefree.SGDScheduleFree(p, lr=0.3, weight_decay=0.1, warmup_steps=warmup)  # noqa: E731
    for ours, theirs in zip(run_ours(method), run_schedule_free(make), strict=True):
        assert_close(ours, theirs)


@pytest.mark.parametrize("warmup", [0, 30])
def test_schedulefree_adamw(warmup: int):
    method = named("schedule_free_adamw", lr=0.05, betas=(0.95, 0.99), weight_decay=0.1, warmup_steps=warmup)
    make = lambda p: schedulefree.AdamWScheduleFree(  # noqa: E731
        p, lr=0.05, betas=(0.95, 0.99), weight_decay=0.1, warmup_steps=warmup
    )
    for ours, theirs in zip(run_ours(method), run_schedule_free(make), strict=True):
        assert_close(ours, theirs)


@pytest.mark.parametrize(
    "options",
    [
        {"d0": 1e-3},
        {"d0": 1e-3, "use_bias_correction": True, "weight_decay": 0.1, "lr": 0.5},
        {"d0": 1e-3, "growth_rate": 1.05, "d_coef": 2.0, "betas": (0.8, 0.99)},
    ],
)
def test_prodigyopt(options: dict):
    ours = run_ours(named("prodigy", **options))[0]
    assert_close(ours, run_torch(lambda p: prodigyopt.Prodigy(p, **options))[1])


curves = torch.optim.lr_scheduler

SCHEDULERS = {
    "step decay": (StepDecay(0.1, 30, 0.3), lambda o: curves.StepLR(o, 30, 0.3)),
    "exponential": (Exponential(0.1, 0.97), lambda o: curves.ExponentialLR(o, 0.97)),
    "polynomial": (PolynomialDecay(0.1, 60, 2.0), lambda o: curves.PolynomialLR(o, 60, 2.0)),
    "cosine": (
        Schedule(0.1, STEPS, final=0.02),
        lambda o: curves.CosineAnnealingLR(o, STEPS, eta_min=0.02),
    ),
    "linear": (Schedule(0.1, 60, shape="linear"), lambda o: curves.LinearLR(o, 1.0, 1e-300, 60)),
    "one cycle": (
        OneCycle(0.1, 110, rise=0.25),
        lambda o: curves.OneCycleLR(o, 0.1, 110, pct_start=0.25, cycle_momentum=False),
    ),
    "warm restarts": (WarmRestarts(0.1, 30, final=0.01), lambda o: curves.CosineAnnealingWarmRestarts(o, 30, 1, 0.01)),
    "growing restarts": (WarmRestarts(0.1, 12, 2.0), lambda o: curves.CosineAnnealingWarmRestarts(o, 12, 2)),
    "warm-up": (
        Warmup(InverseSquareRoot(0.1, 20), 20),
        lambda o: curves.LambdaLR(o, lambda s: min((s + 1) / 20, (20 / (s + 1)) ** 0.5)),
    ),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedules_of_torch(name: str):
    curve, scheduler = SCHEDULERS[name]
    theirs = run_torch(lambda p: opt.SGD(p, lr=0.1), scheduler=scheduler)[1]
    assert_close(run_ours(Descent(Gradient(), curve))[0], theirs)


def test_ema_is_the_corrected_mean_of_the_points():
    b, points = 0.9, []
    method = Descent(Gradient(), Constant(0.1), EMA(b))
    params, state = PROBLEM.start, method.init(PROBLEM.start, xp=np)
    for t in range(20):
        params, state, _ = method.step(PROBLEM.evaluate(params, t, np), params, state, scale=1.0, xp=np)
        points.append(params)
    weights = [(1 - b) * b ** (19 - i) / (1 - b**20) for i in range(20)]
    means = [sum(w * p[k] for w, p in zip(weights, points, strict=True)) for k in range(3)]
    assert_close(method.eval_params(params, state), means)

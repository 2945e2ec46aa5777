"""What is put around a method: clipping, accumulation, freezing, penalties, proximal maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import zoo
from descenso._errors import ArgumentError
from descenso._types import Evaluation
from descenso.averaging import EMA, L1, ElasticNet, Last, NonNegative, Polynomial, ScheduleFree
from descenso.methods import (
    L2,
    LBFGS,
    Accumulate,
    ClipNorm,
    ClipValue,
    Descent,
    Freeze,
    ZClip,
    named,
)
from descenso.rules import Adam, Gradient, Momentum, Muon, WeightDecay
from descenso.step_sizes import Constant, Schedule

PLAIN = Descent(Gradient(), Constant(1.0))


def one_step(method, params, grads, *, loss=0.0, state=None, scale=1.0, xp=np):
    state = method.init(params, xp=xp) if state is None else state
    return method.step(Evaluation(xp.asarray(loss), grads), params, state, scale=scale, xp=xp)


def descend(method, problem, steps):
    params = problem.start
    state = method.init(params, xp=np)
    for t in range(steps):
        params, state, info = method.step(problem.evaluate(params, t, np), params, state, scale=1.0, xp=np)
    return method.eval_params(params, state), info


def float32(*values) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_clip_norm_reaches_the_limit_at_any_size(size: float):
    limit = 1e-2 * min(size, 1.0)
    method = ClipNorm(PLAIN, limit)
    grads = (float32(3 * size, 0.0), float32(-4 * size))
    params, _, info = one_step(method, (float32(0, 0), float32(0)), grads)
    np.testing.assert_allclose(params[0] / limit, [-0.6, 0.0], rtol=1e-5)
    np.testing.assert_allclose(params[1] / limit, [0.8], rtol=1e-5)
    assert info.grad_norm == pytest.approx(5 * size, rel=1e-6)


def test_clip_norm_leaves_short_gradients_alone():
    grads = (float32(0.3, 0.4),)
    params, _, _ = one_step(ClipNorm(PLAIN, 0.6), (float32(0, 0),), grads)
    assert params[0].tobytes() == (-grads[0]).tobytes()
    params, _, _ = one_step(ClipNorm(PLAIN, 0.6), (float32(1, 2),), (float32(0, 0),))
    assert params[0].tolist() == [1.0, 2.0]


def test_clip_value_clips_entries():
    params, _, info = one_step(ClipValue(PLAIN, 0.5), (float32(0, 0, 0),), (float32(3, -0.2, -1e30),))
    np.testing.assert_allclose(params[0], [-0.5, 0.2, 0.5], rtol=1e-6)
    assert info.grad_norm == pytest.approx(1e30)


def zclip_by_the_paper(norms, alpha=0.97, threshold=2.5, warmup=25):
    """The norms after clipping, written with a buffer as the paper does."""
    seen, out, mean, variance = [], [], 0.0, 0.0
    for n in norms:
        if len(seen) < warmup:
            seen.append(n)
            mean, variance = float(np.mean(seen)), float(np.var(seen))
            out.append(n)
            continue
        z = (n - mean) / variance**0.5
        clipped = mean + variance**0.5 * threshold / (z / threshold) if z > threshold else n
        mean = alpha * mean + (1 - alpha) * clipped
        variance = alpha * variance + (1 - alpha) * (clipped - mean) ** 2
        out.append(clipped)
    return out


def test_zclip_is_that_of_the_paper():
    rng = np.random.default_rng(0)
    norms = 1 + 0.1 * rng.random(80)
    norms[[30, 50, 51]] = 9.0, 2.0, 300.0
    method = ZClip(PLAIN, eps=1e-12)
    params, state, moved = (np.zeros(1),), method.init((np.zeros(1),), xp=np), []
    for n in norms:
        before = params[0][0]
        params, state, info = one_step(method, params, (np.array([n]),), state=state)
        moved.append(before - params[0][0])
        assert info.grad_norm == pytest.approx(n)
    np.testing.assert_allclose(moved, zclip_by_the_paper(norms), rtol=1e-8)
    assert max(moved) < 2.0


def test_accumulate_steps_on_the_mean():
    method, problem = Accumulate(Descent(Momentum(), Constant(0.1)), 3), zoo.noisy()
    params, state = problem.start, method.init(problem.start, xp=np)
    plain = method.method
    other, other_state = problem.start, plain.init(problem.start, xp=np)
    for step in range(4):
        parts = [problem.evaluate(params, 3 * step + i, np) for i in range(3)]
        for i, part in enumerate(parts):
            before = params
            params, state, info = method.step(part, params, state, scale=1.0, xp=np)
            assert (info.step_size == 0) == (i < 2)
            assert i == 2 or all(np.array_equal(a, b) for a, b in zip(params, before, strict=True))
        mean = tuple(sum(p.grads[k] for p in parts) / 3 for k in range(3))
        other, other_state, _ = plain.step(Evaluation(parts[0].loss, mean), other, other_state, scale=1.0, xp=np)
    for a, b in zip(params, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_frozen_leaves_stay_and_cost_no_state():
    problem = zoo.network()
    method = Freeze(Descent(Adam(), Constant(0.1)), (True, False, True, False))
    state = method.init(problem.start, xp=np)
    assert [m.shape for m in state[0][1]] == [(4,), ()]
    answer, _ = descend(method, problem, 5)
    same = [a.tobytes() == b.tobytes() for a, b in zip(answer, problem.start, strict=True)]
    assert same == [True, False, True, False]


def test_frozen_leaves_drop_out_of_hessian_products():
    class Newton:
        needs_product = True

        def init(self, params, *, xp):
            return ()

        def step(self, evaluation, params, state, *, scale, xp, product):
            return product(params), state, None

    method = Freeze(Newton(), (False, True))
    assert method.needs_product
    params = (np.array([1.0, 2.0]), np.array([5.0]))

    def product(v):
        assert v[1].tolist() == [0.0]
        return 10 * v[0], 10 * v[1] + 7

    after, _, _ = method.step(Evaluation(0.0, params), params, (), scale=1.0, xp=np, product=product)
    assert [a.tolist() for a in after] == [[10.0, 20.0], [5.0]]


def test_a_wrapper_says_that_it_holds_a_line_search():
    assert Freeze(LBFGS(), (True, False)).line_search
    assert L2(LBFGS(), 0.1).line_search
    for wrap in (lambda m: ClipNorm(m, 1.0), lambda m: ClipValue(m, 1.0), ZClip, lambda m: Accumulate(m, 2)):
        with pytest.raises(ArgumentError, match="searches along a line"):
            wrap(LBFGS())


def test_l2_descends_the_penalised_loss():
    problem = zoo.quadratic(10.0)
    with np.errstate(divide="ignore", invalid="ignore"):  # the branch that a line search does not take
        answer, info = descend(L2(LBFGS(), 0.5, (True, False, True)), problem, 60)
    evaluation = problem.evaluate(answer, 0, np)
    for gradient, x, strength in zip(evaluation.grads, answer, (0.5, 0.0, 0.5), strict=True):
        np.testing.assert_allclose(gradient + strength * x, 0, atol=1e-7)
    penalty = 0.25 * (np.sum(answer[0] ** 2) + answer[2] ** 2)
    assert info.loss == pytest.approx(evaluation.loss + penalty, rel=1e-9)


def lasso(l1: float, l2: float = 0.0):
    """A least-squares problem of 6 features, 3 of them useless, and a check of the optimality conditions."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 6))
    y = x @ (2.0, -1.0, 0.5, 0.0, 0.0, 0.0) + 0.3 * rng.normal(size=60)

    def evaluate(params, t, xp):
        miss = x @ params[0] - y
        return Evaluation(np.mean(miss**2) / 2, (x.T @ miss / 60,))

    def violation(w: np.ndarray) -> float:
        g = evaluate((w,), 0, np).grads[0] + l2 * w
        return float(np.max(np.where(w != 0, np.abs(g + l1 * np.sign(w)), np.maximum(np.abs(g) - l1, 0))))

    return zoo.Problem("lasso", (np.zeros(6),), 0.0, evaluate), violation


AVERAGINGS = (Last, Polynomial, lambda proximal: EMA(0.9, proximal), lambda proximal: ScheduleFree(0.9, proximal))


@pytest.mark.parametrize("averaging", AVERAGINGS)
def test_proximal_maps_reach_the_penalised_minimum(averaging):
    for l1, l2, proximal in ((0.15, 0.0, L1(0.15)), (0.15, 0.2, ElasticNet(0.15, 0.2))):
        problem, violation = lasso(l1, l2)
        (w,), _ = descend(Descent(Gradient(), Constant(0.5), averaging(proximal=proximal)), problem, 1500)
        w = np.where(np.abs(w) < 1e-3, 0.0, w)  # an average of zeros and of the first, small entries
        assert violation(w) < 1e-3
        assert np.count_nonzero(w) == 3


def test_small_entries_become_exactly_zero():
    problem, violation = lasso(0.15)
    for rule, strength in ((Gradient(), 0.15), (Momentum(), 0.15 / (1 - 0.9))):
        (w,), _ = descend(Descent(rule, Constant(0.05), Last(L1(strength))), problem, 2000)
        assert violation(w) < 1e-10
        assert np.count_nonzero(w) == 3


@pytest.mark.parametrize("averaging", AVERAGINGS)
def test_non_negative_params_stay_so(averaging):
    problem, _ = lasso(0.0)
    (w,), _ = descend(Descent(Gradient(), Constant(0.5), averaging(proximal=NonNegative())), problem, 1500)
    g = problem.evaluate((w,), 0, np).grads[0]
    assert np.min(w) >= -1e-15
    np.testing.assert_allclose(np.where(w > 1e-9, g, np.minimum(g, 0)), 0, atol=1e-3)


def test_masks_must_fit():
    params = (np.ones(2), np.ones(3))
    for slot in (
        Descent(WeightDecay(Adam(), 0.1, (True,)), Constant(0.1)),
        Descent(Muon(hidden=(False,)), Constant(0.1)),
        Freeze(PLAIN, (True, False, False)),
        L2(PLAIN, 0.1, (True,)),
    ):
        with pytest.raises(ArgumentError, match=r"got a mask of [13] entr"):
            slot.init(params, xp=np)
    with pytest.raises(ArgumentError, match="got a mask of 1"):
        one_step(Descent(Gradient(), Constant(0.1), Last(L1(0.1, (True,)))), params, params)
    with pytest.raises(ArgumentError, match="two axes"):
        Muon(hidden=(True, False)).init(params, xp=np)
    with pytest.raises(ArgumentError, match="at least one leaf"):
        Freeze(PLAIN, (True, True))


def test_state_shares_no_memory_with_params_and_grads():
    """torch steps write params in place and clear gradients in place: no state may notice."""
    for name in ("dog", "dowg", "adgd", "schedule_free_sgd", "prodigy", "mechanic", "asgd", "rprop", "sgd", "adagrad"):
        method = named(name)
        params, grads = (torch.ones(3), torch.ones(2)), (torch.ones(3), torch.ones(2))
        state = method.init(params, xp=torch)
        _, after, _ = one_step(method, params, grads, loss=1.0, state=state, xp=torch)
        own = {leaf.data_ptr() for leaf in (*params, *grads)}
        assert not own & {leaf.data_ptr() for leaf in _arrays((state, after))}, name


def _arrays(state):
    return [leaf for part in state for leaf in _arrays(part)] if isinstance(state, tuple) else [state]


def test_narrow_gradients_are_squared_in_float32():
    params = (np.zeros(2, np.float16),)
    _, state, _ = one_step(named("adam"), params, (np.array([600.0, 1e-4], np.float16),))
    np.testing.assert_allclose(state[0][2][0], [360.0, 1e-11], rtol=1e-2)


def test_a_schedule_reaches_its_ends():
    size = Schedule(2.0, 10, "linear", warmup=4, final=0.5)
    values = [float(size.at(np.float64(t), xp=np)) for t in range(1, 13)]
    np.testing.assert_allclose(values, [0.5, 1, 1.5, 2, 2, 1.75, 1.5, 1.25, 1, 0.75, 0.5, 0.5])

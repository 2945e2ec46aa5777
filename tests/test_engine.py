"""The compiled loop: the same numbers however it is cut, one compilation, and what it does to a loss and its data."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compiling
from descenso import Budget, Descent, Stop, minimize, rules, step_sizes
from descenso.data.batches import Order
from descenso.driver import pace
from descenso.driver.prepare import prepare
from descenso.engine import evaluate
from descenso.engine.chunk import as_key
from descenso.engine.evaluate import block_rows, full_gradient, mean_loss
from descenso.engine.objective import Objective
from descenso.engine.tree import flatten
from descenso.result import Reason

X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 3.0]) + 0.1 * np.random.default_rng(1).normal(size=50)).astype(np.float32)
PARAMS = {"w": np.zeros(3, np.float32), "b": np.float32(0)}
ADAM = Descent(rules.Adam(), step_sizes.Constant(0.05))
GRADIENT = Descent(rules.Gradient(), step_sizes.Constant(0.05))
FOREVER = Stop(floor=False)


def linear(params, batch):
    x, y = batch
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


def dropout(params, batch, key):
    x, y = batch
    keep = jax.random.bernoulli(key, 0.8, x.shape)
    return jnp.mean(((x * keep) @ params["w"] + params["b"] - y) ** 2)


def bowl(params):
    return jnp.sum((params["w"] - 1) ** 2) + (params["b"] - 2) ** 2


def valley(params):
    a, b, c = params["w"]
    return 100 * (b - a**2) ** 2 + (1 - a) ** 2 + (c - params["b"] - 1) ** 2


def engine_of(loss, params=PARAMS, data=None, *, method=ADAM, batch_size="auto", seed=0):
    ready = prepare(loss, params, data, method, batch_size, Budget(), None, seed)
    return ready.engine, ready.leaves


ENGINES = {
    "no data": lambda: engine_of(bowl),
    "batches": lambda: engine_of(linear, data=(X, Y), batch_size=7),
    "all rows": lambda: engine_of(linear, data=(X, Y), batch_size="all"),
    "a key": lambda: engine_of(dropout, data=(X, Y), batch_size=7),
    "a line search": lambda: engine_of(valley, method="lbfgs"),
}


def run(engine, state, cuts, stride):
    sums, made = None, 0
    for steps in cuts:
        state, sums, _ = engine.advance(state, steps, stride=stride, offset=made, sums=sums)
        made += steps
    return state, sums


def assert_same_bits(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


# how the steps are cut


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("stride", [1, 5])
def test_steps_are_the_same_however_they_are_cut(name, stride):
    engine, leaves = ENGINES[name]()
    start = engine.start(leaves)
    whole = run(engine, start, [12], stride)
    assert_same_bits(whole, run(engine, start, [1] * 12, stride))
    assert_same_bits(whole, run(engine, start, [5, 4, 3], stride))
    assert whole[0].cursor == 12


@pytest.mark.parametrize("target", [1e-9, 1e9])
def test_a_run_does_not_hang_on_the_clock(target, monkeypatch):
    """Chunks of one step and chunks as long as they may be: the same run, its history and its end."""
    first = minimize(dropout, PARAMS, (X, Y), method=ADAM, batch_size=7, budget=Budget(steps=2000), stop=FOREVER)
    monkeypatch.setattr(pace, "_TARGET", target)
    other = minimize(dropout, PARAMS, (X, Y), method=ADAM, batch_size=7, budget=Budget(steps=2000), stop=FOREVER)
    assert_same_bits(first.params, other.params)
    for name in ("step", "loss", "step_size", "grad_norm"):
        np.testing.assert_array_equal(getattr(first.history, name), getattr(other.history, name))
    assert (first.loss, first.gradients, first.message) == (other.loss, other.gradients, other.message)


@pytest.mark.parametrize("target", [1e-9, 1e9])
def test_nonfinite_steps_do_not_make_it_hang_on_the_clock(target, monkeypatch):
    """One row in fifty gives a NaN; a chunk that is nothing but that step is no reason to go back."""
    x = X.copy()
    x[7] = np.nan
    go = partial(minimize, linear, PARAMS, (x, Y), method=ADAM, batch_size=1, stop=FOREVER)
    first = go(budget=Budget(steps=600))
    monkeypatch.setattr(pace, "_TARGET", target)
    other = go(budget=Budget(steps=600))
    assert_same_bits(first.params, other.params)
    assert [f.kind for f in first.findings] == [f.kind for f in other.findings] == ["skipped"] * len(first.findings)
    assert first.steps == other.steps == 600


def test_the_gradient_norm_ends_the_loop_at_its_step():
    engine, leaves = engine_of(bowl, method=GRADIENT)
    state, sums, over = engine.advance(engine.start(leaves), 200, vanished=1e-2)
    # |g_t| = |g_0| .9^t, |g_0| = 2 sqrt(7)
    steps = int(np.ceil(np.log(1e-2 / (2 * np.sqrt(7))) / np.log(0.9))) + 1
    assert over
    assert state.cursor == steps == int(sums[:, 4].sum())


# what each step sees


def test_each_step_sees_its_batch_of_the_order():
    """The gradient of w mean(x) is mean(x): the path of w adds up the means of the batches."""
    rows = np.arange(10, dtype=np.float32) ** 2
    method = Descent(rules.Gradient(), step_sizes.Constant(1.0))
    engine, leaves = engine_of(lambda w, x: w * jnp.mean(x), 0.0, rows, method=method, batch_size=4, seed=9)
    state = engine.start(leaves)
    expected = np.cumsum(rows[Order(10, 9).take(0, 4 * 25)].reshape(25, 4).mean(axis=1))
    for step in range(25):
        state, _, _ = engine.advance(state, 1)
        assert -state.params[0] == pytest.approx(expected[step], rel=1e-6)


def test_each_step_has_a_key_of_its_own():
    """The gradient of w n(key) is n(key)."""
    method = Descent(rules.Gradient(), step_sizes.Constant(1.0))

    def path(seed):
        engine, leaves = engine_of(lambda w, key: w * jax.random.normal(key), 0.0, method=method, seed=seed)
        state, moves = engine.start(leaves), []
        for _ in range(5):
            before = state.params[0]
            state, _, _ = engine.advance(state, 1)
            moves.append(float(state.params[0] - before))
        return moves

    first = path(0)
    assert len(set(first)) == 5
    assert path(0) == first
    for seed in (1, 2**32, -1):
        assert not set(path(seed)) & set(first)


def test_the_key_of_a_step_is_the_seed_folded_with_its_number():
    method = Descent(rules.Gradient(), step_sizes.Constant(1.0))
    engine, leaves = engine_of(lambda w, key: w * jax.random.normal(key), 0.0, method=method, seed=5)
    state, _, _ = engine.advance(engine.start(leaves), 6)
    key = as_key(np.array([0, 5], np.uint32))
    expected = -sum(jax.random.normal(jax.random.fold_in(key, n)) for n in range(6))
    np.testing.assert_allclose(state.params[0], expected, rtol=1e-5)


# all rows at once


@pytest.mark.parametrize("rows", [1, 6, 7, 8, 21, 50])
def test_the_gradient_over_blocks_is_the_gradient(rows, monkeypatch):
    monkeypatch.setattr(evaluate, "_LEAST_ROWS", 7)
    monkeypatch.setattr(evaluate, "_BLOCK_BYTES", 1)
    tree, leaves = flatten(PARAMS)
    leaves = tuple(leaf + 0.5 for leaf in leaves)
    data = (jnp.asarray(X[:rows]), jnp.asarray(Y[:rows]))
    assert block_rows(data) == min(rows, 7)
    objective = Objective(linear, tree, jax.tree.structure(data), keyed=False)
    plain = jax.value_and_grad(objective.value)(leaves, data, None)
    found = full_gradient(objective, leaves, data, None)
    np.testing.assert_allclose(found.loss, plain[0], rtol=1e-5)
    np.testing.assert_allclose(mean_loss(objective, leaves, data, None), plain[0], rtol=1e-5)
    for a, b in zip(found.grads, plain[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


@given(st.integers(1, 10**6), st.integers(1, 10**5), st.sampled_from([np.float32, np.int8, np.float16]))
@settings(max_examples=50, deadline=None)
def test_a_block_is_a_megabyte_but_at_least_256_rows(rows, width, dtype):
    data = (np.broadcast_to(np.zeros((), dtype), (rows, width)),)
    size = block_rows(data)
    assert size == rows or size >= 256
    assert size == rows or size * width * data[0].itemsize <= 2**20 or size == 256


def test_a_loss_that_is_no_mean_over_rows_is_evaluated_whole(monkeypatch):
    monkeypatch.setattr(evaluate, "_LEAST_ROWS", 7)
    monkeypatch.setattr(evaluate, "_BLOCK_BYTES", 1)

    def worst(params, batch):
        x, y = batch
        return jnp.max((x @ params["w"] + params["b"] - y) ** 2)

    engine, leaves = engine_of(worst, data=(X, Y), batch_size="all")
    assert not engine.objective.blocked
    assert engine.mean_loss(leaves) == pytest.approx(np.max(Y**2), rel=1e-6)
    told = [f.message for f in prepare(worst, PARAMS, (X, Y), ADAM, "all", Budget(), None, 0).findings]
    assert any("not a mean over rows" in message for message in told)
    assert engine_of(linear, data=(X, Y), batch_size="all")[0].objective.blocked


# convolutions

IMAGES = np.random.default_rng(2).normal(size=(12, 1, 6, 6)).astype(np.float32)
LABELS = (np.arange(12) % 2).astype(np.float32)
KERNELS = {
    "k": 0.1 * np.random.default_rng(3).normal(size=(2, 1, 3, 3)).astype(np.float32),
    "v": np.ones(2, np.float32),
}


def convolved(params, batch):
    x, y = batch
    maps = jax.lax.conv_general_dilated(x, params["k"], (1, 1), "SAME")
    return jnp.mean((jnp.tanh(maps).mean((2, 3)) @ params["v"] - y) ** 2)


@jax.jit
def convolved_inside(params, batch):
    return jax.lax.cond(params["v"][0] > -99, convolved, convolved, params, batch)


@pytest.mark.parametrize("loss", [convolved, convolved_inside])
def test_convolutions_are_stepped_one_by_one_with_the_same_result(loss):
    ready = prepare(loss, KERNELS, (IMAGES, LABELS), ADAM, 5, Budget(), None, 0)
    assert ready.engine.trace.convolves
    assert [f.message for f in ready.findings] == [
        "the loss holds convolutions: steps are compiled one by one, not in a loop"
    ]
    start = ready.engine.start(ready.leaves)
    looped = replace(ready.engine, trace=replace(ready.engine.trace, convolves=False))
    a, sums_a = run(ready.engine, start, [4, 3], 3)
    b, sums_b = run(looped, start, [4, 3], 3)
    for x, y in zip(jax.tree.leaves((a, sums_a)), jax.tree.leaves((b, sums_b)), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=1e-5, atol=1e-6)
    # the snapshot was not used up by the steps
    assert_same_bits(run(ready.engine, start, [7], 3)[0], a)


def test_other_losses_are_not():
    assert not engine_of(linear, data=(X, Y))[0].trace.convolves


# one compilation


@pytest.fixture
def compilations(caplog):
    """A function that says what was compiled since it was last asked."""
    caplog.set_level(logging.WARNING, logger="jax")

    def asked():
        found = [r.getMessage().split("with")[0] for r in caplog.records if r.getMessage().startswith("Compiling")]
        caplog.clear()
        return found

    with jax.log_compiles():
        yield asked


def test_a_loss_is_compiled_once(compilations):
    """Another seed, budget, length, and a recovery, trace the loss once, to know it again, and compile nothing."""
    traces = []

    def counted(params, batch):
        traces.append(1)
        return linear(params, batch)

    # a step size that is too large on purpose; it goes on after a recovery
    method = Descent(rules.Gradient(), step_sizes.Schedule(5.0, 500, "cosine", warmup=10))
    go = partial(minimize, counted, PARAMS, method=method, batch_size=8, stop=FOREVER)
    first = go((X, Y), budget=Budget(steps=300), validate=(X, Y))
    assert compilations()
    assert any(f.kind == "recovered" for f in first.findings)
    traces.clear()
    for seed, steps in ((1, 300), (2**40, 1000), (3, 17)):
        result = go((X, Y), budget=Budget(steps=steps), seed=seed, validate=(X, Y))
        assert result.steps == steps
    go((X[:, :], Y), budget=Budget(epochs=3.5), validate=(X, Y))
    go((X, Y), budget=Budget(gradients=200), validate=(X, Y))
    assert compilations() == []
    assert len(traces) == 5


def test_auto_compiles_nothing_again_in_its_race(compilations):
    go = partial(minimize, linear, PARAMS, (X, Y), batch_size=8)
    go(budget=Budget(steps=200))
    assert compilations()
    go(budget=Budget(steps=400), seed=1)
    assert compilations() == []


@pytest.mark.parametrize("closed_over", [lambda a: a, jnp.asarray, lambda a: jnp.array(a) + 0])
def test_a_changed_closure_is_another_loss(closed_over):
    goal = np.array([1.0, 2.0, 3.0], np.float32)

    def loss(params):
        return jnp.sum((params["w"] - closed_over(goal)) ** 2) + params["b"] ** 2

    def reached():
        return minimize(loss, PARAMS, method=GRADIENT, budget=Budget(steps=300), stop=FOREVER).params["w"]

    np.testing.assert_allclose(reached(), [1, 2, 3], atol=1e-4)
    goal[:] = [-1, 0, 5]
    np.testing.assert_allclose(reached(), [-1, 0, 5], atol=1e-4)


def test_a_changed_closure_of_a_function_compiled_inside_is_another_loss():
    goal = np.array([1.0, 2.0, 3.0], np.float32)

    def loss(params):
        far = jax.jit(lambda w: jnp.sum((w - goal) ** 2))  # a new function at each trace
        return far(params["w"]) + params["b"] ** 2

    def reached():
        return minimize(loss, PARAMS, method=GRADIENT, budget=Budget(steps=300), stop=FOREVER).params["w"]

    np.testing.assert_allclose(reached(), [1, 2, 3], atol=1e-4)
    goal[:] = [-1, 0, 5]
    np.testing.assert_allclose(reached(), [-1, 0, 5], atol=1e-4)


def test_a_changed_number_in_a_closure_is_another_loss():
    box = [1.0]

    def loss(params):
        return jnp.sum((params["w"] - box[0]) ** 2) + params["b"] ** 2

    for box[0] in (1.0, -3.0):
        result = minimize(loss, PARAMS, method=GRADIENT, budget=Budget(steps=300), stop=FOREVER)
        np.testing.assert_allclose(result.params["w"], box[0], atol=1e-4)


def test_the_compiled_code_on_disk_is_for_its_user_alone(tmp_path):
    """A second process finds what the first compiled, in a folder that nobody else can read."""
    code = (
        "import jax.numpy as jnp, descenso\n"
        "r = descenso.minimize(lambda p: jnp.sum((p - 1) ** 2), jnp.zeros(3), method='lbfgs')\n"
        "assert r.success, r"
    )
    environment = compiling.as_users() | {"XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-W", "error", "-c", code]
    subprocess.run(command, env=environment, check=True)
    folder = tmp_path / "descenso" / "jax"
    assert folder.stat().st_mode & 0o777 == 0o700
    # JAX keeps what took long to compile: the loop always does, smaller programs on a busy machine only
    kept = {p.name for p in folder.glob("jit_chunk-*-cache")}
    assert len(kept) == 1
    folder.chmod(0o755)
    subprocess.run(command, env=environment, check=True)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {p.name for p in folder.glob("jit_chunk-*-cache")} == kept


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    code = (
        "import jax, jax.numpy as jnp, descenso\n"
        "from descenso import rules, step_sizes, Descent, Budget\n"
        "m = Descent(rules.Gradient(), step_sizes.Constant(0.1))\n"
        "descenso.minimize(lambda p: jnp.sum(p ** 2), jnp.ones(3), method=m, budget=Budget(steps=3))\n"
        "assert jax.config.jax_compilation_cache_dir is None"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(blocked)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    subprocess.run([sys.executable, "-W", "error", "-c", code], env=environment, check=True)


# params and data


def test_functions_and_text_in_params_are_kept():
    params = {"layers": [{"w": np.ones(3, np.float32), "act": jnp.tanh}, ("name", None)], "scale": 2.0}

    def loss(p):
        layer = p["layers"][0]
        return jnp.sum(layer["act"](layer["w"]) ** 2) + p["scale"] ** 2

    result = minimize(loss, params, method=GRADIENT, budget=Budget(steps=50), stop=FOREVER)
    assert jax.tree.structure(result.params) == jax.tree.structure(params)
    assert result.params["layers"][0]["act"] is jnp.tanh
    assert result.params["layers"][1] == ("name", None)
    assert result.loss < 1
    np.testing.assert_array_equal(params["layers"][0]["w"], 1)


@jax.tree_util.register_dataclass
@dataclass
class Model:
    """A pytree of the caller's own."""

    w: np.ndarray
    b: float
    act: Callable = field(metadata={"static": True})


class Pair(NamedTuple):
    w: np.ndarray
    b: float


@pytest.mark.parametrize("params", [Pair(np.zeros(2), 3.0), Model(np.zeros(2), 3.0, jnp.tanh)])
def test_any_pytree_comes_back_as_itself(params):
    result = minimize(
        lambda p: jnp.sum((p.w - 1) ** 2) + p.b**2, params, method=GRADIENT, budget=Budget(steps=200), stop=FOREVER
    )
    assert jax.tree.structure(result.params) == jax.tree.structure(params)
    np.testing.assert_allclose(result.params.w, 1, atol=1e-3)
    np.testing.assert_allclose(result.params.b, 0, atol=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_the_dtype_of_params_is_kept(dtype):
    params = jnp.full(4, 3, dtype)
    result = minimize(lambda p: jnp.mean((p - 1) ** 2), params, method=ADAM, budget=Budget(steps=300), stop=FOREVER)
    assert result.params.dtype == dtype
    np.testing.assert_allclose(np.asarray(result.params, np.float32), 1, atol=0.1)
    np.testing.assert_array_equal(np.asarray(params, np.float32), 3)


def test_params_of_several_dtypes():
    params = {"a": jnp.ones(2, jnp.bfloat16), "b": jnp.ones(2, jnp.float32), "c": np.ones(2)}
    result = minimize(
        lambda p: sum(jnp.sum(x.astype(jnp.float32) ** 2) for x in p.values()),
        params,
        method=ADAM,
        budget=Budget(steps=100),
        stop=FOREVER,
    )
    assert {k: str(v.dtype) for k, v in result.params.items()} == {"a": "bfloat16", "b": "float32", "c": "float32"}


def test_float64_where_jax_has_it_switched_on():
    with jax.enable_x64(True):
        x, y = X.astype(np.float64), Y.astype(np.float64)
        params = {"w": np.zeros(3), "b": 0.0}
        result = minimize(linear, params, (x, y), method="lbfgs")
        exact = np.linalg.lstsq(np.c_[x, np.ones(50)], y, rcond=None)[0]
        assert result.params["w"].dtype == np.float64
        assert result.reason is Reason.CONVERGED
        np.testing.assert_allclose(np.r_[result.params["w"], result.params["b"]], exact, rtol=1e-6, atol=1e-7)
    narrow = minimize(linear, PARAMS, (X, Y), method="lbfgs")
    assert narrow.params["w"].dtype == np.float32


def test_data_keeps_its_narrow_dtypes():
    data = {
        "byte": np.arange(50, dtype=np.uint8),
        "flag": np.arange(50) % 2 == 0,
        "half": X[:, 0].astype(np.float16),
        "brain": jnp.asarray(X[:, 1], jnp.bfloat16),
        "wide": X[:, 2].astype(np.float64),
        "count": np.arange(50),
    }
    seen = {}

    def loss(w, batch):
        seen.update({name: str(a.dtype) for name, a in batch.items()})
        return jnp.mean((w - batch["wide"]) ** 2)

    minimize(loss, 0.0, data, method=ADAM, batch_size=8, budget=Budget(steps=2))
    assert seen == {
        "byte": "uint8",
        "flag": "bool",
        "half": "float16",
        "brain": "bfloat16",
        "wide": "float32",
        "count": "int32",
    }


def test_the_callers_arrays_are_left_alone():
    w, x, y = jnp.zeros(3), X.copy(), Y.copy()
    minimize(linear, {"w": w, "b": 0.0}, (x, y), method=ADAM, batch_size=7, budget=Budget(steps=20))
    np.testing.assert_array_equal(w, 0)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)

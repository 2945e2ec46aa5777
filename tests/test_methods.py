"""The ordeal: what every method of the list in `methods.py` must pass."""

from __future__ import annotations

import io
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch

import descenso
import zoo
from descenso._namespace import step_if_finite
from descenso._types import Evaluation
from methods import CASES, STEPS, Case

PROBLEMS = {
    "valley": zoo.quadratic(300.0),
    "network": zoo.network(),
    "logistic": zoo.logistic(),
    "rosenbrock": zoo.rosenbrock(),
    "noisy": zoo.noisy(),
}
NETWORK = PROBLEMS["network"]

torch.set_num_threads(1)  # the leaves are tiny; threads would wait for each other

every_method = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


# a line search sees bad trials itself, and moves to its next trial whatever the scale
every_plain_method = pytest.mark.parametrize(
    "case", [c for c in CASES if not getattr(c.method, "line_search", False)], ids=lambda case: case.name
)


@pytest.fixture(autouse=True)
def _float64(request):
    case = getattr(getattr(request.node, "callspec", None), "params", {}).get("case")
    # the branch that a line search does not take may divide by 0
    quiet = {"divide": "ignore", "invalid": "ignore"} if case and getattr(case.method, "line_search", False) else {}
    with jax.enable_x64(True), np.errstate(**quiet):
        yield


def step(case: Case, params, state, t, scale, xp):
    evaluation = NETWORK.evaluate(params, t, xp)
    return step_if_finite(case.method, evaluation, params, state, scale=scale, xp=xp)


class Compiled:
    """The step of a case under `jax.jit`, counting how often it is traced."""

    def __init__(self, case: Case):
        self.traces = 0

        def traced(params, state, t, scale, spoilt):
            self.traces += 1
            evaluation = NETWORK.evaluate(params, t, jnp)
            evaluation = Evaluation(evaluation.loss, tuple(g + spoilt for g in evaluation.grads))
            return step_if_finite(case.method, evaluation, params, state, scale=scale, xp=jnp)

        self.step = jax.jit(traced)

    def __call__(self, params, state, t, scale=1.0, spoilt=0.0):
        return self.step(params, state, jnp.asarray(t), jnp.asarray(scale), jnp.asarray(spoilt))


compiled = cache(Compiled)


def run_numpy(case: Case, steps: int):
    params = NETWORK.start
    state = case.method.init(params, xp=np)
    for t in range(steps):
        params, state, info = step(case, params, state, t, case.scale, np)
    return params, state, info


def run_jax(case: Case, steps: int):
    params = tuple(jnp.asarray(p) for p in NETWORK.start)
    state = case.method.init(params, xp=jnp)
    for t in range(steps):
        params, state, info = compiled(case)(params, state, t, case.scale)
    return params, state, info


def run_torch(case: Case, steps: int):
    params = tuple(torch.asarray(p.copy()) for p in NETWORK.start)
    state = case.method.init(params, xp=torch)
    for t in range(steps):
        params, state, info = step(case, params, state, t, case.scale, torch)
    return params, state, info


def distance(a, b) -> float:
    """The largest difference of two trees of arrays, relative to 1 + the size of the entries."""
    pairs = zip(*(map(_wide, jax.tree.leaves(tree)) for tree in (a, b)), strict=True)
    return max(float(np.max(np.where(x == y, 0.0, np.abs(x - y) / (1 + np.abs(y))))) for x, y in pairs)


def _wide(array) -> np.ndarray:
    return np.asarray(array, np.float64)


def same(a, b) -> bool:
    """Whether two trees of arrays are equal bit for bit."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs)


@every_method
def test_reaches_the_minimum(case: Case):
    allowed = dict.fromkeys(case.problems, 0.01) | ({} if case.noise is None else {"noisy": case.noise})
    for name, left in allowed.items():
        problem = PROBLEMS[name]
        params = problem.start
        state = case.method.init(params, xp=np)
        for t in range(STEPS):
            evaluation = problem.evaluate(params, t, np)
            params, state, _ = case.method.step(evaluation, params, state, scale=1.0, xp=np)
        gap = problem.gap(case.method.eval_params(params, state))
        assert gap <= left, f"{gap:.2g} of the way to the minimum of {problem.name} is left"


@every_method
def test_numpy_jax_and_torch_agree(case: Case):
    params, state, info = run_numpy(case, case.steps)
    here = params, case.method.eval_params(params, state), tuple(info)
    for run in (run_jax, run_torch):
        params, state, info = run(case, case.steps)
        there = params, case.method.eval_params(params, state), tuple(info)
        assert distance(there, here) <= 1e-12


@every_method
def test_compiled_is_plain_and_compiles_once(case: Case):
    plain = tuple(jnp.asarray(p) for p in NETWORK.start)
    state = case.method.init(plain, xp=jnp)
    for t, scale in enumerate((1.0, 0.5, 1.0)):
        plain, state, info = step(case, plain, state, jnp.asarray(t), jnp.asarray(scale), jnp)
    fast = tuple(jnp.asarray(p) for p in NETWORK.start)
    fast_state = case.method.init(fast, xp=jnp)
    for t, scale in enumerate((1.0, 0.5, 1.0)):
        fast, fast_state, fast_info = compiled(case)(fast, fast_state, t, scale)
    assert distance((fast, fast_state, tuple(fast_info)), (plain, state, tuple(info))) <= 1e-13
    assert compiled(case).traces == 1


@every_method
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtypes_and_shapes_are_kept(case: Case, dtype: str):
    numpy_dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float32
    here = tuple(p.astype(numpy_dtype) for p in NETWORK.start)
    there = tuple(torch.asarray(p.copy(), dtype=getattr(torch, dtype)) for p in NETWORK.start)
    for params, xp in ((here, np), (there, torch)):
        state = case.method.init(params, xp=xp)
        after = step(case, params, state, 0, 1.0, xp)
        _assert_kept(params, state, after, case.method.eval_params(*after[:2]))


@every_method
@pytest.mark.parametrize("dtypes", ["float32", "bfloat16", "mixed"])
def test_dtypes_and_shapes_are_kept_in_jax(case: Case, dtypes: str):
    kinds = ("bfloat16", "float32", "float64", "float16") if dtypes == "mixed" else (dtypes,) * 4
    params = tuple(jax.ShapeDtypeStruct(p.shape, k) for p, k in zip(NETWORK.start, kinds, strict=True))

    def run(params):
        state = case.method.init(params, xp=jnp)
        after = step(case, params, state, jnp.asarray(0), jnp.asarray(1.0, jnp.float32), jnp)
        return state, after, case.method.eval_params(*after[:2])

    state, after, answer = jax.eval_shape(run, params)
    _assert_kept(params, state, after, answer)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(after[:2]))


def _assert_kept(params, state, after, answer):
    new_params, new_state, info = after
    assert [_kind(p) for p in new_params] == [_kind(p) for p in params]
    assert [tuple(a.shape) for a in answer] == [tuple(p.shape) for p in params]
    old, new = jax.tree.flatten(state), jax.tree.flatten(new_state)
    assert new[1] == old[1]
    assert [_kind(leaf) for leaf in new[0]] == [_kind(leaf) for leaf in old[0]]
    assert not any(_kind(leaf)[0] in ("float16", "bfloat16") for leaf in new[0])
    assert [tuple(n.shape) for n in info] == [()] * 4


def _kind(array) -> tuple[str, tuple[int, ...]]:
    return str(array.dtype).removeprefix("torch."), tuple(array.shape)


@every_method
def test_state_round_trips(case: Case):
    params, state, _ = run_jax(case, 7)
    loaded = jax.tree.map(_through_a_file, (params, state))
    assert same(loaded, (params, state))
    for t in (7, 8):
        params, state, _ = compiled(case)(params, state, t)
        loaded = compiled(case)(*loaded, t)[:2]
    assert same(loaded, (params, state))
    assert compiled(case).traces == 1


def _through_a_file(array):
    file = io.BytesIO()
    np.save(file, np.asarray(array))
    return jnp.asarray(np.load(io.BytesIO(file.getvalue())))


@every_plain_method
def test_scale_zero_moves_nothing(case: Case):
    for steps in (0, 5):
        params, state, _ = run_jax(case, steps)[:3] if steps else (*_start(case), None)
        moved, _, info = compiled(case)(params, state, steps, scale=0.0)
        assert same(moved, params)
        assert float(info.step_size) == float(info.update_norm) == 0.0


def _start(case: Case):
    params = tuple(jnp.asarray(p) for p in NETWORK.start)
    return params, case.method.init(params, xp=jnp)


@every_plain_method
def test_nonfinite_gradients_leave_no_trace(case: Case):
    params, state, _ = run_jax(case, 5)
    for bad in (np.nan, np.inf):
        after = compiled(case)(params, state, 5, spoilt=bad)
        assert same(after[:2], (params, state))
    assert compiled(case).traces == 1


def test_a_point_beyond_the_cliff_leaves_no_trace():
    cliff = zoo.cliff()
    method = next(c.method for c in CASES if c.name == "adam")
    beyond = (np.array([1.5]),)
    state = method.init(beyond, xp=np)
    evaluation = cliff.evaluate(beyond, 0, np)
    assert not np.isfinite(evaluation.loss)
    after = step_if_finite(method, evaluation, beyond, state, scale=1.0, xp=np)
    assert same(after[:2], (beyond, state))


def untried(cases: list[Case]) -> set[str]:
    """The classes of the four rooms that can stand in a method and that no case holds."""
    held = {part for case in cases for part in _parts(case.method)}
    return {f"{cls.__module__}.{cls.__name__}" for cls in _classes() if cls not in held}


def _parts(value) -> set[type]:
    if not is_dataclass(value):
        return set()
    return {type(value)}.union(*(_parts(getattr(value, f.name)) for f in fields(value)))


def _classes() -> set[type]:
    rooms = Path(descenso.__file__).parent
    found = set()
    for room in ("rules", "step_sizes", "averaging", "methods"):
        for file in sorted((rooms / room).glob("[!_]*.py")):
            module = import_module(f"descenso.{room}.{file.stem}")
            own = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
            found |= {cls for cls in own if is_dataclass(cls) and (hasattr(cls, "init") or hasattr(cls, "apply"))}
            # the zoo has no Hessians: a method that needs their products is put through it in test_deterministic.py
            found -= {cls for cls in own if getattr(cls, "needs_product", False) is True}
    return found


def test_no_method_is_left_out():
    assert untried(CASES) == set()


def test_a_missing_method_is_noticed():
    without = [case for case in CASES if case.name not in ("lion", "dog")]
    assert untried(without) - untried(CASES) == {"descenso.rules.lion.Lion", "descenso.step_sizes.dog.DoG"}

"""The methods for a loss that is the same function at every step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import lax
from sklearn.datasets import load_breast_cancer

import zoo
from descenso._namespace import step_if_finite
from descenso._types import Evaluation
from descenso.methods import BFGS, LBFGS, GlobalBarzilaiBorwein, NewtonCG, NonlinearCG

METHODS = [BFGS(), LBFGS(), NewtonCG(), NonlinearCG(), GlobalBarzilaiBorwein()]
SECOND_ORDER = [BFGS(), LBFGS(), NewtonCG()]
PROBLEMS = [zoo.quadratic(1e2), zoo.quadratic(1e5), zoo.rosenbrock(), zoo.logistic(), zoo.network(), zoo.cliff()]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
every_second_order = pytest.mark.parametrize("method", SECOND_ORDER, ids=lambda m: type(m).__name__)
every_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)


def extras(method, evaluate, params, xp) -> dict:
    """The product that a method asks for: central differences of the gradient, in float64."""
    if not getattr(method, "needs_product", False):
        return {}
    here = tuple(xp.asarray(p, dtype=xp.float64) for p in params)

    def product(v):
        v = tuple(xp.asarray(d, dtype=xp.float64) for d in v)
        h = 1e-6 / (1e-30 + sum(xp.sum(d * d) for d in v) ** 0.5)
        up, down = (evaluate(tuple(p + s * d for p, d in zip(here, v, strict=True))).grads for s in (h, -h))
        return tuple(xp.asarray((a - b) / (2 * h), dtype=p.dtype) for a, b, p in zip(up, down, params, strict=True))

    return {"product": product}


def walk(method, evaluate, start, steps: int, *, xp=np, scale: float = 1.0):
    """Steps one by one, in any library. Returns params, state and the infos."""
    params, state, infos = start, method.init(start, xp=xp), []
    with np.errstate(all="ignore"):
        for _ in range(steps):
            extra = extras(method, evaluate, params, xp)
            params, state, info = step_if_finite(method, evaluate(params), params, state, scale=scale, xp=xp, **extra)
            infos.append(info)
    return params, state, infos


def descend(method, problem, steps: int, xp=np, dtype: str = "float64"):
    """`walk` on a problem of the zoo."""
    start = tuple(xp.asarray(p.copy(), dtype=getattr(xp, dtype)) for p in problem.start)
    return walk(method, lambda p: problem.evaluate(p, 0, xp), start, steps, xp=xp)


def compiled(method, problem, steps: int, dtype: str = "float64"):
    """The same in one compiled loop, on jax; the infos are stacked. Also how often the step was traced."""
    traces = []

    def one(carry, _):
        traces.append(1)
        params, state = carry
        evaluate = lambda p: problem.evaluate(p, 0, jnp)  # noqa: E731
        extra = extras(method, evaluate, params, jnp)
        params, state, info = method.step(evaluate(params), params, state, scale=1.0, xp=jnp, **extra)
        return (params, state), info

    with jax.enable_x64(dtype == "float64"):
        start = tuple(jnp.asarray(p, dtype) for p in problem.start)
        run = jax.jit(lambda start: lax.scan(one, (start, method.init(start, xp=jnp)), None, length=steps))
        (params, state), infos = jax.tree.map(np.asarray, run(start))
    return params, state, infos, len(traces)


@every_second_order
@every_problem
@pytest.mark.parametrize(("dtype", "gap"), [("float64", 1e-12), ("float32", 2e-6)])
def test_the_minimum_is_reached(method, problem, dtype, gap):
    params, state, infos = descend(method, problem, 300, dtype=dtype)
    # the network's valley is degenerate: nobody is at its bottom in 300 evaluations
    assert problem.gap(method.eval_params(params, state)) <= (1e-4 if problem.name == "network" else gap)
    assert all(np.isfinite(i.loss) for i in infos)


@pytest.mark.parametrize("method", [NonlinearCG(), GlobalBarzilaiBorwein()], ids=lambda m: type(m).__name__)
@every_problem
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_first_order_methods_come_near(method, problem, dtype):
    params, state, _ = descend(method, problem, 600, dtype=dtype)
    assert problem.gap(method.eval_params(params, state)) <= (1e-3 if problem.name == "network" else 1e-5)


# the loss of GlobalBarzilaiBorwein may rise, and its answer is not its last point
@pytest.mark.parametrize("method", METHODS[:-1], ids=lambda m: type(m).__name__)
@every_problem
def test_info_tells_of_the_accepted_point(method, problem):
    def evaluate(params):
        return problem.evaluate(params, 0, np)

    params, state = problem.start, method.init(problem.start, xp=np)
    last = np.inf
    for _ in range(60):
        before = np.concatenate([np.ravel(x) for x in method.eval_params(params, state)])
        with np.errstate(all="ignore"):
            extra = extras(method, evaluate, params, np)
            params, state, info = method.step(evaluate(params), params, state, scale=1.0, xp=np, **extra)
        answer = method.eval_params(params, state)
        loss, grads = evaluate(answer)
        assert info.loss == pytest.approx(loss, rel=1e-12)
        assert info.grad_norm == pytest.approx(np.sqrt(sum(np.sum(g * g) for g in grads)), rel=1e-9, abs=1e-12)
        assert info.loss <= last + 1e-14 * abs(last)
        moved = np.linalg.norm(np.concatenate([np.ravel(x) for x in answer]) - before)
        assert moved == 0 or info.update_norm == pytest.approx(moved, rel=1e-6)
        last = info.loss


@every_method
@pytest.mark.parametrize("problem", [zoo.rosenbrock(), zoo.cliff()], ids=lambda p: p.name)
def test_numpy_jax_and_torch_agree_and_jax_compiles_once(method, problem):
    params, state, infos = descend(method, problem, 25)
    jaxed, jax_state, jax_infos, traces = compiled(method, problem, 25)
    torched, torch_state, torch_infos = descend(method, problem, 25, torch)
    for mine, on_jax, on_torch in zip(params, jaxed, torched, strict=True):
        np.testing.assert_allclose(on_jax, mine, rtol=1e-6)
        np.testing.assert_allclose(on_torch, mine, rtol=1e-6)
    for kind, losses in (("jax", jax_infos.loss), ("torch", [float(i.loss) for i in torch_infos])):
        np.testing.assert_allclose(losses, [i.loss for i in infos], rtol=1e-6, err_msg=kind)
    assert int(state.moves) == int(jax_state.moves) == int(torch_state.moves) > 4
    assert traces == 1


@every_second_order
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_at_the_minimum_it_stalls_and_stays(method, dtype):
    problem = zoo.quadratic(1e2)
    params, state, infos = descend(method, problem, 400, dtype=dtype)
    assert bool(state.stalled)
    assert all(np.array_equal(p, x) for p, x in zip(params, method.eval_params(params, state), strict=True))
    assert infos[-1].grad_norm <= (1e-5 if dtype == "float32" else 1e-8) * infos[0].grad_norm


@every_method
def test_a_start_without_a_finite_loss_stalls_at_once(method):
    params, state, infos = walk(method, lambda p: zoo.cliff().evaluate(p, 0, np), (np.array([1.5]),), 3)
    assert bool(state.stalled)
    assert not np.isfinite(infos[-1].loss)
    assert params[0] == 1.5


@every_method
def test_a_trial_beyond_the_cliff_is_shortened(method):
    seen = []

    def evaluate(params):
        seen.append(float(params[0][0]))
        return (
            zoo.cliff()
            .evaluate((-params[0],), 0, np)
            ._replace(grads=(-(zoo.cliff().evaluate((-params[0],), 0, np).grads[0]),))
        )

    params, state, _ = walk(method, evaluate, (np.array([-0.9]),), 30)
    assert method.eval_params(params, state)[0] == pytest.approx((41**0.5 - 3) / 8, abs=1e-7)


@every_method
def test_scale_zero_moves_nothing_and_scale_shortens_the_first_trial(method):
    start = (np.array([3.0, 4.0]),)

    def bowl(params):
        (x,) = params
        return Evaluation(0.5 * np.sum(x * x), (x,))

    params, _, _ = walk(method, bowl, start, 5, scale=0.0)
    assert np.array_equal(params[0], start[0])
    whole, quarter = (walk(method, bowl, start, 1, scale=s)[0][0] - start[0] for s in (1.0, 0.25))
    np.testing.assert_allclose(quarter, 0.25 * whole)
    assert np.linalg.norm(whole) > 0.5


@pytest.mark.parametrize("method", [BFGS(), LBFGS(), NonlinearCG()], ids=lambda m: type(m).__name__)
def test_repeated_negative_curvature_is_counted(method):
    def ridge(params):
        (x,) = params
        return Evaluation(-0.5 * np.sum(x * x), (-x,))

    _, state, _ = walk(method, ridge, (np.array([1e-3, 2e-3]),), 40)
    assert int(state.skipped) >= 3


def breast_cancer(columns: float, loss_scale: float):
    """Mean logistic loss on the raw columns, 1e-3 to 4e3, with an intercept, in float32."""
    x, y = load_breast_cancer(return_X_y=True)
    x = np.column_stack([x * columns, np.ones(len(x))]).astype(np.float32)
    sign, scale = np.where(y > 0, 1, -1).astype(np.float32), np.float32(loss_scale)

    def evaluate(params):
        margin = sign * (x @ params[0])
        pull = -sign / (1 + np.exp(np.minimum(margin, np.float32(80))))
        loss = np.mean(np.logaddexp(np.float32(0), -margin))
        return Evaluation(scale * loss, (scale * (pull @ x) / np.float32(len(x)),))

    return evaluate


@pytest.mark.parametrize("method", [BFGS(), LBFGS()], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize(("columns", "loss_scale"), [(1, 1), (1, 1e-3), (1, 1e3), (100, 1)])
def test_raw_columns_in_float32(method, columns, loss_scale):
    # SciPy's L-BFGS-B in float64 stands at .0278 after 240,000 evaluations; the columns can be separated, so the
    # infimum is 0
    evaluate = breast_cancer(columns, loss_scale)
    _, _, infos = walk(method, evaluate, (np.zeros(31, np.float32),), 400)
    assert infos[-1].loss <= 0.0278 * loss_scale


def test_the_best_point_is_the_answer_where_the_loss_may_rise():
    problem = zoo.rosenbrock()
    method, losses = GlobalBarzilaiBorwein(), []
    params, state = problem.start, method.init(problem.start, xp=np)
    for _ in range(60):
        params, state, info = method.step(problem.evaluate(params, 0, np), params, state, scale=1.0, xp=np)
        losses.append(float(info.loss))
    assert max(np.diff(losses)) > 0
    assert problem.loss(method.eval_params(params, state)) == min(losses)


@pytest.mark.parametrize("start", [(1.0, 1e-9), (1.0, -1e-3)])
def test_newton_leaves_a_saddle_along_negative_curvature(start):
    def saddle(params):
        (x,) = params
        return Evaluation(x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4, (np.array([2 * x[0], -2 * x[1] + x[1] ** 3]),))

    params, state, infos = walk(NewtonCG(), saddle, (np.array(start),), 40)
    assert infos[-1].loss == pytest.approx(-1.0)
    assert abs(NewtonCG().eval_params(params, state)[0][1]) == pytest.approx(2**0.5)


def test_newton_spends_one_product_for_each_dimension_of_a_quadratic():
    H = np.diag([1.0, 2.0, 3.0, 4.0])

    def bowl(params):
        return Evaluation(0.5 * params[0] @ H @ params[0], (H @ params[0],))

    _, state, infos = walk(NewtonCG(), bowl, (np.array([0.1, 0.1, 0.1, 0.1]),), 20)
    assert infos[-1].grad_norm <= 1e-8 * infos[0].grad_norm
    assert int(state.moves) <= 8

"""The minimum as a function: compiled, batched, differentiated, and honest where it is none."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descenso import argmin
from descenso._errors import ArgumentError, LossShapeError, MethodNameError, ParamsError
from descenso.methods import GlobalBarzilaiBorwein

RNG = np.random.default_rng(0)
ROWS, COLUMNS = 30, 4
X, Y = RNG.normal(size=(ROWS, COLUMNS)), RNG.normal(size=ROWS)
LABELS = RNG.integers(0, 2, size=ROWS)
UP = np.arange(1.0, COLUMNS + 1)


@pytest.fixture(autouse=True)
def wide():
    with jax.enable_x64(True):
        yield


def ridge(w, theta):
    return jnp.mean((theta["x"] @ w - theta["y"]) ** 2) / 2 + theta["penalty"] * jnp.sum(w * w) / 2


def closed_form(theta):
    x, y = theta["x"], theta["y"]
    return jnp.linalg.solve(x.T @ x / ROWS + theta["penalty"] * jnp.eye(COLUMNS), x.T @ y / ROWS)


def table(penalty=0.1):
    return {"x": X, "y": Y, "penalty": np.asarray(penalty)}


def logistic(w, theta):
    """Of one feature and an intercept, with labels in integers and a weight for each row."""
    score = theta["x"][:, 0] * w["slope"] + w["level"]
    losses = jnp.logaddexp(0.0, score) - theta["label"] * score
    return jnp.mean(theta["weight"] * losses) + 0.05 * w["slope"] ** 2


# it is the quickest to compile; the methods themselves are tested elsewhere
quick = partial(argmin, method="barzilai_borwein")


# closed forms and finite differences


def test_the_solution_of_ridge_regression_and_its_derivatives():
    """With respect to the penalty and to the data, backward; and how all that moves with both, forward."""

    def of(solve):
        def with_slopes(theta):
            found, pull = jax.vjp(solve, theta)
            return found, pull(jnp.asarray(UP))[0]

        return jax.jit(lambda t: jax.jvp(with_slopes, (t,), (jax.tree.map(np.ones_like, table()),)))(table())

    solve = quick(ridge, jnp.zeros(COLUMNS), gradient=1e-10)
    ours, exact = of(lambda theta: solve(theta).params), of(closed_form)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(exact), strict=True):
        assert a == pytest.approx(np.asarray(b), rel=1e-6, abs=1e-7)


def test_a_derivative_agrees_with_finite_differences():
    """Where there is no closed form: a weight for each row, labels in integers beside it, and the loss itself."""
    theta = {"x": X, "label": LABELS, "weight": np.ones(ROWS)}
    solve = argmin(logistic, method="newton_cg", gradient=1e-12)  # to the last digits, for the differences

    def line(weight):
        found = solve(theta | {"weight": weight}, {"slope": 0.0, "level": 0.0})
        return jnp.stack([found.params["slope"], found.params["level"], found.loss])

    def with_slopes(weight):
        found, pull = jax.vjp(line, weight)
        return found, jax.vmap(pull)(jnp.eye(3))[0]

    moved = 1e-4 * np.concatenate([np.eye(ROWS)[:3], -np.eye(ROWS)[:3], np.zeros((1, ROWS))]) + 1
    ends, slopes = jax.jit(jax.vmap(with_slopes))(moved)
    ends, slopes = np.asarray(ends), np.asarray(slopes)
    assert np.abs(slopes[6]).max() > 1e-3
    assert slopes[6, :, :3] == pytest.approx((ends[:3] - ends[3:6]).T / 2e-4, rel=1e-5, abs=1e-8)


# compiled and batched


def test_compiled_is_plain_and_batched_is_one_by_one():
    solve, exact = quick(ridge), jax.jit(closed_form)
    starts = RNG.normal(size=(3, COLUMNS))
    tables = [table(a) for a in (0.01, 1.0, 10.0)]
    plain = [solve(*given) for given in zip(tables, starts, strict=True)]
    compiled = jax.jit(solve)(tables[0], starts[0])
    assert all(np.array_equal(a, b) for a, b in zip(plain[0], compiled, strict=True))
    batched = jax.vmap(solve)(jax.tree.map(lambda *t: np.stack(t), *tables), starts)
    assert batched.converged.all()
    params, steps = np.asarray(batched.params), np.asarray(batched.steps)
    for i, one in enumerate(plain):
        assert one.converged
        assert one.params == pytest.approx(np.asarray(exact(tables[i])), abs=1e-6)
        assert params[i] == pytest.approx(np.asarray(one.params), abs=1e-6)
        assert steps[i] == pytest.approx(one.steps, abs=5)


def test_over_starts_and_inside_other_functions():
    """Starts of a double well; the loss closes over what is being differentiated."""

    def ends(depth):
        solve = quick(lambda x, theta: theta * (x**2 - depth) ** 2)
        found = jax.vmap(solve, in_axes=(None, 0))(1.0, jnp.array([-2.5, 0.5]))
        return found.params, found.converged

    def with_slopes(depth):
        found, pull, converged = jax.vjp(ends, depth, has_aux=True)
        return found, converged, jax.vmap(pull)(jnp.eye(2))[0]

    found, converged, slopes = jax.jit(with_slopes)(4.0)
    assert converged.all()
    assert found == pytest.approx([-2, 2])
    assert slopes == pytest.approx([-0.25, 0.25])  # of -+sqrt(depth)


def test_a_loss_with_arrays_of_its_own_on_a_tree_of_params():
    """Differentiated with respect to both; another loss of the same form compiles nothing again."""
    traces = []

    def loss(goal, p, theta):
        traces.append(1)
        return jnp.sum(p["act"](p["w"] - theta["a"]) ** 2) + (p["b"] - goal * theta["b"]) ** 2

    start = {"w": jnp.zeros((2, 3)), "b": 0.0, "act": jnp.sinh}
    method = GlobalBarzilaiBorwein(window=3)

    @jax.jit
    def solved(goal, theta):
        def parts(goal, theta):
            found = argmin(jax.tree_util.Partial(loss, goal), start, method=method)(theta)
            assert found.params["act"] is jnp.sinh
            return found.params["w"], found.params["b"]

        found, pull = jax.vjp(parts, goal, theta)
        return found, pull((jnp.ones((2, 3)), 1.0))

    (w, b), (by_goal, by_theta) = solved(2.0, {"a": 0.3, "b": 1.5})
    assert w == pytest.approx(0.3)
    assert (b, by_goal, by_theta["a"], by_theta["b"]) == pytest.approx((3, 1.5, 6, 2))
    before = len(traces)
    (_, b), _ = solved(3.0, {"a": 0.3, "b": 1.5})
    assert b == pytest.approx(4.5)
    assert len(traces) == before


@pytest.mark.parametrize("method", ["auto", "lbfgs", "newton_cg", "nonlinear_cg"])
def test_every_method_keeps_shapes_and_dtypes(method):
    """Traced, not compiled: the page on argmin compiles BFGS."""
    found = jax.eval_shape(jax.vmap(argmin(ridge, method=method), (None, 0)), table(), np.zeros((3, COLUMNS)))
    shapes = [(leaf.shape, leaf.dtype.name) for leaf in jax.tree.leaves(found)]
    assert shapes == [((3, COLUMNS), "float64"), *[((3,), d) for d in ("float64", "float64", "int32", "bool")]]


# where it is no minimum


def test_what_did_not_converge_says_so():
    """A narrow valley with too few steps, no minimum, and a loss that is NaN."""

    def loss(x, theta):
        narrow, downhill, unknown = theta
        far = jnp.where(unknown > 0, jnp.log(x - 9), 0.0)
        return jnp.sum(narrow * jnp.array([1.0, 1e5, 1e3]) * (x - 1) ** 2 + downhill * x + far)

    solve = quick(loss, np.array([0.0, 0.3, 3.0]), steps=12)
    cut, falling, unknown = (solve(tuple(theta)) for theta in np.eye(3))
    assert not any(found.converged for found in (cut, falling, unknown))
    assert cut.steps == falling.steps == 12
    value, grads = jax.jit(jax.value_and_grad(loss))(cut.params, (1.0, 0.0, 0.0))
    assert cut.grad_norm == pytest.approx(np.linalg.norm(np.asarray(grads)))
    assert cut.loss == pytest.approx(value)
    assert cut.grad_norm > 1e-3
    assert falling.loss < 0
    assert np.isnan(unknown.loss)


def test_where_there_is_no_derivative_it_is_nan():
    """At a saddle, and along a flat direction; not where the flat direction is not asked about."""

    @jax.jit
    def slope(bend, along):
        solve = quick(lambda x, theta: (x[0] - theta) ** 2 + bend * x[1] ** 2, jnp.array([1.0, 0.0]))
        return jax.grad(lambda theta: along @ solve(theta).params)(2.0)

    assert slope(1.0, jnp.array([3.0, 1.0])) == pytest.approx(3)
    assert np.isnan(slope(-3.0, jnp.array([3.0, 1.0])))
    assert np.isnan(slope(0.0, jnp.array([3.0, 1.0])))
    assert slope(0.0, jnp.array([3.0, 0.0])) == pytest.approx(3)


def test_in_float32_and_from_the_minimum_itself():
    """From there no gradient is seen that the first would be small against."""
    with jax.enable_x64(False):
        solve = quick(lambda x, theta: jnp.sum((x - theta) ** 2 + jnp.exp(x)))
        found = solve(1.0, jnp.zeros(3))
        assert found.params.dtype == found.loss.dtype == np.float32
        x = np.asarray(found.params)
        assert 2 * (x - 1) + np.exp(x) == pytest.approx(0, abs=1e-4)
        again = solve(1.0, found.params)
        assert found.converged
        assert again.converged
        assert again.params == pytest.approx(x, abs=1e-5)


# a caller's mistakes


@pytest.mark.parametrize(
    ("given", "error", "what"),
    [
        ({"loss": 3}, ArgumentError, "`loss` is a int"),
        ({"loss": lambda w: w @ w}, ArgumentError, r"`loss\(params, theta\)`: too many(?s:.*)hint: let it take theta"),
        ({"method": "bgfs"}, MethodNameError, "bgfs"),
        ({"steps": 0}, ArgumentError, "`steps` is 0"),
        ({"products": 0}, ArgumentError, "`products` 0"),
        ({"gradient": 1.0}, ArgumentError, "`gradient` is 1.0"),
    ],
)
def test_arguments_are_checked(given, error, what):
    with pytest.raises(error, match=what):
        argmin(**({"loss": ridge} | given))


def test_a_start_is_needed_and_must_be_one():
    with pytest.raises(ArgumentError, match="No point to start from"):
        argmin(ridge)(table())
    with pytest.raises(ParamsError, match="dtype"):
        argmin(ridge)(table(), np.zeros(COLUMNS, int))


def test_a_loss_of_many_numbers_is_refused():
    with pytest.raises(LossShapeError, match=r"`loss\(params, theta\)` returned shape \(2,\)"):
        argmin(lambda w, theta: (w - theta) ** 2)(1.0, np.zeros(2))

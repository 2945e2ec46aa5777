"""Bounds of the params: against L-BFGS-B, active sets that are known, and what is said of the point at the end."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import nnls, rosen, rosen_der

import descenso
from descenso import Budget, Descent, averaging, minimize, rules, step_sizes
from descenso._errors import ArgumentError, CheckpointError
from descenso.driver.endings import proven
from descenso.driver.prepare import prepare
from descenso.methods.projected import ProjectedLBFGS
from descenso.result import Reason
from descenso.watch.verdict import Stop


@pytest.fixture
def wide():
    with jax.enable_x64(True):
        yield


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def _quadratic(n, rng):
    root = rng.normal(size=(n, n))
    matrix, shift = root @ root.T / n + 0.1 * np.eye(n), rng.normal(size=n)
    return matrix, shift, lambda x: 0.5 * x @ matrix @ x - shift @ x


RNG = np.random.default_rng(0)
MATRIX, SHIFT, QUADRATIC = _quadratic(12, RNG)
INF = np.inf

PROBLEMS = {
    "active bound": (rosenbrock, [-1.2, 1.0], [-2, -2], [0.5, 2]),
    "start outside": (rosenbrock, [3.0, -4.0], [-1.5, -1.0], [1.5, 0.6]),
    "one side open": (rosenbrock, [-1.2, 1.0, 0.3], [-INF, 1.5, -INF], [INF, INF, 3.0]),
    "a fixed param": (rosenbrock, [-1.2, 0.4, 0.3], [-2, 0.4, -2], [2, 0.4, 2]),
    "all at bounds": (lambda x: jnp.sum(x * jnp.arange(1.0, 4.0)) + x[0] * x[1], [0.2, 0.3, 0.4], [0.0] * 3, [1.0] * 3),
    "quadratic": (QUADRATIC, np.zeros(12), np.full(12, -0.3), np.full(12, 0.4)),
    "far scales": (
        lambda x: (x[0] - 2) ** 2 + 1e6 * (x[1] - 0.5) ** 2 + x[0] * x[1],
        [0.0, 0.0],
        [-1, 0.6],
        [1, 9],
    ),
    "valley along a wall": (
        lambda x: (x[0] * x[1] - 1) ** 2 + (x[0] - x[1] - 3) ** 2 + 0.1 * x[0],
        [1.0, 1.0],
        [0, 0.4],
        [5, 5],
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_reaches_what_l_bfgs_b_reaches(name, wide):
    loss, start, low, high = PROBLEMS[name]
    found = minimize(loss, np.array(start), bounds=(np.array(low), np.array(high)))
    both = jax.jit(jax.value_and_grad(loss))
    peer = scipy.optimize.minimize(
        lambda x: tuple(np.asarray(v, float) for v in both(x)),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(low, high, strict=True)),
        options={"ftol": 1e-14, "gtol": 1e-10},
    )
    assert found.reason == "converged", found
    assert found.loss <= peer.fun + 1e-8 * max(1, abs(peer.fun))
    x = np.asarray(found.params)
    assert (x >= low).all()
    assert (x <= high).all()
    assert found.certificate.is_minimum, found.certificate
    assert found.certificate.at_bounds == int(np.sum((x == low) | (x == high)))


def test_the_multipliers_of_a_quadratic_have_the_right_signs(wide):
    low, high = np.full(12, -0.3), np.full(12, 0.4)
    x = np.asarray(minimize(QUADRATIC, np.zeros(12), bounds=(-0.3, 0.4)).params)
    slope = MATRIX @ x - SHIFT
    free = (x > low) & (x < high)
    assert 0 < free.sum() < 12
    assert abs(slope[free]).max() < 1e-6
    assert (slope[x == low] > 0).all()
    assert (slope[x == high] < 0).all()


@pytest.mark.parametrize("double", [False, True])
def test_least_squares_without_negative_params(double):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(40, 15)), rng.normal(size=40)
    with jax.enable_x64(double):
        loss = lambda x: jnp.sum((jnp.asarray(a, x.dtype) @ x - jnp.asarray(b, x.dtype)) ** 2)  # noqa: E731
        found = minimize(loss, np.ones(15), bounds=(0, None))
    x, residual = nnls(a, b)
    assert found.reason == "converged"
    assert found.loss == pytest.approx(residual**2, rel=1e-9 if double else 1e-5)
    assert np.flatnonzero(np.asarray(found.params)).tolist() == np.flatnonzero(x).tolist()
    assert "within bounds" in str(found.certificate)
    assert f"{(x == 0).sum()} of 15 params" in found.certificate.detail


def test_a_start_outside_is_a_finding():
    found = minimize(lambda x: jnp.sum(x**2), np.array([3.0, -1.0, 5.0]), bounds=(1, 4))
    assert np.asarray(found.params).tolist() == [1, 1, 1]
    assert any("2 of 3 params started outside" in f.message for f in found.findings if f.kind == "bounds")


def test_bounds_have_the_form_of_the_params():
    start = {"w": np.ones((2, 3)), "b": 0.5, "name": "kept"}

    def loss(p):
        return jnp.sum((p["w"] + 1) ** 2) + (p["b"] - 2) ** 2

    low = {"w": np.array([0.0, -0.5, -3.0]), "b": None, "name": None}
    found = minimize(loss, start, bounds=(low, {"w": None, "b": 1.0, "name": None}))
    assert np.asarray(found.params["w"]) == pytest.approx(np.array([[0.0, -0.5, -1.0]] * 2), abs=1e-4)
    assert float(found.params["b"]) == 1.0
    assert found.params["name"] == "kept"


def test_bounds_of_leaves_of_different_shapes_are_a_list():
    def loss(p):
        return jnp.sum((p[0] - 1) ** 2) + jnp.sum((p[1] - 2) ** 2)

    start = [np.zeros((3, 2)), np.zeros(2)]
    found = minimize(loss, start, bounds=([None, np.array([0.0, 3.0])], [np.full((3, 2), 0.5), 5]))
    assert np.asarray(found.params[0]) == pytest.approx(np.full((3, 2), 0.5))
    assert np.asarray(found.params[1]) == pytest.approx([2, 3], abs=1e-3)


def test_open_bounds_are_none():
    found = minimize(rosenbrock, np.zeros(2), bounds=(None, [None, np.inf]))
    assert found.certificate.at_bounds is None
    assert any("BFGS" in f.message and "projected" not in f.message for f in found.findings)


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ((1, 0), r"params\[0\] are 1\.0 and 0\.0"),
        (([0, 3], [5, 2]), r"params\[1\] are 3\.0 and 2\.0"),
        ((np.nan, 1), "lower bound of params holds NaN"),
        (([0, 0, 0], 1), "broadcast"),
        (({"w": 0}, None), "lower bound of params"),
        ((0, "high"), "upper bound of params"),
        ((np.inf, None), "no value would be within"),
        ((1e39, None), "no value would be within"),  # of float32
        ([(0, 1), (0, 1), (0, 1)], "pair"),
        (3.0, "pair"),
    ],
)
def test_bad_bounds_are_one_error(bounds, said):
    calls = []
    with pytest.raises(ArgumentError, match=said):
        minimize(lambda x: calls.append(1) or jnp.sum(x**2), np.ones(2), bounds=bounds)
    assert not calls


def test_bounds_of_another_structure_are_one_error():
    start = {"a": 1.0, "b": 2.0}
    with pytest.raises(ArgumentError, match="like `params`"):
        minimize(lambda p: p["a"] ** 2 + p["b"] ** 2, start, bounds=({"a": 0.0}, None))


@pytest.mark.parametrize("method", ["bfgs", "lbfgs", "newton_cg", "nonlinear_cg", "barzilai_borwein"])
def test_a_search_that_would_leave_the_bounds_is_refused(method):
    with pytest.raises(ArgumentError, match="searches along lines that leave"):
        minimize(rosenbrock, np.zeros(2), bounds=(0, 0.5), method=method)


CERTIFIED = [
    # loss, point, low, high, verdict, at bounds
    (lambda x: x[0] + x[1] ** 2, [0, 0], [0, -1], [1, 1], "strict minimum", 1),
    (lambda x: x[0] - x[1] ** 2, [0, 0], [0, -1], [1, 1], "saddle", 1),
    (lambda x: x[0] - x[1] ** 2, [0, 1], [0, -1], [1, 1], "strict minimum", 2),
    (lambda x: x[0] + x[1] ** 2, [1, 0], [0, -1], [1, 1], "not stationary", 1),
    (lambda x: x[1] ** 2 - x[0] ** 2, [0, 0], [0, -1], [1, 1], "saddle", 1),
    (lambda x: x[0] ** 2 - 3 * x[0] * x[1] + x[1] ** 2, [0, 0], [0, 0], [1, 1], "saddle", 2),
    (lambda x: x[0] ** 2 + 3 * x[0] * x[1] + x[1] ** 2, [0, 0], [0, 0], [1, 1], "degenerate", 2),
    (lambda x: x[0] ** 2 - x[1], [0, 0], [-1, 0], [1, 0], "strict minimum", 1),
    (lambda x: x[1] + 0 * x[0], [0.5, 0], [0, 0], [1, 1], "undecided", 1),
]


@pytest.mark.parametrize(("loss", "point", "low", "high", "verdict", "count"), CERTIFIED)
def test_the_certificate_is_of_the_params_that_may_move(loss, point, low, high, verdict, count, wide):
    found = descenso.certify(loss, np.array(point, float), bounds=(np.array(low, float), np.array(high, float)))
    assert found.verdict == verdict, found
    assert found.at_bounds == count
    assert "within bounds" in str(found)


def test_a_point_outside_the_bounds_is_not_certified():
    with pytest.raises(ArgumentError, match="1 of the `params` lie outside"):
        descenso.certify(lambda x: jnp.sum(x**2), np.array([2.0, 0.0]), bounds=(0, 1))


def test_a_saddle_is_left_within_the_bounds(wide):
    def loss(x):  # a saddle at 0 of the param that is free, whose gradient vanishes there
        return x[0] - x[1] ** 2 + x[1] ** 4 / 4

    found = minimize(loss, np.array([1.0, 0.0]), bounds=([0, -0.5], [2, 0.7]))
    assert np.asarray(found.params).tolist() == [0, 0.7]
    assert found.certificate.verdict == "strict minimum"


def test_nothing_is_asked_outside_by_a_loss_that_has_a_domain(wide):
    found = minimize(lambda x: jnp.sum(jnp.sqrt(x) + (x - 2.0) ** 2), np.array([0.0001, 5.0]), bounds=(1e-6, None))
    assert found.success
    assert np.isfinite(found.history.loss).all()


@pytest.mark.parametrize(
    "method",
    [
        "adam",
        "mechanic",
        "prodigy",
        Descent(rules.Momentum(), step_sizes.Constant(0.02), averaging.Polynomial()),
        Descent(rules.Gradient(), step_sizes.Constant(0.1), averaging.ScheduleFree()),
    ],
)
def test_a_named_method_stays_within(method):
    seen = []
    data = (np.linspace(-1, 1, 64)[:, None] * [1.0, 2.0], np.linspace(-3, 3, 64))

    def loss(w, batch):
        return jnp.mean((batch[0] @ w - batch[1]) ** 2)

    found = minimize(
        loss,
        np.array([0.5, 0.5]),
        data,
        bounds=(0, [0.6, 0.4]),
        method=method,
        batch_size=16,
        budget=Budget(steps=200),
        watch=lambda look: seen.append(np.asarray(look.params())),
    )
    for x in [*seen, np.asarray(found.params)]:
        assert (x >= 0).all()
        assert (x <= np.float32([0.6, 0.4])).all()
    assert found.loss < 2.5


def test_batches_with_auto_find_the_active_bounds():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 3))
    y = x @ [1.0, -2.0, 0.3] + 0.1 * rng.normal(size=600)

    def loss(w, batch):
        return jnp.mean((batch[0] @ w - batch[1]) ** 2)

    found = minimize(loss, np.zeros(3), (x, y), bounds=(-0.5, 0.5), batch_size=32, budget=Budget(steps=600))
    assert np.asarray(found.params)[:2] == pytest.approx([0.5, -0.5], abs=1e-5)
    assert float(found.params[2]) == pytest.approx(0.3, abs=0.1)


def test_batches_see_no_gradient_that_a_bound_beside_the_point_holds():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8192, 3))
    y = x @ [1.0, 2.0, 3.0] + 0.5 * rng.normal(size=8192)

    def loss(w, batch):
        return jnp.mean((batch[0] @ w - batch[1]) ** 2)

    ready = prepare(loss, np.zeros(3), (x, y), "adam", 128, Budget(), None, 0, (None, [9, 1.5, 9]))
    ended, best = Stop(Reason.NOISE_FLOOR, "it no longer falls"), np.linalg.lstsq(x, y, rcond=None)[0]
    for second, reason in [(1.5, Reason.NOISE_FLOOR), (1.49999, Reason.NOISE_FLOOR), (1.2, Reason.PLATEAU)]:
        # an average of params, which the answer is, lies beside a bound and not at it
        point = (np.array([best[0], second, best[2]], np.float32),)
        assert proven(ready.engine, point, ended, 1.0, 4)[0].reason is reason


def test_restarts_search_the_box():
    def loss(x):  # many minima; the lowest within the bounds is at 3 pi / 2 less a little, far from the start
        return jnp.sum(jnp.sin(3 * x) + 0.1 * (x - 4) ** 2)

    found = minimize(loss, np.array([-7.5, -7.5]), bounds=(-8, 8), restarts=40)
    grid = np.linspace(-8, 8, 20001)
    assert found.loss == pytest.approx(2 * np.min(np.sin(3 * grid) + 0.1 * (grid - 4) ** 2), abs=1e-3)
    for basin in found.basins:
        assert (np.abs(np.asarray(basin.params)) <= 8).all()
    assert found.basins[0].certificate.at_bounds == 0


def test_a_checkpoint_is_of_its_bounds(tmp_path):
    run = {"checkpoint": tmp_path / "run", "certify": False}
    first = minimize(rosenbrock, np.zeros(3), bounds=(0, 0.5), budget=Budget(steps=5), **run)
    with pytest.raises(CheckpointError, match="bounds"):
        minimize(rosenbrock, np.zeros(3), bounds=(0, 0.6), budget=Budget(steps=5), **run)
    again = minimize(rosenbrock, np.zeros(3), bounds=(0, 0.5), budget=Budget(steps=5), **run)
    assert np.array_equal(first.params, again.params)


@pytest.mark.parametrize("bounds", [[(-2, 0.5), (None, None)], scipy.optimize.Bounds([-2, -np.inf], [0.5, np.inf])])
@pytest.mark.parametrize("jac", [rosen_der, None])
def test_scipy_hands_its_bounds_over(bounds, jac):
    asked = []

    def fun(x):
        asked.append(float(x[0]))  # so that JAX cannot trace it
        return rosen(x)

    found = scipy.optimize.minimize(fun, [-3.0, 1.0], jac=jac, bounds=bounds, method=descenso.scipy_method)
    assert found.success, found
    assert found.x == pytest.approx([0.5, 0.25], abs=1e-6)
    assert min(asked) >= -2
    assert max(asked) <= 0.5
    assert "1 of 2 params started outside" in found.message


@pytest.mark.parametrize(
    ("bounds", "said"),
    [([(0, 1)], "2 pairs"), ([(1, 0), (0, 1)], "lower one"), (scipy.optimize.Bounds([0, np.nan], [1, 1]), "NaN")],
)
def test_bad_bounds_from_scipy_are_one_error(bounds, said):
    with pytest.raises(ArgumentError, match=said):
        descenso.scipy_method(rosen, np.zeros(2), bounds=bounds)


def test_scipy_is_told_of_the_curvature_within():
    def fun(x):
        return x[0] - jnp.cos(x[1])

    found = scipy.optimize.minimize(fun, [0.5, 3.0], bounds=[(0, 1), (-4, 4)], method=descenso.scipy_method)
    assert found.success
    assert found.x == pytest.approx([0, 0], abs=1e-6)
    assert "strict minimum within bounds: 1 of 2 params" in found.message


@pytest.mark.parametrize("pairs", [((0, None), (0, 1)), [(0, None), (0, 1)], [[0, None], [0, 1]]])
def test_pairs_as_scipy_has_them_are_not_taken_for_two_sides(pairs):
    with pytest.raises(ArgumentError, match=r"hint: of a pair for each param, as SciPy has them, make bounds=\("):
        minimize(lambda x: jnp.sum((x - 3) ** 2), np.zeros(2), bounds=pairs)


def test_a_method_with_bounds_of_its_own_takes_no_others():
    with pytest.raises(ArgumentError, match="ProjectedLBFGS has a `mask`"):
        minimize(lambda x: jnp.sum(x**2), np.ones(2), bounds=(None, 5), method=ProjectedLBFGS((True,)))

"""`scipy.optimize.minimize` with the method of descenso, beside SciPy's own, and results in SciPy's form."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import Bounds, OptimizeResult, OptimizeWarning, minimize, rosen, rosen_der, rosen_hess
from scipy.optimize import rosen_hess_prod as rosen_product

import descenso
from descenso import Reason, scipy_method
from descenso._errors import ArgumentError, LossGradientError, LossShapeError, MethodNameError, ParamsError
from descenso.methods import LBFGS
from descenso.result import SCIPY_STATUS

START = np.array([-1.2, 1.0])
RNG = np.random.default_rng(0)
TIMES = np.linspace(0, 2, 30)
SEEN = 1.7 * np.exp(-1.3 * TIMES) + 0.4 + 0.01 * RNG.normal(size=30)


def valley(x):
    """Rosenbrock in operators alone, so that JAX can trace it."""
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def beale(x):
    return (1.5 - x[0] * (1 - x[1])) ** 2 + (2.25 - x[0] * (1 - x[1] ** 2)) ** 2 + (2.625 - x[0] * (1 - x[1] ** 3)) ** 2


def beale_slope(x):
    a, b = x
    parts = [c - a * (1 - b**k) for c, k in ((1.5, 1), (2.25, 2), (2.625, 3))]
    by_a = sum(-2 * p * (1 - b**k) for p, k in zip(parts, (1, 2, 3), strict=True))
    return np.array([by_a, sum(2 * p * a * k * b ** (k - 1) for p, k in zip(parts, (1, 2, 3), strict=True))])


def misfit(x, times, seen):
    return np.sum((x[0] * np.exp(-x[1] * times) + x[2] - seen) ** 2)


def misfit_slope(x, times, seen):
    fall = np.exp(-x[1] * times)
    miss = 2 * (x[0] * fall + x[2] - seen)
    return np.array([miss @ fall, miss @ (-x[0] * times * fall), miss.sum()])


def traced_misfit(x, times, seen):
    return jnp.sum((x[0] * jnp.exp(-x[1] * times) + x[2] - seen) ** 2)


PROBLEMS = {
    "rosenbrock": (rosen, rosen_der, valley, START, ()),
    "beale": (beale, beale_slope, beale, np.array([1.0, 1.0]), ()),
    "fit": (misfit, misfit_slope, traced_misfit, np.array([1.0, 1.0, 0.0]), (TIMES, SEEN)),
}
every_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=list(PROBLEMS))


# beside SciPy


@every_problem
@pytest.mark.parametrize("form", ["jac", "True", "jax", "hess of jax"])
def test_the_minimum_is_that_of_scipy_to_the_rounding(problem, form):
    f, slope, traceable, x0, args = problem
    theirs = minimize(f, x0, args=args, jac=slope, method="BFGS", options={"gtol": 1e-9})
    given = {
        "jac": {"fun": f, "jac": slope},
        "True": {"fun": lambda x, *a: (f(x, *a), slope(x, *a)), "jac": True},
        "jax": {"fun": traceable},
        "hess of jax": {"fun": f, "jac": slope, "hess": jax.jit(jax.hessian(traceable))},
    }[form]
    ours = minimize(**given, x0=x0, args=args, method=scipy_method)
    assert ours.success
    assert ours.status == 0
    assert ours.x == pytest.approx(theirs.x, rel=1e-6)
    assert ours.fun == pytest.approx(theirs.fun, rel=1e-9, abs=1e-14)
    assert ours.x.dtype == ours.jac.dtype == np.float64
    assert ours.jac == pytest.approx(slope(ours.x, *args), abs=1e-8)
    assert np.linalg.norm(ours.jac) <= 3e-8 * np.linalg.norm(slope(x0, *args))
    assert ours.method == ("NewtonCG" if form == "hess of jax" else "BFGS")
    assert ours.nfev <= 2 * theirs.nfev


@every_problem
@pytest.mark.parametrize("scheme", ["auto", "2-point", "3-point"])
def test_without_a_gradient_differences_are_taken_and_told_once(problem, scheme):
    f, slope, _, x0, args = problem
    calls = []

    def counted(x, *args):
        calls.append(x)
        return f(np.asarray(x, float), *args)  # an array of JAX is refused, as compiled code of the user's would

    theirs = minimize(f, x0, args=args, jac=slope, method="BFGS", options={"gtol": 1e-9})
    ours = minimize(counted, x0, args=args, method=scipy_method, options={"differentiate": scheme})
    assert ours.message.count("finite differences") == 1
    assert ("JAX cannot trace" in ours.message) == (scheme == "auto")
    assert ours.success
    assert ours.x == pytest.approx(theirs.x, rel=1e-4 if scheme == "2-point" else 2e-5)
    traced = 2 if scheme == "auto" else 0  # calls with tracers in place of numbers
    assert len(calls) == ours.nfev + traced
    assert ours.njev < ours.nfev
    assert ours.jac == pytest.approx(slope(ours.x, *args), abs=1e-4 if scheme == "2-point" else 1e-7)


def test_the_gradient_may_be_asked_of_jax():
    assert minimize(valley, START, method=scipy_method, options={"differentiate": "jax"}).success
    with pytest.raises(LossGradientError, match="cannot be differentiated by JAX"):
        minimize(misfit, np.ones(3), args=(TIMES, SEEN), method=scipy_method, options={"differentiate": "jax"})


def test_functions_of_jax_are_computed_in_float64():
    """Though JAX is left at 32 bits, and the functions were compiled for those."""
    f, slope = jax.jit(valley), jax.jit(jax.grad(valley))
    assert f(START).dtype == np.float32
    for given in ({"fun": f, "jac": slope}, {"fun": jax.value_and_grad(valley), "jac": True}, {"fun": f}):
        found = minimize(**given, x0=START, method=scipy_method)
        assert found.success
        assert found.x == pytest.approx([1, 1], abs=1e-8)
    assert f(START).dtype == np.float32
    theirs = minimize(f, START, jac=slope, method="BFGS")
    assert not theirs.success or theirs.x != pytest.approx([1, 1], abs=1e-8)


def test_other_data_compile_nothing_again():
    traces = []

    def f(x, times, seen, power):
        traces.append(1)
        return jnp.sum(jnp.abs(x[0] * jnp.exp(-x[1] * times) + x[2] - seen) ** power)

    first = minimize(f, np.ones(3), args=(TIMES, SEEN, 2), method=scipy_method)
    before = len(traces)
    second = minimize(f, np.ones(3), args=(TIMES, SEEN + 1, 2), method=scipy_method)
    assert len(traces) - before == 1  # to see that it is the same function
    assert second.x == pytest.approx(first.x + np.array([0, 0, 1]), rel=1e-6)


# SciPy's protocol


def test_the_callback_sees_every_accepted_point():
    seen, told = [], []
    found = minimize(rosen, START, jac=rosen_der, method=scipy_method, callback=seen.append)

    def as_result(intermediate_result):
        told.append(intermediate_result)

    minimize(rosen, START, jac=rosen_der, method=scipy_method, callback=as_result)
    assert len(seen) == len(told) == found.nit
    assert np.array_equal(seen[-1], found.x)
    assert all(isinstance(r, OptimizeResult) and np.array_equal(r.x, x) for r, x in zip(told, seen, strict=True))
    losses = [r.fun for r in told]
    assert losses == [rosen(x) for x in seen] == sorted(losses, reverse=True)


@pytest.mark.parametrize("given", [{"jac": rosen_der}, {}], ids=["jac", "differences"])
def test_stop_iteration_ends_the_run(given):
    seen = []

    def third(intermediate_result):
        seen.append(intermediate_result.x)
        if len(seen) == 3:
            raise StopIteration

    found = minimize(rosen, START, method=scipy_method, callback=third, **given)
    assert (found.status, found.success, found.reason, found.nit) == (99, False, Reason.INTERRUPTED, 3)
    assert np.array_equal(found.x, seen[-1])
    assert "StopIteration" in found.message


def test_what_the_callback_raises_is_raised():
    def wrong(xk):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        minimize(rosen, START, jac=rosen_der, method=scipy_method, callback=wrong)


def test_options_bound_the_run(capsys):
    ask = lambda **options: minimize(rosen, START, jac=rosen_der, method=scipy_method, options=options)  # noqa: E731
    short = ask(maxiter=5)
    assert (short.nit, short.status, short.reason) == (5, 1, Reason.BUDGET)
    assert "5 moves were made" in short.message
    few = ask(maxfev=12)
    assert (few.nfev, few.status) == (12, 1)
    still = ask(maxiter=0)
    assert (still.nit, still.nfev, still.status) == (0, 1, 1)
    assert np.array_equal(still.x, START)
    assert "0 moves were made" in still.message
    loose, tight = ask(gtol=1e-2), ask(gtol=1e-10)
    assert np.abs(loose.jac).max() <= 1e-2
    assert np.abs(tight.jac).max() <= 1e-10
    assert loose.nfev < tight.nfev
    assert minimize(rosen, START, jac=rosen_der, method=scipy_method, tol=1e-2).nfev == loose.nfev
    assert capsys.readouterr().out == ""
    kept = ask(return_all=True, disp=True)
    assert len(kept.allvecs) == kept.nit + 1
    assert np.array_equal(kept.allvecs[0], START)
    assert kept.message in capsys.readouterr().out


@pytest.mark.parametrize("maxfev", [1, 5, 6, 20])
@pytest.mark.parametrize(
    "given", [{"jac": rosen_der}, {"options": {"differentiate": "3-point"}}], ids=["jac", "3-point"]
)
def test_no_more_evaluations_are_made_than_allowed(given, maxfev):
    """But those of the gradient at the start, without which there is no answer."""
    calls = []

    def counted(x):
        calls.append(1)
        return rosen(x)

    options = given.get("options", {}) | {"maxfev": maxfev}
    found = minimize(counted, START, method=scipy_method, **given | {"options": options})
    assert found.nfev == len(calls) == max(maxfev, 1 if "jac" in given else 5)
    assert (found.status, found.fun) == (1, rosen(found.x))


def test_the_limits_hold_at_a_saddle_too():
    saddle = lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4  # noqa: E731
    found = minimize(saddle, [0.0, 0.0], method=scipy_method, options={"maxiter": 0})
    assert (found.nit, found.status) == (0, 1)
    found = minimize(saddle, [0.0, 0.0], method=scipy_method, options={"maxfev": 2})
    assert (found.nfev, found.status) == (2, 1)
    flat = minimize(lambda x: x[0] ** 4, [0.0], method=scipy_method, options={"maxfev": 1})
    assert (flat.nfev, flat.success) == (1, True)
    assert "no evaluation was left to look at the curvature" in flat.message


def test_an_unknown_option_is_warned_of_where_the_caller_stands():
    with pytest.warns(OptimizeWarning, match="Unknown solver options: size, c1") as caught:
        minimize(rosen, START, jac=rosen_der, method=scipy_method, options={"size": 1, "c1": 2})
    assert Path(caught[0].filename) == Path(__file__)


def test_methods_by_name_and_value():
    for method, name in (("lbfgs", "LBFGS"), ("newton_cg", "NewtonCG"), (LBFGS(m=3), "LBFGS")):
        found = minimize(rosen, START, jac=rosen_der, method=scipy_method, options={"method": method})
        assert found.success
        assert found.method == name
    with pytest.raises(MethodNameError):
        minimize(rosen, START, jac=rosen_der, method=scipy_method, options={"method": "bgfs"})
    many = minimize(rosen, np.full(600, 0.9), jac=rosen_der, method=scipy_method)
    assert many.success
    assert (many.method, many.curvature) == ("LBFGS", None)


def test_hessians_and_their_products_are_used_and_counted():
    whole = minimize(rosen, START, jac=rosen_der, hess=rosen_hess, method=scipy_method)
    product = minimize(rosen, START, jac=rosen_der, hessp=rosen_product, method=scipy_method)
    assert whole.x == pytest.approx(product.x, abs=1e-8) == [1, 1]
    assert 0 < whole.nhev < product.nhev
    assert whole.curvature == pytest.approx(np.linalg.eigvalsh(rosen_hess(np.ones(2))), rel=1e-3)


@pytest.mark.parametrize(
    "given",
    [
        {"constraints": {"type": "eq", "fun": np.sum}},
        {"constraints": [{"type": "eq", "fun": np.sum}]},
    ],
)
def test_constraints_are_refused(given):
    with pytest.raises(ArgumentError, match=r"descenso minimises without them(.*\n)*.*SciPy"):
        minimize(rosen, START, jac=rosen_der, method=scipy_method, **given)


@pytest.mark.parametrize("bounds", [[(None, None)] * 2, Bounds(-np.inf, np.inf)])
def test_bounds_that_bind_nothing_are_none(bounds):
    assert minimize(rosen, START, jac=rosen_der, method=scipy_method, bounds=bounds).success


def test_called_without_scipy():
    for jac in (True, rosen_der, None, "3-point"):
        f = (lambda x: (rosen(x), rosen_der(x))) if jac is True else rosen
        assert scipy_method(f, START, jac=jac).x == pytest.approx([1, 1], abs=1e-5)
    with pytest.raises(ArgumentError, match="`jac` is 'cs'"):
        scipy_method(rosen, START, jac="cs")


# a caller's mistakes


def test_what_is_given_is_not_written_to():
    def writes(x):
        value = rosen(x)
        x[:] = 7
        return value

    start = START.copy()
    found = minimize(writes, start, jac=rosen_der, method=scipy_method)
    assert found.x == pytest.approx([1, 1], abs=1e-7)
    assert np.array_equal(start, START)


def test_wrong_shapes_are_told():
    with pytest.raises(LossShapeError, match=r"`fun` returned shape \(2,\)"):
        minimize(np.sin, START, method=scipy_method)
    with pytest.raises(LossShapeError, match="dtype object"):
        minimize(lambda x: None, START, method=scipy_method)
    with pytest.raises(LossGradientError, match=r"`jac` returned shape \(3,\)"):
        minimize(rosen, START, jac=lambda x: np.ones(3), method=scipy_method)
    for wrong in ([[1.0, 2.0]], [], [1j]):
        with pytest.raises(ParamsError, match="vector of real numbers"):
            scipy_method(rosen, wrong)
    for options in ({"differentiate": "cs"}, {"certify": "yes"}):
        with pytest.raises(ArgumentError, match=next(iter(options))):
            minimize(rosen, START, method=scipy_method, options=options)


def test_a_value_in_an_array_of_one_is_a_number():
    assert minimize(lambda x: np.array([rosen(x)]), START, jac=rosen_der, method=scipy_method).success
    assert minimize(lambda x: jnp.array([valley(x)]), START, method=scipy_method).success


# the truth; beside it what SciPy's BFGS says


def theirs(f, x0, jac=None):
    with np.errstate(all="ignore"):
        return minimize(f, x0, jac=jac, method="BFGS")


def test_a_saddle_is_left():
    def f(x):
        return x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4

    x0 = np.array([1.0, 0.0])
    ours = minimize(f, x0, method=scipy_method)
    assert ours.success
    assert ours.fun == pytest.approx(-1)
    assert "1 saddle left" in ours.message
    assert ours.curvature == pytest.approx((2, 4), rel=1e-6)
    assert theirs(f, x0, jax.grad(f)).success
    assert theirs(f, x0, jax.grad(f)).fun == pytest.approx(0, abs=1e-9)
    unasked = minimize(f, x0, method=scipy_method, options={"certify": False})
    assert (unasked.fun, unasked.curvature) == (0, None)
    given = minimize(f, x0, jac=jax.grad(f), method=scipy_method, options={"certify": True})
    assert given.fun == pytest.approx(-1)


def test_the_units_of_the_loss_do_not_matter():
    f, slope = (lambda x: 1e-9 * rosen(x)), (lambda x: 1e-9 * rosen_der(x))
    ours = minimize(f, START, jac=slope, method=scipy_method)
    assert ours.success
    assert ours.x == pytest.approx([1, 1], abs=1e-6)
    assert theirs(f, START, slope).success
    assert np.array_equal(theirs(f, START, slope).x, START)


def test_a_loss_without_a_floor_is_said_to_have_none():
    for f, x0 in ((lambda x: -(x[0] ** 2), [1.0]), (lambda x: x.sum(), [1.0, 2.0]), (lambda x: x[0] ** 3, [1.0])):
        found = minimize(f, x0, method=scipy_method)
        assert (found.status, found.reason) == (4, Reason.UNBOUNDED)
    deep = minimize(lambda x: (x[0] - 1e4) ** 2 - 1e8 + 1, [0.0], method=scipy_method)
    assert deep.success
    assert deep.x == pytest.approx(1e4)


def test_a_plateau_is_no_arrival():
    """Neither one beyond a maximum, whose gradient is 0, nor a tail, whose gradient falls as fast as the loss."""
    beyond = minimize(lambda x: jnp.exp(-(x[0] ** 2)), [0.0], method=scipy_method)
    assert (beyond.status, beyond.reason, beyond.nit) == (2, Reason.PLATEAU, 1)
    assert "at the start" not in beyond.message
    assert "1 saddle left on the way" in beyond.message
    tail = minimize(lambda x: jnp.exp(-x[0]), [0.0], method=scipy_method)
    assert (tail.status, tail.reason) == (2, Reason.PLATEAU)
    assert "but curvature" in tail.message
    asked = minimize(lambda x: jnp.exp(-x[0]), [0.0], method=scipy_method, tol=1e-5)
    assert asked.success
    assert "gtol 1e-05" in asked.message


@pytest.mark.parametrize("given", [{}, {"jac": lambda x: 4 * (x - 1) ** 3, "options": {"certify": True}}])
def test_where_the_loss_still_falls_it_goes_on(given):
    """As `minimize` does: the gradient of a quartic vanishes before its params are near."""
    found = minimize(lambda x: ((x - 1) ** 4).sum(), START, method=scipy_method, **given)
    assert found.success
    assert found.x == pytest.approx([1, 1], abs=2e-3)
    assert "degenerate" in found.message


def bowl(x):
    return float(np.sum((np.asarray(x) - 1) ** 2))


@pytest.mark.parametrize("scheme", ["auto", "2-point", "3-point"])
def test_longer_differences_are_taken_of_a_loss_in_float32(scheme):
    """Over the usual ones it does not change at all, and the start was called a minimum."""
    found = minimize(
        lambda x: np.float32(1e4 + bowl(x)), [3, 1], method=scipy_method, options={"differentiate": scheme}
    )
    assert found.fun <= 1e4 + 2e-3  # two of its steps
    assert found.nit > 0
    assert "since `fun` jumps by about 0.001" in found.message
    assert "a fall of less than 0.001 does not show" in found.message


@pytest.mark.parametrize(
    ("f", "x0", "most"),
    [
        (lambda x: round(float((x[0] - 2) ** 2), 3), [1.2], 2e-3),
        (lambda x: round(bowl(x)), [4.0, 2.0], 1),
        (lambda x: np.floor(np.asarray(x)[0] ** 2 * 100) / 100, [1.2], 0.02),  # a false gradient: it jumps at the start
        (lambda x: round(float(np.cos(x[0])), 3), [0.0], -0.998),  # its highest point
    ],
    ids=["round", "integers", "floor", "maximum"],
)
def test_a_rounded_loss_is_descended(f, x0, most):
    found = minimize(f, x0, method=scipy_method)
    assert found.fun <= most
    assert "at the start" not in found.message
    assert found.reason in (Reason.CONVERGED, Reason.PLATEAU)


def test_a_loss_that_does_not_change_is_a_plateau():
    flat = minimize(lambda x: 5.0 + 0 * float(x[0]), [1.0, 2.0], method=scipy_method)
    assert (flat.status, flat.reason, flat.nit) == (2, Reason.PLATEAU, 0)
    assert "does not change within differences of h = " in flat.message
    asked = {"finite_diff_rel_step": 1e-7}  # kept to
    short = minimize(lambda x: np.float32(1e4 + bowl(x)), [3, 1], method=scipy_method, options=asked)
    assert (short.status, short.nit) == (2, 0)
    assert "h = 3e-07" in short.message
    fixed = minimize(bowl, [3, 1], method=scipy_method, bounds=[(3, 3), (1, 1)])
    assert fixed.success
    least = minimize(bowl, [1, 1], method=scipy_method)
    assert (least.success, least.nit) == (True, 0)


def test_noise_is_named_and_differences_are_chosen_for_it():
    rng = np.random.default_rng(0)
    found = minimize(lambda x: bowl(x) + 1e-3 * rng.normal(), START, method=scipy_method)
    assert (found.status, found.reason) == (2, Reason.PLATEAU)
    assert found.message.startswith("`fun` is noisy: two calls at one point differ by 0.00")
    assert found.x == pytest.approx([1, 1], abs=0.2)
    given = minimize(lambda x: rosen(x) + 1e-3 * rng.normal(), START, jac=rosen_der, method=scipy_method)
    assert given.status == 2
    assert "`fun` is noisy" in given.message
    assert "a kink" not in given.message


def test_a_start_where_nothing_is_known():
    logarithm = lambda x: np.log(x[0]) if x[0] > 0 else np.nan  # noqa: E731
    found = minimize(logarithm, [-1.0], method=scipy_method)
    assert (found.status, found.reason) == (3, Reason.NONFINITE)
    root = minimize(lambda x: np.sqrt(x[0]), [0.0], jac=lambda x: np.array([np.inf]), method=scipy_method)
    assert (root.status, "gradient at the start" in root.message) == (3, True)


def test_a_region_of_nan_is_walked_around():
    def f(x):
        return np.nan if x[0] >= 1 else float(x[0] - np.log(1 - x[0]) + 2 * x[0] ** 2)

    assert minimize(f, [0.9], method=scipy_method).x == pytest.approx([(3 - 41**0.5) / 8], abs=1e-6)


def test_a_gradient_that_is_not_one_is_named():
    found = minimize(rosen, START, jac=lambda x: -rosen_der(x), method=scipy_method)
    assert (found.status, found.reason) == (2, Reason.PLATEAU)
    assert "`jac` is not the gradient of `fun`: along it the slope is -233" in found.message
    assert "precision loss" in theirs(rosen, START, lambda x: -rosen_der(x)).message


def test_a_kink_is_named():
    found = minimize(lambda x: np.abs(x).sum(), [1.0, 0.3], jac=np.sign, method=scipy_method)
    assert (found.status, found.x) == (2, pytest.approx([0, 0], abs=1e-9))
    assert "a kink" in found.message
    assert "not the gradient" not in found.message


def test_a_tolerance_below_the_rounding_is_said_to_be():
    def f(x):
        return float(1e6 + np.sum((x - 1 / 3) ** 4 + (x - 1 / 3) ** 2))

    slope = lambda x: 4 * (x - 1 / 3) ** 3 + 2 * (x - 1 / 3) + 1e-9  # noqa: E731
    found = minimize(f, [2.0, 1.0], jac=slope, method=scipy_method, tol=1e-30)
    assert found.success
    assert "lies below that" in found.message


# results of descenso in SciPy's form


def test_a_result_in_scipys_form():
    start = {"a": jnp.array([[1.0, 2.0], [3.0, 4.0]]), "b": 2.0, "act": jnp.tanh}
    ours = descenso.minimize(lambda p: jnp.sum((p["a"] - 1) ** 2) + (p["b"] - 3) ** 2, start, method="adgd")
    found = ours.as_scipy()
    assert isinstance(found, OptimizeResult)
    assert found.x.dtype == np.float64
    assert found.x == pytest.approx([1, 1, 1, 1, 3], abs=1e-4)
    assert (found.fun, found.success, found.status, found.message) == (ours.loss, True, 0, ours.message)
    assert found.nfev == found.njev >= ours.gradients
    assert (found.nit, found.nhev, found.reason) == (ours.steps, 0, ours.reason)
    assert found.params is ours.params
    assert "jac" not in found


def test_every_reason_has_a_status():
    assert set(SCIPY_STATUS) == set(Reason)
    common = {"params": 1.0, "loss": 0.0, "message": "", "history": None, "steps": 0, "gradients": 0.0}
    for reason in Reason:
        found = descenso.Result(reason=reason, epochs=0.0, seconds=0.0, **common).as_scipy()
        assert (found.status == 0) == found.success

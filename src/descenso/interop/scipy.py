"""A method of descenso for `scipy.optimize.minimize`."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, OptimizeWarning

from descenso._errors import ArgumentError, ParamsError
from descenso._types import Method
from descenso.averaging import Between
from descenso.engine.bounds import bound_of, check_order
from descenso.interop.differences import Box
from descenso.interop.function import Function, Point
from descenso.interop.onward import to_the_end
from descenso.interop.walk import Limits, Walk
from descenso.methods import NewtonCG, named, quasi_newton
from descenso.methods.bounded import bounded
from descenso.methods.projected import ProjectedLBFGS
from descenso.result import SCIPY_STATUS

_FEW = 64  # params up to which all curvatures are looked at unasked
_MOVES = 200  # for each param, and at least five times as many: what `maxiter` is where it is not given


def scipy_method(
    fun: Callable,
    x0: Any,
    args: tuple = (),
    jac: Callable | bool | None = None,
    hess: Callable | None = None,
    hessp: Callable | None = None,
    bounds: Any = None,
    constraints: Any = (),
    callback: Callable | None = None,
    *,
    tol: float | None = None,
    gtol: float | None = None,
    maxiter: int | None = None,
    maxfev: int | None = None,
    disp: bool = False,
    return_all: bool = False,
    method: str | Method = "auto",
    certify: bool | str = "auto",
    differentiate: str = "auto",
    finite_diff_rel_step: float | None = None,
    **unknown: Any,
) -> OptimizeResult:
    """What `scipy.optimize.minimize(fun, x0, method=descenso.scipy_method, options={...})` calls.

    `fun` is NumPy or JAX, all of it in float64. With `hess` or `hessp` it is Newton's method, else BFGS, above 512
    params L-BFGS; where no lower point is found though the gradient is not zero, Newton's method goes on from there.
    With `bounds` it is a projected L-BFGS, and what is said of the gradient g is said of x - P(x - g), P the nearest
    point within; `fun` and `jac` are asked nothing outside.

    Args:
        fun, x0, args, jac, hess, hessp, bounds, callback: as in SciPy; an `x0` outside the bounds is moved to the
            nearest one. Without `jac` the gradient is JAX's where `fun` can be
            traced, else made of finite differences.
        constraints: must not be there.
        tol, gtol: the largest absolute entry of the gradient that counts as zero; None takes a gradient norm of 1e-8 of
            the largest seen.
        maxiter: moves from one accepted point to the next; None takes 200 for each param, at least 1000.
        maxfev: evaluations of `fun`, those of differences too; None is no limit. The start always has its gradient.
        disp: whether to print how it ended.
        return_all: whether to keep all accepted points, in `allvecs`.
        method: "auto", or a method of descenso by name or by value.
        certify: whether to look at the curvature where the gradient is zero, and to go on where it is a saddle. "auto"
            does so up to 64 params, if `hess`, `hessp` or JAX gives the products with the Hessian, which are counted in
            nhev; with `jac` alone a product is two calls of it, without it there are none.
        differentiate: "auto", "jax", "2-point" or "3-point": where the gradient comes from without `jac`.
        finite_diff_rel_step: the step of differences as a share of max(1, |x_i|).
        **unknown: an OptimizeWarning names them.

    Returns:
        An OptimizeResult: x, fun, jac, success, status (0 converged, 1 maxiter or maxfev, 2 no lower point found, 3 not
        finite, 4 unbounded, 99 stopped by the callback), message, nfev, njev, nhev, nit, and descenso's
        `reason`, the `method` that was last, and `curvature`, the lowest and largest at x, None if not looked at.

    Raises:
        ArgumentError: an argument is not what it must be. ParamsError: `x0` is not a vector of real numbers.
        LossShapeError, LossGradientError: `fun` or `jac` returns something of the wrong shape.
    """
    if unknown:
        # the third frame from here is the caller of SciPy
        warnings.warn(f"Unknown solver options: {', '.join(unknown)}", OptimizeWarning, stacklevel=3)
    x = _start(x0)
    _refuse(constraints)
    box = _box(bounds, x)
    x, moved = (x, "") if box is None else _inside(x, box)
    args = args if isinstance(args, tuple) else (args,)
    fun, jac, differentiate = _gradient(fun, jac, differentiate)
    f = Function(fun, x, args, jac, _callable(hess), _callable(hessp), differentiate, finite_diff_rel_step, box)
    kept: list[np.ndarray] = [x]
    tell = _teller(callback, kept if return_all else None)
    calls = inf if maxfev is None else maxfev
    limits = Limits(tol if gtol is None else gtol, _moves(maxiter, len(x)), calls, _looks(certify, f, len(x)))
    walk = Walk(f, f.at(x), _methods(method, f, len(x)), limits, tell)
    ended = to_the_end(walk)
    result = OptimizeResult(
        x=walk.at.x,
        fun=walk.at.loss,
        jac=walk.at.grads,
        success=SCIPY_STATUS[ended.reason] == 0,
        status=SCIPY_STATUS[ended.reason],
        message="; ".join(filter(None, (ended.why, f.told, moved))),
        nfev=f.nfev,
        njev=f.njev,
        nhev=f.nhev,
        nit=walk.moves,
        reason=ended.reason,
        method=walk.method,
        curvature=walk.curvature,
    )
    if return_all:
        result["allvecs"] = kept
    if disp:
        _print(result)
    return result


def _start(x0: Any) -> np.ndarray:
    x = np.atleast_1d(np.asarray(x0))
    if x.ndim != 1 or not x.size or x.dtype.kind not in "fiu":
        raise ParamsError(f"`x0` has shape {np.shape(x0)} and dtype {x.dtype}. It must be a vector of real numbers.")
    return x.astype(np.float64)


def _refuse(constraints: Any) -> None:
    """Raise where there are constraints."""
    if isinstance(constraints, dict) or (constraints is not None and np.size(constraints)):
        raise ArgumentError(
            "`constraints` were given. descenso minimises without them.",
            hint='method="SLSQP" or "trust-constr" of SciPy takes them',
        )


def _box(bounds: Any, x: np.ndarray) -> Box | None:
    """SciPy's Bounds, or a (low, high) for each entry where None is none, as two vectors; None where all is open."""
    if bounds is None:
        return None
    if hasattr(bounds, "lb"):
        sides = [bounds.lb, bounds.ub]
    else:
        pairs = list(bounds)
        if len(pairs) != len(x) or not all(np.size(pair) == 2 for pair in pairs):
            raise ArgumentError(
                f"`bounds` has {len(pairs)} entries. With {len(x)} params it must be {len(x)} pairs (low, high), or a "
                "scipy.optimize.Bounds."
            )
        sides = [list(side) for side in zip(*pairs, strict=True)]
    low, high = bound_of(sides[0], "lower", -inf, "`x0`", x), bound_of(sides[1], "upper", inf, "`x0`", x)
    check_order("x", low, high)
    return (low, high) if np.isfinite([low, high]).any() else None


def _inside(x: np.ndarray, box: Box) -> tuple[np.ndarray, str]:
    """The start within the bounds, and a sentence where it was not."""
    inside = np.clip(x, *box)
    outside = int(np.sum(inside != x))
    return inside, f"{outside:,} of {len(x):,} params started outside their bounds" if outside else ""


def _gradient(fun: Callable, jac: Any, differentiate: str) -> tuple[Callable, Callable | None, str]:
    """`jac` as a callable or None, whatever form of SciPy's it has; SciPy itself hands over a callable or None."""
    if jac is True:
        return (lambda x, *args: fun(x, *args)[0]), (lambda x, *args: fun(x, *args)[1]), differentiate
    if jac in ("2-point", "3-point"):
        return fun, None, jac
    if callable(jac) or jac is None or jac is False:
        return fun, jac or None, differentiate
    raise ArgumentError(f'`jac` is {jac!r}. It must be a function, True, "2-point", "3-point" or None.')


def _callable(given: Any) -> Callable | None:
    """A Hessian or its product where it is a function; SciPy's update strategies and differences are left to us."""
    return given if callable(given) else None


def _moves(maxiter: int | None, n: int) -> int:
    return _MOVES * max(n, 5) if maxiter is None else int(maxiter)


def _looks(certify: bool | str, f: Function, n: int) -> bool:
    """Whether to look at the curvature."""
    if certify == "auto":
        return f.products and n <= _FEW
    if not isinstance(certify, bool):
        raise ArgumentError(f'`certify` is {certify!r}. It must be True, False or "auto".')
    return certify and f.exact


def _methods(asked: str | Method, f: Function, n: int) -> list[Method]:
    """The methods to try, in order."""
    if asked != "auto":
        method = named(asked) if isinstance(asked, str) else asked
        return [method if f.box is None or hasattr(method, "within") else bounded(method, _sides(f.box))]
    if f.box is not None:
        return [ProjectedLBFGS()]
    if f.hess is not None or f.hessp is not None:
        return [NewtonCG(), quasi_newton(n)]
    return [quasi_newton(n), NewtonCG()] if f.exact else [quasi_newton(n)]


def _sides(box: Box) -> Between:
    low, high = (tuple(side.tolist()) for side in box)
    return Between((low,), (high,))


def _teller(callback: Callable | None, kept: list[np.ndarray] | None) -> Callable[[Point], bool]:
    """What shows each accepted point to the callback, in either of SciPy's two forms, and says whether it stops."""
    names = set() if callback is None else set(inspect.signature(callback).parameters)

    def tell(point: Point) -> bool:
        if kept is not None:
            kept.append(point.x)
        try:
            if callback is not None and names == {"intermediate_result"}:
                callback(intermediate_result=OptimizeResult(x=point.x.copy(), fun=point.loss))
            elif callback is not None:
                callback(point.x.copy())
        except StopIteration:
            return True
        return False

    return tell


def _print(result: OptimizeResult) -> None:
    print(f"{result.reason}: {result.message}")
    print(f"         Current function value: {result.fun:.6g}")
    print(f"         Iterations: {result.nit}")
    print(f"         Function evaluations: {result.nfev}")
    print(f"         Gradient evaluations: {result.njev}")

"""What SciPy's minimize says where there is something to be said, beside the method of descenso.

    python -m benchmarks.scipy_endings

Nine functions with gradients by hand, each from one start, by SciPy's BFGS and L-BFGS-B as they come and by
`descenso.scipy_method`. Prints a table in Markdown; what is right is in the last column. Below it, what a step costs.
"""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable
from datetime import date
from time import perf_counter
from typing import NamedTuple

import numpy as np
import scipy
from scipy.optimize import OptimizeResult, minimize, rosen, rosen_der

from descenso import scipy_method


class Case(NamedTuple):
    """A function, its gradient (or what is passed for it), a start, and what is true of it."""

    name: str
    fun: Callable
    jac: Callable
    start: tuple[float, ...]
    truth: str


def saddle(x):
    return x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4


def saddle_slope(x):
    return np.array([2 * x[0], -2 * x[1] + x[1] ** 3])


ROSEN = (-1.2, 1.0)
CASES = [
    Case("saddle: x² - y² + y⁴/4", saddle, saddle_slope, (1.0, 0.0), "-1 at (0, ±√2)"),
    Case("no floor: -x²", lambda x: -(x[0] ** 2), lambda x: -2 * x, (1.0,), "unbounded"),
    Case("no floor: x", lambda x: x[0], np.ones_like, (1.0,), "unbounded"),
    Case("no floor: x³", lambda x: x[0] ** 3, lambda x: 3 * x**2, (1.0,), "unbounded"),
    Case("kink: abs x + abs y", lambda x: np.abs(x).sum(), np.sign, (1.0, 0.3), "0, where no gradient is zero"),
    Case("`jac` with the wrong sign", rosen, lambda x: -rosen_der(x), ROSEN, "`jac` is wrong"),
    Case("NaN at the start", lambda x: np.log(x[0]), lambda x: 1 / x, (-1.0,), "not finite"),
    Case("Rosenbrock times 1e-9", lambda x: 1e-9 * rosen(x), lambda x: 1e-9 * rosen_der(x), ROSEN, "0 at (1, 1)"),
    Case("Rosenbrock plus 1e6", lambda x: 1e6 + rosen(x), rosen_der, ROSEN, "1e6 at (1, 1)"),
]


def asked(case: Case, method: str | Callable) -> OptimizeResult:
    """What the method says; ours looks at the curvature."""
    options = {"certify": True} if callable(method) else {}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return minimize(case.fun, case.start, jac=case.jac, method=method, options=options)


def told(found: OptimizeResult) -> str:
    where = ", ".join(f"{x:.4g}" for x in found.x)
    reason = f"{found.reason}, " if "reason" in found else ""
    return f"{'success' if found.success else 'no success'} ({reason}{found.status}), {found.fun:.4g} at ({where})"


def overhead(method: str | Callable) -> float:
    """Seconds for each evaluation of Rosenbrock in 20 params, its own included: the least of five runs."""
    spent = []
    for _ in range(5):
        started = perf_counter()
        found = minimize(rosen, np.tile(ROSEN, 10), jac=rosen_der, method=method)
        spent.append((perf_counter() - started) / found.nfev)
    return min(spent)


def main() -> None:
    print(f"SciPy {scipy.__version__}, {platform.machine()}, {date.today():%Y-%m-%d}\n")
    print("| | BFGS | L-BFGS-B | `scipy_method`, evaluations (ours; theirs) | true is |\n|---|---|---|---|---|")
    for case in CASES:
        bfgs, limited, ours = (asked(case, method) for method in ("BFGS", "L-BFGS-B", scipy_method))
        evaluations = f"{ours.nfev}; {bfgs.nfev} and {limited.nfev}"
        print(f"| {case.name} | {told(bfgs)} | {told(limited)} | {told(ours)}; {evaluations} | {case.truth} |")
    theirs, ours = overhead("BFGS"), overhead(scipy_method)
    print(f"\nAn evaluation of Rosenbrock in 20 params: {1e3 * theirs:.2f} ms in BFGS, {1e3 * ours:.2f} ms here.")


if __name__ == "__main__":
    main()

"""Out of local minima: restarts beside SciPy's dual_annealing and basinhopping, and pycma, at the same cost.

    python -m benchmarks.global [--seeds 5] [--units 1000] [--only NAME ...]

Needs scipy and cma. Each function is turned and shifted anew for each seed; nobody starts at its middle. A loss costs
one unit, a loss with its gradient two; each run may spend 1,000 units for each dimension. It succeeds once it has seen
a value within 1e-4 of the least, and the units to that moment are reported. In float64.
"""

from __future__ import annotations

import argparse
import time
import warnings
from contextlib import suppress

import cma
import jax
import numpy as np
import scipy.optimize as so
from scipy.stats import binomtest

import descenso
from benchmarks.landscapes import LANDSCAPES, Landscape
from benchmarks.timing import machine
from descenso import Budget
from descenso.driver.prepare import prepare
from descenso.engine.bounds import Bounds
from descenso.restarts import explore

jax.config.update("jax_enable_x64", True)
NEAR = 1e-4
VALUE = jax.jit(lambda f, x: f(x))
BOTH = jax.jit(lambda f, x: jax.value_and_grad(f)(x))


class SpentError(Exception):
    """All units are spent, or the least value is found."""


class Problem:
    """A function in units of its box, which counts what is asked of it."""

    def __init__(self, landscape: Landscape, seed: int, units: float):
        self.f, self.low, self.high = landscape.turned(np.random.default_rng([seed, landscape.size, 5]))
        self.size, self.units = landscape.size, units
        self.spent, self.hit = 0, None

    def _see(self, value: float, cost: int) -> float:
        self.spent += cost
        if value <= NEAR:
            self.hit = self.spent
        if self.hit is not None or self.spent >= self.units:
            raise SpentError
        return value if np.isfinite(value) else 1e300

    def loss(self, x) -> float:
        return self._see(float(VALUE(self.f, np.clip(x, self.low, self.high))), 1)

    def loss_and_gradient(self, x) -> tuple[float, np.ndarray]:
        value, g = BOTH(self.f, np.clip(x, self.low, self.high))
        return self._see(float(value), 2), np.nan_to_num(np.asarray(g))


def ours(p: Problem, seed: int) -> None:
    """The lanes as `minimize` runs them, with the descent that follows left out; asked after every tick for a hit."""
    start = np.random.default_rng([seed, 11]).uniform(p.low, p.high)
    ready = prepare(p.f, start, None, "auto", "auto", Budget(), None, seed)
    found = explore(
        ready.engine, ready.leaves, Bounds((p.low,), (p.high,)), descents=None, gradients=p.units / 2, target=NEAR
    )
    p.spent = 2 * found.gradients
    p.hit = p.spent if found.loss <= NEAR else None


def annealing(p: Problem, seed: int) -> None:
    options = {"method": "L-BFGS-B", "jac": lambda x: p.loss_and_gradient(x)[1]}
    bounds = list(zip(p.low, p.high, strict=True))
    while True:
        so.dual_annealing(p.loss, bounds, maxiter=10**6, maxfun=10**7, minimizer_kwargs=options, rng=seed)


def hopping(p: Problem, seed: int) -> None:
    """With a step of .2 of the box, which did better than its default in units of x."""
    rng = np.random.default_rng([seed, 13])
    local = {"method": "L-BFGS-B", "jac": True, "bounds": list(zip(p.low, p.high, strict=True))}
    step = 0.2 * (p.high[0] - p.low[0])
    while True:
        start = rng.uniform(p.low, p.high)
        so.basinhopping(p.loss_and_gradient, start, niter=100, stepsize=step, minimizer_kwargs=local, rng=rng)


def evolution(p: Problem, seed: int) -> None:
    rng = np.random.default_rng([seed, 17])
    options = {"bounds": [p.low[0], p.high[0]], "verbose": -9, "seed": seed + 1, "maxfevals": 10**8, "verb_log": 0}
    while True:
        cma.fmin2(p.loss, lambda: rng.uniform(p.low, p.high), 0.5 * p.high[0], options, restarts=9, bipop=True)


CONTESTANTS = {"descenso": ours, "dual_annealing": annealing, "basinhopping": hopping, "pycma": evolution}


def hits(landscape: Landscape, seed: int, units: int) -> dict[str, float]:
    """Units to the first hit, infinite for none."""
    found = {}
    for name, run in CONTESTANTS.items():
        p = Problem(landscape, seed, units * landscape.size)
        with suppress(SpentError):
            run(p, seed)
        found[name] = np.inf if p.hit is None else p.hit / landscape.size
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{machine()}; descenso {descenso.__version__}, scipy, cma {cma.__version__}")
    print("\n| function | D | " + " | ".join(CONTESTANTS) + " |\n|---|---|" + "---|" * len(CONTESTANTS))
    table, start = [], time.perf_counter()
    for landscape in LANDSCAPES:
        if arguments.only and landscape.name not in arguments.only:
            continue
        rows = [hits(landscape, seed, arguments.units) for seed in range(arguments.seeds)]
        cells = []
        for name in CONTESTANTS:
            units = np.array([row[name] for row in rows])
            middle = np.median(units)
            cells.append(f"{np.isfinite(units).sum()}/{len(units)}" + (f" ({middle:.0f})" if middle < np.inf else ""))
        print(f"| {landscape.name} | {landscape.size} | {' | '.join(cells)} |", flush=True)
        table += rows
    print(f"\nsuccesses of {len(table)}; in brackets above the median units for each dimension to the first hit")
    mine = np.array([np.isfinite(row["descenso"]) for row in table])
    for name in CONTESTANTS:
        theirs = np.array([np.isfinite(row[name]) for row in table])
        won, lost = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
        p = binomtest(won, won + lost).pvalue if won + lost else 1.0
        test = "" if name == "descenso" else f"; descenso alone {won}, it alone {lost}, sign test p = {p:.2g}"
        print(f"  {name}: {theirs.mean():.0%}{test}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

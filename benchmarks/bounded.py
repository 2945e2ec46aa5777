"""Losses without data between bounds, against SciPy's L-BFGS-B and trust-constr.

    python -m benchmarks.bounded [evaluations|time|truth]

Thirteen problems: eight of CUTEst (sif2jax; see `smooth.py`), and five written out. evaluations: of the loss with its
gradient, until the norm of the projected gradient x - P(x - g) is 1e-6 of that at the start; 3000 are allowed. time:
seconds to the same point, compiled before, in turn in one process. truth: what each says at its own end, and the loss.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax import lax

from benchmarks.smooth import stubbed
from benchmarks.timing import in_turn, machine, ratio
from descenso import Budget, Stop, minimize
from descenso._types import Evaluation
from descenso.methods.projected import ProjectedLBFGS

SHARE, MOST = 1e-6, 3000
CUTEST = ("hs1", "hs38", "hs45", "hs110", "hatflda", "palmer1", "palmer5e", "biggs3")
_ROOM = "sif2jax.cutest._bounded_minimisation"


class Bounded(NamedTuple):
    """A loss of one vector (n,), where to start, and between which bounds (n,), infinite where there is none."""

    name: str
    loss: Callable
    start: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Compiled(NamedTuple):
    """The compiled loss and gradient of a problem, and what counts as solved."""

    problem: Bounded
    value_and_grad: Callable
    enough: float

    def norm(self, x: np.ndarray, grad: np.ndarray) -> float:
        return rest(self.problem, x, grad)


def rest(p: Bounded, x: np.ndarray, grad: np.ndarray) -> float:
    """The norm of x - P(x - g)."""
    return float(np.linalg.norm(np.clip(-grad, p.low - x, p.high - x)))


def problems() -> list[Bounded]:
    """All of them, always the same."""
    rng = np.random.default_rng(0)
    return [*_written(rng), *_cutest()]


def _written(rng: np.random.Generator) -> Iterator[Bounded]:
    def rosenbrock(x):
        return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    n = 20
    yield Bounded("Rosenbrock, cut", rosenbrock, np.full(n, -1.0), np.full(n, -2.0), np.linspace(0.4, 1.5, n))
    for condition in (1e2, 1e5):
        turn = np.linalg.qr(rng.normal(size=(50, 50)))[0]
        matrix = turn * np.logspace(0, np.log10(condition), 50) / condition @ turn.T
        goal = rng.normal(size=50)

        def quadratic(x, matrix=matrix, goal=goal):
            return 0.5 * (x - goal) @ matrix @ (x - goal)

        yield Bounded(f"quadratic {condition:.0e}", quadratic, np.zeros(50), np.full(50, -0.5), np.full(50, 0.5))
    a, b = rng.normal(size=(200, 80)), rng.normal(size=200)
    none = np.full(80, np.inf)
    yield Bounded("NNLS", lambda x: jnp.sum((a @ x - b) ** 2), np.ones(80), np.zeros(80), none)
    waves = np.abs(rng.normal(size=(12, 4))) @ np.abs(rng.normal(size=(4, 8)))

    def factors(x):
        left, right = x[:36].reshape(12, 3), x[36:].reshape(3, 8)
        return jnp.mean((left @ right - waves) ** 2)

    yield Bounded("factors", factors, rng.uniform(size=60), np.zeros(60), np.full(60, np.inf))


def _cutest() -> Iterator[Bounded]:
    stubbed("sif2jax", "sif2jax.cutest", _ROOM)
    for stem in CUTEST:
        problem = getattr(import_module(f"{_ROOM}.{stem}"), stem.upper())()
        low, high = (np.asarray(side, np.float64).ravel() for side in problem.bounds)
        start = np.clip(np.asarray(problem.y0, np.float64).ravel(), low, high)
        yield Bounded(stem.upper(), lambda y, p=problem: p.objective(y, p.args), start, low, high)


def compiled(problem: Bounded) -> Compiled:
    both = jax.jit(jax.value_and_grad(problem.loss))
    start = rest(problem, problem.start, np.asarray(both(problem.start)[1]))
    return Compiled(problem, both, SHARE * start)


def loop(c: Compiled) -> Callable[[], tuple[int, float, float]]:
    """`ProjectedLBFGS` in one compiled loop: evaluations, the projected gradient norm and the loss reached."""
    method, p = ProjectedLBFGS(), c.problem

    @jax.jit
    def run(x, low, high):
        def step(carry):
            count, params, state, _ = carry
            evaluation = Evaluation(*jax.value_and_grad(lambda leaves: p.loss(leaves[0]))(params))
            params, state, info = method.step(evaluation, params, state, scale=1.0, xp=jnp)
            return count + 1, params, state, info.grad_norm

        def more(carry):
            return (carry[0] < MOST) & ~(carry[3] <= c.enough) & ~carry[2].stalled

        state = method.within(method.init((x,), xp=jnp), (low,), (high,), xp=jnp)
        count, _, state, norm = lax.while_loop(more, step, (0, (x,), state, jnp.inf * jnp.ones(())))
        return count, norm, state.loss

    def solve() -> tuple[int, float, float]:
        count, norm, loss = run(p.start, p.low, p.high)
        return int(count), float(norm), float(loss)

    return solve


def whole(c: Compiled) -> Callable[[], tuple[int, float, float]]:
    """`minimize(bounds=)`, to the same goal."""
    p = c.problem
    limit = Budget(gradients=MOST)
    before = minimize(p.loss, p.start, bounds=(p.low, p.high), certify=False, budget=limit, stop=Stop(gradient=1e-8))
    share = min(c.enough / float(np.nanmax(before.history.grad_norm)), 0.5)

    def solve() -> tuple[int, float, float]:
        found = minimize(
            p.loss, p.start, bounds=(p.low, p.high), certify=False, budget=limit, stop=Stop(gradient=share)
        )
        x = np.asarray(found.params)
        return round(found.gradients), c.norm(x, np.asarray(c.value_and_grad(x)[1])), found.loss

    return solve


class _Enough(Exception):
    """Raised out of a peer's loop at the solution, or where the evaluations are used up."""


_SCIPY = {
    "L-BFGS-B": {"gtol": 0, "ftol": 0, "maxiter": 10**6, "maxfun": 10**6},
    "trust-constr": {"gtol": 0, "xtol": 0, "maxiter": MOST},
}


def scipys(name: str, c: Compiled) -> Callable[[], tuple[int, float, float]]:
    p = c.problem

    def solve() -> tuple[int, float, float]:
        count, best = 0, (np.inf, np.inf)

        def counted(x):
            nonlocal count, best
            value, grad = (np.asarray(v, float) for v in c.value_and_grad(np.clip(x, p.low, p.high)))
            count += 1
            best = min(best, (c.norm(np.clip(x, p.low, p.high), grad), float(value)))
            if best[0] <= c.enough or count >= MOST:
                raise _Enough
            return float(value), grad

        bounds = scipy.optimize.Bounds(p.low, p.high, keep_feasible=True)
        extra = {"hess": scipy.optimize.BFGS()} if name == "trust-constr" else {}
        # it ends at the goal, or gives up on numbers that it cannot take
        with suppress(_Enough, ValueError, np.linalg.LinAlgError):
            scipy.optimize.minimize(
                counted, p.start, jac=True, method=name, bounds=bounds, options=_SCIPY[name], **extra
            )
        return count, *best

    return solve


CONTESTANTS: dict[str, Callable] = {
    "projected L-BFGS": loop,
    "minimize": whole,
    "SciPy L-BFGS-B": lambda c: scipys("L-BFGS-B", c),
    "SciPy trust-constr": lambda c: scipys("trust-constr", c),
}


def evaluations() -> None:
    """Print evaluations to the goal, and the share reached in brackets where it was not."""
    print("| problem (params, at a bound) | " + " | ".join(CONTESTANTS) + " |")
    counts: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for problem in problems():
        c, row = compiled(problem), []
        for name, make in CONTESTANTS.items():
            count, norm, loss = make(c)()
            solved = norm <= c.enough
            counts[name].append(count if solved else np.inf)
            row.append(f"{count} ({loss:.6g})" if solved else f"({norm / c.enough * SHARE:.0e}, {loss:.6g})")
        print(f"| {problem.name} ({len(problem.start)}) | " + " | ".join(row) + " |", flush=True)
    peer = np.array(counts["SciPy L-BFGS-B"])
    for name, found in counts.items():
        both = np.isfinite(found) & np.isfinite(peer)
        shares = np.array(found)[both] / peer[both]
        print(f"{name}: solved {int(np.isfinite(found).sum())}; of L-BFGS-B's evaluations {np.median(shares):.2f}")


def times() -> None:
    """Print the seconds to the goal, and as ratios to L-BFGS-B's where both arrive."""
    shares: dict[str, list[float]] = {"projected L-BFGS": [], "minimize": [], "SciPy trust-constr": []}
    for problem in problems():
        c = compiled(problem)
        runs = {name: make(c) for name, make in CONTESTANTS.items()}
        there = {name: run()[1] <= c.enough for name, run in runs.items()}
        runs = {name: run for name, run in runs.items() if there[name]}
        seconds = in_turn(runs, 5, warm_up=0)
        for name, found in shares.items():
            if there[name] and there["SciPy L-BFGS-B"]:
                found.append(ratio(seconds, name, "SciPy L-BFGS-B"))
        told = "  ".join(f"{name} {1e3 * np.median(s):.2f} ms" for name, s in seconds.items())
        print(f"{problem.name:18} {told}", flush=True)
    for name, found in shares.items():
        print(f"{name}: {np.exp(np.mean(np.log(found))):.2f} of L-BFGS-B's time (geometric mean of {len(found)})")


def truth() -> None:
    """Print what is said at the end of runs with default settings."""
    for problem in problems():
        c = compiled(problem)
        found = minimize(problem.loss, problem.start, bounds=(problem.low, problem.high))
        said = [f"minimize {found.loss:.10g} {found.reason}, {found.certificate}"]
        bounds = scipy.optimize.Bounds(problem.low, problem.high)
        both = lambda x, c=c: tuple(np.asarray(v, float) for v in c.value_and_grad(x))  # noqa: E731
        r = scipy.optimize.minimize(both, problem.start, jac=True, method="L-BFGS-B", bounds=bounds)
        said.append(f"L-BFGS-B {r.fun:.10g} {r.message} {c.norm(r.x, both(r.x)[1]) / c.enough * SHARE:.0e}")
        print(f"{problem.name:18} " + "\n    ".join(said), flush=True)


def main() -> None:
    warnings.simplefilter("ignore")
    jax.config.update("jax_enable_x64", True)
    print(f"{machine()}, float64")
    for name, run in (("evaluations", evaluations), ("time", times), ("truth", truth)):
        if name in sys.argv[1:] or not sys.argv[1:]:
            run()


if __name__ == "__main__":
    main()

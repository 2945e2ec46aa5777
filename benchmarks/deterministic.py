"""The methods for a loss without noise, against SciPy, optax and optimistix, on the 29 problems of `smooth.py`.

    python -m benchmarks.deterministic [float64|float32] [evaluations|time|truth]

evaluations: of the loss with its gradient (a Hessian-vector product counts as one), until the gradient norm is 1e-6 of
that at the start; 1500 are allowed. time: seconds to the same point, compiled before, in turn in one process. truth:
what `minimize` and SciPy say at their end, beside the gradient norm there.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax import lax

from benchmarks.smooth import Smooth, problems
from benchmarks.timing import in_turn, machine, ratio
from descenso import Budget, Stop, minimize
from descenso._types import Evaluation, Method
from descenso.methods import BFGS, LBFGS, GlobalBarzilaiBorwein, NewtonCG, NonlinearCG

SHARE, MOST = 1e-6, 1500


class Compiled(NamedTuple):
    """The compiled functions of a problem, and what counts as solved."""

    problem: Smooth
    value_and_grad: Callable
    product: Callable
    start: jax.Array
    enough: float


def compiled(problem: Smooth, dtype: str) -> Compiled:
    start = jnp.asarray(problem.start, dtype)
    both = jax.jit(jax.value_and_grad(problem.loss))
    product = jax.jit(lambda x, v: jax.jvp(jax.grad(problem.loss), (x,), (v,))[1])
    return Compiled(problem, both, product, start, SHARE * float(jnp.linalg.norm(both(start)[1])))


def ours(method: Method, c: Compiled) -> Callable[[], tuple[int, float]]:
    """Runs the method in one compiled loop; returns the evaluations and the gradient norm reached."""

    @jax.jit
    def run(x):
        def more(carry):
            count, _, state, norm = carry
            return (count < MOST) & ~(norm <= c.enough) & ~state.stalled

        def step(carry):
            count, params, state, _ = carry
            evaluation = Evaluation(*jax.value_and_grad(lambda p: c.problem.loss(p[0]))(params))
            extra = {"product": lambda v: (jax.jvp(jax.grad(c.problem.loss), params, v)[1],)} if needs else {}
            params, state, info = method.step(evaluation, params, state, scale=1.0, xp=jnp, **extra)
            return count + 1, params, state, info.grad_norm

        needs = getattr(method, "needs_product", False)
        init = (0, (x,), method.init((x,), xp=jnp), jnp.asarray(jnp.inf, x.dtype))
        return lax.while_loop(more, step, init)

    def solve() -> tuple[int, float]:
        count, _, _, norm = run(c.start)
        return int(count), float(norm)

    return solve


def auto(c: Compiled) -> Callable[[], tuple[int, float]]:
    """`minimize` with method="auto", to the same goal; run once before, to know the largest gradient on the way."""

    def solve() -> tuple[int, float]:
        limit = Budget(gradients=MOST)
        before = minimize(c.problem.loss, c.start, certify=False, budget=limit, stop=Stop(gradient=SHARE / 100))
        share = min(c.enough / float(np.nanmax(before.history.grad_norm)), 0.5)
        found = minimize(c.problem.loss, c.start, certify=False, budget=limit, stop=Stop(gradient=share))
        return round(found.gradients), float(jnp.linalg.norm(c.value_and_grad(found.params)[1]))

    return solve


class _Enough(Exception):
    """Raised out of a peer's loop at the solution, or where the evaluations are used up."""


class Counted:
    """A loss for SciPy that counts, and stops its caller at the goal."""

    def __init__(self, c: Compiled):
        self.c, self.count, self.norm = c, 0, np.inf

    def __call__(self, x):
        value, grad = self.c.value_and_grad(jnp.asarray(x, self.c.start.dtype))
        grad = np.asarray(grad, float)
        self.count += 1
        size = float(np.linalg.norm(grad))
        self.norm = min(self.norm, size) if np.isfinite(size) else self.norm
        if self.norm <= self.c.enough or self.count >= MOST:
            raise _Enough
        return (float(value) if np.isfinite(value) else np.inf), np.nan_to_num(grad, nan=0, posinf=0, neginf=0)

    def product(self, x, v):
        self.count += 1
        return np.asarray(self.c.product(jnp.asarray(x, self.c.start.dtype), jnp.asarray(v, self.c.start.dtype)), float)


_SCIPY = {
    "BFGS": {"gtol": 0, "maxiter": 10**6},
    "L-BFGS-B": {"gtol": 0, "ftol": 0, "maxiter": 10**6, "maxfun": 10**6},
    "trust-krylov": {"gtol": 0, "maxiter": 10**6},
}


def scipys(name: str, c: Compiled) -> Callable[[], tuple[int, float]]:
    def solve() -> tuple[int, float]:
        counted = Counted(c)
        extra = {"hessp": counted.product} if name.startswith("trust") else {}
        try:
            scipy.optimize.minimize(counted, c.problem.start, jac=True, method=name, options=_SCIPY[name], **extra)
        except _Enough:
            pass
        except (ValueError, np.linalg.LinAlgError, OverflowError):
            return MOST, counted.norm  # it gave up on numbers that it cannot take
        return counted.count, counted.norm

    return solve


def optaxs(c: Compiled) -> Callable[[], tuple[int, float]]:
    import optax

    method = optax.lbfgs()
    loss = c.problem.loss
    both = optax.value_and_grad_from_state(loss)

    @jax.jit
    def step(x, state):
        value, grad = both(x, state=state)
        move, state = method.update(grad, state, x, value=value, grad=grad, value_fn=loss)
        x = optax.apply_updates(x, move)
        spent = optax.tree_utils.tree_get(state, "num_linesearch_steps")
        return x, state, jnp.linalg.norm(jax.grad(loss)(x)), jnp.maximum(spent, 1)

    def solve() -> tuple[int, float]:
        x, state, count, best = c.start, method.init(c.start), 1, np.inf
        while count < MOST and best > c.enough:
            x, state, norm, spent = step(x, state)
            count += int(spent)
            if not np.isfinite(norm):
                break
            best = min(best, float(norm))
        return count, best

    return solve


def optimistixs(c: Compiled) -> Callable[[], tuple[int, float]]:
    import equinox
    import optimistix

    solver = optimistix.BFGS(rtol=0.0, atol=1e-300)
    loss = lambda y, _: (c.problem.loss(y), None)  # noqa: E731
    shape, tags = jax.ShapeDtypeStruct((), c.start.dtype), frozenset()
    begin = equinox.filter_jit(lambda x: solver.init(loss, x, None, {}, shape, None, tags))
    step = equinox.filter_jit(lambda x, state: solver.step(loss, x, None, {}, state, tags))

    def solve() -> tuple[int, float]:
        x, state, count, best = c.start, begin(c.start), 1, np.inf
        while count < MOST and best > c.enough:
            x, state, _ = step(x, state)
            count += 1
            norm = float(jnp.linalg.norm(state.f_info.grad))
            best = min(best, norm) if np.isfinite(norm) else best
        return count, best

    return solve


CONTESTANTS: dict[str, Callable] = {
    "descenso auto": auto,
    "descenso BFGS": lambda c: ours(BFGS(), c),
    "descenso L-BFGS": lambda c: ours(LBFGS(), c),
    "descenso Newton-CG": lambda c: ours(NewtonCG(), c),
    "descenso nonlinear CG": lambda c: ours(NonlinearCG(), c),
    "descenso BB": lambda c: ours(GlobalBarzilaiBorwein(), c),
    "SciPy BFGS": lambda c: scipys("BFGS", c),
    "SciPy L-BFGS-B": lambda c: scipys("L-BFGS-B", c),
    "SciPy trust-krylov": lambda c: scipys("trust-krylov", c),
    "optax L-BFGS": optaxs,
    "optimistix BFGS": optimistixs,
}
"""Each makes, of a compiled problem, a function that solves it: () -> (evaluations, gradient norm)."""


def evaluations(dtype: str) -> None:
    """Print evaluations to the goal, and each contestant against the best peer."""
    counts: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for problem in problems():
        c = compiled(problem, dtype)
        row = []
        for name, make in CONTESTANTS.items():
            count, norm = make(c)()
            solved = norm <= c.enough
            counts[name].append(count if solved else np.inf)
            row.append(f"{count}" if solved else f"({norm / c.enough * SHARE:.0e})")
        print(f"| {problem.name} ({len(problem.start)}) | " + " | ".join(row) + " |", flush=True)
    table = np.array(list(counts.values()))
    peers = table[[not name.startswith("descenso") for name in counts]].min(axis=0)
    print("\n| | solved | median ratio to the best peer | worst where both solved |\n|---|---|---|---|")
    for name, row in zip(counts, table, strict=True):
        either = np.isfinite(row) | np.isfinite(peers)
        shares = np.where(np.isfinite(row), row, 1e9)[either] / np.where(np.isfinite(peers), peers, 1e9)[either]
        both = np.isfinite(row) & np.isfinite(peers)
        print(f"| {name} | {int(np.isfinite(row).sum())} | {np.median(shares):.2f} | {(row / peers)[both].max():.1f} |")


def times(dtype: str) -> None:
    """Print the seconds to the goal as ratios to SciPy's BFGS, where both arrive."""
    names = ("descenso BFGS", "SciPy BFGS", "SciPy L-BFGS-B")
    shares, calls = [], []
    for problem in problems():
        c = compiled(problem, dtype)
        runs = {name: CONTESTANTS[name](c) for name in names}
        if not all(runs[name]()[1] <= c.enough for name in names[:2]):
            continue
        runs["minimize"] = lambda c=c: minimize(
            c.problem.loss, c.start, stop=Stop(gradient=SHARE), budget=Budget(gradients=MOST), certify=False
        )
        seconds = in_turn(runs, 5)
        shares.append(ratio(seconds, "descenso BFGS", "SciPy BFGS"))
        calls.append(ratio(seconds, "minimize", "SciPy BFGS"))
        told = "  ".join(f"{name} {1e3 * np.median(s):9.2f} ms" for name, s in seconds.items())
        print(f"{problem.name:16} {told}  loop {shares[-1]:.3f}  call {calls[-1]:.3f}", flush=True)
    for what, found in (("the compiled loop", shares), ("a whole call of minimize", calls)):
        print(
            f"{what}: {np.exp(np.mean(np.log(found))):.3f} of SciPy BFGS's time (geometric mean), "
            f"at most {max(found):.2f}, {len(found)} problems"
        )


def truth(dtype: str) -> None:
    """Print what is said at the end, and the gradient norm there as a share of that at the start."""
    for problem in problems():
        c = compiled(problem, dtype)
        start = c.enough / SHARE
        result = minimize(problem.loss, c.start)
        share = float(jnp.linalg.norm(c.value_and_grad(result.params)[1])) / start
        kind = "no certificate" if result.certificate is None else str(result.certificate.verdict)
        said = [f"minimize {result.loss:.6g} {result.reason}, {kind} {share:.0e}, {result.steps} steps"]
        for name in ("BFGS", "L-BFGS-B"):
            both = lambda x, c=c: tuple(np.asarray(v, float) for v in c.value_and_grad(jnp.asarray(x, dtype)))  # noqa: E731
            r = scipy.optimize.minimize(both, problem.start, jac=True, method=name)
            share = float(np.linalg.norm(both(r.x)[1])) / start
            said.append(f"{name} {r.fun:.6g} {'success' if r.success else r.message} {share:.0e}, {r.nfev} evaluations")
        print(f"{problem.name:16} " + "; ".join(said), flush=True)


def main() -> None:
    warnings.simplefilter("ignore")
    words = sys.argv[1:]
    dtype = "float32" if "float32" in words else "float64"
    jax.config.update("jax_enable_x64", dtype == "float64")  # else the constants of a problem would carry it to 64 bits
    print(f"{machine()}, {dtype}")
    for name, run in (("evaluations", evaluations), ("time", times), ("truth", truth)):
        if name in words or not set(words) - {"float32", "float64"}:
            run(dtype)


if __name__ == "__main__":
    main()

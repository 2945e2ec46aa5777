"""A linear model's loss as a function of the scores: its derivatives, and the search along a direction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from descenso.estimators.objective import Penalised

_CHUNK = 1 << 22  # values of a table that are weighted together
_FLAT = 0.1  # the share of its slope at the start that a search may leave
_TRIALS = 40
_FURTHER = 8.0  # how many times as far a search looks while the loss still falls


class Slopes(NamedTuple):
    """The weighted losses of the rows by output, (outputs,), and first and second derivatives of each, (n, outputs)."""

    loss: np.ndarray
    first: np.ndarray
    second: np.ndarray


@jax.jit
def _slopes(loss: Penalised, z: jax.Array, t: jax.Array, w: jax.Array, pull: jax.Array | None) -> tuple:
    """What is in `Slopes`, for z, t and pull of the shape (n, outputs): each output is a problem of two classes."""

    def each(z: jax.Array) -> jax.Array:
        if pull is None:
            return w[:, None] * jax.vmap(lambda z, t: loss.of_rows(z, t, None), 1, 1)(z, t)
        return w[:, None] * jax.vmap(loss.of_rows, 1, 1)(z, t, pull)

    def first(z: jax.Array) -> jax.Array:
        return jax.grad(lambda z: jnp.sum(each(z)))(z)

    # a score bears on its own slope alone, so the product with ones is the diagonal
    return jnp.sum(each(z), 0), *jax.jvp(first, (z,), (jnp.ones_like(z),))


@dataclass
class Scored:
    """The penalised loss over the coefficients U, (columns, outputs), with the intercepts as their last row."""

    loss: Penalised
    x: np.ndarray
    t: np.ndarray
    w: np.ndarray
    pull: np.ndarray | None
    intercept: bool
    ridge: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        ridge = np.asarray(self.loss.ridge, np.float64)
        self.ridge = np.append(ridge, 0.0)[:, None] if self.intercept else ridge[:, None]

    @np.errstate(over="ignore", invalid="ignore")
    def scores(self, U: np.ndarray) -> np.ndarray:
        kind = self.x.dtype
        if not self.intercept:
            return self.x @ U.astype(kind)
        return self.x @ U[:-1].astype(kind) + U[-1].astype(kind)

    def slopes(self, z: np.ndarray) -> Slopes:
        loss, first, second = _slopes(self.loss, z, self.t, self.w, self.pull)
        return Slopes(np.asarray(loss, np.float64), np.asarray(first), np.asarray(second))

    @np.errstate(over="ignore")
    def penalty(self, U: np.ndarray) -> np.ndarray:
        return np.sum(self.ridge * U * U, axis=0) / 2

    @np.errstate(over="ignore", invalid="ignore")
    def gradient(self, U: np.ndarray, first: np.ndarray) -> np.ndarray:
        back = np.asarray((first.T @ self.x).T, np.float64)
        if self.intercept:
            back = np.concatenate([back, first.sum(0, dtype=np.float64)[None]])
        return back + self.ridge * U

    @np.errstate(over="ignore", invalid="ignore")
    def hessian(self, second: np.ndarray) -> np.ndarray:
        """The second derivatives of one output, (columns, columns), from those of its rows, (n,)."""
        n, d = self.x.shape
        H = np.zeros((len(self.ridge), len(self.ridge)))
        rows = max(1, _CHUNK // d)
        for start in range(0, n, rows):
            curved = start + np.flatnonzero(second[start : start + rows] > 0)
            if not len(curved):
                continue
            root = np.sqrt(second[curved])
            part = self.x[curved] * root[:, None]
            H[:d, :d] += part.T @ part
            if self.intercept:
                H[d, :d] += root @ part
                H[d, d] += root @ root
        H[:d, d:] = H[d:, :d].T
        H[np.diag_indices_from(H)] += self.ridge[:, 0]
        return H


@np.errstate(over="ignore", invalid="ignore")
def search(
    problem: Scored, U: np.ndarray, D: np.ndarray, z: np.ndarray, dz: np.ndarray, g: np.ndarray, losses: np.ndarray
) -> tuple[np.ndarray, int]:
    """How far to go along D for each output, (outputs,), and how many points that took.

    The slope along a direction of a convex loss only rises: its root is enclosed, by Newton's steps where they stay
    inside, else by halves, or by tenths while it may be anywhere above 0, until the slope is a tenth of what it was at
    a lower loss.
    """
    start, eps = np.sum(g * D, axis=0), np.finfo(z.dtype).eps
    bent, slope = np.sum(problem.ridge * D * D, axis=0), np.sum(problem.ridge * U * D, axis=0)
    penalty = problem.penalty(U)
    low, high = np.zeros(len(start)), np.full(len(start), np.inf)
    a, done, tried = np.ones(len(start)), start >= 0, 0
    a[done] = 0.0
    while not done.all() and tried < _TRIALS:
        at = problem.slopes(z + a.astype(z.dtype) * dz)
        tried += 1
        now = np.sum(at.first * dz, axis=0, dtype=np.float64) + slope + a * bent
        curve = np.sum(at.second * dz * dz, axis=0, dtype=np.float64) + bent
        usable = np.isfinite(now) & np.isfinite(curve)
        lower = at.loss + penalty + a * slope + a * a * bent / 2 <= losses + 4 * eps * np.abs(losses)
        done |= usable & lower & (np.abs(now) <= _FLAT * np.abs(start))
        low = np.where(usable & (now < 0), a, low)
        high = np.where(usable & (now < 0), high, a)
        guess = a - now / np.where(curve > 0, curve, 1.0)
        inside = usable & (curve > 0) & (guess > low) & (guess < np.minimum(high, _FURTHER * np.maximum(a, low)))
        between = np.where(low > 0, (low + high) / 2, high / 10)
        halved = np.where(np.isfinite(high), between, _FURTHER * a)
        a = np.where(done, a, np.where(inside, guess, halved))
    # where the trials ran out, the loss still falls at the lower end
    return np.where(done, a, low), tried

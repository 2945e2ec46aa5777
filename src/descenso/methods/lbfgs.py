"""L-BFGS, with the last few moves kept and a metric of the coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from descenso._types import Array, Evaluation, Info, Leaves, Namespace, Scalar, State
from descenso.methods.searched import Pair, advance, start

SMALLEST = 1e-20
"""The smallest curvature along a coordinate, as a share of the largest, that is not taken for rounding."""
USUAL = 4.0
"""The variance of the log of the curvatures that is common by chance."""


class Moves(NamedTuple):
    """What L-BFGS remembers.

    Attributes:
        S, Y: moves and changes of the gradient, (m, n), the newest last, zeros where there is none.
        curvature: the sum over all pairs of y^2 / s.y, (n,).
        seen: how many pairs are in that sum, ().
    """

    S: Array
    Y: Array
    curvature: Array
    seen: Scalar


@dataclass(frozen=True)
class LBFGS:
    """Direction from an estimate of the inverse Hessian made of the last m moves.

        d_t = -H_t g_t, H_t from H_0 by the BFGS formula with the last m pairs (s, y), oldest first
        H_0 = D s.y / y'Dy                                with the newest pair
        D   = exp(-w (c - mean c)), c = log of the sum over all k pairs of y^2 / s.y, for each coordinate
        w   = k / (k + 1) * var c / (var c + 4)

    So coordinates in units that differ widely (columns of sizes 1e-3 and 1e3) are brought to a common one, which
    H_0 = a number has to learn from m moves, and float32 ends before that. Where the curvatures of the coordinates
    are within about a factor 10, their differences are mostly chance, and D stays near one.

    Args:
        m: pairs kept, >= 1.

    State: `Searched`, its memory `Moves`. Memory: 2 m n.
    Use: a loss that is the same at every step, from some hundred params on.
    Source: Nocedal and Wright 2006, Algorithm 7.4; a diagonal H_0 after Gilbert and Lemarechal 1989, Math. Prog. 45.
    """

    m: int = 10
    line_search: ClassVar[bool] = True

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return start(self, params, xp)

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        return advance(self, evaluation, params, state, scale=scale, xp=xp)

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return state.point.x

    def fresh(self, x: Array, *, xp: Namespace) -> Moves:
        rows = xp.stack([xp.zeros_like(x)] * self.m)
        return Moves(rows, rows, xp.zeros_like(x), xp.sum(xp.zeros_like(x)))

    def learn(self, memory: Moves, pair: Pair, *, xp: Namespace) -> Moves:
        first = pair.before == 0
        S, Y = xp.where(first, 0.0, memory.S), xp.where(first, 0.0, memory.Y)
        S, Y = xp.concatenate((S[1:], pair.s[None])), xp.concatenate((Y[1:], pair.y[None]))
        return Moves(S, Y, memory.curvature + pair.y * (pair.y / pair.sy), memory.seen + 1)

    def direction(self, memory: Moves, grads: Array, pairs: Scalar, *, xp: Namespace) -> tuple[Array, Scalar]:
        S, Y = memory.S, memory.Y
        sy = xp.sum(S * Y, -1)
        kept = (sy > 0) & (pairs > 0)
        rho = xp.where(kept, 1 / xp.where(kept, sy, 1.0), 0.0)
        q, a = grads, [rho] * self.m
        for i in reversed(range(self.m)):
            a[i] = rho[i] * xp.sum(S[i] * q)
            q = q - a[i] * Y[i]
        q = initial(memory, xp) * q
        for i in range(self.m):
            q = q + S[i] * (a[i] - rho[i] * xp.sum(Y[i] * q))
        return -q, xp.where(memory.seen > 0, 1.0, 0 * memory.seen)


def initial(memory: Moves, xp: Namespace) -> Array:
    """The diagonal of H_0, (n,); ones before the first pair."""
    D = metric(memory.curvature, memory.seen, xp)
    s, y = memory.S[-1], memory.Y[-1]
    yDy = xp.sum(y * D * y)
    return D * xp.where(yDy > 0, xp.sum(s * y) / xp.where(yDy > 0, yDy, 1.0), 1.0)


def metric(curvature: Array, seen: Scalar, xp: Namespace) -> Array:
    """D of L-BFGS, (n,), for the sum of y^2 / s.y over `seen` pairs; one where no curvature was seen."""
    known = curvature > SMALLEST * curvature.max()
    some = xp.maximum(xp.sum(xp.where(known, 1.0, 0 * curvature)), 1 + 0 * seen)
    c = xp.log(xp.where(known, curvature, 1.0))
    c = xp.where(known, c - xp.sum(c) / some, 0.0)
    variance = xp.sum(c * c) / some
    return xp.exp(-c * (seen / (seen + 1)) * variance / (variance + USUAL))

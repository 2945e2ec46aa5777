"""Nonlinear conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from descenso._types import Array, Evaluation, Info, Leaves, Namespace, Scalar, State
from descenso.methods.lbfgs import metric
from descenso.methods.searched import Pair, advance, start

BOUND = 0.4
"""How negative beta may become, as a share of the one that turns straight back."""


class LastMove(NamedTuple):
    """The last move s and change y of the gradient; the sum over all pairs of y^2 / s.y, all (n,); their number, ()."""

    s: Array
    y: Array
    curvature: Array
    seen: Scalar


@dataclass(frozen=True)
class NonlinearCG:
    """Direction from the gradient and the last move, after Hager and Zhang, in the metric of L-BFGS.

        d_{t+1} = -D g_{t+1} + beta s_t
        beta    = max((D y - 2 s y'Dy / s.y).g_{t+1} / s.y, BOUND s.g_t / s'D^-1 s)

    State: `Searched`, its memory `LastMove`. Memory: 7 x params.
    Use: the same loss at every step, and too many params for the memory of L-BFGS, which needs fewer steps.
    Source: Hager and Zhang 2005, SIAM J. Optim. 16(1); the bound on beta: the same, 2013, SIAM J. Optim. 23(4).
    """

    line_search: ClassVar[bool] = True

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return start(self, params, xp)

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        return advance(self, evaluation, params, state, scale=scale, xp=xp)

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return state.point.x

    def fresh(self, x: Array, *, xp: Namespace) -> LastMove:
        none = xp.zeros_like(x)
        return LastMove(none, none, none, xp.sum(none))

    def learn(self, memory: LastMove, pair: Pair, *, xp: Namespace) -> LastMove:
        return LastMove(pair.s, pair.y, memory.curvature + pair.y * (pair.y / pair.sy), memory.seen + 1)

    def direction(self, memory: LastMove, grads: Array, pairs: Scalar, *, xp: Namespace) -> tuple[Array, Scalar]:
        s, y, D = memory.s, memory.y, metric(memory.curvature, memory.seen, xp)
        sy, ss = xp.sum(s * y), xp.sum(s * s / D)
        known = (memory.seen > 0) & (pairs > 0)
        sy, ss = xp.where(known, sy, 1.0), xp.where(known, ss, 1.0)
        back = xp.sum(s * (grads - y))
        beta = xp.sum((D * y - 2 * s * (xp.sum(y * D * y) / sy)) * grads) / sy
        beta = xp.where(known, xp.maximum(beta, BOUND * back / ss), 0.0)
        direction = -D * grads + beta * s
        slope = xp.sum(direction * grads)
        # the trial whose predicted fall is that of the last move
        return direction, xp.where(known & (back < 0) & (slope < 0), back / xp.where(slope < 0, slope, 1.0), 0.0 * sy)

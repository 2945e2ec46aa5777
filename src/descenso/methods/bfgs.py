"""BFGS, with the whole inverse Hessian kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from descenso._types import Array, Evaluation, Info, Leaves, Namespace, Scalar, State
from descenso.methods.lbfgs import LBFGS, Moves, initial
from descenso.methods.searched import Pair, advance, start

DENSE = 512
"""Params up to which the whole inverse Hessian is kept where nobody has chosen."""


@dataclass(frozen=True)
class BFGS:
    """Direction from a dense estimate H of the inverse Hessian, which forgets no move.

        d_t = -H_t g_t
        H_{t+1} = (I - s y'/s.y) H_t (I - y s'/s.y) + s s'/s.y

    H begins as the diagonal H_0 of L-BFGS once that has seen m pairs, and is used once it holds m pairs itself; before
    that the directions are those of L-BFGS with all its pairs. (An H_0 chosen after the first pair is a poor one where
    the coordinates have different units, and n moves are needed to correct it.)

    For a few hundred params: a step reads H three times.

    Args:
        limited: the L-BFGS that gives the first directions, and its m.

    State: `Searched`; memory: that of L-BFGS, and H (n, n). Memory: n^2.
    Use: a loss that is the same at every step, up to some hundred params.
    Source: Nocedal and Wright 2006, equation 6.17.
    """

    limited: LBFGS = field(default_factory=LBFGS)
    line_search: ClassVar[bool] = True

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return start(self, params, xp)

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        return advance(self, evaluation, params, state, scale=scale, xp=xp)

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return state.point.x

    def fresh(self, x: Array, *, xp: Namespace) -> tuple[Moves, Array]:
        return self.limited.fresh(x, xp=xp), xp.diag(xp.ones_like(x))

    def learn(self, memory: tuple[Moves, Array], pair: Pair, *, xp: Namespace) -> tuple[Moves, Array]:
        moves, H = memory
        moves = self.limited.learn(moves, pair, xp=xp)
        begun = pair.before >= self.limited.m
        return moves, xp.where(begun, _update(H, pair, xp), xp.diag(initial(moves, xp)))

    def direction(
        self, memory: tuple[Moves, Array], grads: Array, pairs: Scalar, *, xp: Namespace
    ) -> tuple[Array, Scalar]:
        moves, H = memory
        early, trial = self.limited.direction(moves, grads, pairs, xp=xp)
        return xp.where(pairs >= 2 * self.limited.m, -(H @ grads), early), trial


def _update(H: Array, pair: Pair, xp: Namespace) -> Array:
    """The BFGS formula, multiplied out so that H stays symmetric to the last bit."""
    s, y, sy, _ = pair
    Hy = H @ y
    a = (1 + xp.sum(y * Hy) / sy) / sy
    return H + a * s[:, None] * s[None, :] - (s[:, None] * Hy[None, :] + Hy[:, None] * s[None, :]) / sy


def quasi_newton(n: int) -> BFGS | LBFGS:
    """The method for `n` params and a loss that is the same at every step, where nobody has chosen one."""
    return BFGS() if n <= DENSE else LBFGS()

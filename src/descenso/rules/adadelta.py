"""AdaDelta."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import zeros
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace, State


@dataclass(frozen=True)
class AdaDelta:
    """Gradient in units of the params: divided by its own rms, times the rms of the directions so far.

        v_t = rho v_{t-1} + (1 - rho) g_t^2
        d_t = sqrt(u_{t-1} + eps) / sqrt(v_t + eps) g_t
        u_t = rho u_{t-1} + (1 - rho) d_t^2

    Args:
        rho: decay of both means, in [0, 1).
        eps: added under both roots, > 0; sqrt(eps) is the length of the first directions.

    State: squares of the gradients and of the directions: leaves shaped as params. Memory: 2 x params.
    Use: for comparison; it starts slowly. The step size is meant to be 1.
    Source: Zeiler 2012, arXiv:1212.5701, Algorithm 1.
    """

    rho: float = 0.9
    eps: float = 1e-6

    def __post_init__(self):
        check_ranges(self, rho="[0, 1)", eps="(0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return zeros(params, xp), zeros(params, xp)

    def direction(self, grads: Leaves, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]:
        squares, moves = state
        squares = tuple(self.rho * v + (1 - self.rho) * g * g for v, g in zip(squares, grads, strict=True))
        direction = tuple(
            xp.sqrt(u + self.eps) / xp.sqrt(v + self.eps) * g for u, v, g in zip(moves, squares, grads, strict=True)
        )
        moves = tuple(self.rho * u + (1 - self.rho) * d * d for u, d in zip(moves, direction, strict=True))
        return direction, (squares, moves)

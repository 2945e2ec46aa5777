"""The sign of the gradient."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._types import Leaves, Namespace


@dataclass(frozen=True)
class Sign:
    """The direction is the sign of the gradient, entry by entry.

        d_t = sign(g_t)

    With momentum (Signum): `Chain(Momentum(), Sign())`.

    State: none. Memory: 0.
    Use: workers that may send one bit per entry; the step size must fall to 0 for the params to settle.
    Source: Bernstein et al. 2018, arXiv:1802.04434, Algorithm 1.
    """

    def init(self, params: Leaves, *, xp: Namespace) -> tuple:
        return ()

    def direction(self, grads: Leaves, params: Leaves, state: tuple, *, xp: Namespace) -> tuple[Leaves, tuple]:
        return tuple(xp.sign(g) for g in grads), state

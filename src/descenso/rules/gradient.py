"""The gradient itself."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._types import Leaves, Namespace


@dataclass(frozen=True)
class Gradient:
    """The direction is the gradient.

        d_t = g_t

    State: none. Memory: 0.
    Use: small smooth problems, and as the first slot of Polyak, DoG or schedule-free steps.
    Source: Cauchy 1847, Comptes Rendus 25, 536-538.
    """

    def init(self, params: Leaves, *, xp: Namespace) -> tuple:
        return ()

    def direction(self, grads: Leaves, params: Leaves, state: tuple, *, xp: Namespace) -> tuple[Leaves, tuple]:
        return grads, state

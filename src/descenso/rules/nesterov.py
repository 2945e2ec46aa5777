"""Nesterov momentum."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import zeros
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace


@dataclass(frozen=True)
class Nesterov:
    """Momentum that looks one step ahead.

        m_t = beta m_{t-1} + g_t
        d_t = g_t + beta m_t

    Args:
        beta: decay of the sum, in [0, 1).

    State: sum: leaves shaped as params. Memory: 1 x params.
    Use: in place of momentum; it damps the oscillation across a narrow valley.
    Source: Nesterov 1983; the form evaluated at the current point is Sutskever et al. 2013, ICML, section 2.
    """

    beta: float = 0.9

    def __post_init__(self):
        check_ranges(self, beta="[0, 1)")

    def init(self, params: Leaves, *, xp: Namespace) -> Leaves:
        return zeros(params, xp)

    def direction(self, grads: Leaves, params: Leaves, state: Leaves, *, xp: Namespace) -> tuple[Leaves, Leaves]:
        sums = tuple(self.beta * m + g for m, g in zip(state, grads, strict=True))
        return tuple(g + self.beta * m for m, g in zip(sums, grads, strict=True)), sums

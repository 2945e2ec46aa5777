"""AdaGrad."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import zeros
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace


@dataclass(frozen=True)
class AdaGrad:
    """Gradient divided by the root of the sum of all its squares.

        s_t = s_{t-1} + g_t^2
        d_t = g_t / (sqrt(s_t) + eps)

    Args:
        eps: added to the root, >= 0, in units of the gradient.
        start: s_0, >= 0; larger values shorten the first steps.

    State: squares: leaves shaped as params. Memory: 1 x params.
    Use: sparse features, convex losses; the steps shrink as 1 / sqrt(t) by themselves.
    Source: Duchi, Hazan, Singer 2011, JMLR 12, 2121-2159, figure 1, diagonal form.
    """

    eps: float = 1e-10
    start: float = 0.0

    def __post_init__(self):
        check_ranges(self, eps="[0, inf)", start="[0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> Leaves:
        return tuple(z + self.start for z in zeros(params, xp))

    def direction(self, grads: Leaves, params: Leaves, state: Leaves, *, xp: Namespace) -> tuple[Leaves, Leaves]:
        squares = tuple(s + g * g for s, g in zip(state, grads, strict=True))
        return tuple(g / (xp.sqrt(s) + self.eps) for g, s in zip(grads, squares, strict=True)), squares

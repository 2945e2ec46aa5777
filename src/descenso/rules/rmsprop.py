"""RMSProp."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import zeros
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace, State


@dataclass(frozen=True)
class RMSProp:
    """Gradient divided by its running root mean square.

        v_t = alpha v_{t-1} + (1 - alpha) g_t^2
        a_t = alpha a_{t-1} + (1 - alpha) g_t                     (centered only, else 0)
        d_t = g_t / (sqrt(v_t - a_t^2) + eps)

    Args:
        alpha: decay of the means, in [0, 1).
        eps: added to the root, >= 0, in units of the gradient.
        centered: whether to divide by the standard deviation in place of the root mean square.

    With momentum: `Chain(RMSProp(), Momentum())`.

    State: squares: leaves shaped as params; means: the same, () unless centered.
    Memory: 1 x params, 2 x when centered.
    Use: recurrent networks and reinforcement learning, by habit; elsewhere Adam.
    Source: Tieleman and Hinton 2012, Coursera lecture 6.5; centered: Graves 2013, arXiv:1308.0850, equations 38-45.
    """

    alpha: float = 0.99
    eps: float = 1e-8
    centered: bool = False

    def __post_init__(self):
        check_ranges(self, alpha="[0, 1)", eps="[0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return zeros(params, xp), zeros(params, xp) if self.centered else ()

    def direction(self, grads: Leaves, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]:
        squares, means = state
        squares = tuple(self.alpha * v + (1 - self.alpha) * g * g for v, g in zip(squares, grads, strict=True))
        variances = squares
        if self.centered:
            means = tuple(self.alpha * a + (1 - self.alpha) * g for a, g in zip(means, grads, strict=True))
            # rounding can leave a variance just below zero
            variances = tuple(xp.maximum(v - a * a, xp.zeros_like(v)) for v, a in zip(squares, means, strict=True))
        direction = tuple(g / (xp.sqrt(v) + self.eps) for g, v in zip(grads, variances, strict=True))
        return direction, (squares, means)

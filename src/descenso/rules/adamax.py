"""AdaMax."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import counter, increment, one_minus_power, real, zeros
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace, State


@dataclass(frozen=True)
class AdaMax:
    """Adam with the largest recent gradient in place of the root mean square.

        m_t = b1 m_{t-1} + (1 - b1) g_t
        u_t = max(b2 u_{t-1}, |g_t| + eps)
        d_t = m_t / (1 - b1^t) / u_t

    Args:
        b1: decay of the first moment, in [0, 1).
        b2: decay of the largest gradient, in [0, 1).
        eps: added to every gradient's size, > 0, in units of the gradient.

    State: count () int32; mean, largest: leaves shaped as params. Memory: 2 x params.
    Use: heavy-tailed gradients, where single large ones inflate Adam's second moment for long.
    Source: Kingma and Ba 2015, arXiv:1412.6980, Algorithm 2.
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self):
        check_ranges(self, b1="[0, 1)", b2="[0, 1)", eps="(0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return counter(params, xp), zeros(params, xp), zeros(params, xp)

    def direction(self, grads: Leaves, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]:
        count, mean, largest = state
        count = increment(count, xp)
        mean = tuple(self.b1 * m + (1 - self.b1) * g for m, g in zip(mean, grads, strict=True))
        largest = tuple(xp.maximum(self.b2 * u, xp.abs(g) + self.eps) for u, g in zip(largest, grads, strict=True))
        fix = one_minus_power(self.b1, real(count, params[0], xp), xp)
        return tuple(m / fix / u for m, u in zip(mean, largest, strict=True)), (count, mean, largest)

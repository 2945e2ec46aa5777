"""Adam."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import counter, increment, one_minus_power, real, zeros
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace, State


@dataclass(frozen=True)
class Adam:
    """Direction from bias-corrected running moments of the gradient.

        m_t = b1 m_{t-1} + (1 - b1) g_t
        v_t = b2 v_{t-1} + (1 - b2) g_t^2
        d_t = m_t / (1 - b1^t) / (sqrt(v_t / (1 - b2^t)) + eps)
        amsgrad: max(v_1, ..., v_t) in place of v_t in d_t

    Args:
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root, >= 0, in units of the gradient.
        amsgrad: whether the second moment may only grow.

    State: count () int32; mean (() if b1 is 0), second, largest second (() unless amsgrad): leaves shaped as params.
    Memory: 2 x params; 1 x with b1 = 0; 1 x more with amsgrad.
    Use: networks, above all with embeddings, attention or badly scaled inputs; with weight decay it is AdamW.
    Source: Kingma and Ba 2015, arXiv:1412.6980, Algorithm 1; amsgrad: Reddi, Kale, Kumar 2018, arXiv:1904.09237.
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    amsgrad: bool = False

    def __post_init__(self):
        check_ranges(self, b1="[0, 1)", b2="[0, 1)", eps="[0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        mean = zeros(params, xp) if self.b1 else ()
        largest = zeros(params, xp) if self.amsgrad else ()
        return counter(params, xp), mean, zeros(params, xp), largest

    def direction(self, grads: Leaves, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]:
        count, mean, second, largest = state
        count = increment(count, xp)
        if self.b1:
            mean = tuple(self.b1 * m + (1 - self.b1) * g for m, g in zip(mean, grads, strict=True))
        second = tuple(self.b2 * v + (1 - self.b2) * g * g for v, g in zip(second, grads, strict=True))
        if self.amsgrad:
            largest = tuple(xp.maximum(a, v) for a, v in zip(largest, second, strict=True))
        t = real(count, params[0], xp)
        fix1, fix2 = one_minus_power(self.b1, t, xp), one_minus_power(self.b2, t, xp)
        m, v = mean if self.b1 else grads, largest if self.amsgrad else second
        direction = tuple(m / fix1 / (xp.sqrt(v / fix2) + self.eps) for m, v in zip(m, v, strict=True))
        return direction, (count, mean, second, largest)

"""Lion."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import zeros
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace


@dataclass(frozen=True)
class Lion:
    """Sign of an interpolation between the gradient and a slower momentum.

        d_t = sign(b1 m_{t-1} + (1 - b1) g_t)
        m_t = b2 m_{t-1} + (1 - b2) g_t

    Args:
        b1: weight of the momentum in the direction, in [0, 1).
        b2: decay of the momentum, in [0, 1).

    State: momentum: leaves shaped as params. Memory: 1 x params.
    Use: large networks and batches; 3 to 10 times smaller steps and larger weight decay than AdamW.
    Source: Chen et al. 2023, arXiv:2302.06675, Algorithm 2.
    """

    b1: float = 0.9
    b2: float = 0.99

    def __post_init__(self):
        check_ranges(self, b1="[0, 1)", b2="[0, 1)")

    def init(self, params: Leaves, *, xp: Namespace) -> Leaves:
        return zeros(params, xp)

    def direction(self, grads: Leaves, params: Leaves, state: Leaves, *, xp: Namespace) -> tuple[Leaves, Leaves]:
        direction = tuple(xp.sign(self.b1 * m + (1 - self.b1) * g) for m, g in zip(state, grads, strict=True))
        return direction, tuple(self.b2 * m + (1 - self.b2) * g for m, g in zip(state, grads, strict=True))

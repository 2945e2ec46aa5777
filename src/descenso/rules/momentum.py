"""Heavy-ball momentum."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import zeros
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace


@dataclass(frozen=True)
class Momentum:
    """Direction from a decaying sum of gradients (the heavy ball).

        m_t = beta m_{t-1} + g_t
        d_t = m_t

    Args:
        beta: decay of the sum, in [0, 1).

    State: sum: leaves shaped as params. Memory: 1 x params.
    Use: image networks, with a step size about a tenth of that of plain gradient descent.
    Source: Polyak 1964, USSR Comput. Math. Math. Phys. 4(5), 1-17, in the form of torch.optim.SGD.
    """

    beta: float = 0.9

    def __post_init__(self):
        check_ranges(self, beta="[0, 1)")

    def init(self, params: Leaves, *, xp: Namespace) -> Leaves:
        return zeros(params, xp)

    def direction(self, grads: Leaves, params: Leaves, state: Leaves, *, xp: Namespace) -> tuple[Leaves, Leaves]:
        m = tuple(self.beta * m + g for m, g in zip(state, grads, strict=True))
        return m, m

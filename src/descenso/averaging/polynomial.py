"""Polynomial-decay averaging."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import copies, counter, increment, real
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace, Scalar, State
from descenso.averaging.ema import pull
from descenso.averaging.last import descend
from descenso.averaging.proximal import Proximal


@dataclass(frozen=True)
class Polynomial:
    """An average that forgets the early points at a polynomial rate; needs no horizon.

        x_{t+1} = prox(x_t - eta_t d_t)
        a_t = a_{t-1} + (gamma + 1) / (n + gamma) (x_{t+1} - a_{t-1}),   n = max(1, t - start)

    Args:
        gamma: how fast old points are forgotten, >= 0; 0 is the plain mean.
        start: steps before the average begins, >= 0; until then it is the last point.
        proximal: the map after every update (`descenso.averaging.proximal`), or None.

    State: count () int32; average: leaves shaped as params, at least float32. Memory: 1 x params.
    Use: mini-batches; with a constant step size it stands in for a schedule.
    Source: Shamir and Zhang 2013, arXiv:1212.1824, section 4.
    """

    gamma: float = 8.0
    start: int = 0
    proximal: Proximal | None = None

    def __post_init__(self):
        check_ranges(self, gamma="[0, inf)", start="[0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return counter(params, xp), copies(params, xp)

    def apply(
        self, params: Leaves, direction: Leaves, step_size: Scalar, state: State, *, xp: Namespace
    ) -> tuple[Leaves, State]:
        count, average = state
        count = increment(count, xp)
        params = descend(params, direction, step_size, self.proximal, xp)
        n = real(count, params[0], xp) - self.start
        n = xp.where(n > 1, n, 1.0)
        return params, (count, pull(average, params, (self.gamma + 1) / (n + self.gamma), xp))

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return state[1]

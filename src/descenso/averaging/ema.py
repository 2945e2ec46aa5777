"""Exponential moving average of the points."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import cast, copies, counter, increment, one_minus_power, real, widen
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace, Scalar, State
from descenso.averaging.last import descend
from descenso.averaging.proximal import Proximal


@dataclass(frozen=True)
class EMA:
    """An average over about the last 1 / (1 - b) points, not biased towards the start.

        x_{t+1} = prox(x_t - eta_t d_t)
        a_t = a_{t-1} + (1 - b) / (1 - b^t) (x_{t+1} - a_{t-1})

    This is (1 - b) sum b^(t-i) x_{i+1} / (1 - b^t), a weighted mean of the points visited.

    Args:
        b: decay, in [0, 1).
        proximal: the map after every update (`descenso.averaging.proximal`), or None.

    State: count () int32; average: leaves shaped as params, at least float32. Memory: 1 x params.
    Use: networks, where it is the custom; b = 1 - 10 / steps is a start.
    Source: Kingma and Ba 2015, arXiv:1412.6980, section 7.2.
    """

    b: float = 0.999
    proximal: Proximal | None = None

    def __post_init__(self):
        check_ranges(self, b="[0, 1)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return counter(params, xp), copies(params, xp)

    def apply(
        self, params: Leaves, direction: Leaves, step_size: Scalar, state: State, *, xp: Namespace
    ) -> tuple[Leaves, State]:
        count, average = state
        count = increment(count, xp)
        params = descend(params, direction, step_size, self.proximal, xp)
        weight = (1 - self.b) / one_minus_power(self.b, real(count, params[0], xp), xp)
        return params, (count, pull(average, params, weight, xp))

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return state[1]


def pull(average: Leaves, params: Leaves, weight: Scalar, xp: Namespace) -> Leaves:
    """a + weight (x - a), each leaf in the dtype of the average."""
    return tuple(a + cast(weight, a, xp) * (widen(x, xp) - a) for a, x in zip(average, params, strict=True))

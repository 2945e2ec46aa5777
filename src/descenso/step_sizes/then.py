"""One curve after another."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._ranges import check_ranges
from descenso._types import Namespace, Scalar
from descenso.step_sizes.curve import Curve, follow, start


@dataclass(frozen=True)
class Then:
    """The first curve for some steps, and then the second from its own beginning.

        eta_t = first_t                  t <= steps
        eta_t = second_{t - steps}       after it

    Args:
        first, second: curves: any step size of this package that depends on the step count only.
        steps: how many steps the first lasts, >= 1.

    State: count () int32. Memory: 0.
    Use: curves that none of the named schedules draws; nest it for more than two pieces.
    Source: the joining of schedules of optax.join_schedules.
    """

    first: Curve
    steps: int
    second: Curve

    init = start
    choose = follow

    def __post_init__(self):
        check_ranges(self, steps="[1, inf)")

    def at(self, t: Scalar, *, xp: Namespace) -> Scalar:
        later = xp.where(t > self.steps, t - self.steps, 1.0)
        return xp.where(t > self.steps, self.second.at(later, xp=xp), self.first.at(t, xp=xp))

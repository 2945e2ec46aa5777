"""An exponential fall of the step size."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._ranges import check_ranges
from descenso._types import Namespace, Scalar
from descenso.step_sizes.curve import follow, start


@dataclass(frozen=True)
class Exponential:
    """A step size that shrinks by the same factor at every step.

        eta_t = peak factor^((t - 1) / every)

    Args:
        peak: the first step size, >= 0.
        factor: what `every` steps multiply by, > 0; above 1 it rises, as in a range test.
        every: over how many steps the factor is spread, >= 1.

    State: count () int32. Memory: 0.
    Use: range tests; deterministic losses whose minimum is sharp.
    Source: in the form of torch.optim.lr_scheduler.ExponentialLR.
    """

    peak: float
    factor: float
    every: int = 1

    init = start
    choose = follow

    def __post_init__(self):
        check_ranges(self, peak="[0, inf)", factor="(0, inf)", every="[1, inf)")

    def at(self, t: Scalar, *, xp: Namespace) -> Scalar:
        return self.peak * self.factor ** ((t - 1) / self.every)

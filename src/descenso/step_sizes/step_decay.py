"""A staircase of step sizes."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._ranges import check_ranges
from descenso._types import Namespace, Scalar
from descenso.step_sizes.curve import follow, start


@dataclass(frozen=True)
class StepDecay:
    """A step size that is multiplied by a factor every so many steps.

        eta_t = peak factor^floor((t - 1) / every)

    Args:
        peak: the first step size, >= 0.
        every: steps between two falls, >= 1.
        factor: what each fall multiplies by, in (0, 1].

    State: count () int32. Memory: 0.
    Use: image networks, a fall at about each third of the run.
    Source: in the form of torch.optim.lr_scheduler.StepLR.
    """

    peak: float
    every: int
    factor: float = 0.1

    init = start
    choose = follow

    def __post_init__(self):
        check_ranges(self, peak="[0, inf)", every="[1, inf)", factor="(0, 1]")

    def at(self, t: Scalar, *, xp: Namespace) -> Scalar:
        return self.peak * self.factor ** xp.floor((t - 1) / self.every)

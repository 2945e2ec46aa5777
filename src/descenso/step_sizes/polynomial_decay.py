"""A polynomial fall of the step size."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import between
from descenso._ranges import check_ranges
from descenso._types import Namespace, Scalar
from descenso.step_sizes.curve import follow, start


@dataclass(frozen=True)
class PolynomialDecay:
    """A step size that falls as a power of the steps that are left.

        eta_t = final + (peak - final) (1 - r)^power,   r = min(1, (t - 1) / steps)

    Args:
        peak: the first step size, >= 0.
        steps: the length of the fall, >= 1; `final` is reached after it and holds.
        power: 1 is linear, 2 quadratic, > 0.
        final: the step size after the last step, >= 0.

    State: count () int32. Memory: 0.
    Use: segmentation networks, by habit with power 0.9; otherwise power 1.
    Source: in the form of torch.optim.lr_scheduler.PolynomialLR.
    """

    peak: float
    steps: int
    power: float = 1.0
    final: float = 0.0

    init = start
    choose = follow

    def __post_init__(self):
        check_ranges(self, peak="[0, inf)", steps="[1, inf)", power="(0, inf)", final="[0, inf)")

    def at(self, t: Scalar, *, xp: Namespace) -> Scalar:
        r = between((t - 1) / self.steps, 0.0, 1.0, xp)
        return self.final + (self.peak - self.final) * (1 - r) ** self.power

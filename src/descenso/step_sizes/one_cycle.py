"""The one-cycle schedule."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

from descenso._errors import ArgumentError
from descenso._namespace import between
from descenso._ranges import check_ranges
from descenso._types import Namespace, Scalar
from descenso.step_sizes.curve import follow, start


@dataclass(frozen=True)
class OneCycle:
    """Half a cosine up to the peak and half a cosine down to almost nothing.

        a = rise steps - 1
        eta_t = from peak / low to peak,            as t - 1 goes from 0 to a
        eta_t = from peak to peak / low / lower,    as t - 1 goes from a to steps - 1

    Args:
        peak: the largest step size, >= 0.
        steps: the length of the cycle; `rise` of it must be more than one step.
        rise: share of the steps before the peak, in (0, 1).
        low: peak over first step size, >= 1.
        lower: first over last step size, >= 1.

    State: count () int32. Memory: 0.
    Use: short runs at a step size that would be too large to start with.
    Source: Smith and Topin 2018, arXiv:1708.07120, in the form of torch.optim.lr_scheduler.OneCycleLR.
    """

    peak: float
    steps: int
    rise: float = 0.3
    low: float = 25.0
    lower: float = 1e4

    init = start
    choose = follow

    def __post_init__(self):
        check_ranges(self, peak="[0, inf)", rise="(0, 1)", low="[1, inf)", lower="[1, inf)")
        if not self.rise * self.steps > 1:
            raise ArgumentError(f"OneCycle got steps={self.steps} and rise={self.rise}. It needs rise * steps > 1.")

    def at(self, t: Scalar, *, xp: Namespace) -> Scalar:
        top = self.rise * self.steps - 1
        first = self.peak / self.low
        up = _half_cosine(first, self.peak, between((t - 1) / top, 0.0, 1.0, xp), xp)
        r = between((t - 1 - top) / (self.steps - 1 - top), 0.0, 1.0, xp)
        return xp.where(t - 1 <= top, up, _half_cosine(self.peak, first / self.lower, r, xp))


def _half_cosine(begin: float, end: float, r: Scalar, xp: Namespace) -> Scalar:
    return end + (begin - end) * (1 + xp.cos(pi * r)) / 2

"""A step size that falls as the inverse square root of the time."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._ranges import check_ranges
from descenso._types import Namespace, Scalar
from descenso.step_sizes.curve import follow, start


@dataclass(frozen=True)
class InverseSquareRoot:
    """A step size that is held and then falls as the inverse square root of the step count.

        eta_t = peak min(1, sqrt(hold / t))

    Args:
        peak: the largest step size, >= 0.
        hold: steps before the fall, > 0.

    State: count () int32. Memory: 0.
    Use: convex losses with noise, runs of unknown length; transformers take `Warmup(InverseSquareRoot(peak, w), w)`.
    Source: Vaswani et al. 2017, arXiv:1706.03762, equation 3.
    """

    peak: float
    hold: float = 1.0

    init = start
    choose = follow

    def __post_init__(self):
        check_ranges(self, peak="[0, inf)", hold="(0, inf)")

    def at(self, t: Scalar, *, xp: Namespace) -> Scalar:
        share = self.hold / t
        return self.peak * xp.sqrt(xp.where(share < 1, share, 1.0))

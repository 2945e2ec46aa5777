"""Cosine falls with warm restarts."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi

from descenso._namespace import between
from descenso._ranges import check_ranges
from descenso._types import Namespace, Scalar
from descenso.step_sizes.curve import follow, start


@dataclass(frozen=True)
class WarmRestarts:
    """Cosine falls from the peak, one after the other, each `growth` times as long as the last.

        eta_t = final + (peak - final) (1 + cos(pi r)) / 2,   r = share of the current fall that is over

    Args:
        peak: the step size at each restart, >= 0.
        period: steps of the first fall, >= 1.
        growth: length of each fall over that of the one before, >= 1.
        final: the step size that each fall approaches, >= 0.

    State: count () int32. Memory: 0.
    Use: runs of unknown length that should be good at the end of every fall; snapshot ensembles.
    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5.
    """

    peak: float
    period: int
    growth: float = 1.0
    final: float = 0.0

    init = start
    choose = follow

    def __post_init__(self):
        check_ranges(self, peak="[0, inf)", period="[1, inf)", growth="[1, inf)", final="[0, inf)")

    def at(self, t: Scalar, *, xp: Namespace) -> Scalar:
        r = between(self._share(t - 1, xp), 0.0, 1.0, xp)
        return self.final + (self.peak - self.final) * (1 + xp.cos(pi * r)) / 2

    def _share(self, made: Scalar, xp: Namespace) -> Scalar:
        if self.growth == 1:
            return made / self.period - xp.floor(made / self.period)
        # n falls are over after period (growth^n - 1) / (growth - 1) steps; 1e-5 keeps rounding from losing a restart
        n = xp.floor(xp.log(made / self.period * (self.growth - 1) + 1) / log(self.growth) + 1e-5)
        length = self.growth**n
        return (made / self.period - (length - 1) / (self.growth - 1)) / length

"""A step size that falls as a power of the time."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._ranges import check_ranges
from descenso._types import Namespace, Scalar
from descenso.step_sizes.curve import follow, start


@dataclass(frozen=True)
class InverseTime:
    """A step size that falls as a power of the number of steps made.

        eta_t = peak / (1 + decay (t - 1))^power

    Args:
        peak: the first step size, >= 0.
        decay: 1 / decay is the number of steps after which the fall sets in, >= 0.
        power: of the fall, in (0, 1]: 1 for strongly convex losses, 0.75 with averaging.

    State: count () int32. Memory: 0.
    Use: the runs of unknown length that the convergence theorems are about; with `Mean` averaging it is torch's ASGD.
    Source: Robbins and Monro 1951, Ann. Math. Statist. 22, 400-407; Polyak and Juditsky 1992, SIAM J. Control 30, 838.
    """

    peak: float
    decay: float
    power: float = 1.0

    init = start
    choose = follow

    def __post_init__(self):
        check_ranges(self, peak="[0, inf)", decay="[0, inf)", power="(0, 1]")

    def at(self, t: Scalar, *, xp: Namespace) -> Scalar:
        return self.peak / (1 + self.decay * (t - 1)) ** self.power

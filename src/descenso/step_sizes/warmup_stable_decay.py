"""Warm-up, a long flat stretch, and a short fall."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._errors import ArgumentError
from descenso._namespace import between
from descenso._ranges import check_ranges
from descenso._types import Namespace, Scalar
from descenso.step_sizes.curve import follow, start


@dataclass(frozen=True)
class WarmupStableDecay:
    """A rise, a flat stretch, and a fall that is steep at first.

        eta_t = peak t / warmup                               t <= warmup
        eta_t = peak                                          until the last `decay` steps
        eta_t = final + (peak - final) (1 - sqrt(r))          r = share of the last `decay` steps that is over

    Args:
        peak: the largest step size, >= 0.
        steps: the length of the whole curve, >= warmup + decay; `final` is reached after it and holds.
        warmup: steps of the rise, >= 0.
        decay: steps of the fall, >= 1; None is a fifth of the steps.
        final: the step size after the last step, >= 0.

    State: count () int32. Memory: 0.
    Use: long runs whose end is decided late: the flat stretch can be extended from a checkpoint.
    Source: Haegele et al. 2024, arXiv:2405.18392, section 3, with their fall 1 - sqrt over 20 % of the steps.
    """

    peak: float
    steps: int
    warmup: int = 0
    decay: int | None = None
    final: float = 0.0

    init = start
    choose = follow

    def __post_init__(self):
        check_ranges(self, peak="[0, inf)", warmup="[0, inf)", decay="[1, inf)", final="[0, inf)")
        if self.warmup + self._fall > self.steps:
            raise ArgumentError(
                f"WarmupStableDecay got warmup={self.warmup}, decay={self._fall} and steps={self.steps}. "
                "It needs warmup + decay <= steps."
            )

    @property
    def _fall(self) -> int:
        return max(self.steps // 5, 1) if self.decay is None else self.decay

    def at(self, t: Scalar, *, xp: Namespace) -> Scalar:
        r = between((t - 1 - self.steps + self._fall) / self._fall, 0.0, 1.0, xp)
        fall = self.final + (self.peak - self.final) * (1 - xp.sqrt(r))
        return xp.where(t < self.warmup, self.peak * t / max(self.warmup, 1), fall)

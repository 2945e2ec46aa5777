"""A warm-up and a fall of the step size over a known number of steps."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

from descenso._errors import ArgumentError
from descenso._namespace import between
from descenso._ranges import check_ranges
from descenso._types import Namespace, Scalar
from descenso.step_sizes.curve import follow, start

_SHAPES = ("constant", "linear", "cosine")


@dataclass(frozen=True)
class Schedule:
    """A peak step size reached after a warm-up and brought down to `final`.

        eta_t = peak t / warmup                                   t <= warmup
        eta_t = final + (peak - final) shape(r)                   after it, r = (t - 1 - warmup) / (steps - warmup)
        shape: constant 1, linear 1 - r, cosine (1 + cos(pi r)) / 2

    Args:
        peak: the largest step size, >= 0.
        steps: the length of the whole curve, in steps, > warmup; `final` is reached after it and holds.
        shape: "constant", "linear" or "cosine".
        warmup: steps of linear rise, >= 0.
        final: the step size after the last step, >= 0; unused by "constant".

    State: count () int32. Memory: 0.
    Use: any run whose length is known: "cosine" by habit, "linear" to zero when the rate was tuned.
    Source: cosine: Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5; linear: Bergsma et al. 2025, arXiv:2502.15938.
    """

    peak: float
    steps: int
    shape: str = "cosine"
    warmup: int = 0
    final: float = 0.0

    init = start
    choose = follow

    def __post_init__(self):
        check_ranges(self, peak="[0, inf)", final="[0, inf)")
        if self.shape not in _SHAPES:
            raise ArgumentError(f"Schedule got shape={self.shape!r}. It must be one of {', '.join(_SHAPES)}.")
        if not 0 <= self.warmup < self.steps:
            raise ArgumentError(
                f"Schedule got warmup={self.warmup} and steps={self.steps}. It needs 0 <= warmup < steps."
            )

    def at(self, t: Scalar, *, xp: Namespace) -> Scalar:
        r = between((t - 1 - self.warmup) / (self.steps - self.warmup), 0.0, 1.0, xp)
        shape = {"constant": 1 + 0 * r, "linear": 1 - r, "cosine": (1 + xp.cos(pi * r)) / 2}[self.shape]
        fall = self.final + (self.peak - self.final) * shape
        return xp.where(t < self.warmup, self.peak * t / max(self.warmup, 1), fall)

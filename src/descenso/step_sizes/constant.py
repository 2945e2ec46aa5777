"""A constant step size."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import scalar
from descenso._ranges import check_ranges
from descenso._types import Evaluation, Leaves, Namespace, Scalar


@dataclass(frozen=True)
class Constant:
    """The same step size at every step.

        eta_t = value

    Args:
        value: the step size, >= 0.

    State: none. Memory: 0.
    Use: full batches, runs of unknown length, and with averaging.
    Source: Cauchy 1847, Comptes Rendus 25, 536-538.
    """

    value: float

    def __post_init__(self):
        check_ranges(self, value="[0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> tuple:
        return ()

    def choose(
        self, evaluation: Evaluation, direction: Leaves, params: Leaves, state: tuple, *, xp: Namespace
    ) -> tuple[Scalar, tuple]:
        return scalar(self.value, params, xp), state

    def at(self, t: Scalar, *, xp: Namespace) -> Scalar:
        """As a curve, for `Then`."""
        return self.value + 0 * t

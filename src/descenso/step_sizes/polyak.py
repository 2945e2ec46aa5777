"""Polyak's step size."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import between, dot
from descenso._ranges import check_ranges
from descenso._types import Evaluation, Leaves, Namespace, Scalar


@dataclass(frozen=True)
class Polyak:
    """The step that would reach the floor if the loss were a line along the direction.

        eta_t = min(cap, max(0, f_t - floor) / <g_t, d_t>)        0 where <g_t, d_t> <= 0

    Args:
        floor: the smallest value that the loss can take.
        cap: largest step size, > 0; inf for full batches.

    State: none. Memory: 0.
    Use: losses whose smallest value is known, as 0 for interpolating models; a floor too low makes steps too long.
    Source: Polyak 1987, Introduction to Optimization, section 5.3; capped: Loizou et al. 2021, arXiv:2002.10542.
    """

    floor: float = 0.0
    cap: float = 1.0

    def __post_init__(self):
        check_ranges(self, floor="[-inf, inf)", cap="(0, inf]")

    def init(self, params: Leaves, *, xp: Namespace) -> tuple:
        return ()

    def choose(
        self, evaluation: Evaluation, direction: Leaves, params: Leaves, state: tuple, *, xp: Namespace
    ) -> tuple[Scalar, tuple]:
        return along(evaluation, direction, evaluation.loss - self.floor, self.cap, xp), state


def along(evaluation: Evaluation, direction: Leaves, gap: Scalar, cap: float, xp: Namespace) -> Scalar:
    """The step that closes `gap` if the loss is a line along the direction; 0 if it does not descend."""
    slope = dot(evaluation.grads, direction, xp)
    eta = gap / xp.where(slope > 0, slope, 1.0)
    return xp.where(slope > 0, between(eta, 0.0, cap, xp), 0.0)

"""A linear rise in front of any step size."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import counter, increment, real
from descenso._ranges import check_ranges
from descenso._types import Evaluation, Leaves, Namespace, Scalar, State, StepSize


@dataclass(frozen=True)
class Warmup:
    """Any step size, multiplied by a line that rises to 1.

        eta_t = min(1, t / steps) size_t

    Args:
        size: the step size to start gently.
        steps: how many steps the rise takes, >= 1.

    State: count () int32, and that of `size`. Memory: that of `size`.
    Use: transformers; Adam with b2 close to 1, where 2 / (1 - b2) steps are a good length.
    Source: Goyal et al. 2017, arXiv:1706.02677, section 2.2; the length: Ma and Yarats 2021, arXiv:1910.04209.
    """

    size: StepSize
    steps: int

    def __post_init__(self):
        check_ranges(self, steps="[1, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return counter(params, xp), self.size.init(params, xp=xp)

    def choose(
        self, evaluation: Evaluation, direction: Leaves, params: Leaves, state: State, *, xp: Namespace
    ) -> tuple[Scalar, State]:
        count, size = state
        count = increment(count, xp)
        eta, size = self.size.choose(evaluation, direction, params, size, xp=xp)
        share = real(count, params[0], xp) / self.steps
        return xp.where(share < 1, share, 1.0) * eta, (count, size)

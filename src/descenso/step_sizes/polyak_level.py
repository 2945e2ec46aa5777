"""Polyak's step size with an estimated floor."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from descenso._namespace import scalar
from descenso._ranges import check_ranges
from descenso._types import Evaluation, Leaves, Namespace, Scalar, State
from descenso.step_sizes.polyak import along


@dataclass(frozen=True)
class PolyakLevel:
    """Polyak's step towards a level below the best loss so far; the level comes closer when it proves out of reach.

        delta_1 = |f_1|
        delta_t = grow delta_{t-1}       where f_t <= best_{t-1} - delta_{t-1} / 2
        delta_t = shrink delta_{t-1}     else
        best_t = min(best_{t-1}, f_t)
        eta_t = min(cap, (f_t - best_t + delta_t) / <g_t, d_t>)

    Args:
        grow: factor on delta after enough progress, >= 1.
        shrink: factor after too little, in (0, 1).
        cap: largest step size, > 0.

    State: best (), delta (), whether a step was made () bool. Memory: 0.
    Use: full batches whose smallest loss is unknown.
    Source: Nedic and Bertsekas 2001, SIAM J. Optim. 12, 109-138, the dynamic step size; half of delta as
    enough progress: Goffin and Kiwiel 1999, Math. Program. 85, 207-211.
    """

    grow: float = 2.0
    shrink: float = 0.5
    cap: float = inf

    def __post_init__(self):
        check_ranges(self, grow="[1, inf)", shrink="(0, 1)", cap="(0, inf]")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        zero = scalar(0.0, params, xp)
        return zero, zero, zero > 0

    def choose(
        self, evaluation: Evaluation, direction: Leaves, params: Leaves, state: State, *, xp: Namespace
    ) -> tuple[Scalar, State]:
        best, delta, begun = state
        loss = xp.asarray(evaluation.loss, dtype=best.dtype)
        size = xp.abs(loss)
        reached = loss <= best - delta / 2
        moved = xp.where(reached, self.grow * delta, self.shrink * delta)
        delta = xp.where(begun, moved, xp.where(size > 0, size, 1.0))
        best = xp.where(begun & (best < loss), best, loss)
        eta = along(evaluation, direction, loss - best + delta, self.cap, xp)
        return eta, (best, delta, begun | True)

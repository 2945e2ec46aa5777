"""Gradient accumulation in front of any method."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import counter, norm, scalar, select, widen_evaluation, zeros
from descenso._ranges import check_ranges
from descenso._types import Evaluation, Info, Leaves, Method, Namespace, Scalar, State
from descenso.methods.wrapped import refuse_line_search


@dataclass(frozen=True)
class Accumulate:
    """A method that steps once for every so many evaluations, on their mean.

        g = (g_1 + ... + g_every) / every, and likewise the loss

    Args:
        method: any method without a line search.
        every: evaluations to a step, >= 1.

    State: evaluations since the last step () int32; sum of the losses (); sums of the gradients: leaves shaped as
        params; that of the method.
    Memory: 1 x params, and that of the method.
    Use: batches larger than memory. The params stand still, with a step size of 0, between the steps.
    Source: the mean of equal batches is the gradient of all of them.
    """

    method: Method
    every: int

    def __post_init__(self):
        check_ranges(self, every="[1, inf)")
        refuse_line_search(self)

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return counter(params, xp), scalar(0.0, params, xp), zeros(params, xp), self.method.init(params, xp=xp)

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        count, loss, sums, inner = state
        new = widen_evaluation(evaluation, xp)
        count, loss = count + 1, loss + xp.asarray(new.loss, dtype=loss.dtype)
        sums = tuple(s + g for s, g in zip(sums, new.grads, strict=True))
        full = count >= self.every
        mean = Evaluation(loss / self.every, tuple(s / self.every for s in sums))
        moved, stepped, info = self.method.step(mean, params, inner, scale=scale, xp=xp)
        fresh = (0 * count, 0 * loss, tuple(xp.zeros_like(s) for s in sums))
        state = (*select(full, fresh, (count, loss, sums), xp), select(full, stepped, inner, xp))
        size = norm(new.grads, xp)
        still = Info(new.loss, size, 0 * info.step_size, 0 * info.update_norm)
        return select(full, moved, params, xp), state, select(full, info._replace(loss=new.loss), still, xp)

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return self.method.eval_params(params, state[3])

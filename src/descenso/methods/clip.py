"""Clipping of gradients in front of any method."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import between, cast, stable_norm, widen
from descenso._ranges import check_ranges
from descenso._types import Evaluation, Info, Leaves, Method, Namespace, Scalar, State
from descenso.methods.wrapped import advance, refuse_line_search


@dataclass(frozen=True)
class ClipNorm:
    """A method that never sees a gradient longer than a limit.

        g <- g min(1, limit / |g|)

    The norm is taken over all leaves together, without squaring large entries: 1e30 in float32 is clipped, not lost.

    Args:
        method: any method without a line search.
        limit: largest Euclidean norm, > 0.

    State: that of the method. Memory: that of the method.
    Use: recurrent networks and transformers, limit 1; `Info.grad_norm` is that before clipping.
    Source: Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, Algorithm 1.
    """

    method: Method
    limit: float

    def __post_init__(self):
        check_ranges(self, limit="(0, inf)")
        refuse_line_search(self)

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return self.method.init(params, xp=xp)

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        size = stable_norm(evaluation.grads, xp)
        clipped = Evaluation(evaluation.loss, shortened(evaluation.grads, size, self.limit, xp))
        params, state, info = self.method.step(clipped, params, state, scale=scale, xp=xp)
        return params, state, info._replace(grad_norm=size)

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return self.method.eval_params(params, state)


@dataclass(frozen=True)
class ClipValue:
    """A method that never sees an entry of the gradient beyond a limit.

        g <- min(limit, max(-limit, g)), entry by entry

    Args:
        method: any method without a line search.
        limit: largest absolute value, > 0.

    State: that of the method. Memory: that of the method.
    Use: losses with rare huge partial derivatives; it changes the direction, so prefer `ClipNorm`.
    Source: Graves 2013, arXiv:1308.0850, section 2.1.
    """

    method: Method
    limit: float

    def __post_init__(self):
        check_ranges(self, limit="(0, inf)")
        refuse_line_search(self)

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return self.method.init(params, xp=xp)

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        clipped = self._clipped(evaluation, xp)
        params, state, info = self.method.step(clipped, params, state, scale=scale, xp=xp)
        return params, state, info._replace(grad_norm=stable_norm(evaluation.grads, xp))

    def advance(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State]:
        return advance(self.method, self._clipped(evaluation, xp), params, state, scale=scale, xp=xp)

    def _clipped(self, evaluation: Evaluation, xp: Namespace) -> Evaluation:
        grads = tuple(between(widen(g, xp), -self.limit, self.limit, xp) for g in evaluation.grads)
        return Evaluation(evaluation.loss, grads)

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return self.method.eval_params(params, state)


def shortened(grads: Leaves, size: Scalar, limit: Scalar | float, xp: Namespace) -> Leaves:
    """The gradients, of norm `size`, brought to norm `limit` where they are longer."""
    factor = xp.where(size > limit, limit / xp.where(size > limit, size, 1.0), 1.0)
    return tuple(cast(factor, w, xp) * w for w in (widen(g, xp) for g in grads))

"""A quadratic penalty in front of any method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from descenso._masks import Mask, check_mask
from descenso._namespace import dot, widen, widen_evaluation
from descenso._ranges import check_ranges
from descenso._types import Evaluation, Info, Leaves, Method, Namespace, Scalar, State
from descenso.methods.wrapped import advance, is_line_search, needs_product


@dataclass(frozen=True)
class L2:
    """A method that descends the loss plus a quadratic penalty.

        f <- f + strength / 2 |x|^2,  g <- g + strength x

    Args:
        method: any method.
        strength: of the penalty, >= 0.
        mask: which leaves are penalised, one boolean per leaf; None takes all.

    State: that of the method. Memory: that of the method. `Info.loss` includes the penalty.
    Use: ridge regression. It is `weight_decay` of torch's SGD and Adam; for networks prefer `WeightDecay`.
    Source: Hoerl and Kennard 1970, Technometrics 12, 55-67.
    """

    method: Method
    strength: float
    mask: Mask | None = None

    line_search = property(is_line_search)
    needs_product = property(needs_product)

    def __post_init__(self):
        check_ranges(self, strength="[0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        if self.mask is not None:
            check_mask(self, self.mask, params)
        return self.method.init(params, xp=xp)

    def step(
        self,
        evaluation: Evaluation,
        params: Leaves,
        state: State,
        *,
        scale: Scalar,
        xp: Namespace,
        product: Callable | None = None,
    ) -> tuple[Leaves, State, Info]:
        loss, grads = self._pulled(evaluation, params, xp)
        penalty = dot(self._penalty(params, xp), params, xp) / 2
        extra: dict[str, Any] = {} if product is None else {"product": self._curved(product, xp)}
        seen = Evaluation(loss + xp.asarray(penalty, dtype=loss.dtype), grads)
        return self.method.step(seen, params, state, scale=scale, xp=xp, **extra)

    def advance(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State]:
        """`step` without its Info; a method inside that looks at the loss would miss the penalty."""
        return advance(self.method, self._pulled(evaluation, params, xp), params, state, scale=scale, xp=xp)

    def _pulled(self, evaluation: Evaluation, params: Leaves, xp: Namespace) -> Evaluation:
        loss, grads = widen_evaluation(evaluation, xp)
        return Evaluation(loss, tuple(g + p for g, p in zip(grads, self._penalty(params, xp), strict=True)))

    def _penalty(self, leaves: Leaves, xp: Namespace) -> Leaves:
        mask = self.mask or (True,) * len(leaves)
        return tuple((self.strength if m else 0.0) * widen(x, xp) for x, m in zip(leaves, mask, strict=True))

    def _curved(self, product: Callable, xp: Namespace) -> Callable:
        return lambda v: tuple(a + b for a, b in zip(product(v), self._penalty(v, xp), strict=True))

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return self.method.eval_params(params, state)

"""Leaves that a method does not touch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from descenso._errors import ArgumentError
from descenso._masks import Mask, check_mask, merge, split
from descenso._types import Evaluation, Info, Leaves, Method, Namespace, Scalar, State
from descenso.methods.wrapped import is_line_search, needs_product


@dataclass(frozen=True)
class Freeze:
    """A method for some of the leaves; the others stay as they are.

        x_{t+1} = x_t for the frozen leaves

    The method never sees the frozen leaves: they cost no state, and no norm counts them.

    Args:
        method: any method.
        frozen: which leaves stay, one boolean per leaf; at least one must move.

    State: that of the method, for the leaves that move. Memory: that of the method, for the leaves that move.
    Use: fine-tuning the last layers of a network; keeping a physical constant.
    Source: a descent on fewer coordinates.
    """

    method: Method
    frozen: Mask

    line_search = property(is_line_search)
    needs_product = property(needs_product)

    def __post_init__(self):
        if not isinstance(self.frozen, (tuple, list)) or not all(f in (False, True) for f in self.frozen):
            raise ArgumentError(
                f"Freeze got frozen={self.frozen!r}. It must be one boolean for each leaf, in a tuple.",
                hint="leaf_mask(params, lambda path, leaf: ...) makes one",
            )
        if all(self.frozen):
            raise ArgumentError(f"Freeze got frozen={self.frozen}. It must leave at least one leaf to move.")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        check_mask(self, self.frozen, params)
        return self.method.init(split(params, self.frozen)[1], xp=xp)

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
        still, moving = split(params, self.frozen)
        seen = Evaluation(evaluation.loss, split(evaluation.grads, self.frozen)[1])
        extra: dict[str, Any] = {} if product is None else {"product": self._restricted(product, still, xp)}
        moving, state, info = self.method.step(seen, moving, state, scale=scale, xp=xp, **extra)
        return merge(still, moving, self.frozen), state, info

    def _restricted(self, product: Callable, still: Leaves, xp: Namespace) -> Callable:
        nothing = tuple(xp.zeros_like(leaf) for leaf in still)
        return lambda v: split(product(merge(nothing, v, self.frozen)), self.frozen)[1]

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        still, moving = split(params, self.frozen)
        return merge(still, self.method.eval_params(moving, state), self.frozen)

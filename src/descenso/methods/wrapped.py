"""What a method around another method passes on."""

from __future__ import annotations

from typing import Any

from descenso._errors import ArgumentError
from descenso._types import Evaluation, Leaves, Method, Namespace, Scalar, State


def advance(
    method: Method, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
) -> tuple[Leaves, State]:
    """The step of a method without its Info, which a method may have a cheaper way to make."""
    quick = getattr(method, "advance", None)
    if quick is not None:
        return quick(evaluation, params, state, scale=scale, xp=xp)
    return method.step(evaluation, params, state, scale=scale, xp=xp)[:2]


def is_line_search(self: Any) -> bool:
    """Whether the method inside proposes trial points; see `Method`."""
    return getattr(self.method, "line_search", False)


def needs_product(self: Any) -> bool:
    """Whether the method inside asks for Hessian-vector products; see `Method`."""
    return getattr(self.method, "needs_product", False)


def text(self: Any) -> Any:
    """What the method inside computes that hides it in functions, for the identity of a checkpoint."""
    return self.method.text


def refuse_line_search(owner: Any) -> None:
    """Raise ArgumentError if the method inside is a line search, which must see the gradient of the loss itself."""
    if is_line_search(owner):
        raise ArgumentError(
            f"{type(owner).__name__} got {type(owner.method).__name__}, which searches along a line. "
            "It needs a method that takes gradients as they come, as `Descent` does."
        )

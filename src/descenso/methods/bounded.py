"""Any method without a line search, kept between bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from descenso._errors import ArgumentError
from descenso._masks import split
from descenso._namespace import norm, widen
from descenso._types import Evaluation, Info, Leaves, Method, Namespace, Scalar, State
from descenso.averaging.between import Between
from descenso.methods.freeze import Freeze
from descenso.methods.wrapped import text


@dataclass(frozen=True)
class Projected:
    """A method whose params are brought back between the bounds after each of its steps.

        x_{t+1} = P(step(x_t)),  P(x) = min(max(x, low), high)

    `Info.grad_norm` is the norm of x - P(x - g), which is zero where nothing allowed lowers the loss. It is made by
    `bounded`, which also puts P into the averaging of the method, so that what is averaged lies between the bounds.

    Args:
        method: any method without a line search.
        box: the bounds.

    State: that of the method. Memory: that of the method.
    Use: mini-batches, and methods that were named.
    Source: Goldstein 1964, Bull. Amer. Math. Soc. 70, 709-710.
    """

    method: Method
    box: Between
    text = property(text)

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return self.method.init(params, xp=xp)

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        moved, state, info = self.method.step(evaluation, params, state, scale=scale, xp=xp)
        now = tuple(widen(x, xp) for x in params)
        beyond = tuple(x - widen(g, xp) for x, g in zip(now, evaluation.grads, strict=True))
        rest = tuple(x - y for x, y in zip(now, self.box.project(beyond, xp=xp), strict=True))
        return self.box.project(moved, xp=xp), state, info._replace(grad_norm=norm(rest, xp))

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return self.method.eval_params(params, state)


def bounded(method: Method, box: Between) -> Projected:
    """The method kept between the bounds.

    Raises:
        ArgumentError: it searches along lines, or asks for Hessian-vector products.
    """
    inner: Any = method
    while hasattr(inner, "method"):
        inner = inner.method
    if getattr(inner, "line_search", False):
        raise ArgumentError(
            f"`method` {type(inner).__name__} searches along lines that leave the `bounds`. "
            "With `bounds` it must be a method that takes steps, or one that bends its lines at them.",
            hint='take method="auto", which is a projected L-BFGS where every step sees the same loss; or "adam"',
        )
    return Projected(_inside(method, box), box)


def _inside(method: Any, box: Between) -> Any:
    """The method with the projection in its averaging, where it has one."""
    if isinstance(method, Freeze):
        low, high = (split(side, method.frozen)[1] for side in (box.low, box.high))
        return replace(method, method=_inside(method.method, Between(low, high)))
    if hasattr(method, "method"):
        return replace(method, method=_inside(method.method, box))
    if hasattr(method, "averaging"):
        return replace(method, averaging=_averaged(method.averaging, box))
    return method


def _averaged(averaging: Any, box: Between) -> Any:
    if hasattr(averaging, "proximal"):
        return replace(averaging, proximal=replace(box, first=averaging.proximal))
    if hasattr(averaging, "answer"):
        return replace(averaging, answer=_averaged(averaging.answer, box))
    return averaging

"""A method that sees the loss in other units, where squares of its gradient would be no floats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from descenso._namespace import cast
from descenso._types import Evaluation, Info, Leaves, Method, Namespace, Scalar, State
from descenso.methods.wrapped import is_line_search, needs_product, text


@dataclass(frozen=True)
class InUnits:
    """A method to which a loss L is shown as unit * L.

    Methods square gradients: one of 1e20, or of 1e-20, has a square that 32 bits hold as infinity, or as 0. Times a
    power of two no digit is lost. `Info` is in the units of L.

    Args:
        method: any method.
        unit: a power of two.

    State: that of the method. Memory: that of the method, and a gradient.
    Use: what `minimize` takes where the loss at the start is as large or as small as that.
    """

    method: Method
    unit: float

    line_search = property(is_line_search)
    needs_product = property(needs_product)
    text = property(text)

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return self.method.init(params, xp=xp)

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace, **extra: Any
    ) -> tuple[Leaves, State, Info]:
        shown = Evaluation(evaluation.loss * self.unit, tuple(g * self.unit for g in evaluation.grads))
        if (product := extra.get("product")) is not None:
            extra = {"product": lambda v: tuple(h * self.unit for h in product(v))}
        params, state, info = self.method.step(shown, params, state, scale=scale, xp=xp, **extra)
        loss, norm = (cast(n / self.unit, n, xp) for n in (info.loss, info.grad_norm))
        return params, state, info._replace(loss=loss, grad_norm=norm)

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return self.method.eval_params(params, state)

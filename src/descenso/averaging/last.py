"""No averaging: the last point is the answer."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import cast, widen
from descenso._types import Leaves, Namespace, Scalar
from descenso.averaging.proximal import Proximal


@dataclass(frozen=True)
class Last:
    """The point reached last is the answer.

        x_{t+1} = prox(x_t - eta_t d_t)

    Args:
        proximal: the map after every update (`descenso.averaging.proximal`), or None.

    State: none. Memory: 0.
    Use: full batches, and with step sizes that fall to zero.
    Source: Cauchy 1847, Comptes Rendus 25, 536-538.
    """

    proximal: Proximal | None = None

    def init(self, params: Leaves, *, xp: Namespace) -> tuple:
        return ()

    def apply(
        self, params: Leaves, direction: Leaves, step_size: Scalar, state: tuple, *, xp: Namespace
    ) -> tuple[Leaves, tuple]:
        return descend(params, direction, step_size, self.proximal, xp), state

    def eval_params(self, params: Leaves, state: tuple) -> Leaves:
        return params


def descend(params: Leaves, direction: Leaves, step_size: Scalar, proximal: Proximal | None, xp: Namespace) -> Leaves:
    """prox(x - eta d), each leaf in its own dtype."""
    moved = tuple(widen(x, xp) - step_size * d for x, d in zip(params, direction, strict=True))
    if proximal is not None:
        moved = proximal.apply(moved, step_size, xp=xp)
    return tuple(cast(m, x, xp) for m, x in zip(moved, params, strict=True))

"""The projection on params between bounds, as a proximal map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from descenso._types import Array, Leaves, Namespace, Scalar
from descenso.averaging.proximal import Proximal

Side: TypeAlias = tuple[float | tuple[float, ...], ...]
"""For each leaf one number for all entries, or one for each, in the order of the flat leaf."""


@dataclass(frozen=True)
class Between:
    """The projection on params between bounds.

        prox(x) = min(max(first(x), low), high)

    For one entry the map of a convex penalty plus bounds is the map of the penalty, projected; so after `first`, a map
    of the entries one by one such as `L1`, it is that of both.

    Args:
        low, high: the bounds of each leaf, infinite for none.
        first: a map before it, or None.

    State: none. Memory: 0.
    Use: what `minimize(bounds=)` puts after every update where batches are taken.
    Source: Goldstein 1964, Bull. Amer. Math. Soc. 70, 709-710.
    """

    low: Side
    high: Side
    first: Proximal | None = None

    def apply(self, params: Leaves, step_size: Scalar, *, xp: Namespace) -> Leaves:
        if self.first is not None:
            params = self.first.apply(params, step_size, xp=xp)
        return self.project(params, xp=xp)

    def project(self, params: Leaves, *, xp: Namespace) -> Leaves:
        """The point between the bounds that is nearest."""
        return tuple(_between(x, a, b, xp) for x, a, b in zip(params, self.low, self.high, strict=True))


def _between(x: Array, low: float | tuple, high: float | tuple, xp: Namespace) -> Array:
    low, high = _like(low, x, xp), _like(high, x, xp)
    return xp.where(x < low, low, xp.where(x > high, high, x))


def _like(bound: float | tuple, x: Array, xp: Namespace) -> Array:
    number = xp.asarray(bound, dtype=x.dtype)
    return number.reshape(tuple(x.shape)) if isinstance(bound, tuple) else xp.zeros_like(x) + number

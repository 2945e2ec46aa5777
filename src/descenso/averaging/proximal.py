"""Proximal maps: what an averaging does to the params after every update, for penalties without a gradient.

A proximal map minimises the penalty plus the squared distance to the point over twice the step size. It belongs to
the update, and so to the slot that makes it: the average is then an average of points that have been mapped.

Strengths are those of the penalty where the rule hands on the gradient as it is. A rule that makes it longer makes the
penalty weaker: with `Momentum(beta)` multiply the strength by 1 / (1 - beta); after Adam the penalty differs from entry
to entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from descenso._masks import Mask, check_mask
from descenso._namespace import cast
from descenso._ranges import check_ranges
from descenso._types import Array, Leaves, Namespace, Scalar


class Proximal(Protocol):
    """A map of the params that depends on the step size."""

    def apply(self, params: Leaves, step_size: Scalar, *, xp: Namespace) -> Leaves: ...


@dataclass(frozen=True)
class L1:
    """The map of the penalty strength |x|_1: entries shrink, and small ones become exactly 0.

        prox(x) = sign(x) max(|x| - eta strength, 0)

    Args:
        strength: of the penalty, >= 0, in units of the loss over the params.
        mask: which leaves are penalised, one boolean per leaf; None takes all.

    State: none. Memory: 0.
    Use: sparse linear models (lasso), with `Gradient` or `Momentum`.
    Source: Daubechies, Defrise, De Mol 2004, Comm. Pure Appl. Math. 57, 1413-1457, equation 1.
    """

    strength: float
    mask: Mask | None = None

    def __post_init__(self):
        check_ranges(self, strength="[0, inf)")

    def apply(self, params: Leaves, step_size: Scalar, *, xp: Namespace) -> Leaves:
        return masked(self, lambda x: shrink(x, cast(step_size * self.strength, x, xp), xp), params)


@dataclass(frozen=True)
class ElasticNet:
    """The map of the penalty l1 |x|_1 + l2 / 2 |x|_2^2.

        prox(x) = sign(x) max(|x| - eta l1, 0) / (1 + eta l2)

    Args:
        l1: strength of the absolute values, >= 0.
        l2: strength of the squares, >= 0.
        mask: which leaves are penalised, one boolean per leaf; None takes all.

    State: none. Memory: 0.
    Use: sparse linear models with correlated features.
    Source: Zou and Hastie 2005, J. R. Stat. Soc. B 67, 301-320; map: Parikh and Boyd 2014, section 6.5.3.
    """

    l1: float
    l2: float
    mask: Mask | None = None

    def __post_init__(self):
        check_ranges(self, l1="[0, inf)", l2="[0, inf)")

    def apply(self, params: Leaves, step_size: Scalar, *, xp: Namespace) -> Leaves:
        def net(x: Array) -> Array:
            return shrink(x, cast(step_size * self.l1, x, xp), xp) / (1 + cast(step_size * self.l2, x, xp))

        return masked(self, net, params)


@dataclass(frozen=True)
class NonNegative:
    """The projection on params that are not negative.

        prox(x) = max(x, 0)

    Args:
        mask: which leaves are kept from being negative, one boolean per leaf; None takes all.

    State: none. Memory: 0.
    Use: rates, masses, mixture weights, non-negative factors.
    Source: Goldstein 1964, Bull. Amer. Math. Soc. 70, 709-710.
    """

    mask: Mask | None = None

    def apply(self, params: Leaves, step_size: Scalar, *, xp: Namespace) -> Leaves:
        return masked(self, lambda x: xp.where(x > 0, x, xp.zeros_like(x)), params)


def masked(owner: L1 | ElasticNet | NonNegative, f: Callable[[Array], Array], params: Leaves) -> Leaves:
    """`f` over the leaves that the owner's mask names."""
    if owner.mask is None:
        return tuple(f(x) for x in params)
    check_mask(owner, owner.mask, params)
    return tuple(f(x) if m else x for x, m in zip(params, owner.mask, strict=True))


def shrink(x: Array, by: Scalar, xp: Namespace) -> Array:
    """sign(x) max(|x| - by, 0)."""
    left = xp.abs(x) - by
    return xp.where(left > 0, xp.sign(x) * left, xp.zeros_like(x))

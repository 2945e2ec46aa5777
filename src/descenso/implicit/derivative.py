"""How a minimum moves with what the loss depends on: the implicit function theorem, by products with the Hessian."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from descenso._namespace import dot, stable_norm
from descenso._types import Leaves, Scalar

_FAILED = 1e-2  # of |b|: with a residual above it, x says nothing

Product = Callable[[Leaves], Leaves]
"""v -> H v over leaves."""


def minimum(value: Callable[[Leaves], Scalar], start: Leaves, solve: Callable, share: float, most: int) -> tuple:
    """`solve(value, start)`, a pair of the minimum and whatever belongs to it, with derivatives of the minimum.

        x*(theta):  g(x*, theta) = 0,   dx* = -H^-1 (dg / dtheta) dtheta

    for whatever `value` closes over; the start has none. Forward and backward, and of any order.

    Args:
        value: the loss over leaves.
        share, most: when the conjugate gradients stop; see `conjugate_gradients`.

    Source: Krantz and Parks 2013, "The Implicit Function Theorem", theorem 3.3.1.
    """

    def tangent(product: Product, b: Leaves) -> Leaves:
        solver = lambda product, b: conjugate_gradients(product, b, share, most)  # noqa: E731
        return lax.custom_linear_solve(product, b, solver, symmetric=True)

    return lax.custom_root(jax.grad(value), start, lambda _, x: solve(value, x), tangent, has_aux=True)


class _Solving(NamedTuple):
    x: Leaves
    r: Leaves
    d: Leaves
    rr: Scalar
    products: Scalar
    bent: Scalar


def conjugate_gradients(product: Product, b: Leaves, share: float, most: int) -> Leaves:
    """The x with H x = b, to |H x - b| <= share |b|, or to less with `most` products.

        a = r.r / d.Hd,  x += a d,  r -= a H d,  d = r + (r.r / previous r.r) d

    NaN where a curvature d.Hd is met that is not above zero by more than its rounding, for at a saddle there is no
    minimum whose derivative this would be, and nothing tells how one moves along a flat direction; and where the
    residual is still above 1e-2 |b| at the end. Flat directions that b has no part in do no harm.

    Source: Hestenes and Stiefel 1952, J. Res. Natl. Bur. Stand. 49(6).
    """
    unit = stable_norm(b, jnp)
    unit = jnp.where(unit > 0, unit, 1.0)  # so that squares neither overflow nor vanish
    b = _scaled(1 / unit, b)
    eps = float(jnp.finfo(unit.dtype).eps)

    def onward(at: _Solving) -> Scalar:
        return (at.rr > share * share) & (at.products < most) & ~at.bent

    def step(at: _Solving) -> _Solving:
        Hd = product(at.d)
        curvature = dot(at.d, Hd, jnp)
        rounding = 4 * eps * jnp.sqrt(dot(at.d, at.d, jnp) * dot(Hd, Hd, jnp))
        curved = curvature > rounding
        a = jnp.where(curved, at.rr / jnp.where(curved, curvature, 1.0), 0.0)
        x, r = _moved(at.x, a, at.d), _moved(at.r, -a, Hd)
        rr = dot(r, r, jnp)
        d = _moved(r, rr / at.rr, at.d)
        return _Solving(x, r, d, rr, at.products + 1, ~curved)

    begun = _Solving(_scaled(0.0, b), b, b, dot(b, b, jnp), jnp.zeros((), jnp.int32), unit < 0)
    found = lax.while_loop(onward, step, begun)
    failed = found.bent | ~(found.rr <= _FAILED**2)
    return _scaled(jnp.where(failed, jnp.nan, unit), found.x)


def _scaled(by: Scalar | float, leaves: Leaves) -> Leaves:
    return tuple(jnp.asarray(by * x, x.dtype) for x in leaves)


def _moved(x: Leaves, a: Scalar, d: Leaves) -> Leaves:
    return tuple(jnp.asarray(p + a * q, p.dtype) for p, q in zip(x, d, strict=True))

"""A whole descent as one pure function, so that JAX can compile, batch and differentiate around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from descenso._namespace import dot, ravel, stable_norm, step_if_finite, unravel
from descenso._types import Evaluation, Leaves, Method, Scalar, State
from descenso.implicit.derivative import conjugate_gradients

_PRODUCTS = 100  # with the Hessian, to see how far below the answer the minimum lies


class Descended(NamedTuple):
    """Where a descent ended.

    params: the answer. steps: evaluations made, int32 (). grad_norm: of the gradient at the answer, (). converged:
    whether that norm is below the share asked for of the largest on the way, or the loss there is the `lowest`, ().
    """

    params: Leaves
    steps: Scalar
    grad_norm: Scalar
    converged: Scalar


class _Underway(NamedTuple):
    params: Leaves
    state: State
    norm: Scalar
    largest: Scalar
    steps: Scalar


def descend(value: Callable[[Leaves], Scalar], start: Leaves, method: Method, share: float, most: int) -> Descended:
    """Step from `start` until the gradient norm is at most `share` of the largest seen, for at most `most` steps.

    It also ends where a method that searches along lines can find no lower loss.
    """

    def onward(run: _Underway) -> Scalar:
        stalled = getattr(run.state, "stalled", False)
        return (run.steps < most) & ~(run.norm <= share * run.largest) & ~jnp.asarray(stalled)

    def step(run: _Underway) -> _Underway:
        evaluation = Evaluation(*jax.value_and_grad(value)(run.params))
        extra = {}
        if getattr(method, "needs_product", False):
            extra["product"] = lambda v: jax.jvp(jax.grad(value), (run.params,), (v,))[1]
        one = jnp.ones((), run.norm.dtype)
        params, state, info = step_if_finite(method, evaluation, run.params, run.state, scale=one, xp=jnp, **extra)
        norm = jnp.asarray(info.grad_norm, run.norm.dtype)
        largest = jnp.where(norm > run.largest, norm, run.largest)
        return _Underway(params, state, norm, largest, run.steps + 1)

    size = stable_norm(start, jnp)
    begun = _Underway(start, method.init(start, xp=jnp), size + jnp.inf, 0 * size, jnp.zeros((), jnp.int32))
    run = lax.while_loop(onward, step, begun)
    found = method.eval_params(run.params, run.state)
    params = tuple(jnp.asarray(x, like.dtype) for x, like in zip(found, start, strict=True))
    norm = stable_norm(jax.grad(value)(params), jnp)
    vanished = norm <= share * jnp.maximum(run.largest, norm)
    resting = lax.cond(vanished, lambda: vanished, lambda: lowest(value, params))
    return Descended(params, run.steps, norm, resting & jnp.isfinite(norm))


def lowest(value: Callable[[Leaves], Scalar], params: Leaves) -> Scalar:
    """Whether the loss shows no lower value: g'H^-1 g / 2 is below the rounding of the loss, or of the params.

    That is by how much the minimum of the quadratic model lies below; its conjugate gradients may take 100 products.
    """
    x = ravel(params, jnp)
    eps = max(float(jnp.finfo(leaf.dtype).eps) for leaf in params)
    product = lambda v: jax.jvp(jax.grad(value), (params,), (v,))[1]  # noqa: E731
    loss, grads = jax.value_and_grad(value)(params)
    fall = dot(grads, conjugate_gradients(product, grads, 1e-2, _PRODUCTS), jnp) / 2
    typical = jnp.sqrt(jnp.mean(x * x))
    signs = jnp.where(jnp.arange(x.size) % 2 == 0, 1.5 * eps, -1.5 * eps)
    unit = unravel(signs * jnp.maximum(jnp.abs(x), jnp.where(typical > 0, typical, 1.0)), params, jnp)
    rounding = jnp.abs(dot(unit, product(unit), jnp)) / 2
    return fall <= jnp.maximum(10 * eps * jnp.abs(loss), rounding)

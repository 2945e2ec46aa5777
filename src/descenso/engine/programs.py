"""What is compiled for a method on a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from descenso._namespace import dot, widen
from descenso._types import Method
from descenso.engine.chunk import as_key, looped, step_of, stepped
from descenso.engine.evaluate import batch_losses, gradient_on, mean_aux, mean_loss
from descenso.engine.objective import Objective


class Programs(NamedTuple):
    """Compiled functions; see `engine.chunk` and `engine.evaluate`."""

    init: Callable
    chunk: Callable
    mean_loss: Callable
    batch_losses: Callable
    aux: Callable
    gradient: Callable


def programs(objective: Objective, method: Method, batch_size: int | None, stepwise: bool) -> Programs:
    """What is compiled for a method on a loss; `stepwise`: one call a step, not a loop of them."""
    step = step_of(objective, method)
    loop = (stepped if stepwise else looped)(step, batch_size)

    def mean(leaves, data, key):
        return mean_loss(objective, leaves, data, as_key(key))

    def batches(leaves, data, order, size, key):
        return batch_losses(objective, leaves, data, order, size, as_key(key))

    def aux(leaves, data, key):
        return mean_aux(objective, leaves, data, as_key(key))

    def gradient(leaves, total, data, rows, key):
        g = gradient_on(objective, leaves, data, rows, as_key(key)).grads
        total = tuple(t + widen(x, jnp) for t, x in zip(total, g, strict=True))
        return total, dot(g, g, jnp), dot(total, total, jnp)

    # compiled whole: op by op, init would be a dozen small compilations
    init = jax.jit(lambda leaves: method.init(leaves, xp=jnp))
    return Programs(init, loop, jax.jit(mean), jax.jit(batches, static_argnums=3), jax.jit(aux), jax.jit(gradient))

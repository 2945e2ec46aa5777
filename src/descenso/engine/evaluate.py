"""The loss and its gradient over many rows, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from descenso._types import Evaluation, Leaves
from descenso.engine.objective import Objective

# A gradient over all rows at once reads the data twice from memory and writes what lies between; blocks stay in cache.
_BLOCK_BYTES = 1 << 20
_LEAST_ROWS = 256


def block_rows(data: Leaves) -> int:
    """How many rows of `data` make a block: about a megabyte, at least 256 rows, at most all."""
    rows = data[0].shape[0]
    per_row = sum(a.dtype.itemsize * (a.size // rows) for a in data)
    return min(rows, max(_LEAST_ROWS, _BLOCK_BYTES // max(per_row, 1)))


def over_blocks(f: Callable, data: Leaves):
    """The mean of `f(block)` over the blocks of `data`, weighted by their rows. `f` returns a pytree of arrays."""
    rows, size = data[0].shape[0], block_rows(data)
    whole, rest = divmod(rows, size)
    if whole == 1 and not rest:
        return f(data)

    def weighted(part, n):
        return jax.tree.map(lambda v: v * (n / rows), f(part))

    def body(i, total):
        part = tuple(jax.lax.dynamic_slice_in_dim(a, i * size, size) for a in data)
        return jax.tree.map(jnp.add, total, weighted(part, size))

    shapes = jax.eval_shape(lambda: weighted(tuple(a[:size] for a in data), size))
    total = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    total = jax.lax.fori_loop(0, whole, body, total)
    if rest:
        total = jax.tree.map(jnp.add, total, weighted(tuple(a[whole * size :] for a in data), rest))
    return total


def mean_loss(objective: Objective, leaves: Leaves, data: Leaves, key: jax.Array) -> jax.Array:
    """The loss over all rows of `data` (or without data), as the mean over blocks."""
    if objective.data is None or not objective.blocked:
        return objective.value(leaves, data, key)
    rows, own = objective.split(data)
    return over_blocks(lambda part: objective.value(leaves, part + own, key), rows)


def mean_aux(objective: Objective, leaves: Leaves, data: Leaves, key: jax.Array) -> Any:
    """What a loss with `has_aux` returns beside its value over all rows of `data`, as the mean over blocks."""

    def aux(rows: Leaves) -> Any:
        # counts become floats, of one block as of many
        return jax.tree.map(
            lambda a: a * jnp.ones((), jnp.result_type(a, jnp.float32)), objective.output(leaves, rows, key)[1]
        )

    if objective.data is None or not objective.blocked:
        return aux(data)
    rows, own = objective.split(data)
    return over_blocks(lambda part: aux(part + own), rows)


def full_gradient(objective: Objective, leaves: Leaves, data: Leaves, key: jax.Array) -> Evaluation:
    """Loss and gradient over all rows of `data` (or without data), accumulated over blocks."""
    grad = jax.value_and_grad(objective.value)
    if objective.data is None or not objective.blocked:
        return Evaluation(*grad(leaves, data, key))
    rows, own = objective.split(data)
    return Evaluation(*over_blocks(lambda part: grad(leaves, part + own, key), rows))


def gradient_on(
    objective: Objective, leaves: Leaves, data: Leaves, rows: jax.Array | None, key: jax.Array
) -> Evaluation:
    """Loss and gradient on these rows of the data; None takes all of them, accumulated over blocks."""
    if rows is None:
        return full_gradient(objective, leaves, data, key)
    return Evaluation(*jax.value_and_grad(objective.value)(leaves, gather(objective, data, rows), key))


def batch_losses(objective: Objective, leaves: Leaves, data: Leaves, order: jax.Array, size: int, key: jax.Array):
    """The losses at `leaves` of the batches that `order` holds end to end: shape (len(order) // size,)."""
    batches = order.reshape(-1, size)
    return jax.lax.map(lambda rows: objective.value(leaves, gather(objective, data, rows), key), batches)


def gather(objective: Objective, data: Leaves, rows: jax.Array) -> Leaves:
    """These rows of every array of the data, and the loss's own arrays as they are."""
    arrays, own = objective.split(data)
    # every row number is in range by construction; the default mode would check each
    return (*(a.at[rows].get(mode="promise_in_bounds") for a in arrays), *own)

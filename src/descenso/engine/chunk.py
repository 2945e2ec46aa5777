"""Many steps in one compiled call.

The number of steps, their place in the run and the length of a record are traced values, so one compilation serves a
whole run: chunks of any length, recoveries, schedules, seeds and forks. Records are means over `stride` steps, summed
inside the loop, so that a chunk returns a few hundred numbers however long it is.

The state is not donated: the state that enters a chunk is the snapshot to go back to if the chunk goes wrong, and
donating it would cost the copy that keeping it saves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from descenso._namespace import all_finite, step_if_finite
from descenso._types import Leaves, Method, State
from descenso.engine.evaluate import full_gradient, gradient_on
from descenso.engine.objective import Objective

CELLS = 256
"""How many records one call can return."""
COLUMNS = ("loss", "grad_norm", "step_size", "update_norm", "finite", "nonfinite")
"""What a record sums: four numbers over its finite steps, and how many steps were finite and nonfinite."""


class RunState(NamedTuple):
    """All there is to save of a run.

    params, method: what the method steps. scale: () float, the driver's handle on the step size.
    cursor: updates made, the number of the next batch. key: the PRNG key of the run, as (2,) uint32.
    """

    params: Leaves
    method: State
    scale: jax.Array
    cursor: int
    key: np.ndarray


def as_key(words: jax.Array | np.ndarray) -> jax.Array:
    """The PRNG key of two words. Named, because the same seed must give the same run whatever JAX's default is."""
    return jax.random.wrap_key_data(jnp.asarray(words), impl="threefry2x32")


def step_of(objective: Objective, method: Method) -> Callable:
    """One step: (params, method state, scale, key, data, rows) -> (params, method state, summands).

    `rows` are the row numbers of the batch; None takes all rows, a block at a time.
    """

    def step(params, state, scale, key, data, rows):
        evaluation = gradient_on(objective, params, data, rows, key)
        extra = {}
        if getattr(method, "needs_product", False):
            extra["product"] = lambda v: _product(objective, params, data, key, v)
        params, state, info = step_if_finite(method, evaluation, params, state, scale=scale, xp=jnp, **extra)
        ok = jnp.isfinite(info.loss) & (all_finite(evaluation, jnp) | getattr(method, "line_search", False))
        kept = [jnp.where(ok, jnp.asarray(n, _dtype()), 0.0) for n in info]
        return params, state, jnp.stack([*kept, ok.astype(_dtype()), (~ok).astype(_dtype())])

    return step


def _dtype():
    return jnp.result_type(float)  # float64 where the caller has switched it on


def no_sums() -> np.ndarray:
    """Records of no steps."""
    return np.zeros((CELLS, len(COLUMNS)), _dtype())


def _product(objective: Objective, params: Leaves, data: Leaves, key: jax.Array, v: Leaves) -> Leaves:
    return jax.jvp(lambda p: full_gradient(objective, p, data, key).grads, (params,), (v,))[1]


def over(numbers: jax.Array, state: State, vanished: jax.Array) -> jax.Array:
    """Whether the step that gave these summands was the last that is needed."""
    return ((numbers[1] <= vanished) & (numbers[4] > 0)) | getattr(state, "stalled", False)


def looped(step: Callable, batch_size: int | None) -> Callable:
    """All steps in one compiled loop.

    (params, state, sums, scale, key, data, order, start, steps, stride, offset, vanished)
    -> (over, params, state, sums).
    `order`: the row numbers of all batches, end to end. `start`: the cursor of the first step (uint32, wraps).
    `vanished`: the gradient norm that ends the loop early, below 0 for none; so does a line search that has stalled.
    `sums`: (CELLS, columns), of the `offset` steps before. Record i is of the steps whose `offset + step` divided by
    `stride` is i. Added to in the loop, so that a record is the same however its steps are cut into chunks.
    """

    def chunk(params, state, sums, scale, key, data, order, start, steps, stride, offset, vanished):
        key = as_key(key)

        def one(carry):
            i, _, params, state, total = carry
            rows = None if batch_size is None else jax.lax.dynamic_slice_in_dim(order, i * batch_size, batch_size)
            key_i = jax.random.fold_in(key, start + i.astype(jnp.uint32))
            params, state, numbers = step(params, state, scale, key_i, data, rows)
            return i + 1, over(numbers, state, vanished), params, state, total + numbers

        def cell(carry):
            i, done, params, state, sums = carry
            # neither number is negative and the record is in range: // and sums[c] would compile checks of that
            c = jax.lax.div(offset + i, stride)
            last = jnp.minimum((c + 1) * stride - offset, steps)
            record = jax.lax.dynamic_index_in_dim(sums, c, keepdims=False)
            more = lambda carry: (carry[0] < last) & ~carry[1]  # noqa: E731
            i, done, params, state, total = jax.lax.while_loop(more, one, (i, done, params, state, record))
            return i, done, params, state, jax.lax.dynamic_update_index_in_dim(sums, total, c, 0)

        more = lambda carry: (carry[0] < steps) & ~carry[1]  # noqa: E731
        begin = (jnp.int32(0), jnp.asarray(False), params, state, sums)
        return jax.lax.while_loop(more, cell, begin)[1:]

    return jax.jit(chunk)


def stepped(step: Callable, batch_size: int | None) -> Callable:
    """The same, one compiled call a step: gradients of convolutions are many times slower inside a loop on XLA:CPU.

    It makes all its steps: asking after each whether it is over would wait for each.
    """

    def single(params, state, sums, scale, key, data, order, start, i, cell):
        rows = None if batch_size is None else jax.lax.dynamic_slice_in_dim(order, i * batch_size, batch_size)
        key = jax.random.fold_in(as_key(key), start + i)
        params, state, numbers = step(params, state, scale, key, data, rows)
        return params, state, sums.at[cell].add(numbers)

    call = jax.jit(single, donate_argnums=(0, 1, 2))

    def chunk(params, state, sums, scale, key, data, order, start, steps, stride, offset, vanished):
        # the caller keeps its own as the snapshot
        params, state, sums = jax.tree.map(jnp.array, (params, state, sums))
        for i in range(int(steps)):
            cell = np.int32((int(offset) + i) // int(stride))
            params, state, sums = call(params, state, sums, scale, key, data, order, start, np.uint32(i), cell)
        return False, params, state, sums

    return chunk

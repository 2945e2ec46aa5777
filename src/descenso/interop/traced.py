"""A NumPy user's function, traced and compiled by JAX where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from descenso.engine.chunk import as_key
from descenso.engine.compile_cache import Remembered, keep_on_disk
from descenso.engine.engine import key_data
from descenso.engine.objective import Objective, inspect_loss, parted
from descenso.engine.tree import flatten

_remembered = Remembered()


class Programs(NamedTuple):
    """Compiled: loss and gradient at x, and H v at x and v; both take the arrays among the extra arguments."""

    evaluate: Callable
    product: Callable


@dataclass(frozen=True)
class _Filled:
    """fun(x, *args) with x last; `rest` are the args, ... where an array is handed in."""

    fun: Callable
    rest: tuple

    def __call__(self, *given: Any) -> jax.Array:
        arrays, x = iter(given[:-1]), given[-1]
        args = [next(arrays) if a is ... else a for a in self.rest]
        return jnp.reshape(jnp.asarray(self.fun(x, *args)), ())


def traced(fun: Callable, x: np.ndarray, args: tuple) -> tuple[Programs | None, tuple, str]:
    """`fun` compiled by JAX with its gradient, and its own arrays; or None, and why it cannot be.

    Arrays of floats among the args are arguments of the compiled code, so that other data compile nothing again.
    """
    keep_on_disk()
    why = ""
    for shared in (_is_floats, lambda a: False):
        try:
            with jax.enable_x64(True):
                return *_compiled(fun, x, args, shared), ""
        except Exception as error:  # whatever a function raises that was not written for JAX
            why = type(error).__name__
    return None, (), why


def _compiled(fun: Callable, x: np.ndarray, args: tuple, shared: Callable[[Any], bool]) -> tuple[Programs, tuple]:
    filled = _Filled(fun, tuple(... if shared(a) else a for a in args))
    arrays = [a for a in args if shared(a)]
    loss, own = parted(Partial(filled, *arrays)) if arrays else (filled, ())
    tree, leaves = flatten(x)
    objective = Objective(loss, tree, None, keyed=False, own=len(own))
    trace = inspect_loss(objective, leaves, own, as_key(key_data(0, 0)))
    return _remembered.get(objective, trace, lambda: _programs(objective)), own


def _is_floats(value: Any) -> bool:
    return isinstance(value, (np.ndarray, jax.Array)) and value.dtype.kind == "f"


def _programs(objective: Objective) -> Programs:
    def value(leaves, own):
        return objective.value(leaves, own, as_key(key_data(0, 0)))

    def evaluate(leaves, own):
        loss, (grads,) = jax.value_and_grad(value)(leaves, own)
        return loss, grads

    def product(leaves, v, own):
        return jax.jvp(lambda p: evaluate(p, own)[1], (leaves,), (v,))[1]

    return Programs(jax.jit(evaluate), jax.jit(product))

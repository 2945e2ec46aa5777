"""A loss around one point, as a function of one flat vector."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from descenso._namespace import ravel, unravel
from descenso._types import Leaves
from descenso.engine.chunk import as_key
from descenso.engine.compile_cache import Remembered
from descenso.engine.evaluate import full_gradient, mean_loss
from descenso.engine.objective import Objective, Trace
from descenso.engine.tree import is_wide

_remembered = Remembered()
_AT_ONCE = 16  # points or directions that one compiled call takes together,
_NUMBERS = 1 << 24  # fewer where they would hold more numbers than this
_FORWARD, _PRODUCT = 1 / 3, 2.0  # the costs of a loss and of a Hessian-vector product, in gradients


class Programs(NamedTuple):
    """Compiled functions of many points at once, or of many directions at one point."""

    losses: Callable
    gradients: Callable
    products: Callable


def _programs(objective: Objective) -> Programs:
    def losses(like, points, data, key):
        return jax.vmap(lambda x: mean_loss(objective, unravel(x, like, jnp), data, as_key(key)))(points)

    def gradient(x, like, data, key):
        return ravel(full_gradient(objective, unravel(x, like, jnp), data, as_key(key)).grads, jnp)

    def gradients(like, points, data, key):
        return jax.vmap(lambda x: gradient(x, like, data, key))(points)

    def products(like, point, directions, data, key):
        slope = lambda x: gradient(x, like, data, key)  # noqa: E731
        return jax.vmap(lambda v: jax.jvp(slope, (point,), (v,))[1])(directions)

    return Programs(jax.jit(losses), jax.jit(gradients), jax.jit(products))


class Surface:
    """The loss at `x` + anything: losses, gradients and Hessian-vector products, counted.

    Arguments and results are NumPy arrays in float64, whatever the dtype of the params; what is computed in between has
    that dtype. A row of an argument is one point or direction of n numbers.

    Attributes:
        x: the point (n,).
        eps: the rounding unit of the coarsest dtype among the params.
        spent: what was evaluated so far, in gradients: a loss is 1/3, a Hessian-vector product 2.
    """

    def __init__(self, objective: Objective, leaves: Leaves, data: Leaves, key: np.ndarray, trace: Trace | None = None):
        setting = (objective, is_wide())
        make = lambda: _programs(objective)  # noqa: E731
        self._programs = make() if trace is None else _remembered.get(setting, trace, make)
        self._leaves, self._data, self._key = leaves, data, key
        self._dtype = jnp.promote_types(jnp.float32, jnp.result_type(*leaves))
        self.x = self._numbers(ravel(leaves, jnp))
        self.eps = max(float(jnp.finfo(leaf.dtype).eps) for leaf in leaves)
        self.spent = 0.0

    @property
    def n(self) -> int:
        """How many params there are."""
        return len(self.x)

    @cached_property
    def loss(self) -> float:
        """The loss at `x`."""
        return float(self.losses(self.x[None])[0])

    @cached_property
    def gradient(self) -> np.ndarray:
        """The gradient at `x`: (n,)."""
        return self.gradients(self.x[None])[0]

    @property
    def scale(self) -> float:
        """The length that a step is compared with: the norm of the params, at least 1."""
        return max(float(np.linalg.norm(self.x)), 1.0)

    def losses(self, points: np.ndarray) -> np.ndarray:
        """The loss at each of the points (m, n): (m,)."""
        self.spent += _FORWARD * len(points)
        call = lambda part: self._programs.losses(self._leaves, part, self._data, self._key)  # noqa: E731
        return self._in_parts(call, points)

    def gradients(self, points: np.ndarray) -> np.ndarray:
        """The gradient at each of the points (m, n): (m, n)."""
        self.spent += len(points)
        call = lambda part: self._programs.gradients(self._leaves, part, self._data, self._key)  # noqa: E731
        return self._in_parts(call, points)

    def products(self, directions: np.ndarray, at: np.ndarray | None = None) -> np.ndarray:
        """H v for each of the directions v (m, n), H the Hessian at `x`, or at the point `at`: (m, n)."""
        self.spent += _PRODUCT * len(directions)
        point = jnp.asarray(self.x if at is None else at, self._dtype)
        call = lambda part: self._programs.products(self._leaves, point, part, self._data, self._key)  # noqa: E731
        return self._in_parts(call, directions, alone=True)

    def rounded(self, points: np.ndarray) -> np.ndarray:
        """The points as the params can hold them."""
        return np.stack([self._numbers(ravel(unravel(self._row(p), self._leaves, jnp), jnp)) for p in points])

    def inside(self, steps: np.ndarray) -> np.ndarray:
        """The steps (..., n), each cut where it would leave the bounds: there are none."""
        return steps

    def leaves_of(self, vector: np.ndarray) -> Leaves:
        """A vector (n,) as leaves of the shapes and dtypes of the params."""
        return unravel(self._row(vector), self._leaves, jnp)

    def _row(self, point: np.ndarray) -> jax.Array:
        return jnp.asarray(point, self._dtype)

    def _numbers(self, array: jax.Array) -> np.ndarray:
        return np.asarray(array, np.float64)

    def _in_parts(self, call: Callable, rows: np.ndarray, alone: bool = False) -> np.ndarray:
        """`call` on the rows, `_AT_ONCE` together, or one: few shapes, so that few compilations serve all."""
        together = max(1, min(_AT_ONCE, _NUMBERS // self.n))
        found = []
        for start in range(0, len(rows), together):
            part = rows[start : start + together]
            room = np.repeat(part[:1], 1 if alone and len(part) == 1 else together, axis=0)
            room[: len(part)] = part
            found.append(self._numbers(call(self._row(room)))[: len(part)])
        return np.concatenate(found)

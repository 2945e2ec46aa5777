"""A caller's functions: called with copies in float64, counted, and what they return looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from descenso._errors import LossGradientError, LossShapeError


class Called:
    """A callable of the user's, given a copy of x and the extra arguments; its calls are counted.

    JAX has 64 bits switched on meanwhile: NumPy does not notice, and a function of JAX is not computed in 32.
    """

    def __init__(self, f: Callable, args: tuple):
        self._f, self._args = f, args
        self.count = 0

    def __call__(self, *x: np.ndarray) -> Any:
        self.count += 1
        with jax.enable_x64(True):
            return self._f(*(part.copy() for part in x), *self._args)


def number(found: Any) -> float:
    """What `fun` returned as a float; raises LossShapeError where it is not one number."""
    array = np.asarray(found)
    if array.size != 1 or array.dtype.kind not in "fiub":
        raise LossShapeError(
            f"`fun` returned shape {array.shape} and dtype {array.dtype}. It must return one real number."
        )
    return float(array.reshape(()))


def vector(found: Any, n: int, name: str) -> np.ndarray:
    """What `jac` and the like returned, as n floats; raises LossGradientError where it is not."""
    array = np.asarray(found, np.float64)
    if array.size != n:
        raise LossGradientError(f"`{name}` returned shape {array.shape}. With {n} params it must return {n} numbers.")
    return array.reshape(n)

"""Arrays where XLA computes on them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from numpy.typing import DTypeLike

_BYTES = 64


def aligned(shape: tuple[int, ...], dtype: DTypeLike, make: Callable = np.empty) -> np.ndarray:
    """An array that begins at a multiple of 64 bytes: on a CPU XLA takes it as it is, any other it would copy.

    Args:
        make: `np.empty` or `np.zeros`.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    room = make(size + _BYTES, np.uint8)
    start = -room.ctypes.data % _BYTES
    return room[start : start + size].view(dtype).reshape(shape)

"""The space that restarts search, in which every coordinate goes from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descenso._namespace import ravel
from descenso._types import Leaves

_WIDTH = 3.0  # of the box around a start without bounds, to each side, in units of the size of its leaf


@dataclass(frozen=True)
class Box:
    """x = low + width u for u (n,) with entries from 0 to 1; all (n,) float arrays.

    Attributes:
        low, width: of x.
        lower, upper: the bounds of u; infinite where x has none.
    """

    low: np.ndarray
    width: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @property
    def bounded(self) -> bool:
        """Whether every coordinate has both bounds."""
        return bool(np.isfinite(self.lower).all() and np.isfinite(self.upper).all())

    def inside(self, x: np.ndarray) -> np.ndarray:
        """x in units of the box, within the bounds."""
        return np.clip((x - self.low) / self.width, self.lower, self.upper).astype(self.low.dtype)


def box_around(leaves: Leaves, bounds: tuple[Leaves, Leaves] | None) -> Box:
    """The box between `bounds`, or where there is none the start and three times its size to each side.

    The size of a leaf is the root of its mean square, 1 for a leaf of zeros.
    """
    leaves = tuple(np.asarray(leaf) for leaf in leaves)
    x = ravel(leaves, np)
    size = [np.full(leaf.size, _size(leaf)) for leaf in leaves]
    reach = _WIDTH * np.concatenate(size).astype(x.dtype)
    least, most = (np.full_like(x, b) for b in (-np.inf, np.inf))
    if bounds is not None:
        least, most = (ravel(tuple(np.asarray(b) for b in side), np).astype(x.dtype) for side in bounds)
    low = np.where(np.isfinite(least), least, np.where(np.isfinite(most), most - 2 * reach, x - reach))
    high = np.where(np.isfinite(most), most, np.where(np.isfinite(least), least + 2 * reach, x + reach))
    width = np.where(high > low, high - low, 1.0).astype(x.dtype)
    return Box(low.astype(x.dtype), width, (least - low) / width, (most - low) / width)


def _size(leaf: np.ndarray) -> float:
    mean_square = float(np.mean(np.square(leaf, dtype=np.float64))) if leaf.size else 0.0
    return mean_square**0.5 or 1.0

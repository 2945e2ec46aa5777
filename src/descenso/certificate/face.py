"""The loss around a point within bounds, as a function of the params that are free to move there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from descenso.certificate.surface import Surface


class Standing(NamedTuple):
    """How the params of a point stand to their bounds; booleans (n,).

    at: at a bound, or fixed by two that are equal. held: of these, those that may not move, or would only raise the
    loss by it. weak: of the held, those that may move and whose gradient is so small that it may be zero.
    """

    at: np.ndarray
    held: np.ndarray
    weak: np.ndarray


def standing(surface: Surface, low: np.ndarray, high: np.ndarray, small: float) -> Standing:
    """How the point stands to the bounds (n,); `small`: a gradient entry that may be zero."""
    x, g = surface.x, surface.gradient
    typical = float(np.sqrt(np.mean(x**2)))
    at_low = x - low <= 8 * surface.eps * np.maximum(np.maximum(np.abs(x), _finite(low)), typical)
    at_high = high - x <= 8 * surface.eps * np.maximum(np.maximum(np.abs(x), _finite(high)), typical)
    fixed = low >= high
    outward = (at_low & (g >= 0)) | (at_high & (g <= 0))
    return Standing(at_low | at_high, fixed | outward, outward & ~fixed & (np.abs(g) <= small))


def _finite(bound: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(bound), np.abs(bound), 0.0)


class Face:
    """A `Surface` of the free params alone: it answers the same questions, and asks nothing outside the bounds.

    Args:
        surface: the loss around the point.
        free: which params move, boolean (n,).
        low, high: the bounds of all params, (n,).
    """

    def __init__(self, surface: Surface, free: np.ndarray, low: np.ndarray, high: np.ndarray):
        self._surface, self._free = surface, free
        self._low, self._high = low[free], high[free]
        self.x, self.eps = surface.x[free], surface.eps

    @property
    def n(self) -> int:
        """How many params are free."""
        return len(self.x)

    @property
    def loss(self) -> float:
        """The loss at the point."""
        return self._surface.loss

    @property
    def gradient(self) -> np.ndarray:
        """The gradient by the free params: (n,)."""
        return self._surface.gradient[self._free]

    @property
    def scale(self) -> float:
        """The length that a step is compared with."""
        return max(float(np.linalg.norm(self.x)), 1.0)

    @property
    def spent(self) -> float:
        """What was evaluated so far, of the whole surface."""
        return self._surface.spent

    def losses(self, points: np.ndarray) -> np.ndarray:
        """The loss at each of the points (m, n), brought within the bounds: (m,)."""
        return self._surface.losses(self._whole(points))

    def gradients(self, points: np.ndarray) -> np.ndarray:
        """The gradient at each of the points (m, n), brought within the bounds: (m, n)."""
        return self._surface.gradients(self._whole(points))[:, self._free]

    def products(self, directions: np.ndarray, at: np.ndarray | None = None) -> np.ndarray:
        """H v for each of the directions v (m, n): (m, n)."""
        point = None if at is None else self._whole(at[None])[0]
        return self._surface.products(self.widened(directions), at=point)[:, self._free]

    def rounded(self, points: np.ndarray) -> np.ndarray:
        """The points as the params can hold them, within the bounds."""
        return self._surface.rounded(self._whole(points))[:, self._free]

    def inside(self, steps: np.ndarray) -> np.ndarray:
        """The steps (..., n), each entry cut where it would leave the bounds."""
        return np.clip(steps, self._low - self.x, self._high - self.x)

    def widened(self, directions: np.ndarray) -> np.ndarray:
        """Directions (m, n) as those of all params: the others do not move."""
        wide = np.zeros((*directions.shape[:-1], len(self._free)))
        wide[..., self._free] = directions
        return wide

    def _whole(self, points: np.ndarray) -> np.ndarray:
        whole = np.repeat(self._surface.x[None], len(points), axis=0)
        whole[:, self._free] = np.clip(points, self._low, self._high)
        return whole

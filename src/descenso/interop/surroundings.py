"""A NumPy function around one point, as the certificate asks for it."""

from __future__ import annotations

import numpy as np

from descenso.interop.function import Function, Point


class Surroundings:
    """The loss at `x` + anything: what `certificate.surface.Surface` is for a loss of JAX.

    A row of an argument is one point or direction of n numbers.

    Attributes:
        x, loss, gradient: the point (n,), the loss there and its gradient (n,).
        eps: the rounding unit of float64.
    """

    eps = float(np.finfo(np.float64).eps)

    def __init__(self, f: Function, point: Point):
        self._f = f
        self.x, self.loss, self.gradient = point
        self._before = f.nfev

    @property
    def n(self) -> int:
        """How many params there are."""
        return len(self.x)

    @property
    def scale(self) -> float:
        """The length that a step is compared with: the norm of the params, at least 1."""
        return max(float(np.linalg.norm(self.x)), 1.0)

    @property
    def spent(self) -> float:
        """Evaluations of the function so far."""
        return float(self._f.nfev - self._before)

    def losses(self, points: np.ndarray) -> np.ndarray:
        """The loss at each of the points (m, n): (m,)."""
        return np.array([self._f.loss(p) for p in points])

    def gradients(self, points: np.ndarray) -> np.ndarray:
        """The gradient at each of the points (m, n): (m, n)."""
        return np.stack([self._f.at(p).grads for p in points])

    def products(self, directions: np.ndarray, at: np.ndarray | None = None) -> np.ndarray:
        """H v for each of the directions v (m, n), H the Hessian at `x`, or at the point `at`: (m, n)."""
        point = self.x if at is None else at
        return np.stack([self._f.product(point, v) for v in directions])

    def inside(self, steps: np.ndarray) -> np.ndarray:
        """The steps (..., n), each cut where it would leave the bounds: there are none."""
        return steps

    def rounded(self, points: np.ndarray) -> np.ndarray:
        """The points as the params can hold them."""
        return points

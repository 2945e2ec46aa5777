"""Gradients of a NumPy function by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_EPS = float(np.finfo(np.float64).eps)
FORWARD, CENTRAL = _EPS ** (1 / 2), _EPS ** (1 / 3)
"""The lengths of a step, in units of max(1, |x_i|), that balance rounding against the curvature left out."""


def steps(x: np.ndarray, share: float) -> np.ndarray:
    """The step for each entry of x, (n,), exact in floating point: x + h - x = h."""
    return x + share * np.maximum(1.0, np.abs(x)) - x


def forward(f: Callable[[np.ndarray], float], x: np.ndarray, loss: float, share: float = FORWARD) -> np.ndarray:
    """(f(x + h_i) - f(x)) / h_i for each entry, (n,): n calls of f, right to about 1e-8 of the curvature."""
    h = steps(x, share)
    return np.array([(f(_moved(x, i, h[i])) - loss) / h[i] for i in range(len(x))])


def central(f: Callable[[np.ndarray], float], x: np.ndarray, loss: float, share: float = CENTRAL) -> np.ndarray:
    """(f(x + h_i) - f(x - h_i)) / 2 h_i for each entry, (n,): 2 n calls of f, right to about 1e-10.

    Where one side is not finite, the difference between x and the other.
    """
    h = steps(x, share)
    up = np.array([f(_moved(x, i, h[i])) for i in range(len(x))])
    down = np.array([f(_moved(x, i, -h[i])) for i in range(len(x))])
    both = np.isfinite(up) & np.isfinite(down)
    with np.errstate(invalid="ignore"):  # inf - inf, in an entry that is not taken
        one = np.where(np.isfinite(up), up - loss, loss - down)
        return np.where(both, (up - down) / 2, one) / h


def rounding(x: np.ndarray, loss: float, share: float) -> float:
    """What the rounding of the loss alone can make of the norm of such a gradient."""
    return 4 * _EPS * abs(loss) * float(np.linalg.norm(1 / steps(x, share)))


def sides(
    f: Callable[[np.ndarray], float], point: tuple[np.ndarray, float, np.ndarray], direction: np.ndarray
) -> tuple[float, float, float]:
    """The slopes of f along a direction of length 1 before and behind a point, and what rounding can make of them."""
    x, loss, _ = point
    t = CENTRAL * max(1.0, float(np.abs(x).max()))
    up, down = f(x + t * direction), f(x - t * direction)
    return (loss - down) / t, (up - loss) / t, 8 * _EPS * max(abs(up), abs(down)) / t


def _moved(x: np.ndarray, i: int, h: float) -> np.ndarray:
    moved = x.copy()
    moved[i] += h
    return moved

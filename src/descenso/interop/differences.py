"""Gradients of a NumPy function by finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

Loss: TypeAlias = Callable[[np.ndarray], float]
Box: TypeAlias = tuple[np.ndarray, np.ndarray]

EPS = float(np.finfo(np.float64).eps)
FORWARD, CENTRAL = EPS ** (1 / 2), EPS ** (1 / 3)
"""The lengths of a step, in units of max(1, |x_i|), that balance rounding against the curvature left out."""


def steps(x: np.ndarray, share: float) -> np.ndarray:
    """The step for each entry of x, (n,), exact in floating point: x + h - x = h."""
    return x + share * np.maximum(1.0, np.abs(x)) - x


def forward(f: Loss, x: np.ndarray, loss: float, share: float = FORWARD, box: Box | None = None) -> np.ndarray:
    """(f(x + h_i) - f(x)) / h_i for each entry, (n,): n calls of f, right to about 1e-8 of the curvature.

    Within the bounds `box`, low and high (n,), h_i is negative or shorter where there is no room; an entry that is
    fixed has 0.
    """
    h = steps(x, share)
    if box is not None:
        up, down = box[1] - x, x - box[0]
        h = np.where(h <= up, h, np.where(h <= down, -h, np.where(up >= down, up, -down)))
    return np.array([(f(moved(x, i, h[i])) - loss) / h[i] if h[i] else 0.0 for i in range(len(x))])


def central(f: Loss, x: np.ndarray, loss: float, share: float = CENTRAL, box: Box | None = None) -> np.ndarray:
    """(f(x + h_i) - f(x - h_i)) / 2 h_i for each entry, (n,): 2 n calls of f, right to about 1e-10.

    Where one side is not finite, the difference between x and the other. Within the bounds `box`, low and high (n,),
    (4 f(x + h_i) - f(x + 2 h_i) - 3 f(x)) / 2 h_i where there is room on one side alone; 0 where an entry is fixed.
    """
    h = steps(x, share)
    if box is not None:
        return np.array([_one(f, x, loss, i, h[i], (box[0][i], box[1][i])) for i in range(len(x))])
    up = np.array([f(moved(x, i, h[i])) for i in range(len(x))])
    down = np.array([f(moved(x, i, -h[i])) for i in range(len(x))])
    both = np.isfinite(up) & np.isfinite(down)
    with np.errstate(invalid="ignore"):  # inf - inf, in an entry that is not taken
        one = np.where(np.isfinite(up), up - loss, loss - down)
        return np.where(both, (up - down) / 2, one) / h


def _one(f: Loss, x: np.ndarray, loss: float, i: int, h: float, box: tuple[float, float]) -> float:
    up, down = box[1] - x[i], x[i] - box[0]
    if min(up, down) >= h:
        high, low = f(moved(x, i, h)), f(moved(x, i, -h))
        if np.isfinite(high) and np.isfinite(low):
            return (high - low) / (2 * h)
        return ((high - loss) if np.isfinite(high) else (loss - low)) / h
    h = min(h, max(up, down) / 2) * (1 if up >= down else -1)
    return (4 * f(moved(x, i, h)) - f(moved(x, i, 2 * h)) - 3 * loss) / (2 * h) if h else 0.0


def rounding(x: np.ndarray, loss: float, share: float) -> float:
    """What the rounding of the loss alone can make of the norm of such a gradient."""
    return 4 * EPS * abs(loss) * float(np.linalg.norm(1 / steps(x, share)))


def sides(
    f: Callable[[np.ndarray], float], point: tuple[np.ndarray, float, np.ndarray], direction: np.ndarray
) -> tuple[float, float, float]:
    """The slopes of f along a direction of length 1 before and behind a point, and what rounding can make of them."""
    x, loss, _ = point
    t = CENTRAL * max(1.0, float(np.abs(x).max()))
    up, down = f(x + t * direction), f(x - t * direction)
    return (loss - down) / t, (up - loss) / t, 8 * EPS * max(abs(up), abs(down)) / t


def moved(x: np.ndarray, i: int, h: float) -> np.ndarray:
    moved = x.copy()
    moved[i] += h
    return moved

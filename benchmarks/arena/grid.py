"""Tuning a rate by grid: half decades, all seeds, wider for as long as the best is at an end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Run = Callable[[list[float]], np.ndarray]
"""`run(rates)`: the curves of every rate, shape (rates, seeds, marks)."""

_WIDEST = 40
"""Half decades either way beyond which no rate is tried: 1e-20 to 1e20."""


def rate(exponent: int) -> float:
    """The rate of a point of the grid: 10^(exponent / 2)."""
    return float(10.0 ** (exponent / 2))


def search(run: Run, middle: int, reach: int, inside: int = 2) -> dict[int, np.ndarray]:
    """The curves of every exponent that was tried: exponent -> (seeds, marks).

    Args:
        run: what rates lead to.
        middle: the centre of the grid, in half decades.
        reach: half the width of the grid that is begun with, >= 1.
        inside: how many rates there must be on each side of the best in the end, >= 1.
    """
    found: dict[int, np.ndarray] = {}
    exponents = list(range(middle - reach, middle + reach + 1))
    while exponents:
        found.update(zip(exponents, run([rate(k) for k in exponents]), strict=True))
        best = best_exponent(found)
        around = range(best - inside, best + inside + 1)
        exponents = [k for k in around if k not in found and abs(k) <= _WIDEST]
    return found


def best_exponent(found: dict[int, np.ndarray]) -> int:
    """The exponent of the lowest median final loss; the smaller rate where two are equal."""
    return min(sorted(found), key=lambda k: np.median(found[k][:, -1]))

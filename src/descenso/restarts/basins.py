"""The minima that descents ended in, told apart, and what can be said of those not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_SAME = 1e-2  # of the box, within which two ends may be one minimum
_SAME_LOSS = 1e-3  # of the spread of the losses, or of the loss itself


@dataclass(frozen=True)
class Basin:
    """A minimum, and how often it was found.

    Attributes:
        params: the point, a pytree like that given.
        loss: there; with more rows than were explored on, on those rows.
        hits: descents that ended in it. fresh: how many of them had started from a point drawn at random.
        certificate: what kind of point it is, of the lowest basins; None for the others.
    """

    params: Any
    loss: float
    hits: int
    fresh: int
    certificate: Any = None


@dataclass
class Found:
    """A basin while descents go on: x (n,) in units of the box."""

    x: np.ndarray
    loss: float
    hits: int
    fresh: int


def note(found: list[Found], x: np.ndarray, loss: float, fresh: bool, by_loss: bool) -> None:
    """Count the end of a descent to the basin that it lies in; `by_loss` tells them apart by the loss alone.

    Params of a network that are permuted are other points, but no other minimum.
    """
    unit = max(1e-3, abs(loss))
    for basin in found:
        close = by_loss or abs(basin.x - x).max() < _SAME
        if close and abs(basin.loss - loss) <= _SAME_LOSS * unit:
            basin.hits, basin.fresh = basin.hits + 1, basin.fresh + fresh
            if loss < basin.loss:
                basin.x, basin.loss = x, loss
            return
    found.append(Found(x, loss, 1, int(fresh)))


def unseen(basins: list[Found]) -> str:
    """What can be said of the minima that no descent has ended in, from the descents that started at random.

        share of such starts that lead elsewhere = w (w + 1) / (n (n - 1)),  basins in all = w (n - 1) / (n - w - 2)

    for n descents that ended in w basins; where n is too small for that, a bound: 3 / n at 95 %.

    Source: Boender and Rinnooy Kan 1987, Math. Programming 37, 59-80.
    """
    n, w = sum(b.fresh for b in basins), sum(b.fresh > 0 for b in basins)
    if n < 3 or n - w - 2 <= 0:
        return f"{n} starts drawn at random ended in {w} basins: too few to tell how many there are"
    share, total = w * (w + 1) / (n * (n - 1)), w * (n - 1) / (n - w - 2)
    return (
        f"{n} starts drawn at random ended in {w} basins: about {total:.0f} are to be expected in all, "
        f"about {min(1.0, share):.0%} of such starts would lead to one not seen, and one that none has found draws "
        f"fewer than {min(1.0, 3 / n):.0%} of them (at 95 %)"
    )

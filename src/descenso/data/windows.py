"""The order of rows that are too many to hold: blocks in random order, then the rows within a window of blocks.

An epoch's blocks are permuted and cut into windows of so many blocks; the rows of a window are permuted. The epochs are
laid end to end, as in `batches`: batch n of size B is positions n B .. (n + 1) B - 1. So the order is a pure function
of the seed and the position, and one window at a time is enough to follow it. Where one window holds all rows the order
is that of rows in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from descenso.data.batches import Order, words


class Place(NamedTuple):
    """A window: its epoch, and its number there."""

    epoch: int
    window: int


@dataclass(frozen=True)
class Windows:
    """The endless stream of row numbers of one seed, a window at a time.

    Args:
        rows: how many rows there are, >= 1.
        block: rows of a block, >= 1; the last block may have fewer.
        span: blocks of a window, >= 1.
        seed: any integer.
    """

    rows: int
    block: int
    span: int
    seed: int

    @property
    def blocks(self) -> int:
        return -(-self.rows // self.block)

    @property
    def whole(self) -> bool:
        """Whether one window holds all rows."""
        return self.span >= self.blocks

    def pieces(self, start: int, count: int) -> Iterator[tuple[Place, np.ndarray]]:
        """The rows at positions start .. start + count - 1: windows, and which of their rows, in order."""
        if self.whole:
            yield Place(0, 0), Order(self.rows, self.seed).take(start, count)
            return
        while count > 0:
            epoch, at = divmod(start, self.rows)
            ends = _ends(self, epoch)
            window = int(np.searchsorted(ends, at, side="right"))
            first = int(ends[window - 1]) if window else 0
            rows = _shuffled(self, Place(epoch, window))[at - first : at - first + count]
            yield Place(epoch, window), rows
            start, count = start + len(rows), count - len(rows)

    def stretches(self, place: Place) -> list[tuple[int, int]]:
        """The rows of a window, in the order of its own numbering: (first, behind the last) of each block."""
        if self.whole:
            return [(0, self.rows)]
        numbers = _order_of_blocks(self, place.epoch)[place.window * self.span : (place.window + 1) * self.span]
        return [(int(n) * self.block, min((int(n) + 1) * self.block, self.rows)) for n in numbers]

    def after(self, place: Place) -> Place:
        """The window that follows."""
        if self.whole:
            return place
        last = place.window + 1 >= -(-self.blocks // self.span)
        return Place(place.epoch + 1, 0) if last else Place(place.epoch, place.window + 1)


@lru_cache(maxsize=4)
def _order_of_blocks(windows: Windows, epoch: int) -> np.ndarray:
    n = windows.blocks
    return permutation(words(windows.seed, "train blocks", epoch * n, n))


@lru_cache(maxsize=4)
def _ends(windows: Windows, epoch: int) -> np.ndarray:
    """The position behind the last row of each window of an epoch."""
    numbers = _order_of_blocks(windows, epoch)
    sizes = np.minimum(windows.block, windows.rows - numbers * windows.block)
    return np.cumsum(np.add.reduceat(sizes, np.arange(0, len(sizes), windows.span)))


@lru_cache(maxsize=2)
def _shuffled(windows: Windows, place: Place) -> np.ndarray:
    ends = _ends(windows, place.epoch)
    first = int(ends[place.window - 1]) if place.window else 0
    count = int(ends[place.window]) - first
    return permutation(words(windows.seed, "train rows", place.epoch * windows.rows + first, count))


def permutation(drawn: np.ndarray) -> np.ndarray:
    """The numbers 0 .. n - 1 in the order of the low 48 bits of n random words, equal ones as they came: int64 (n,).

    Three stable sorts by 16 bits each, which NumPy makes by counting: it takes a third of the time of one sort.
    """
    digits = drawn.astype("<u8", copy=False).view("<u2").reshape(-1, 4)
    order = np.argsort(np.ascontiguousarray(digits[:, 0]), kind="stable")
    for digit in (1, 2):
        order = order[np.argsort(np.take(np.ascontiguousarray(digits[:, digit]), order), kind="stable")]
    return order

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
            place, at = self._found(start)
            rows = _shuffled(self, place)[at : at + count]
            yield place, rows
            start, count = start + len(rows), count - len(rows)

    def place(self, position: int) -> Place:
        """The window that a position is in."""
        return Place(0, 0) if self.whole else self._found(position)[0]

    def _found(self, position: int) -> tuple[Place, int]:
        """The window that a position is in, and how many positions of it come before."""
        epoch, at = divmod(position, self.rows)
        ends = _ends(self, epoch)
        window = int(np.searchsorted(ends, at, side="right"))
        return Place(epoch, window), at - (int(ends[window - 1]) if window else 0)

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

    Sorted are the highest of these bits that leave room for the number in one word, which NumPy does twice as fast as
    any sort of the numbers by them. Where two agree in those, once in thousands of times, all bits are compared.
    """
    n = len(drawn)
    room = max(n - 1, 1).bit_length()
    left_out = np.uint64(max(48 + room - 64, 0))
    keys = ((drawn & np.uint64((1 << 48) - 1)) >> left_out) << np.uint64(room)
    keys |= np.arange(n, dtype=np.uint64)
    keys.sort()
    high = keys >> np.uint64(room)
    if left_out and (high[1:] == high[:-1]).any():
        return _by_all_bits(drawn)
    return (keys & np.uint64((1 << room) - 1)).view(np.int64)


def _by_all_bits(drawn: np.ndarray) -> np.ndarray:
    """The same by three stable sorts by 16 bits each, which NumPy makes by counting."""
    digits = drawn.astype("<u8", copy=False).view("<u2").reshape(-1, 4)
    order = np.argsort(np.ascontiguousarray(digits[:, 0]), kind="stable")
    for digit in (1, 2):
        order = order[np.argsort(np.take(np.ascontiguousarray(digits[:, digit]), order), kind="stable")]
    return order

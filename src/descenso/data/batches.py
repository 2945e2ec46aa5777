"""Which rows are in batch n: a pure function of the seed and n, with no state to save.

The epochs' permutations, laid end to end, form one endless stream of row numbers; batch n of size B is positions
n B .. (n + 1) B - 1 of it. So every batch is full, every row is seen once an epoch, and a run can start at any n.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import numpy as np

_BLOCK_ROWS = 1 << 16  # short epochs are permuted many at a time, in one vectorised sort


@dataclass(frozen=True)
class Order:
    """The endless stream of row numbers of one seed.

    Args:
        rows: how many rows there are, 1 <= rows < 2**31.
        seed: any integer.
        purpose: a name that separates streams of the same seed ("train", "judge").
    """

    rows: int
    seed: int
    purpose: str = "train"

    def take(self, start: int, count: int) -> np.ndarray:
        """Rows at positions start .. start + count - 1: int32 of shape (count,)."""
        per_block = self.rows * _epochs_per_block(self.rows)
        out = np.empty(count, np.int32)
        done = 0
        while done < count:
            block, at = divmod(start + done, per_block)
            rows = _block(self.rows, self.seed, self.purpose, block)[at : at + count - done]
            out[done : done + len(rows)] = rows
            done += len(rows)
        return out


def _epochs_per_block(rows: int) -> int:
    return max(1, _BLOCK_ROWS // rows)


@lru_cache(maxsize=4)
def _block(rows: int, seed: int, purpose: str, block: int) -> np.ndarray:
    """The permutations of `_epochs_per_block` epochs, laid end to end.

    Philox words are sorted with the row number in their low bits: that is a stable sort by the high bits, it does not
    depend on the sorting algorithm, and NumPy sorts plain integers several times faster than it argsorts.
    """
    epochs = _epochs_per_block(rows)
    mask = np.uint64((1 << (rows - 1).bit_length()) - 1)
    keys = words(seed, purpose, block * epochs * rows, epochs * rows).reshape(epochs, rows)
    keys = np.sort((keys & ~mask) | np.arange(rows, dtype=np.uint64), axis=1)
    out = (keys & mask).astype(np.int32).ravel()
    out.flags.writeable = False
    return out


def words(seed: int, purpose: str, start: int, count: int) -> np.ndarray:
    """Words start .. start + count - 1 of the Philox stream of (seed, purpose): uint64 of shape (count,)."""
    digest = sha256(f"descenso order\0{seed}\0{purpose}".encode()).digest()
    key = np.frombuffer(digest[:16], np.uint64)
    counter, skip = divmod(start, 4)  # Philox 4x64 makes four words of each counter
    words = np.random.Philox(key=key, counter=counter).random_raw(skip + count)
    return words[skip:]

"""Which rows are held out: a pure function of the seed."""

from __future__ import annotations

import numpy as np

from descenso.data.batches import Order

BLOCK_ROWS = 1 << 22  # permuted at once; the rows of a longer table are split block by block


def hold_out(rows: int, share: float, seed: int, *, groups: np.ndarray | None = None, purpose: str) -> np.ndarray:
    """A mask of the rows to hold out.

    Args:
        rows: how many there are, >= 2.
        share: of the rows, in (0, 1); at least one row is held out and at least one is kept.
        seed: any integer.
        groups: a class for each row; each class is held out in the same share, to a row in each block.
        purpose: a name that separates splits of the same seed.

    Returns:
        bool of shape (rows,), True for the held-out rows.
    """
    whole = np.zeros(rows, bool)
    for first in range(0, rows, BLOCK_ROWS):
        part = slice(first, min(first + BLOCK_ROWS, rows))
        own = f"{purpose} {first // BLOCK_ROWS}" if first else purpose
        whole[part] = _of_block(part.stop - first, share, seed, None if groups is None else groups[part], own)
    return whole


def _of_block(rows: int, share: float, seed: int, groups: np.ndarray | None, purpose: str) -> np.ndarray:
    order = Order(rows, seed, purpose).take(0, rows)
    if groups is not None:
        order = order[np.argsort(groups[order], kind="stable")]
    count = min(max(round(share * rows), 1), rows - 1)
    # position i is chosen where i * count / rows passes a whole number: evenly along the classes
    steps = (np.arange(1, rows + 1, dtype=np.int64) * count) // rows
    mask = np.zeros(rows, bool)
    mask[order[np.diff(steps, prepend=0) > 0]] = True
    return mask

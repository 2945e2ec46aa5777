"""Rows on disk in random order, where the order they came in would mislead."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from descenso.data.batches import words
from descenso.data.blocks import Blocks, Writer, path_of
from descenso.data.windows import permutation

_GROUP = 1024  # rows whose mean is compared with that of others
_SORTED = 10.0  # times more than chance: from here on the order of the rows counts as no accident
_BUCKET = 1 << 26  # bytes that are permuted in memory ...
_MOST_BUCKETS = 512  # ... or more, for no more files than that are open at once


@dataclass
class Drift:
    """Whether the values of a column drift along the rows.

    F = (variance of the means of groups of 1,024 rows) * 1,024 / (mean variance within them), which is near 1 where
    the order of the rows says nothing, and as large as the table where they are sorted. Source: the F test of one-way
    analysis of variance.
    """

    means: list[float] = field(default_factory=list)
    variances: list[float] = field(default_factory=list)

    def add(self, values: np.ndarray) -> None:
        """Take note of the next values; what does not fill a group is left out."""
        groups = values[: len(values) // _GROUP * _GROUP].reshape(-1, _GROUP).astype(np.float64)
        self.means += groups.mean(axis=1).tolist()
        self.variances += groups.var(axis=1, ddof=1).tolist()

    @property
    def ratio(self) -> float:
        """F, or 0 of fewer than 16 groups."""
        if len(self.means) < 16:
            return 0.0
        within = float(np.mean(self.variances))
        between = _GROUP * float(np.var(self.means, ddof=1))
        return between / within if within > 0 else (np.inf if between > 0 else 0.0)

    @property
    def sorted(self) -> bool:
        return self.ratio > _SORTED


def shuffled(arrays: dict[str, Any], block: int, folder: Path) -> dict[str, Blocks]:
    """The same rows in random order, in blocks in a folder.

    Each row is thrown into one of so many buckets that one fits into memory; then each bucket is permuted. All orders
    are equally likely, and the same rows always give the same one.

    Args:
        arrays: by name, each of shape (rows, ...); anything that gives an array for `a[first:last]`.
        block: rows of a block.
        folder: where their files are made, which must not be there yet.
    """
    rows = len(next(iter(arrays.values())))
    size = sum(rows * int(np.prod(a.shape[1:], dtype=np.int64)) * np.dtype(a.dtype).itemsize for a in arrays.values())
    count = min(max(1, -(-size // _BUCKET)), _MOST_BUCKETS)
    return {name: _shuffled_one(a, block, count, path_of(folder, name, a.dtype)) for name, a in arrays.items()}


def _shuffled_one(array: Any, block: int, count: int, path: Path) -> Blocks:
    """Every array of a table goes through the same draws, so its rows stay together."""
    buckets = [path.with_suffix(f".{i}") for i in range(count)]
    files = [open(bucket, "xb") for bucket in buckets]  # noqa: SIM115
    try:
        for first in range(0, len(array), block):
            part = np.asarray(array[first : first + block])
            drawn = words(0, "shuffle buckets", first, len(part)) % np.uint64(count)
            for i, file in enumerate(files):
                file.write(np.ascontiguousarray(part[drawn == i]).data)
    finally:
        for file in files:
            file.close()
    with Writer(path, block) as out:
        for bucket in buckets:
            part = np.fromfile(bucket, array.dtype).reshape(-1, *array.shape[1:])
            out.add(part[permutation(words(0, "shuffle rows", out.rows, len(part)))])
            bucket.unlink()
        return out.finish()

"""Rows that come sorted by their target and are too many to hold: in random order instead.

Arrays in memory are seen through a permutation of their rows. From anything else single rows are dear, so it is gone
through once, into the cache of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from errno import EINVAL, ENOSPC
from hashlib import sha256
from pathlib import Path
from shutil import disk_usage
from typing import Any

import numpy as np

from descenso.data.batches import words
from descenso.data.blocks import Blocks
from descenso.data.cache import FORMAT, Kept, keep, name_of, opened, prints, tidied
from descenso.data.location import Location
from descenso.data.shuffle import Drift, shuffled
from descenso.data.stream import Stream
from descenso.data.windows import permutation


@dataclass(frozen=True)
class Permuted:
    """An array in memory, its rows in another order; `a[first:last]` gives an array."""

    array: np.ndarray
    order: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def __len__(self) -> int:
        return len(self.array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[0 : len(self)], dtype)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.array[self.order[rows]]

    def pick(self, numbers: np.ndarray) -> np.ndarray:
        """Single rows."""
        return self.array[self.order[numbers]]


def mended(stream: Stream, cache: Path | None) -> tuple[list[Any], str]:
    """The arrays of a stream, shuffled where their order would mislead, and a sentence if it would (else "").

    Looked at are the arrays that have one number a row, in 256 runs of rows spread over all, by `Drift`. Where one
    window holds all rows, or the rows come from a cache in which that was seen to, the arrays stay as they are. They
    do too, and the sentence says so, where there is no room for others.

    Args:
        stream: of the arrays as they were given.
        cache: the folder to keep shuffled rows in; None for the user's.
    """
    arrays = list(stream.arrays)
    if stream.order(0).whole or any(isinstance(a, Blocks) for a in arrays):
        return arrays, ""
    name = next((name for name, a in zip(stream.names, arrays, strict=True) if _follows(a, stream.runs())), None)
    if name is None:
        return arrays, ""
    told = f"the rows are in an order that follows {name}"
    if all(isinstance(a, np.ndarray) and _file_of(a) is None for a in arrays):
        order = permutation(words(0, "shuffle rows", 0, stream.rows))
        return [Permuted(a, order) for a in arrays], f"{told}: they are read in a random one"
    try:
        folder = tidied(cache)
        return _kept(stream, folder), f"{told}: they were shuffled into {folder}"
    except OSError as error:
        why = error.strerror or str(error)
        return arrays, f"{told} and are seen unevenly, for they could not be shuffled on disk ({why}): give a `cache`"


def _follows(array: Any, runs: Sequence[tuple[int, int]]) -> bool:
    if len(array) != int(np.prod(array.shape, dtype=np.int64)) or np.dtype(array.dtype).kind not in "iufb":
        return False
    drift = Drift()
    for first, last in runs:
        values = np.asarray(array[first:last], np.float64).reshape(-1)
        if not np.isfinite(values).all():
            return False
        with np.errstate(over="ignore"):
            drift.add(values)
    with np.errstate(over="ignore", invalid="ignore"):
        return drift.sorted


def _kept(stream: Stream, folder: Path) -> list[Any]:
    """The rows in random order in the cache, those of an earlier call if they are the same."""
    names = [f"array{i}" for i in range(len(stream.arrays))]
    if unknown := [str(a.dtype) for a in stream.arrays if np.dtype(a.dtype).kind not in "iufb"]:
        raise OSError(EINVAL, f"there is no such cache of {unknown[0]}")

    def make(prepared: Path) -> Kept:
        made = shuffled(dict(zip(names, stream.arrays, strict=True)), stream.block, prepared)
        return made, {}

    size = 2 * stream.rows * stream.row_bytes
    known = _name(stream)
    found = opened(folder, known) if known else None
    if found is None and disk_usage(folder).free < size:
        raise OSError(ENOSPC, f"{folder} has no {size / 1e9:,.1f} GB free")
    arrays, _ = found or keep(folder, known, make)
    return [arrays[name] for name in names]


def _name(stream: Stream) -> str | None:
    """What a cache of arrays in files is called: by their files, and by rows of them; None where one has no file."""
    files = [_file_of(a) for a in stream.arrays]
    if None in files:
        return None
    digest = sha256()
    for a in stream.arrays:
        for first, last in stream.runs():
            digest.update(np.ascontiguousarray(a[first:last]).data)
    forms = [[list(a.shape), a.dtype.str] for a in stream.arrays]
    return name_of([FORMAT, "shuffled", prints([Location(str(f)) for f in files]), forms, digest.hexdigest()])


def _file_of(array: Any) -> Any:
    """The file that an array is a map of, None where it is none."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and array.filename is not None:
            return array.filename
        array = array.base
    return None

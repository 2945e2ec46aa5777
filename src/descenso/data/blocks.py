"""An array in a file, in blocks of rows that each have a checksum.

The checksum is CRC-32: it finds what a disk does to a block, and costs a fifth of what a cryptographic digest would.
Nothing here needs one: whoever can change the file can change the checksums.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from descenso._errors import DataError

_FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True)
class Blocks:
    """Rows in a file, read when they are asked for; `a[first:last]` gives an array.

    A block that is read whole is compared with its checksum.

    Attributes:
        path: the file: the rows end to end, and nothing else.
        shape: (rows, ...).
        block: rows of a block; the last may have fewer.
        checksums: the CRC-32 of each block.
        dtype: of the numbers.
    """

    path: Path
    shape: tuple[int, ...]
    block: int
    checksums: tuple[int, ...]
    dtype: np.dtype = _FLOAT32

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[0 : len(self)], dtype)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """The rows of a slice without a step; errors as of `read_into`."""
        first, last, step = rows.indices(len(self))
        assert step == 1
        out = np.empty((max(last - first, 0), *self.shape[1:]), self.dtype)
        self.read_into(out, first)
        return out

    def read_into(self, out: np.ndarray, first: int) -> None:
        """Fill `out`, contiguous, with the rows from `first` on.

        Raises:
            DataError: the file is not there any more, was cut, or a block differs from its checksum.
        """
        last = first + len(out)
        self._fill(out, first)
        for number in range(-(-first // self.block), last // self.block + (last == len(self))):
            part = out[number * self.block - first : (number + 1) * self.block - first]
            if len(part) and crc32(part.data) != self.checksums[number]:
                raise self._failure(f"block {number} differs from its checksum")

    def pick(self, numbers: np.ndarray) -> np.ndarray:
        """Single rows, without a look at checksums.

        Raises:
            DataError: the file is not there any more, or was cut.
        """
        out = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        size = out.nbytes // max(len(out), 1)
        rows = out.reshape(-1).view(np.uint8).data

        # not mapped: that would count the pages around each row as memory of this process
        def each(file: int) -> None:
            for i, n in enumerate(numbers.tolist()):
                if os.preadv(file, [rows[i * size : (i + 1) * size]], n * size) < size:
                    self._read(file, out[i : i + 1].reshape(-1).view(np.uint8), n * size)

        self._open(each)
        return out

    def _fill(self, out: np.ndarray, first: int) -> None:
        at = first * (out.nbytes // max(len(out), 1))
        self._open(lambda file: self._read(file, out.reshape(-1).view(np.uint8), at))

    def _read(self, file: int, out: np.ndarray, at: int) -> None:
        while out.size:
            got = os.preadv(file, [out.data], at)
            if not got:
                raise self._failure("it ends too early")
            out, at = out[got:], at + got

    def _open(self, use: Callable[[int], None]) -> None:
        """Use the file; no object around it, for it is opened a thousand times a second."""
        try:
            file = os.open(self.path, os.O_RDONLY)
            try:
                use(file)
            finally:
                os.close(file)
        except OSError as error:
            raise self._failure(error.strerror or str(error)) from error

    def _failure(self, why: str) -> DataError:
        return DataError(
            f"{self.path}: this part of the cache of rows cannot be read ({why}).",
            hint=f"remove {self.path.parent} and start again: it is made anew from the files",
            file=str(self.path),
        )


def path_of(folder: Path, name: str, dtype: Any) -> Path:
    """Where an array is kept in a folder: `NAME.f32` where its numbers are float32."""
    dtype = np.dtype(dtype)
    return folder / f"{name}.{dtype.kind}{8 * dtype.itemsize}"


class Writer:
    """Writes rows to a new file, block by block; `with` closes it whatever happens."""

    def __init__(self, path: Path, block: int):
        self._path, self._block = path, block
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115
        self._checksum, self._in_block = 0, 0
        self._shape: tuple[int, ...] = ()
        self._dtype = _FLOAT32
        self.rows, self.checksums = 0, []

    def add(self, rows: np.ndarray) -> None:
        """Append rows of shape (rows, ...), always of the same shape and dtype."""
        self._shape, self._dtype = rows.shape[1:], rows.dtype
        left = np.ascontiguousarray(rows).reshape(-1).view(np.uint8)
        while left.size:
            left = left[self._file.write(left.data) :]
        self.rows += len(rows)
        while len(rows):
            part, rows = rows[: self._block - self._in_block], rows[self._block - self._in_block :]
            self._checksum = crc32(np.ascontiguousarray(part).data, self._checksum)
            self._in_block += len(part)
            if self._in_block == self._block:
                self._end_block()

    def _end_block(self) -> None:
        self.checksums.append(self._checksum)
        self._checksum, self._in_block = 0, 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def finish(self) -> Blocks:
        """Flush to the disk; the array that was written."""
        if self._in_block:
            self._end_block()
        os.fsync(self._file.fileno())
        return Blocks(self._path, (self.rows, *self._shape), self._block, tuple(self.checksums), self._dtype)

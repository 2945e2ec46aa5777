"""An array in a file, in blocks of rows that each have a checksum.

The checksum is CRC-32: it finds what a disk does to a block, and costs a fifth of what a cryptographic digest would.
Nothing here needs one: whoever can change the file can change the checksums.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
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
        rows = out.reshape(len(numbers), -1).view(np.uint8)
        # not mapped: that would count the pages around each row as memory of this process
        with self._opened() as file:
            for row, n in zip(rows, numbers.tolist(), strict=True):
                self._read(file, row, n * rows.shape[1])
        return out

    def _fill(self, out: np.ndarray, first: int) -> None:
        with self._opened() as file:
            self._read(file, out.reshape(-1).view(np.uint8), first * (out.nbytes // max(len(out), 1)))

    def _read(self, file: int, out: np.ndarray, at: int) -> None:
        while out.size:
            got = os.preadv(file, [out.data], at)
            if not got:
                raise self._failure("it ends too early")
            out, at = out[got:], at + got

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The file; no object around it, for it is opened a few hundred times a second."""
        file = -1
        try:
            file = os.open(self.path, os.O_RDONLY)
            yield file
        except OSError as error:
            raise self._failure(error.strerror or str(error)) from error
        finally:
            if file >= 0:
                os.close(file)

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

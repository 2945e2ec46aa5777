"""From a file to bytes: what kind it is of, and a stream of what is inside its compression."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from descenso._errors import TableError
from descenso.data.location import Location, not_a_file, reading
from descenso.data.text import is_svmlight

HEAD_BYTES = 1 << 20

_COMPRESSED = {b"\x1f\x8b": "gz", b"\xfd7zXZ\x00": "xz", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zst"}
_OPENERS: dict[str, Callable[[Any], Any]] = {
    "gz": gzip.open,
    "xz": lzma.open,
    "bz2": bz2.open,
    "zst": lambda file: pa.CompressedInputStream(file, "zstd"),
}
_TABLES = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow stream", b"ORC": "orc"}
_FOREIGN = {
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "save the sheet as CSV, or unpack the archive"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "save the sheet as CSV"),
    b"\x93NUMPY": ("a NumPy array", "write it as a table with column names, for example Parquet"),
    b"\x89HDF": ("an HDF5 file", "write the table as Parquet or CSV"),
    b"SQLite format 3": ("an SQLite database", "export the table as CSV"),
    b"%PDF": ("a PDF", "export the table as CSV"),
    b"<": ("HTML or XML", "was an error page saved in place of the data?"),
    b"{": ("JSON", "write the table as CSV or Parquet"),
    b"[": ("JSON", "write the table as CSV or Parquet"),
}


class Opened(NamedTuple):
    """What a file turned out to be.

    kind: "text", "svmlight", "parquet", "orc", "arrow" or "arrow stream", by its first bytes: the name is not asked.
    compression: "gz", "xz", "bz2", "zst" or None.
    head: at most `HEAD_BYTES` of what is inside.
    complete: whether `head` is all of it.
    """

    kind: str
    compression: str | None
    head: bytes
    complete: bool


def identify(where: Location) -> Opened:
    """Look at the start of a file.

    Raises:
        TableError: it cannot be opened or unpacked, is empty, or is of a kind that holds no table for us.
    """
    path = where.name
    with reading(path):
        if not where.is_file:
            raise not_a_file(path)
        with where.open() as f:
            start = f.read(16)
        if not start:
            raise TableError(f"{path}: the file is empty. It must hold a header and rows.", file=path)
        compression = next((c for magic, c in _COMPRESSED.items() if start.startswith(magic)), None)
        with stream(where, compression) as f:
            head = f.read(HEAD_BYTES)
            complete = len(head) < HEAD_BYTES or not f.read(1)
    kind = next((k for magic, k in _TABLES.items() if head.startswith(magic)), "text")
    if kind != "text" and compression:
        raise TableError(f"{path}: this is {kind} inside {compression}.", hint="unpack it first", file=path)
    for magic, (what, hint) in _FOREIGN.items():
        if head.startswith(magic):
            raise TableError(
                f"{path}: this is {what}. It must be CSV (plain, .gz, .xz or .zst), Parquet, ORC or Arrow IPC.",
                hint=hint,
                file=path,
            )
    if kind == "text" and is_svmlight(head):
        kind = "svmlight"
    return Opened(kind, compression, head, complete)


@contextmanager
def stream(where: Location, compression: str | None) -> Iterator[BinaryIO]:
    """The bytes inside the compression."""
    with where.open() as file:
        if compression is None:
            yield file
            return
        with _OPENERS[compression](file) as unpacked:
            yield unpacked

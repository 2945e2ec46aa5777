"""A file of predictions: written some rows at a time, and there as a whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, ipc, parquet

from descenso._errors import ArgumentError
from descenso.disk.files import flush_folder, hidden, named_if_full, sweep

_WRITERS: dict[str, Callable[[Any, pa.Schema], Any]] = {
    ".csv": csv.CSVWriter,
    ".csv.gz": csv.CSVWriter,
    ".parquet": lambda sink, schema: parquet.ParquetWriter(sink, schema, write_page_checksum=True),
    ".arrow": ipc.new_file,
}


def ending_of(out: Path) -> str:
    """The ending of the name, which says how to write the file.

    Raises:
        ArgumentError: there is no such way, `out` is a folder, or it is in none.
    """
    ending = next((e for e in _WRITERS if out.name.endswith(e)), None)
    if ending is None:
        raise ArgumentError(f"{out}: the name must end in one of {', '.join(_WRITERS)}.")
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise ArgumentError(f"{out}: this is {'a folder' if out.is_dir() else 'in a folder that is not there'}.")
    return ending


@contextmanager
def in_place_of(out: Path) -> Iterator[tuple[Path, Path]]:
    """A file to write, and an empty folder for what is needed meanwhile.

    The file takes the place of `out` when the block ends, flushed to the disk. Where the block fails `out` stays as it
    was and nothing else is left; what a killed process left is removed by the next one that writes beside it.
    """
    out = out.absolute()
    sweep(out.parent)
    folder = hidden(out.parent)
    folder.mkdir(mode=0o700)
    try:
        made, aside = folder / out.name, folder / "aside"
        aside.mkdir()
        with named_if_full(out):
            yield made, aside
        with open(made, "rb") as file:
            os.fsync(file.fileno())
        made.replace(out)
        flush_folder(out.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(path: Path, ending: str, pieces: Iterator[pa.Table]) -> int:
    """Write tables of one schema, one after another; returns how many rows they have. One at least is needed."""
    first = next(pieces)
    with ExitStack() as stack:
        packed = "gzip" if ending == ".csv.gz" else None
        sink = stack.enter_context(pa.output_stream(str(path), compression=packed))
        writer = stack.enter_context(_WRITERS[ending](sink, first.schema))
        writer.write_table(first)
        rows = first.num_rows
        for piece in pieces:
            writer.write_table(piece)
            rows += piece.num_rows
    return rows

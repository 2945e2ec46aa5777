"""Record batches from one file, whatever its format, a few thousand rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import ipc, parquet

from descenso._errors import TableError
from descenso.data.csv import Loose, of_csv
from descenso.data.files import identify
from descenso.data.location import Location, reading
from descenso.data.text import check_names

BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class Shard:
    """One part of a table.

    Attributes:
        name: its file, or what it is called in messages.
        columns: names and Arrow types.
        read: record batches of these columns, in this order.
        rows: how many there are, about that many for a text file, None where only reading tells.
        loose: of a text file, whose first rows alone say the types: the same under types of the caller's.
        notes: sentences about what was decided.
    """

    name: str
    columns: dict[str, pa.DataType]
    read: Callable[[list[str]], Iterator[pa.RecordBatch]]
    rows: int | None = None
    loose: Loose | None = None
    notes: tuple[str, ...] = ()


def of_file(where: Location) -> Shard:
    """The part that a file is.

    Raises:
        TableError: it holds no table.
    """
    opened = identify(where)
    with reading(where.name), readable(where.name):
        if opened.kind == "text":
            loose, rows, notes = of_csv(where, opened)
            return Shard(where.name, loose.columns, loose.as_numbers, rows, loose, notes)
        if opened.kind == "svmlight":
            from descenso.data.svmlight import of_svmlight

            return Shard(where.name, *of_svmlight(where, opened))
        return _READERS[opened.kind](where)


@contextmanager
def readable(path: str) -> Iterator[None]:
    """What Arrow says of a file, with the file."""
    try:
        yield
    except pa.ArrowInvalid as error:
        raise TableError(
            f"{path}: the file cannot be read ({error}).", hint="was it written to the end?", file=path
        ) from None


def columns_of(schema: pa.Schema, path: str) -> dict[str, pa.DataType]:
    """Names and types; TableError where a name stands twice."""
    check_names(schema.names, path)
    return {field.name: field.type for field in schema}


def _of_parquet(where: Location) -> Shard:
    def opened() -> Any:
        # not pre-buffered: that would hold a whole file
        return parquet.ParquetFile(where.source, memory_map=False, pre_buffer=False, page_checksum_verification=True)

    with opened() as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows

    def read(names: list[str]) -> Iterator[pa.RecordBatch]:
        with reading(where.name), readable(where.name), opened() as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                yield batch.select(names)

    return Shard(where.name, columns_of(schema, where.name), read, rows)


def _of_ipc(where: Location, open_ipc: Callable[[Any], Any]) -> Shard:
    with _from(where) as source, open_ipc(source) as file:
        schema = file.schema

    def read(names: list[str]) -> Iterator[pa.RecordBatch]:
        with reading(where.name), readable(where.name), _from(where) as source, open_ipc(source) as file:
            numbered = hasattr(file, "get_batch")
            for batch in (file.get_batch(i) for i in range(file.num_record_batches)) if numbered else file:
                for first in range(0, batch.num_rows, BATCH_ROWS):
                    yield batch.slice(first, BATCH_ROWS).select(names)

    return Shard(where.name, columns_of(schema, where.name), read)


def _from(where: Location) -> Any:
    return pa.OSFile(where.name) if where.system is None else where.source


def _of_orc(where: Location) -> Shard:
    from pyarrow import orc

    file = orc.ORCFile(where.source)

    def read(names: list[str]) -> Iterator[pa.RecordBatch]:
        with reading(where.name), readable(where.name):
            file = orc.ORCFile(where.source)
            for i in range(file.nstripes):
                stripe = file.read_stripe(i, columns=names)
                for first in range(0, stripe.num_rows, BATCH_ROWS):
                    yield stripe.slice(first, BATCH_ROWS).select(names)

    return Shard(where.name, columns_of(file.schema, where.name), read, file.nrows)


_READERS: dict[str, Callable[[Location], Shard]] = {
    "parquet": _of_parquet,
    "arrow": lambda where: _of_ipc(where, ipc.open_file),
    "arrow stream": lambda where: _of_ipc(where, ipc.open_stream),
    "orc": _of_orc,
}

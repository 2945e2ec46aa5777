"""The parts of a table: files, however many, or a stream of Arrow data; and whether they agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import types

from descenso._errors import ArgumentError, SchemaError
from descenso.data.location import Location, located
from descenso.data.readers import Shard, columns_of, of_file

ONCE = (
    "the rows come in a stream that can be read once: a stopped run goes on only where the same rows are passed again"
)


def shards(source: Any, system: Any = None) -> list[Shard]:
    """The parts of a source: a file, a folder, a pattern such as `part-*.parquet`, an address such as
    `s3://bucket/part-*.parquet`, a list of these, a table of pandas, polars or DuckDB (anything with
    `__arrow_c_stream__`), or an iterator of record batches.

    Args:
        source: see above.
        system: a file system of `pyarrow.fs` or fsspec that the files are in; None for this machine.

    Raises:
        TableError: no such file, or one that holds no table.
        ArgumentError: it is none of these.
    """
    if (files := locations(source, system)) is not None:
        return [of_file(where) for where in files]
    if hasattr(source, "__arrow_c_stream__"):
        notes = (ONCE,) if isinstance(source, pa.RecordBatchReader) else ()
        return [_of_reader(pa.RecordBatchReader.from_stream(source), notes)]
    if isinstance(source, Iterable):
        return [_of_batches(iter(source))]
    raise ArgumentError(
        f"`source` is a {type(source).__name__}. It must be files, an Arrow stream or an iterator of record batches.",
        hint='e.g. "data/part-*.parquet"',
    )


def locations(source: Any, system: Any = None) -> list[Location] | None:
    """The files of a source, None where it is none of files."""
    if isinstance(source, (str, Path)):
        return located(source, system)
    if isinstance(source, Sequence) and source and all(isinstance(s, (str, Path)) for s in source):
        return [where for one in source for where in located(one, system)]
    return None


def agreed(parts: list[Shard], wanted: Sequence[str] | None) -> list[str]:
    """The columns to read, all parts agreeing on them.

    Raises:
        SchemaError: a part lacks a column, has one more, or holds text where another holds numbers; or a wanted
            column is nowhere.
    """
    first = parts[0]
    names = list(wanted or first.columns)
    for part in parts:
        lacking = [name for name in names if name not in part.columns]
        more = [] if wanted else [name for name in part.columns if name not in first.columns]
        if lacking or more:
            raise _differs(part, first, lacking, more)
    for name in names:
        known = next((p for p in parts if _kind(p.columns[name]) != "nothing"), first)
        for part in parts:
            here, there = (_kind(s.columns[name]) for s in (part, known))
            if here not in (there, "nothing"):
                raise SchemaError(
                    f"{part.name}: column {name!r} holds {here}, but {there} in {known.name}. All parts must agree.",
                    hint="mend the part, or leave the column out",
                    file=part.name,
                    column=name,
                )
    return names


def _differs(part: Shard, first: Shard, lacking: list[str], more: list[str]) -> SchemaError:
    told = [f"lacks {', '.join(map(repr, lacking))}"] if lacking else []
    told += [f"has {', '.join(map(repr, more))} more"] if more else []
    against = "" if part is first else f"unlike {first.name} "
    return SchemaError(
        f"{part.name}: {against}it {' and '.join(told)}. All parts must have the same columns.",
        hint="mend the part, or name the columns to read",
        file=part.name,
        column=(lacking + more)[0],
        count=len(lacking + more),
    )


def _kind(t: pa.DataType) -> str:
    t = t.value_type if types.is_dictionary(t) else t
    if types.is_null(t):
        return "nothing"
    if types.is_integer(t) or types.is_floating(t) or types.is_boolean(t) or types.is_decimal(t):
        return "numbers"
    if types.is_string(t) or types.is_large_string(t) or types.is_string_view(t):
        return "text"
    if types.is_date(t) or types.is_timestamp(t):
        return "dates"
    return f"values of type {t}"


def unified(parts: list[Shard], names: list[str]) -> pa.Schema:
    """One type for each column that holds the values of all parts, which agree."""
    return pa.schema([(name, _widest([p.columns[name] for p in parts])) for name in names])


def _widest(found: list[pa.DataType]) -> pa.DataType:
    some = {t.value_type if types.is_dictionary(t) else t for t in found if not types.is_null(t)}
    if len(some) <= 1:
        return next(iter(some), pa.null())
    kind = _kind(next(iter(some)))
    if kind == "numbers":
        return pa.float64()
    if kind == "dates":
        return pa.timestamp("us", next((t.tz for t in some if types.is_timestamp(t) and t.tz), None))
    return pa.string() if kind == "text" else next(iter(some))


def conformed(part: Shard, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a part, its columns of the types of a schema."""
    for batch in part.read(schema.names):
        table = pa.Table.from_batches([batch])
        yield table if table.schema.equals(schema) else cast(table, schema)


def cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The same values in the types of a schema, which holds them."""
    columns = [
        c if c.type == f.type else c.cast(f.type, safe=False) for c, f in zip(table.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _of_reader(reader: pa.RecordBatchReader, notes: tuple[str, ...]) -> Shard:
    name = "the Arrow stream"
    return Shard(name, columns_of(reader.schema, name), lambda n: (b.select(n) for b in reader), notes=notes)


def _of_batches(batches: Iterator[Any]) -> Shard:
    first = next(batches, None)
    if not isinstance(first, pa.RecordBatch):
        told = "is empty" if first is None else f"gives a {type(first).__name__}"
        raise ArgumentError(f"`source` {told}. It must be files, an Arrow stream or an iterator of record batches.")

    def read(names: list[str]) -> Iterator[pa.RecordBatch]:
        for batch in chain([first], batches):
            yield batch.select(names)

    name = "the record batches"
    return Shard(name, columns_of(first.schema, name), read, notes=(ONCE,))

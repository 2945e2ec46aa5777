"""Tables from files, whole in memory: CSV (plain, .gz, .xz, .bz2, .zst), Parquet, ORC, Arrow IPC and svmlight.

Reading refuses what is no table; `checks` refuses, before a fit, what cannot be learned from.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from pyarrow import compute, csv, ipc, parquet

from descenso._errors import ArgumentError, TableError
from descenso.data.arrow import from_arrow
from descenso.data.column import Table, require_columns
from descenso.data.examples import is_example, read_example
from descenso.data.files import HEAD_BYTES, Opened, identify, stream
from descenso.data.location import Location, reading
from descenso.data.readers import Shard, of_file
from descenso.data.shards import agreed, cast, locations, unified
from descenso.data.text import NULLS, Layout, check_names, decode, layout


@dataclass(frozen=True)
class Wanted:
    """Which columns to read.

    Attributes:
        drop: to leave out; they are not looked at.
        only: to read, all others being left out; None reads all.
        text: of a CSV file, to take as text even where they look like something else.
    """

    drop: Collection[str] = ()
    only: Collection[str] | None = None
    text: Collection[str] = ()

    def of(self, file: str, present: list[str]) -> list[str]:
        """The columns to read, in the order of the file."""
        require_columns(file, self.drop, present)
        require_columns(file, self.only or (), present)
        kept = [name for name in present if name not in self.drop and (self.only is None or name in self.only)]
        if not kept:
            raise TableError(f"{file}: no column is left. At least one is needed.", file=file, count=0)
        return kept


def read_table(
    source: str | Sequence[str],
    *,
    drop: Collection[str] = (),
    only: Collection[str] | None = None,
    text: Collection[str] = (),
) -> Table:
    """Read a table.

    Args:
        source: a file, a folder, a pattern, an address or a list of these; or `example:NAME` for one of scikit-learn's
            tables. The format is told by the first bytes. The rows of all files follow one another.
        drop, only, text: see `Wanted`.

    Returns:
        The table, with at least one row and one column.

    Raises:
        TableError: a file holds no usable table.
        SchemaError: a column to drop or to read is not there, or files do not agree on their columns.
    """
    wanted = Wanted(drop, only, text)
    if example := example_of(source):
        table = read_example(example)
        kept = wanted.of(example, list(table.columns))
        return replace(table, columns={name: table.columns[name] for name in kept})
    files = locations(source) or []
    found = [_read_one(where, wanted) for where in files]
    name = called(source, files)
    notes = list(dict.fromkeys(note for _, more in found for note in more))
    arrow = found[0][0] if len(found) == 1 else _joined(files, [table for table, _ in found])
    if arrow.num_rows == 0:
        raise TableError(f"{name}: the table has no rows. At least one is needed.", file=name, count=0)
    del found
    return from_arrow(name, arrow, notes)


def example_of(source: str | Sequence[str]) -> str | None:
    """The example that a source names, None where it names files."""
    names = [source] if isinstance(source, str) else list(source)
    examples = [name for name in names if is_example(str(name))]
    if examples and len(names) > 1:
        raise ArgumentError(f"{examples[0]}: an example is a table of its own. It cannot be read with other files.")
    return examples[0] if examples else None


def called(source: str | Sequence[str], files: Sequence[Location]) -> str:
    """What a table is called in messages: its file, or what the caller wrote."""
    if len(files) == 1:
        return files[0].name
    written = [str(source)] if isinstance(source, (str, Path)) else list(map(str, source))
    return written[0] if len(written) == 1 else f"{written[0]} and {len(written) - 1} more"


def _read_one(where: Location, wanted: Wanted) -> tuple[pa.Table, list[str]]:
    opened = identify(where)
    path = where.name
    with reading(path):
        if opened.kind == "text":
            arrow, notes = _read_csv(where, opened, wanted)
            _check_quotes(where, opened, arrow)
            return arrow, notes
        if opened.kind in ("orc", "svmlight"):
            part = of_file(where)
            kept = _kept(path, list(part.columns), wanted)
            schema = pa.schema([(name, part.columns[name]) for name in kept])
            return pa.Table.from_batches(part.read(kept), schema), []
        return _read_binary(where, opened.kind, wanted), []


def _joined(files: Sequence[Location], tables: list[pa.Table]) -> pa.Table:
    parts = [
        Shard(where.name, {f.name: f.type for f in table.schema}, table.select)
        for where, table in zip(files, tables, strict=True)
    ]
    schema = unified(parts, agreed(parts, None))
    return pa.concat_tables([cast(table.select(schema.names), schema) for table in tables])


def _read_csv(where: Location, opened: Opened, wanted: Wanted) -> tuple[pa.Table, list[str]]:
    path = where.name
    shape = layout(opened.head, opened.complete, path)
    kept = set(wanted.of(path, list(shape.names)))
    header = {name: raw for name, raw in zip(shape.names, shape.header, strict=True) if name in kept}
    convert = csv.ConvertOptions(
        include_columns=list(header.values()),
        column_types={raw: pa.string() for name, raw in header.items() if name in wanted.text},
        null_values=NULLS,
        strings_can_be_null=True,
        decimal_point=shape.decimal,
    )
    try:
        with stream(where, opened.compression) as source:
            arrow = csv.read_csv(source, parse_options=_parse(shape), convert_options=convert)
    except UnicodeDecodeError as error:
        raise _find_bad_byte(where, opened) or TableError(f"{path}: this is not UTF-8 ({error}).", file=path) from None
    except pa.ArrowInvalid as error:
        raise _csv_error(where, opened, shape, str(error)) from None
    if any(pa.types.is_binary(t) for t in arrow.schema.types):
        raise _find_bad_byte(where, opened) or TableError(f"{path}: a column is not UTF-8 text.", file=path)
    return arrow.rename_columns(list(header)), list(shape.notes)


def _check_quotes(where: Location, opened: Opened, table: pa.Table) -> None:
    """Refuse a file with a quote that is not closed: the lines after it have become one value."""
    found = (
        (name, column, _first_broken(column)) for name, column in zip(table.column_names, table.columns, strict=True)
    )
    name, column, row = next((f for f in found if f[2] >= 0), ("", None, -1))
    if column is None:
        return
    with stream(where, opened.compression) as source:
        quotes = sum(block.count(b'"') for block in iter(lambda: source.read(HEAD_BYTES), b""))
    if quotes % 2:
        value = column[row].as_py().strip()
        raise TableError(
            f"{where.name}: a quote is not closed: column {name!r} has a value of {value.count(chr(10)) + 1} lines at "
            f"data row {row + 1:,}: {value[:40]!r}.",
            hint="close the quote, or double one that belongs to the text",
            file=where.name,
            column=name,
            row=row + 1,
            example=value[:40],
        )


def _first_broken(column: pa.ChunkedArray) -> int:
    """The first row whose text has more than one line, -1 if there is none."""
    if not pa.types.is_string(column.type):
        return -1
    trimmed = compute.call_function("utf8_trim_whitespace", [column])
    found = compute.call_function("match_substring", [trimmed], compute.MatchSubstringOptions("\n"))
    return compute.call_function("index", [found], compute.IndexOptions(pa.scalar(True))).as_py()


def _parse(shape: Layout, on_invalid=None) -> csv.ParseOptions:
    return csv.ParseOptions(delimiter=shape.delimiter, newlines_in_values=True, invalid_row_handler=on_invalid)


def _csv_error(where: Location, opened: Opened, shape: Layout, message: str) -> TableError:
    """What is wrong with a CSV file that pyarrow refused: it is read once more to count the bad rows."""
    path, ragged = where.name, []

    def note(row):
        ragged.append(row)
        return "skip"

    with stream(where, opened.compression) as source:
        try:
            options = csv.ReadOptions(use_threads=False)  # only then are rows numbered
            csv.read_csv(source, read_options=options, parse_options=_parse(shape, note))
        except (pa.ArrowInvalid, UnicodeDecodeError):
            pass
    if not ragged:
        return TableError(f"{path}: this is no readable CSV ({message}).", file=path)
    first = ragged[0]
    row = first.number - 1 if first.number else None
    shown = first.text if len(first.text) <= 60 else first.text[:57] + "..."
    open_quote = "a quote that is not closed" if '"' in first.text else f"a {shape.delimiter!r} inside a text"
    return TableError(
        f"{path}: {len(ragged):,} rows do not have {first.expected_columns} fields as the header has; the first is "
        f"data row {row} with {first.actual_columns}: {shown!r}.",
        hint=f"look for {open_quote}, or for a line that was cut",
        file=path,
        row=row,
        count=len(ragged),
        example=first.text,
    )


def _find_bad_byte(where: Location, opened: Opened) -> TableError | None:
    with stream(where, opened.compression) as source:
        data = source.read()
    try:
        decode(data, True, where.name)
    except TableError as error:
        return error
    return None


def _read_binary(where: Location, kind: str, wanted: Wanted) -> pa.Table:
    path = where.name
    try:
        if kind == "parquet":
            with parquet.ParquetFile(where.source, page_checksum_verification=True) as f:
                return f.read(columns=_kept(path, f.schema_arrow.names, wanted))
        with pa.OSFile(path) if where.system is None else where.source as source:
            reader = ipc.open_file(source) if kind == "arrow" else ipc.open_stream(source)
            kept = _kept(path, reader.schema.names, wanted)
            return reader.read_all().select(kept)
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise TableError(
            f"{path}: this is not a whole {kind} file ({reason}).",
            hint="the file is damaged or cut short: fetch or write it again",
            file=path,
        ) from error


def _kept(path: str, names: list[str], wanted: Wanted) -> list[str]:
    check_names(names, path)
    return wanted.of(path, names)

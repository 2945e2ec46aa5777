"""A table that is too large to hold: read again and again, some rows at a time, always as the same columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
from pyarrow import ipc

from descenso._errors import DataError
from descenso.data.arrow import Large, columns_of
from descenso.data.column import Table
from descenso.data.csv import Misfit
from descenso.data.encode import fit_encoding
from descenso.data.expected import Expected
from descenso.data.location import Location
from descenso.data.readers import Shard, of_file
from descenso.data.shards import agreed, conformed, locations, unified
from descenso.data.table import Wanted, called, example_of
from descenso.data.values import Values

_SMALL = 64  # times the bytes of its files that a table may take in memory without being looked at


@dataclass(frozen=True)
class Parts:
    """The files of a table, agreeing on their columns.

    Attributes:
        name: what the table is called in messages.
        shards: its parts.
        schema: the columns that are read, of one type for all parts.
        large: takes note of large whole numbers, by column.
    """

    name: str
    shards: tuple[Shard, ...]
    schema: pa.Schema
    large: dict[str, Large] = field(default_factory=dict)

    def tables(self, only: str | None = None, large: dict[str, Large] | None = None) -> Iterator[tuple[Table, int]]:
        """The rows, some at a time, and how many of the same file came before; errors as of `from_arrow`.

        Args:
            only: a column to read alone.
            large: takes note of large whole numbers, by column.
        """
        schema = self.schema if only is None else pa.schema([self.schema.field(only)])
        seen = {} if large is None else large
        for shard in self.shards:
            at = 0
            for arrow in conformed(shard, schema):
                if arrow.num_rows:
                    yield Table(shard.name, columns_of(shard.name, arrow, seen, at)), at
                at += arrow.num_rows

    def refuse(self, expected: dict[str, Expected], error: DataError) -> None:
        """Raise what is wrong with the column of an error as seen in all rows: where first, and how often.

        Args:
            expected: of the columns that were looked at; an error with another is let be.
        """
        if error.column not in expected:
            return
        wanted, seen = expected[error.column], None
        for table, at in self.tables(error.column):
            column = table.columns[error.column]
            seen = seen or Values(column.name, column.kind, wanted.within)
            seen.add(table.file, column, at)
        if seen is not None:
            wanted.check(seen)

    @property
    def notes(self) -> list[str]:
        return list(dict.fromkeys(note for shard in self.shards for note in shard.notes))


def parts_of(source: str | Sequence[str], folder: Path, wanted: Wanted) -> Parts:
    """The parts of a table. Text files are read once for it, into Arrow files in `folder`.

    Args:
        source: files, as for `read_table`.
        folder: an empty one; the caller removes it when all is read.
        wanted: which columns to read.

    Raises:
        DataError: a file holds no table, a column is not there, or parts do not agree.
    """
    files = locations(source) or []
    shards = []
    for i, shard in enumerate(map(of_file, files)):
        kept = wanted.of(shard.name, list(shard.columns))
        narrow = replace(shard, columns={name: shard.columns[name] for name in kept})
        shards.append(narrow if shard.loose is None else _settled(narrow, folder / f"{i}.arrow", wanted.text))
    return Parts(called(source, files), tuple(shards), unified(shards, agreed(shards, None)))


def _settled(shard: Shard, path: Path, text: Collection[str]) -> Shard:
    """A text file as an Arrow file; where a value does not fit its column, it is begun anew with a wider type.

    The types are those that reading it whole would give: every column of the narrowest that holds all its values.
    """
    loose = shard.loose
    assert loose is not None
    kinds = {name: pa.string() if name in text else t for name, t in shard.columns.items()}
    while True:
        try:
            with pa.OSFile(str(path), "wb") as sink:
                _write(loose.under(kinds), sink)
            break
        except Misfit as misfit:
            kinds = loose.settled(kinds, misfit)
    made = of_file(Location(str(path)))
    return replace(made, name=shard.name, notes=shard.notes, rows=shard.rows)


def _write(batches: Iterator[pa.RecordBatch], sink: pa.NativeFile) -> None:
    first = next(batches)
    with ipc.new_file(sink, first.schema) as out:
        out.write_batch(first)
        for batch in batches:
            out.write_batch(batch)


def fits(
    tables: Sequence[str | Sequence[str]],
    wanted: Wanted,
    memory: int,
    *,
    target: str | None = None,
    inputs: int | None = None,
) -> bool:
    """Whether tables can be held within so many bytes of memory; an example always can.

    Args:
        tables: each as for `read_table`.
        wanted: which of their columns are read.
        memory: in bytes.
        target: the column that is no input.
        inputs: how many each row is encoded as; None to learn it from the first rows.
    """
    files = [found for table in tables if not example_of(table) for found in [locations(table) or []]]
    size = sum(where.status()[1] for found in files for where in found if where.is_file)
    if size * _SMALL <= memory:
        return True
    return sum(_weight(found, wanted, target, inputs) for found in files) <= memory


def _weight(files: Sequence[Location], wanted: Wanted, target: str | None, inputs: int | None) -> int:
    """About how many bytes it takes to work on a table in memory, seen from its first rows.

    Rows are counted as they are read, as columns of numbers, and encoded, the latter two times each.
    """
    shards = [of_file(where) for where in files]
    first = shards[0]
    kept = wanted.of(first.name, list(first.columns))
    batch = next(iter(first.read(kept)), None)
    if batch is None or not batch.num_rows:
        return 0
    arrow = pa.Table.from_batches([batch])
    if inputs is None:
        table = Table(first.name, columns_of(first.name, arrow, {}))
        try:
            inputs = len(fit_encoding(table.without([target] if target else [])).inputs)
        except DataError:
            inputs = 0
    row = arrow.nbytes / arrow.num_rows
    rows = sum(s.rows or where.status()[1] / row for s, where in zip(shards, files, strict=True))
    return int(rows * (row + 2 * 8 * len(kept) + 2 * 4 * inputs))

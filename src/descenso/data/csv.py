"""Record batches from a text file, whose columns have no types but those its values allow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pyarrow as pa
from pyarrow import csv, types

from descenso._errors import TableError
from descenso.data.files import Opened, stream
from descenso.data.location import Location, reading
from descenso.data.text import NULLS, Layout, layout

_BLOCK = 1 << 22  # bytes parsed at once
_PACKED = 6  # times that text grows, about, when it is unpacked
_BAD_VALUE = re.compile(
    r"In CSV column #(\d+): (?:Row #(\d+): )?CSV conversion error to [^:]+: invalid value '(.*)'", re.DOTALL
)


class Misfit(Exception):
    """A value is not of the type that its column was to be read as."""

    def __init__(self, column: str, row: int | None, example: str):
        super().__init__(column)
        self.column, self.row, self.example = column, row, example


@dataclass(frozen=True)
class Loose:
    """A text file.

    Attributes:
        columns: names, and the types that the first rows suggest.
    """

    where: Location
    opened: Opened
    shape: Layout
    columns: dict[str, pa.DataType]

    def as_numbers(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        """Record batches in which what looked like a number at first is one to the end.

        Raises:
            TableError: a row is ragged; a value is no number.
        """
        try:
            yield from self.under({name: self.columns[name] for name in names})
        except Misfit as misfit:
            raise _no_number(self.where.name, misfit) from None

    def under(self, kinds: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Record batches of these columns, numbers as float64.

        Raises:
            Misfit: a value is not of its column's type.
            TableError: a row is ragged, or the text is not UTF-8.
        """
        raw = dict(zip(self.shape.names, self.shape.header, strict=True))
        wanted = {raw[n]: pa.float64() if is_number(t) else t for n, t in kinds.items()}
        path = self.where.name
        try:
            with reading(path), _reader(self.where, self.opened, self.shape, wanted, list(wanted)) as file:
                for batch in file:
                    yield pa.RecordBatch.from_arrays(batch.columns, names=list(kinds))
        except pa.ArrowInvalid as error:
            found = _BAD_VALUE.match(str(error))
            if found is None:
                raise TableError(
                    f"{path}: this is no readable CSV ({error}).", hint="mend the row", file=path
                ) from None
            row = int(found[2]) - 1 if found[2] else None
            raise Misfit(self.shape.names[int(found[1])], row, found[3]) from None

    def settled(self, kinds: dict[str, pa.DataType], misfit: Misfit) -> dict[str, pa.DataType]:
        """The types with a wider one where a value did not fit, as if it had been seen from the start."""
        before, value = kinds[misfit.column], misfit.example.replace('"', '""')
        options = csv.ConvertOptions(null_values=NULLS, strings_can_be_null=True, decimal_point=self.shape.decimal)
        found = csv.read_csv(BytesIO(f'a\n"{value}"\n'.encode()), convert_options=options).schema.types[0]
        return {**kinds, misfit.column: _wider(before, found)}


def of_csv(where: Location, opened: Opened) -> tuple[Loose, int, tuple[str, ...]]:
    """The file, about how many rows it has, and notes.

    Raises:
        TableError: it is no table; see `layout`.
    """
    shape = layout(opened.head, opened.complete, where.name)
    raw = dict(zip(shape.names, shape.header, strict=True))
    with _reader(where, opened, shape, {}) as file:
        inferred = {name: file.schema.field(raw[name]).type for name in shape.names}
    lines = max(opened.head.count(b"\n"), 1)
    size = len(opened.head) if opened.complete else where.status()[1] * (_PACKED if opened.compression else 1)
    return Loose(where, opened, shape, inferred), size * lines // len(opened.head), shape.notes


def is_number(t: pa.DataType) -> bool:
    return types.is_integer(t) or types.is_floating(t) or types.is_null(t)


def _wider(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """The narrowest type that holds values of both, text at last."""
    if types.is_null(a) or a == b:
        return b if not is_number(b) else pa.float64()
    moments = [t for t in (a, b) if types.is_date(t) or (types.is_timestamp(t) and t.tz is None)]
    if len(moments) == 2:
        return pa.timestamp("ns" if pa.timestamp("ns") in moments else "s")
    return pa.string()


def _no_number(path: str, misfit: Misfit) -> TableError:
    where = "" if misfit.row is None else f" at data row {misfit.row:,}"
    return TableError(
        f"{path}: column {misfit.column!r} holds numbers, but {misfit.example!r}{where}. It must hold numbers alone.",
        hint="write the number plainly or an unknown one as an empty field, or name the columns to read without it",
        file=path,
        column=misfit.column,
        row=misfit.row,
        example=misfit.example,
    )


@contextmanager
def _reader(
    where: Location, opened: Opened, shape: Layout, kinds: dict, only: list[str] | None = None
) -> Iterator[Any]:
    convert = csv.ConvertOptions(
        column_types=kinds,
        include_columns=only,
        null_values=NULLS,
        strings_can_be_null=True,
        decimal_point=shape.decimal,
    )
    parse = csv.ParseOptions(delimiter=shape.delimiter, newlines_in_values=True)
    options = csv.ReadOptions(use_threads=False, block_size=_BLOCK)
    with stream(where, opened.compression) as source, csv.open_csv(source, options, parse, convert) as file:
        yield file

"""Arrow columns as numpy ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from shlex import quote

import numpy as np
import pyarrow as pa
from pyarrow import types

from descenso._errors import TableError
from descenso.data.column import BOOLEAN, CLOCK, NUMBER, TEXT, TIME, Column, Table
from descenso.data.text import NULLS

_EXACT_IN_FLOAT32 = 1 << 24


@dataclass
class Large:
    """The whole numbers of a column beyond what float32 tells apart: how many, and where the first of them is."""

    count: int = 0
    row: int = 0
    example: int = 0

    def add(self, column: pa.ChunkedArray, values: np.ndarray, at: int) -> None:
        """Look at more rows, as they were and as they were converted; `at` of the same file came before."""
        if not types.is_integer(column.type) or column.type.bit_width < 32:
            return
        rows = np.flatnonzero(np.abs(values) > _EXACT_IN_FLOAT32)
        if rows.size and not self.count:
            self.row, self.example = at + int(rows[0]) + 1, column[int(rows[0])].as_py()
        self.count += rows.size

    def note(self, name: str) -> list[str]:
        if not self.count:
            return []
        return [
            f"column {name!r} holds {self.count:,} whole numbers beyond 2^24 ({self.example} at row {self.row}), of "
            f"whose spread 24 bits are kept: leave an identifier out with --drop {quote(name)}"
        ]


def from_arrow(file: str, arrow: pa.Table, notes: list[str]) -> Table:
    """A table of numpy columns, with notes on large whole numbers; see `columns_of`."""
    large: dict[str, Large] = {}
    done = columns_of(file, arrow, large)
    return Table(file, done, (*notes, *(note for name, seen in large.items() for note in seen.note(name))))


def columns_of(file: str, arrow: pa.Table, large: dict[str, Large], at: int = 0) -> dict[str, Column]:
    """Numpy columns; each arrow column is let go before the next is converted.

    Args:
        file: for messages.
        arrow: the rows.
        large: takes note of large whole numbers, by column.
        at: rows of the same file that came before.

    Raises:
        TableError: a column of a type that holds no single number, text, boolean or time.
    """
    fields, columns = list(arrow.schema), list(arrow.columns)
    del arrow
    done: dict[str, Column] = {}
    for field in fields:
        column = columns.pop(0)
        done[field.name] = _convert(file, field.name, column)
        large.setdefault(field.name, Large()).add(column, done[field.name].values, at)
    return done


def _convert(file: str, name: str, column: pa.ChunkedArray) -> Column:
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    for is_type, convert in _CONVERSIONS:
        if is_type(column.type):
            return convert(name, column)
    raise TableError(
        f"{file}: column {name!r} is of type {column.type}. It must hold numbers, text, booleans or times.",
        hint=f"store one number in each column, or leave it out of a fit with --drop {quote(name)}",
        file=file,
        column=name,
    )


def _empty(name: str, column: pa.ChunkedArray) -> Column:
    return Column(name, NUMBER, np.full(len(column), np.nan, np.float32))


def _boolean(name: str, column: pa.ChunkedArray) -> Column:
    return Column(name, BOOLEAN, np.asarray(column.cast(pa.uint8()).to_numpy(), np.float32))


def _small(name: str, column: pa.ChunkedArray) -> Column:
    return Column(name, NUMBER, np.asarray(column.to_numpy(), np.float32))


def _wide(name: str, column: pa.ChunkedArray) -> Column:
    # pyarrow itself turns an integer column with nulls into float64 with NaN
    return Column(name, NUMBER, np.asarray(column.to_numpy(), np.float64))


def _decimal(name: str, column: pa.ChunkedArray) -> Column:
    return _wide(name, column.cast(pa.float64()))


def _time(name: str, column: pa.ChunkedArray) -> Column:
    return Column(name, TIME, _seconds(column, pa.timestamp("us", getattr(column.type, "tz", None))))


def _clock(name: str, column: pa.ChunkedArray) -> Column:
    return Column(name, CLOCK, _seconds(column, pa.time64("us")))


def _duration(name: str, column: pa.ChunkedArray) -> Column:
    return Column(name, NUMBER, _seconds(column, pa.duration("us")))


def _seconds(column: pa.ChunkedArray, microseconds: pa.DataType) -> np.ndarray:
    counts = column.cast(microseconds, safe=False).cast(pa.int64())
    return np.asarray(counts.to_numpy(), np.float64) / 1e6


def _text(name: str, column: pa.ChunkedArray) -> Column:
    """Text as places in the list of different texts, spaces around them cut off."""
    encoded = column.cast(pa.string()).dictionary_encode().unify_dictionaries()
    raw = encoded.chunk(0).dictionary.to_pylist()
    codes = np.concatenate([c.indices.fill_null(-1).to_numpy() for c in encoded.chunks]).astype(np.int32)
    trimmed = [text.strip() for text in raw]
    levels = tuple(dict.fromkeys(t for t in trimmed if t not in NULLS))
    if levels != tuple(raw):
        place = {level: i for i, level in enumerate(levels)}
        codes = np.array([place.get(t, -1) for t in trimmed] + [-1], np.int32)[codes]
    return Column(name, TEXT, codes, levels)


def _is_small(t: pa.DataType) -> bool:
    """Whether float32 holds every value of the type."""
    return (types.is_integer(t) and t.bit_width <= 16) or types.is_float16(t) or types.is_float32(t)


def _is_wide(t: pa.DataType) -> bool:
    return types.is_integer(t) or types.is_floating(t)


def _is_text(t: pa.DataType) -> bool:
    return types.is_string(t) or types.is_large_string(t) or types.is_string_view(t)


def _is_moment(t: pa.DataType) -> bool:
    return types.is_timestamp(t) or types.is_date(t)


_CONVERSIONS: tuple[tuple[Callable, Callable[[str, pa.ChunkedArray], Column]], ...] = (
    (types.is_null, _empty),
    (types.is_boolean, _boolean),
    (_is_small, _small),
    (_is_wide, _wide),
    (types.is_decimal, _decimal),
    (_is_moment, _time),
    (types.is_time, _clock),
    (types.is_duration, _duration),
    (_is_text, _text),
)

"""A table in memory: named columns of numpy values, whatever file they came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from descenso._errors import SchemaError

NUMBER, BOOLEAN, TEXT, TIME, CLOCK = "number", "boolean", "text", "time", "clock"


@dataclass(frozen=True, eq=False)
class Column:
    """One column.

    Attributes:
        name: as the header says it.
        kind: "number"; "boolean"; "text"; "time", a moment; "clock", a time of day.
        values: shape (rows,). Numbers and booleans (1 and 0): floats, NaN where missing. Times: seconds since 1970
            (UTC); clocks: seconds since midnight; both float64, NaN where missing. Text: int32 places in `levels`,
            -1 where missing.
        levels: the different texts, in no particular order; empty for the other kinds.
    """

    name: str
    kind: str
    values: np.ndarray
    levels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def missing(self) -> np.ndarray:
        """Which rows have no value: bool of shape (rows,)."""
        return self.values < 0 if self.kind == TEXT else np.isnan(self.values)

    def take(self, rows: np.ndarray) -> Column:
        """The given rows, by number or by mask."""
        return replace(self, values=self.values[rows])

    def example(self, row: int) -> Any:
        """The value of a row, counted from 0, as a person would write it; None where it is missing."""
        return self.as_written(self.values[row])

    def as_written(self, value: Any) -> Any:
        """One of `values` as a person would write it; None where it is missing."""
        if self.kind == TEXT:
            return self.levels[value] if value >= 0 else None
        if np.isnan(value):
            return None
        return bool(value) if self.kind == BOOLEAN else plain(value)


def plain(value: float) -> int | float:
    """A number without a needless fraction: 3.0 is 3."""
    value = float(value)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def as_far_as_told(value: Any) -> str:
    """What to add to the claim that values are all this one: of large whole numbers the last digits are not kept."""
    return ", as far as 64-bit floats can tell" if isinstance(value, float) and abs(value) >= 2**53 else ""


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of the same length.

    Attributes:
        file: where they came from, as the caller wrote it.
        columns: by name, in the order of the file.
        notes: sentences about what was decided while reading.
    """

    file: str
    columns: dict[str, Column]
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def take(self, rows: np.ndarray) -> Table:
        """The given rows, by number or by mask."""
        return replace(self, columns={name: c.take(rows) for name, c in self.columns.items()})

    def without(self, names: Iterable[str]) -> Table:
        """The table without some columns."""
        gone = set(names)
        return replace(self, columns={name: c for name, c in self.columns.items() if name not in gone})

    def column(self, name: str) -> Column:
        """A column by name.

        Raises:
            SchemaError: there is none of that name; close ones are named.
        """
        require_columns(self.file, [name], self.columns)
        return self.columns[name]


def require_columns(file: str, names: Iterable[str], present: Iterable[str]) -> None:
    """Refuse a table in which one of the columns `names` is not `present`."""
    present = list(present)
    absent = [name for name in names if name not in set(present)]
    if absent:
        raise _missing(file, absent, present)


def _missing(file: str, absent: list[str], present: list[str]) -> SchemaError:
    close = {name: _close(name, present) for name in absent}
    hint = next((f"did you mean {close[name]!r} for {name!r}?" for name in absent if close[name]), None)
    if hint is None and len(present) == 1:
        hint = "the file was read as one column: is it separated by something other than a comma, semicolon, tab or |?"
    what = f"there is no column {absent[0]!r}"
    if len(absent) > 1:
        what = f"{len(absent)} columns are missing: {_listed(list(map(repr, absent)))}"
    return SchemaError(
        f"{file}: {what}. The columns are: {_listed(present)}.",
        hint=hint,
        file=file,
        column=absent[0],
        count=len(absent),
    )


def _close(name: str, present: list[str]) -> str | None:
    same = [p for p in present if p.lower() == name.lower()]
    return next(iter(same or get_close_matches(name, present, n=1)), None)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")

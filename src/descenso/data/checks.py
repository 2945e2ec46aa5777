"""What makes a table unfit to be learned from: one clear error before the first step, or a note.

The rows are looked at some at a time, so that a table need not be in memory; one that is comes in one piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from shlex import quote

import numpy as np

from descenso._errors import DataError
from descenso.data.column import CLOCK, NUMBER, TEXT, TIME, Column, Table, require_columns
from descenso.data.moments import Together
from descenso.data.values import Place, Values


@dataclass
class Check:
    """Whether a table can be learned from.

    Args:
        file: what the table is called.
        target: the column to predict.
    """

    file: str
    target: str
    rows: int = 0
    values: dict[str, Values] = field(default_factory=dict)
    together: dict[str, Together] = field(default_factory=dict)
    equal: dict[str, Place | None] = field(default_factory=dict)

    def add(self, table: Table, at: int = 0) -> None:
        """Look at more rows, `at` of the same file having come before.

        Raises:
            SchemaError: there is no such target.
        """
        require_columns(self.file, [self.target], table.columns)
        target = table.columns[self.target]
        self.rows += table.rows
        for name, column in table.columns.items():
            self.values.setdefault(name, Values(name, column.kind)).add(table.file, column, at)
            if name != self.target:
                self._compare(table.file, column, target, at)

    def _compare(self, file: str, column: Column, target: Column, at: int) -> None:
        name = column.name
        if name not in self.equal:
            self.equal[name] = Place(file, at + 1, column.example(0)) if len(column) else None
        if self.equal[name] is not None and not _equal(column, target):
            self.equal[name] = None
        if {column.kind, target.kind} <= {NUMBER, TIME, CLOCK}:
            both = np.isfinite(column.values) & np.isfinite(target.values)
            self.together.setdefault(name, Together()).add(column.values[both], target.values[both])

    def check(self) -> None:
        """Refuse a table that cannot be learned from.

        Raises:
            DataError: a single row; no column but the target; a column without a value, with an infinite value, with
                text among numbers, or equal to the target.
        """
        if self.rows < 2:
            raise DataError(
                f"{self.file}: there is {self.rows} data row. Learning needs at least 2, and many more to be of use.",
                file=self.file,
                count=self.rows,
            )
        if len(self.values) == 1:
            raise DataError(
                f"{self.file}: {self.target!r} is the only column. At least one more is needed to predict it from.",
                file=self.file,
                column=self.target,
            )
        for name, values in self.values.items():
            values.check_finite()
            values.check_some(self.file, optional=name != self.target)
            values.check_no_text_among_numbers(optional=name != self.target)
        for name, place in self.equal.items():
            if place is not None:
                raise self._is_target(name, place)

    def _is_target(self, name: str, place: Place) -> DataError:
        return DataError(
            f"{self.file}: column {name!r} equals the target {self.target!r} in every row. Nothing is left to learn.",
            hint=f"leave it out with --drop {quote(name)}",
            file=self.file,
            column=name,
            row=place.row,
            count=self.rows,
            example=place.example,
        )

    def notes(self) -> list[str]:
        """What is odd but not wrong."""
        told = []
        for name, values in self.values.items():
            if name != self.target:
                told += [*values.notes(), *self._gives_target_away(name)]
        return told

    def _gives_target_away(self, name: str) -> Iterator[str]:
        """A note where a number determines the target: it often became known only after the target did."""
        both = self.together.get(name)
        if both is not None and both.n >= 10 and abs(both.correlation) > 1 - 1e-9:
            yield (
                f"column {name!r} is the target in other units (correlation {both.correlation:+.0f}): "
                "is it known when a prediction is wanted?"
            )


def check_to_fit(table: Table, target: str) -> list[str]:
    """Refuse a table that cannot be learned from; the notes of `Check`, whose errors it raises.

    Args:
        table: all the rows, the target among the columns.
        target: the column to predict.
    """
    check = Check(table.file, target)
    check.add(table)
    check.check()
    return check.notes()


def _equal(a: Column, b: Column) -> bool:
    if (a.kind == TEXT) != (b.kind == TEXT):
        return False
    if a.kind != TEXT:
        return bool(np.array_equal(a.values, b.values, equal_nan=True))
    if set(a.levels) != set(b.levels):
        return False
    place = {level: i for i, level in enumerate(b.levels)}
    moved = np.array([place[level] for level in a.levels] + [-1])
    return bool((moved[a.values] == b.values).all())

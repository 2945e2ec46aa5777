"""What is wrong or odd with the values of one column, taken note of some rows at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from shlex import quote
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import compute

from descenso._errors import DataError
from descenso.data.column import TEXT, Column
from descenso.data.text import NUMBER as NUMBER_PATTERN

_MIXED_SHARE = 0.9  # of the values of a text column: from here on they are numbers with a few texts among them
_FEW_LEVELS = 20  # a text column with so few different values, each of them frequent, is a category
_FARTHEST = 1e30  # deviations from the mean: a model in 32 bits reckons with those, and with their products
_NUMBER = f"^(?:{NUMBER_PATTERN.pattern})$"
_DECORATED = {
    "a thousands separator": re.compile(r"[+-]?[^\d\s]?\d{1,3}([, ]\d{3})+(\.\d+)?"),
    "a percent sign": re.compile(r"[+-]?\d+(\.\d+)?\s?%"),
    "a currency sign": re.compile(r"[+-]?[$€£¥]\s?\d+(\.\d+)?"),
    "a decimal comma": re.compile(r"[+-]?\d+,\d+"),
}


class Place(NamedTuple):
    """Where a value stands: `row` counts the data rows of the file from 1."""

    file: str
    row: int
    example: Any


@dataclass
class Values:
    """What is wrong or odd with the values of one column.

    Attributes:
        name, kind: of the column.
        within: the numbers that a model can take, see `reach`.
        rows, missing: how many were looked at, and how many of them have no value.
        first: the first value that there is.
        infinite, at_infinite: how many are infinite, and where the first of them is.
        far, at_far: how many others are not within, and where the first of them is.
        numbers, texts, at_text: of a text column, how many values are numbers, how many are not, the first of these.
        levels: some of the different texts: all, or one more than are few.
        decorations: in which way all its texts are numbers with something around.
    """

    name: str
    kind: str
    within: tuple[float, float] = (-inf, inf)
    rows: int = 0
    missing: int = 0
    first: Place | None = None
    infinite: int = 0
    at_infinite: Place | None = None
    far: int = 0
    at_far: Place | None = None
    numbers: int = 0
    texts: int = 0
    at_text: Place | None = None
    levels: dict[str, None] = field(default_factory=dict)
    decorations: list[str] = field(default_factory=lambda: list(_DECORATED))

    def add(self, file: str, column: Column, at: int = 0) -> None:
        """Look at more rows; `at` of the file came before."""
        self.rows += len(column)
        gaps = column.missing
        self.missing += int(gaps.sum())
        if self.first is None and not gaps.all():
            row = int((~gaps).argmax())
            self.first = Place(file, at + row + 1, column.example(row))
        if self.kind == TEXT:
            self._add_text(file, column, at)
            return
        endless = np.isinf(column.values)
        far = ~endless & outside(column.values, self.within)
        self.infinite += int(endless.sum())
        self.far += int(far.sum())
        self.at_infinite = self.at_infinite or _first(file, column, endless, at)
        self.at_far = self.at_far or _first(file, column, far, at)

    def _add_text(self, file: str, column: Column, at: int) -> None:
        if not column.levels:
            return
        is_number = np.append(are_numbers(column.levels), True)
        rows = np.flatnonzero(~is_number[column.values])
        self.numbers += int((~column.missing).sum()) - rows.size
        self.texts += rows.size
        if rows.size and self.at_text is None:
            self.at_text = Place(file, at + int(rows[0]) + 1, column.example(int(rows[0])))
        for level in column.levels:
            if len(self.levels) > _FEW_LEVELS:
                break
            self.levels[level] = None
        self.decorations = [d for d in self.decorations if all(map(_DECORATED[d].fullmatch, column.levels))]

    def check_finite(self) -> None:
        """Refuse infinite numbers."""
        needed = "Every number must be finite."
        hint = "write an unknown value as an empty field, or give it a large number that means something"
        self._refuse(self.at_infinite, self.infinite, needed, hint)

    def check_within(self) -> None:
        """Refuse numbers that are not within."""
        low, high = self.within
        needed = f"It must lie from {low:.3g} to {high:.3g}, beyond which 32-bit floats overflow."
        self._refuse(self.at_far, self.far, needed, "write an unknown value as an empty field")

    def _refuse(self, first: Place | None, count: int, needed: str, hint: str) -> None:
        """Raise where there are such values: their number, and the first of them."""
        if first is None:
            return
        file, row, example = first
        raise DataError(
            f"{file}: column {self.name!r} holds {example} at data row {row:,} ({count:,} such values). {needed}",
            hint=hint,
            file=file,
            column=self.name,
            row=row,
            count=count,
            example=example,
        )

    def check_some(self, file: str, *, optional: bool = True) -> None:
        """Refuse a column without a value; `optional` where it can be left out."""
        if self.missing < self.rows:
            return
        raise DataError(
            f"{file}: column {self.name!r} has no value in any of the {self.rows:,} rows. It must have some.",
            hint=f"leave it out with --drop {quote(self.name)}" if optional else "choose another --target",
            file=file,
            column=self.name,
            row=1,
            count=self.rows,
        )

    def check_no_text_among_numbers(self, *, optional: bool = True) -> None:
        """Refuse numbers with a few texts among them, which would be taken for a category with as many levels.

        Args:
            optional: whether the column can be left out.
        """
        present = self.rows - self.missing
        few = len(self.levels) <= min(_FEW_LEVELS, present / 4)
        if self.at_text is None or few or self.numbers < _MIXED_SHARE * present:
            return
        file, row, example = self.at_text
        raise DataError(
            f"{file}: column {self.name!r} holds numbers in {self.numbers:,} rows and text in {self.texts:,}; the "
            f"first is {example!r} at data row {row:,}. It must be all numbers, or a category of few values.",
            hint=_mend(str(example))
            + (f", or leave the column out with --drop {quote(self.name)}" if optional else ""),
            file=file,
            column=self.name,
            row=row,
            count=self.texts,
            example=example,
        )

    def notes(self) -> Iterator[str]:
        if self.levels and self.decorations:
            yield (
                f"column {self.name!r} holds numbers with {self.decorations[0]}, such as {next(iter(self.levels))!r}, "
                "and is read as a category: write plain numbers to have it read as one"
            )


def are_numbers(texts: tuple[str, ...]) -> np.ndarray:
    """Which texts are numbers: bool of shape (len(texts),)."""
    options = compute.MatchSubstringOptions(_NUMBER)
    return np.asarray(compute.call_function("match_substring_regex", [pa.array(texts, pa.string())], options))


def _mend(text: str) -> str:
    what = next((what for what, pattern in _DECORATED.items() if pattern.fullmatch(text)), None)
    return f"write the number without {what}" if what else "write an unknown value as an empty field"


def _first(file: str, column: Column, rows: np.ndarray, at: int) -> Place | None:
    row = int(rows.argmax()) if rows.any() else None
    return None if row is None else Place(file, at + row + 1, float(column.values[row]))


def outside(values: np.ndarray, within: tuple[float, float]) -> np.ndarray:
    """Which numbers are not within, bool; NaN is."""
    low, high = map(np.float64, within)  # in 64 bits, whatever the values are in
    return (values < low) | (values > high)


def reach(mean: float, scale: float) -> tuple[float, float]:
    """From where to where a number may lie that a model is given as (number - mean) / scale, in 32 bits."""
    return (mean - _FARTHEST * scale, mean + _FARTHEST * scale) if scale > 0 else (-inf, inf)


def values_of(file: str, column: Column, within: tuple[float, float] = (-inf, inf)) -> Values:
    """The values of a column that is there as a whole."""
    values = Values(column.name, column.kind, within)
    values.add(file, column)
    return values

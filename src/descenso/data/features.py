"""How one column becomes inputs of a model. Each kind is a value, learned from the training rows and kept as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, ClassVar, TypeAlias

import numpy as np

from descenso._errors import ModelError
from descenso.data.column import BOOLEAN, CLOCK, NUMBER, TEXT, TIME, Column, plain
from descenso.data.expected import Expected
from descenso.data.summary import CYCLES, Summary
from descenso.data.values import reach

MOST_LEVELS = 200
_FEWEST_ROWS = 10  # that a level must have; 1 % of the rows where there are fewer than 1,000


@dataclass(frozen=True)
class Number:
    """(value - mean) / scale, 0 where missing; then 1 where missing, if any training row was.

    Attributes:
        name: the column.
        column: its kind: "number" or "boolean".
        mean, scale: of the training rows; a scale of 0 leaves the value itself out.
        indicator: whether there is an input that says where the value is missing.
    """

    name: str
    column: str
    mean: float
    scale: float
    indicator: bool

    kind: ClassVar[str] = "number"

    @property
    def expected(self) -> Expected:
        return Expected((NUMBER, BOOLEAN), within=reach(self.mean, self.scale))

    @property
    def inputs(self) -> list[str]:
        return [self.name] * (self.scale > 0) + [f"{self.name} is missing"] * self.indicator

    def write(self, file: str, column: Column, out: np.ndarray) -> None:
        """Fill `out`, float32 of shape (rows, len(inputs))."""
        self.expected.check_column(file, column)
        _write_number(_as_floats(column), self.mean, self.scale, self.indicator, out)


@dataclass(frozen=True)
class Category:
    """One input for each level, 1 where the row has it; then one for all other levels, then one for missing values.

    Attributes:
        name: the column.
        column: its kind: "text".
        levels: by falling frequency, then by name.
        other: whether there is an input for the rare levels, which new ones join. Without it a new level is all zeros.
        indicator: whether there is an input for missing values.
    """

    name: str
    column: str
    levels: tuple[str, ...]
    other: bool
    indicator: bool

    kind: ClassVar[str] = "category"
    expected: ClassVar[Expected] = Expected((TEXT, NUMBER, BOOLEAN), finite=False)

    @property
    def inputs(self) -> list[str]:
        named = [f"{self.name} = {level}" for level in self.levels]
        return named + [f"{self.name} is another"] * self.other + [f"{self.name} is missing"] * self.indicator

    def write(self, file: str, column: Column, out: np.ndarray) -> None:
        """Fill `out`, float32 of shape (rows, len(inputs)), which is zero."""
        at = self.places(file, column)
        rows = np.flatnonzero(at >= 0)
        out[rows, at[rows]] = 1.0

    def places(self, file: str, column: Column) -> np.ndarray:
        """Which of the inputs is 1 in each row, -1 for none: int64 of shape (rows,)."""
        self.expected.check_column(file, column)
        codes, levels = _as_levels(column)
        rest = len(self.levels) if self.other else -1
        missing = len(self.inputs) - 1 if self.indicator else rest
        place = {level: i for i, level in enumerate(self.levels)}
        return np.array([place.get(level, rest) for level in levels] + [missing], np.int64)[codes]


@dataclass(frozen=True)
class Moment:
    """Seconds, standardised as a number is, and where they stand in the day, the week and the year: sine and cosine.

    Attributes:
        name: the column.
        column: its kind: "time" (UTC) or "clock".
        mean, scale: of the training rows, in seconds.
        cycles: of "day", "week", "year", those in which the training rows differ.
        indicator: whether there is an input that says where the value is missing.
    """

    name: str
    column: str
    mean: float
    scale: float
    cycles: tuple[str, ...]
    indicator: bool

    kind: ClassVar[str] = "moment"

    @property
    def expected(self) -> Expected:
        return Expected((self.column,))

    @property
    def inputs(self) -> list[str]:
        waves = [f"{self.name} in the {cycle}, {wave}" for cycle in self.cycles for wave in ("sine", "cosine")]
        return waves + [self.name] * (self.scale > 0) + [f"{self.name} is missing"] * self.indicator

    def write(self, file: str, column: Column, out: np.ndarray) -> None:
        """Fill `out`, float32 of shape (rows, len(inputs))."""
        self.expected.check_column(file, column)
        for i, cycle in enumerate(self.cycles):
            angle = _angle(column.values, cycle)
            out[:, 2 * i] = np.nan_to_num(np.sin(angle))
            out[:, 2 * i + 1] = np.nan_to_num(np.cos(angle))
        _write_number(column.values, self.mean, self.scale, self.indicator, out[:, 2 * len(self.cycles) :])


Feature: TypeAlias = Number | Category | Moment


def fit_feature(seen: Summary) -> Feature:
    """The feature of one column, learned from its rows; without inputs where there is nothing to learn from it."""
    indicator = 0 < seen.missing < seen.rows
    if seen.kind == TEXT:
        return _fit_category(seen, indicator)
    mean, scale = seen.moments.mean_and_deviation
    if seen.kind in (TIME, CLOCK):
        turning = tuple(c for c, turn in seen.turns.items() if turn.least < turn.most)
        return Moment(seen.name, seen.kind, mean, scale, turning, indicator)
    return Number(seen.name, seen.kind, mean, scale, indicator)


def _fit_category(seen: Summary, indicator: bool) -> Category:
    counts = seen.levels.counts
    fewest = max(2, min(_FEWEST_ROWS, ceil(0.01 * seen.rows)))
    ranked = sorted((-n, level) for level, n in counts.items())
    kept = tuple(level for n, level in ranked[:MOST_LEVELS] if -n >= fewest)
    if len(kept) <= 1 and len(kept) == len(ranked) and not indicator and not seen.levels.lost:
        kept = ()  # constant
    return Category(seen.name, seen.kind, kept, 0 < len(kept) < len(ranked) + seen.levels.lost, indicator)


def feature_from_json(value: dict[str, Any]) -> Feature:
    """The feature that `feature_to_json` wrote.

    Raises:
        ModelError: it is none.
    """
    try:
        return _READERS[value["kind"]](value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"The model's encoding of a column is not readable ({error!r}).") from error


def _names(values: list[Any]) -> tuple[str, ...]:
    return tuple(str(v) for v in values)


_READERS: dict[str, Callable[[dict[str, Any]], Feature]] = {
    Number.kind: lambda v: Number(
        str(v["name"]), str(v["column"]), float(v["mean"]), float(v["scale"]), bool(v["indicator"])
    ),
    Category.kind: lambda v: Category(
        str(v["name"]), str(v["column"]), _names(v["levels"]), bool(v["other"]), bool(v["indicator"])
    ),
    Moment.kind: lambda v: Moment(
        str(v["name"]),
        str(v["column"]),
        float(v["mean"]),
        float(v["scale"]),
        tuple(c for c in CYCLES if c in v["cycles"]),
        bool(v["indicator"]),
    ),
}


def feature_to_json(feature: Feature) -> dict[str, Any]:
    return {"kind": feature.kind, **asdict(feature)}


def _as_floats(column: Column) -> np.ndarray:
    return column.values if column.kind != TEXT else np.full(len(column), np.nan)


def _as_levels(column: Column) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes and texts; numbers are written as text: a file whose categories all look like numbers is read as such."""
    if column.kind == TEXT:
        return column.values, column.levels
    values, codes = np.unique(column.values, return_inverse=True)
    codes = np.where(np.isnan(column.values), -1, codes)
    words = {0.0: "false", 1.0: "true"} if column.kind == BOOLEAN else {}
    return codes, tuple(words.get(float(v), str(plain(v))) for v in values)


def _write_number(values: np.ndarray, mean: float, scale: float, indicator: bool, out: np.ndarray) -> None:
    gaps = np.isnan(values)
    if scale > 0:
        standard = (values.astype(np.float64) - mean) / scale
        standard[gaps] = 0.0
        out[:, 0] = standard
    if indicator:
        out[:, -1] = gaps


def _angle(seconds: np.ndarray, cycle: str) -> np.ndarray:
    return 2 * np.pi / CYCLES[cycle] * (seconds % CYCLES[cycle])

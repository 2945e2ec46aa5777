"""The target as a model is given it: turned into numbers, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from descenso._errors import DataError, ModelError
from descenso.data.column import BOOLEAN, NUMBER, TEXT, Column
from descenso.data.expected import Expected
from descenso.data.values import reach

REGRESSION, CLASSIFICATION = "regression", "classification"


@dataclass(frozen=True)
class Regression:
    """A number, standardised: y = (value - mean) / scale.

    Attributes:
        name: the column.
        mean, scale: of the training rows, in units of the target.
    """

    name: str
    mean: float
    scale: float

    task = REGRESSION
    outputs = 1

    @property
    def expected(self) -> Expected:
        return Expected((NUMBER, BOOLEAN), within=reach(self.mean, self.scale))

    def encode(self, file: str, column: Column) -> np.ndarray:
        """float32 of shape (rows,), NaN where there is no value.

        Raises:
            DataError: the column is not of numbers, or a value is infinite or so large that 32-bit floats overflow.
        """
        self.check(file, column)
        return ((column.values.astype(np.float64) - self.mean) / self.scale).astype(np.float32)

    def check(self, file: str, column: Column) -> None:
        """Refuse a column that cannot be encoded; errors as of `encode`."""
        if column.kind not in (NUMBER, BOOLEAN):
            raise not_numbers(file, column)
        self.expected.check_column(file, column)

    def decode(self, prediction: np.ndarray) -> np.ndarray:
        """Standardised predictions in units of the target, float64."""
        return prediction.astype(np.float64) * self.scale + self.mean

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "task": self.task, "mean": self.mean, "scale": self.scale}


@dataclass(frozen=True)
class Classes:
    """One of several labels, as its place among them.

    Attributes:
        name: the column.
        labels: sorted; texts, numbers or booleans.
    """

    name: str
    labels: tuple[str | int | float | bool, ...]

    task = CLASSIFICATION

    @property
    def outputs(self) -> int:
        """How many outputs a model needs: one log-odds for two classes."""
        return 1 if len(self.labels) == 2 else len(self.labels)

    def encode(self, file: str, column: Column) -> np.ndarray:
        """int32 of shape (rows,), -1 where there is no value.

        Raises:
            DataError: a value is none of the labels.
        """
        places = {label: i for i, label in enumerate(self.labels)}
        values, rows = _distinct(column)
        missing = column.missing
        known = np.where(missing, -1, np.array([places.get(v, -1) for v in values], np.int32)[rows]).astype(np.int32)
        strange = np.flatnonzero((known < 0) & ~missing)
        if strange.size:
            row = int(strange[0])
            raise DataError(
                f"{file}: {self.name!r} is {column.example(row)!r} at data row {row + 1:,} ({strange.size:,} rows with "
                f"labels that were not there to learn from). It must be one of {_shown(self.labels)}.",
                file=file,
                column=self.name,
                row=row + 1,
                count=int(strange.size),
                example=column.example(row),
            )
        return known

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "task": self.task, "labels": list(self.labels)}


Target: TypeAlias = Regression | Classes


def target_from_json(value: dict[str, Any]) -> Target:
    """The target that `to_json` wrote.

    Raises:
        ModelError: it is none.
    """
    try:
        if value["task"] == REGRESSION:
            return Regression(str(value["name"]), float(value["mean"]), float(value["scale"]))
        return Classes(str(value["name"]), tuple(value["labels"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The model's target is not readable ({error!r}).") from error


def _distinct(column: Column) -> tuple[list[Any], np.ndarray]:
    """The different values, sorted, and for each row the place of its value among them."""
    values, rows = np.unique(column.values, return_inverse=True)
    if column.kind != TEXT:
        return [column.as_written(v) for v in values], rows
    texts = [column.levels[v] if v >= 0 else "" for v in values]
    order = sorted(range(len(texts)), key=texts.__getitem__)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return [texts[i] for i in order], rank[rows]


def not_numbers(file: str, column: Column) -> DataError:
    """The error for a target that is to be a number and is none."""
    row = int(np.flatnonzero(~column.missing)[0])
    return DataError(
        f"{file}: the target {column.name!r} is {column.kind} ({column.example(row)!r} at data row {row + 1:,}). A "
        "regression needs numbers.",
        hint="choose --task classification, or another target",
        file=file,
        column=column.name,
        row=row + 1,
        count=int((~column.missing).sum()),
        example=column.example(row),
    )


def _shown(labels: tuple[object, ...]) -> str:
    return ", ".join(map(repr, labels[:8])) + (f", ... ({len(labels)} in all)" if len(labels) > 8 else "")

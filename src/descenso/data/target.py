"""The target: what kind of task it makes, and how it is turned into numbers and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from descenso._errors import ArgumentError, DataError, ModelError
from descenso.data.column import BOOLEAN, NUMBER, TEXT, Column
from descenso.data.moments import Moments
from descenso.data.values import values_of

REGRESSION, CLASSIFICATION = "regression", "classification"
MOST_CLASSES = 20  # whole numbers with at most so many different values are classes ...
MOST_LABELS = 1 << 16  # beyond that they are told from each other no more: no model has so many outputs
_ROWS_A_CLASS = 5  # ... if they have on average at least so many rows each


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

    def encode(self, file: str, column: Column) -> np.ndarray:
        """float32 of shape (rows,), NaN where there is no value.

        Raises:
            DataError: the column is not of numbers, or a value is infinite.
        """
        if column.kind not in (NUMBER, BOOLEAN):
            raise _not_numbers(file, column)
        values_of(file, column).check_finite()
        return ((column.values.astype(np.float64) - self.mean) / self.scale).astype(np.float32)

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


@dataclass
class Answers:
    """The different values of a target, taken note of some rows at a time.

    Attributes:
        name, kind: of the column.
        rows: that have a value.
        values: the different values, at most `most` and one more; numbers, or texts.
        most: how many are of interest.
    """

    name: str
    kind: str
    most: int = MOST_LABELS
    rows: int = 0
    values: set[Any] = field(default_factory=set)

    @classmethod
    def of(cls, column: Column, most: int = MOST_LABELS) -> Answers:
        answers = cls(column.name, column.kind, most)
        answers.add(column)
        return answers

    def add(self, column: Column) -> None:
        """Take note of more rows."""
        self.rows += int((~column.missing).sum())
        if not self.many:
            found = np.unique(column.values[~column.missing])[: self.most + 1]
            self.values.update(map(column.as_written, found))

    @property
    def many(self) -> bool:
        """Whether there are more than are of interest."""
        return len(self.values) > self.most

    @property
    def labels(self) -> list[Any]:
        return sorted(self.values)

    @property
    def task(self) -> tuple[str, str]:
        """The task that the target makes, and why, in words; see `infer_task`."""
        if self.kind in (TEXT, BOOLEAN):
            return CLASSIFICATION, f"{self.name!r} is {self.kind}"
        n = len(self.values)
        few = n == 2 or (n <= MOST_CLASSES and self.rows >= _ROWS_A_CLASS * n)
        if self.kind == NUMBER and few and all(float(v).is_integer() for v in self.values):
            return CLASSIFICATION, f"{self.name!r} has {n} different whole numbers"
        return REGRESSION, f"{self.name!r} is a number"


def infer_task(column: Column) -> tuple[str, str]:
    """The task that a target without missing values makes, and why, in words.

    Text and booleans are classes. Numbers are classes if they are whole and have two different values, or at most 20
    with at least 5 rows each on average. All others are a regression.
    """
    return Answers.of(column).task


def fit_target(file: str, column: Column, task: str) -> Target:
    """What the target's rows say: mean and scale, or the labels.

    Args:
        file: for messages.
        column: the target, without missing values.
        task: "regression" or "classification".

    Raises:
        DataError: the target is constant, is not of numbers, or has nearly as many labels as rows.
        ArgumentError: no such task.
    """
    check_task(file, column, task)
    target = target_of(file, Answers.of(column), task)
    return target if isinstance(target, Classes) else standardised(column.name, Moments.of(column.values))


def check_task(file: str, column: Column, task: str) -> None:
    """Refuse a task that does not exist, or not for such a column."""
    if task not in (REGRESSION, CLASSIFICATION):
        raise ArgumentError(f"The task is {task!r}. It must be {REGRESSION!r} or {CLASSIFICATION!r}.")
    if task == REGRESSION and column.kind not in (NUMBER, BOOLEAN):
        raise _not_numbers(file, column)


def standardised(name: str, moments: Moments) -> Regression:
    """The target that is a number of this mean and deviation."""
    return Regression(name, *moments.mean_and_deviation)


def target_of(file: str, answers: Answers, task: str) -> Classes | None:
    """The classes, None for a regression.

    Raises:
        DataError: the target is constant, or has nearly as many labels as rows.
    """
    labels, name, rows = answers.labels, answers.name, answers.rows
    if len(labels) == 1:
        raise DataError(
            f"{file}: the target {name!r} is {labels[0]!r} in all {rows:,} rows. It must have at "
            "least two different values.",
            hint="is this the column you meant, and did a filter leave one class only?",
            file=file,
            column=name,
            row=1,
            count=rows,
            example=labels[0],
        )
    if task == REGRESSION:
        return None
    if len(labels) > max(MOST_CLASSES, rows / 2) or answers.many:
        told = f"more than {answers.most:,}" if answers.many else f"{len(labels):,}"
        raise DataError(
            f"{file}: the target {name!r} has {told} different values in {rows:,} rows, "
            f"such as {labels[0]!r}. Classes must repeat.",
            hint="is this the column you meant? For a number, choose --task regression",
            file=file,
            column=name,
            count=len(labels),
            example=labels[0],
        )
    return Classes(name, tuple(labels))


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


def _not_numbers(file: str, column: Column) -> DataError:
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

"""What a target is to be learned as: a number, or classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from descenso._errors import ArgumentError, DataError
from descenso.data.column import BOOLEAN, NUMBER, TEXT, Column, as_far_as_told
from descenso.data.moments import Moments
from descenso.data.target import CLASSIFICATION, REGRESSION, Classes, Regression, Target, not_numbers

MOST_CLASSES = 20  # whole numbers with at most so many different values are classes ...
_ROWS_A_CLASS = 5  # ... if they have on average at least so many rows each
MOST_LABELS = 1 << 16  # beyond that they are told from each other no more: no model has so many outputs


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
    return target if isinstance(target, Classes) else standardised(file, column.name, Moments.of(column.values))


def check_task(file: str, column: Column, task: str) -> None:
    """Refuse a task that does not exist, or not for such a column."""
    if task not in (REGRESSION, CLASSIFICATION):
        raise ArgumentError(f"The task is {task!r}. It must be {REGRESSION!r} or {CLASSIFICATION!r}.")
    if task == REGRESSION and column.kind not in (NUMBER, BOOLEAN):
        raise not_numbers(file, column)


def standardised(file: str, name: str, moments: Moments) -> Regression:
    """The target that is a number of this mean and deviation.

    Raises:
        DataError: the numbers differ by rounding alone, or not at all.
    """
    mean, scale = moments.mean_and_deviation
    if scale > 0:
        return Regression(name, mean, scale)
    raise DataError(
        f"{file}: the target {name!r} is about {mean!r} in all {moments.n:,} rows to learn from: it differs by no more "
        "than 64-bit floats round off.",
        hint="write it less a number that all rows have in common",
        file=file,
        column=name,
        count=moments.n,
        example=mean,
    )


def target_of(file: str, answers: Answers, task: str) -> Classes | None:
    """The classes, None for a regression.

    Raises:
        DataError: the target is constant, or has nearly as many labels as rows.
    """
    labels, name, rows = answers.labels, answers.name, answers.rows
    if len(labels) == 1:
        raise DataError(
            f"{file}: the target {name!r} is {labels[0]!r} in all {rows:,} rows{as_far_as_told(labels[0])}. It must "
            "have at least two different values.",
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

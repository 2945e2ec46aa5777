"""What the target's column says of a table that does not fit into memory: the task, the classes, which rows have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from descenso._errors import DataError
from descenso.cli.rows import Request, left_out
from descenso.data.column import NUMBER, Column, require_columns
from descenso.data.parts import Parts
from descenso.data.target import CLASSIFICATION, Classes
from descenso.data.task import MOST_CLASSES, MOST_LABELS, Answers, check_task, target_of
from descenso.data.values import Values


@dataclass(frozen=True)
class Aim:
    """What the target's column says.

    Attributes:
        present: which rows have a value.
        classes: the target where it is of classes, else None.
        groups: the class of each of these rows, or None.
        notes: sentences about it.
    """

    present: np.ndarray
    classes: Classes | None
    groups: np.ndarray | None
    notes: list[str]

    @property
    def rows(self) -> int:
        return int(self.present.sum())


def look_at_target(request: Request, parts: Parts) -> Aim:
    """Go through the target's column. Of the values no more is kept than tells classes apart."""
    require_columns(parts.name, [request.target], parts.schema.names)
    values, answers, sample = None, None, None
    present: list[np.ndarray] = []
    codes: list[np.ndarray] = []
    places: dict[Any, int] = {}
    for table, at in parts.tables(request.target):
        column = table.columns[request.target]
        if values is None or answers is None:
            few = request.task is None and column.kind == NUMBER
            values = Values(column.name, column.kind)
            answers = Answers(column.name, column.kind, MOST_CLASSES if few else MOST_LABELS)
        values.add(table.file, column, at)
        answers.add(column)
        present.append(~column.missing)
        if sample is None and not column.missing.all():
            sample = column
        if answers.many:
            codes.clear()
        else:
            codes.append(_codes(column, places))
    if values is None or answers is None:
        raise DataError(f"{parts.name}: the table has no rows. At least one is needed.", file=parts.name, count=0)
    values.check_finite()
    values.check_some(parts.name, optional=False)
    values.check_no_text_among_numbers(optional=False)
    assert sample is not None  # there is a value
    task = request.task or answers.task[0]
    check_task(parts.name, sample, task)
    return _aim(request, parts, answers, task, np.concatenate(present), codes, places)


def _aim(
    request: Request,
    parts: Parts,
    answers: Answers,
    task: str,
    present: np.ndarray,
    codes: list[np.ndarray],
    places: dict[Any, int],
) -> Aim:
    told, why = answers.task
    classes = target_of(parts.name, answers, task)
    notes = [] if request.task else [f"a {told}, since {why}"]
    if not present.all():
        first = int((~present).argmax()) + 1
        notes.append(left_out(parts.name, answers.name, int((~present).sum()), len(present), first))
    groups = None
    if task == CLASSIFICATION and classes is not None:
        rank = {label: i for i, label in enumerate(classes.labels)}
        groups = np.array([rank[label] for label in places], np.int32)[np.concatenate(codes)]
    return Aim(present, classes, groups, notes)


def _codes(column: Column, places: dict[Any, int]) -> np.ndarray:
    """The place of each value that is there among all values so far, in as few bytes as hold it."""
    values, rows = np.unique(column.values[~column.missing], return_inverse=True)
    known = [places.setdefault(column.as_written(v), len(places)) for v in values]
    kind = np.uint8 if len(places) <= 256 else np.uint16 if len(places) <= 65536 else np.uint32
    return np.array(known, kind)[rows]

"""From a table to a matrix of inputs, the way the training rows say: an `Encoding`, kept as JSON with the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from descenso._errors import DataError, ModelError
from descenso.data.column import TEXT, Table, as_far_as_told, require_columns
from descenso.data.features import (
    MOST_LEVELS,
    Category,
    Feature,
    feature_from_json,
    feature_to_json,
    fit_feature,
)
from descenso.data.summary import Summary


@dataclass(frozen=True)
class Encoding:
    """The inputs of a model, in order.

    Attributes:
        features: one for each column that is learned from.
        dropped: the columns that are not, each with the reason.
    """

    features: tuple[Feature, ...]
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def inputs(self) -> list[str]:
        """The name of each input."""
        return [name for feature in self.features for name in feature.inputs]

    @property
    def columns(self) -> list[str]:
        """The columns that a table must have."""
        return [f.name for f in self.features]

    @property
    def text_columns(self) -> frozenset[str]:
        """The columns to read as text whatever they look like."""
        return frozenset(f.name for f in self.features if f.column == TEXT)

    def check(self, table: Table) -> None:
        """Refuse a table that cannot be encoded; errors as of `apply`."""
        require_columns(table.file, self.columns, table.columns)
        for feature in self.features:
            feature.expected.check_column(table.file, table.columns[feature.name])

    def apply(self, table: Table) -> np.ndarray:
        """The inputs of every row: float32 of shape (rows, len(inputs)), row-major.

        Raises:
            SchemaError: a column is not there, or is of another kind than the one learned from.
            DataError: a value is infinite, or so large that 32-bit floats overflow.
        """
        require_columns(table.file, self.columns, table.columns)
        out = np.zeros((table.rows, len(self.inputs)), np.float32)
        at = 0
        for feature in self.features:
            width = len(feature.inputs)
            feature.write(table.file, table.columns[feature.name], out[:, at : at + width])
            at += width
        return out

    @property
    def spread(self) -> tuple[int, ...]:
        """What `pack` leaves out: for each column of its rows how many inputs it stands for, 0 for itself."""
        kept = ([len(f.inputs)] if isinstance(f, Category) else [0] * len(f.inputs) for f in self.features)
        return tuple(n for part in kept for n in part)

    def pack(self, table: Table) -> np.ndarray:
        """The inputs of every row in short: a category is the place of the input that is 1, or -1.

        float32 of shape (rows, len(spread)), row-major; errors as of `apply`.
        """
        require_columns(table.file, self.columns, table.columns)
        out = np.zeros((table.rows, len(self.spread)), np.float32)
        at = 0
        for feature in self.features:
            column = table.columns[feature.name]
            width = 1 if isinstance(feature, Category) else len(feature.inputs)
            if isinstance(feature, Category):
                out[:, at] = feature.places(table.file, column)
            else:
                feature.write(table.file, column, out[:, at : at + width])
            at += width
        return out

    def notes(self) -> list[str]:
        """What a person should know about the encoding."""
        notes = [f"column {name!r} is left out: {why}" for name, why in self.dropped]
        for f in self.features:
            if isinstance(f, Category) and len(f.levels) == MOST_LEVELS and f.other:
                notes.append(f"column {f.name!r} has many levels: the {MOST_LEVELS} most frequent are told apart")
        return notes

    def to_json(self) -> dict[str, Any]:
        return {
            "features": [feature_to_json(f) for f in self.features],
            "dropped": [{"name": name, "why": why} for name, why in self.dropped],
        }


def fit_encoding(table: Table) -> Encoding:
    """Learn the encoding from a table of training rows, the target not among its columns; see `encoding_of`."""
    return encoding_of(table.file, [Summary.of(column) for column in table.columns.values()])


def encoding_of(file: str, seen: Iterable[Summary]) -> Encoding:
    """The encoding that the training rows say.

    Args:
        file: for messages.
        seen: a summary for each column to learn from, in their order.

    Raises:
        DataError: no column is left to learn from.
    """
    fitted = [(summary, fit_feature(summary)) for summary in seen]
    features = tuple(f for _, f in fitted if f.inputs)
    dropped = tuple((f.name, _why(s, f)) for s, f in fitted if not f.inputs)
    if not features:
        raise DataError(
            f"{file}: no column is left to learn from ({'; '.join(f'{n!r}: {why}' for n, why in dropped)}).",
            hint="at least one column must differ between rows",
            file=file,
            count=0,
        )
    return Encoding(features, dropped)


def encoding_from_json(value: dict[str, Any]) -> Encoding:
    """The encoding that `to_json` wrote.

    Raises:
        ModelError: it is none.
    """
    try:
        features = tuple(feature_from_json(f) for f in value["features"])
        return Encoding(features, tuple((str(d["name"]), str(d["why"])) for d in value["dropped"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"The model's encoding is not readable ({error!r}).") from error


def _why(seen: Summary, feature: Feature) -> str:
    if seen.missing == seen.rows:
        return "it has no value in the training rows"
    if isinstance(feature, Category) and not seen.constant:
        return "its values hardly repeat, as in an identifier or a free text"
    if not seen.constant:
        return "its values differ by no more than 64-bit floats round off"
    return f"it is {seen.first!r} in every training row{as_far_as_told(seen.first)}"

"""Whether a column is of the kind that a model learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descenso._errors import SchemaError
from descenso.data.column import NUMBER, TEXT, Column
from descenso.data.values import Values, values_of


@dataclass(frozen=True)
class Expected:
    """What a column must be.

    Attributes:
        kinds: of a column, those that will do; the first is what was learned from.
        finite: whether an infinite number is refused.
    """

    kinds: tuple[str, ...]
    finite: bool = True

    def check_column(self, file: str, column: Column) -> None:
        """Refuse a column that is there as a whole; errors as of `check`."""
        unfit = column.kind not in self.kinds and not column.missing.all()
        endless = self.finite and column.kind != TEXT and bool(np.isinf(column.values).any())
        if unfit or endless:
            self.check(values_of(file, column))

    def check(self, values: Values) -> None:
        """Refuse values of another kind, or infinite ones; a column without any value fits all.

        Raises:
            SchemaError: the column is of another kind.
            DataError: it holds numbers with a few texts among them, or an infinite number.
        """
        if values.kind not in self.kinds and values.first is not None:
            self._refuse(values)
        if self.finite:
            values.check_finite()

    def _refuse(self, values: Values) -> None:
        assert values.first is not None
        if NUMBER in self.kinds:
            values.check_no_text_among_numbers()
        file, row, example = values.first
        raise SchemaError(
            f"{file}: column {values.name!r} is {values.kind} ({example!r} at data row {row:,}). The model learned "
            f"from a {' or '.join(self.kinds)}.",
            file=file,
            column=values.name,
            row=row,
            count=values.rows - values.missing,
            example=example,
        )

"""Whether a column is of the kind that a model learned from."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from descenso._errors import SchemaError
from descenso.data.column import NUMBER, TEXT, Column
from descenso.data.values import Values, outside, values_of


@dataclass(frozen=True)
class Expected:
    """What a column must be.

    Attributes:
        kinds: of a column, those that will do; the first is what was learned from.
        finite: whether an infinite number is refused.
        within: the numbers that the model can take.
    """

    kinds: tuple[str, ...]
    finite: bool = True
    within: tuple[float, float] = (-inf, inf)

    def check_column(self, file: str, column: Column) -> None:
        """Refuse a column that is there as a whole; errors as of `check`."""
        unfit = column.kind not in self.kinds and not column.missing.all()
        endless = self.finite and column.kind != TEXT and not self._holds(column.values)
        if unfit or endless:
            self.check(values_of(file, column, self.within))

    def _holds(self, values: np.ndarray) -> bool:
        return not (np.isinf(values) | outside(values, self.within)).any()

    def check(self, values: Values) -> None:
        """Refuse values of another kind, infinite ones, or those not within; a column without any value fits all.

        Raises:
            SchemaError: the column is of another kind.
            DataError: it holds numbers with a few texts among them, or an infinite number, or one not within.
        """
        if values.kind not in self.kinds and values.first is not None:
            self._refuse(values)
        if self.finite:
            values.check_finite()
            values.check_within()

    def _refuse(self, values: Values) -> None:
        assert values.first is not None
        if NUMBER in self.kinds:
            values.check_no_text_among_numbers(optional=False)  # the model needs the column
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

"""The exceptions of descenso. They are for a caller's or the data's mistake, raised before the first step.

    DescensoError
      ArgumentError         an argument of a call is not what it must be       (also a ValueError)
        MethodNameError     no method of that name
        BudgetError         a budget that allows no step
      LossError             the loss is not a function that can be descended   (also a ValueError)
        LossShapeError      it does not return one number
        LossPurityError     it is not a function of its arguments
        LossGradientError   no gradient reaches a leaf
      ParamsError           a leaf of params cannot be descended on            (also a TypeError)
      DataError             the data cannot be learned from                    (also a ValueError)
        TableError          a file that holds no usable table
        SchemaError         columns that do not fit the model
      ModelError            a saved model that cannot be used
      CheckpointError       a checkpoint that cannot be written, read or gone on from
      FailedRun             what `Result.raise_if_failed` raises

Every message says what was given, then what is needed; `hint` says what to do.
"""

from __future__ import annotations


class DescensoError(Exception):
    """The root of every exception that descenso raises."""

    def __init__(self, message: str, *, hint: str | None = None):
        super().__init__(message if hint is None else f"{message}\n\nhint: {hint}")
        self.hint = hint


class ArgumentError(DescensoError, ValueError):
    """An argument of a call is not what it must be."""


class MethodNameError(ArgumentError):
    """No method has that name."""


class BudgetError(ArgumentError):
    """A budget that allows no step."""


class LossError(DescensoError, ValueError):
    """The loss is not a function that can be descended."""


class LossShapeError(LossError):
    """The loss does not return one number."""


class LossPurityError(LossError):
    """The loss gives different values for the same arguments."""


class LossGradientError(LossError):
    """No gradient reaches a leaf of the params."""


class ParamsError(DescensoError, TypeError):
    """A leaf of the params cannot be descended on."""


class DataError(DescensoError, ValueError):
    """The data cannot be learned from.

    Attributes:
        file, column: where, or None.
        row: the first offending data row, counted from 1, or None.
        count: how many rows or values offend, or None.
        example: one offending value, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        file: str | None = None,
        column: str | None = None,
        row: int | None = None,
        count: int | None = None,
        example: object = None,
    ):
        super().__init__(message, hint=hint)
        self.file, self.column, self.row, self.count, self.example = file, column, row, count, example


class TableError(DataError):
    """A file that holds no usable table."""


class SchemaError(DataError):
    """Columns that do not fit the model."""


class ModelError(DescensoError):
    """A saved model that cannot be used."""


class CheckpointError(DescensoError):
    """A checkpoint that cannot be written, read or gone on from."""


class FailedRun(DescensoError):
    """A run that ended without a usable answer; the result is in `result`."""

    def __init__(self, message: str, result):
        super().__init__(message)
        self.result = result

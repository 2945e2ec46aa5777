"""Targets that a loss has no meaning for."""

from __future__ import annotations

import numpy as np

from descenso._errors import DataError
from descenso._types import Array
from descenso.losses.classes import hinge, logistic, modified_huber, softmax, squared_hinge
from descenso.losses.positive import gamma, poisson, tweedie
from descenso.losses.shapes import Loss


def check_targets(loss: Loss, target: Array, *, classes: int | None = None) -> None:
    """Refuse targets that `loss` has no meaning for, before they turn into a NaN or a number that means nothing.

    Args:
        loss: one of `descenso.losses`; any other function is let through.
        target: all the targets, any shape.
        classes: how many classes the model tells apart; only for `softmax`, where None checks the lower end alone.

    Raises:
        DataError: with the number of such targets, the first row and its value.
    """
    values = np.asarray(target)
    if values.size == 0:
        raise DataError("There are no targets. At least one is needed.", count=0)
    needed, good = _requirement(loss, values, classes)
    bad = np.flatnonzero(~np.broadcast_to(good, values.shape))
    if bad.size:
        row, example = _row(values, int(bad[0])), values.reshape(-1)[bad[0]].item()
        raise DataError(
            f"{bad.size:,} of {values.size:,} targets are not {needed}; the first is {example!r} at row {row}. "
            f"`{loss.__name__}` needs {needed}.",
            hint="number the classes from 0"
            if loss in (softmax, logistic, hinge, squared_hinge, modified_huber)
            else None,
            row=row,
            count=int(bad.size),
            example=example,
        )


def _requirement(loss: Loss, values: np.ndarray, classes: int | None) -> tuple[str, np.ndarray]:
    if values.dtype.kind not in "biuf":
        return "numbers", np.asarray(False)
    finite = np.isfinite(values)
    if loss is logistic:
        return "between 0 and 1", finite & (values >= 0) & (values <= 1)
    if loss in (hinge, squared_hinge, modified_huber):
        return "0 or 1", (values == 0) | (values == 1)
    if loss in (poisson, tweedie):
        return "0 or more", finite & (values >= 0)
    if loss is gamma:
        return "above 0", finite & (values > 0)
    if loss is softmax:
        top = "" if classes is None else f" to {classes - 1}"
        in_range = finite & (values >= 0) & (True if classes is None else values < classes)
        return f"whole numbers from 0{top}", in_range & (values == np.floor(values))
    return "finite", finite


def _row(values: np.ndarray, flat: int) -> int:
    return int(np.unravel_index(flat, values.shape)[0]) + 1 if values.ndim else 1

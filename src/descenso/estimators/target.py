"""A target in units of about one, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from descenso._errors import DataError
from descenso.estimators.columns import Columns
from descenso.estimators.families import Family, Shape


@dataclass(frozen=True)
class Target:
    """How scores and targets of a model stand in the user's units.

    Attributes:
        values: the targets t as the loss sees them, (rows,).
        offset, unit: a score z is offset + unit z in the user's units (in their logarithm for rates).
        factor: the loss in the user's units is `factor` times that of z, plus `constant`.
        size: epsilon, the quantile or the power, as `Shape.size`.
    """

    values: np.ndarray
    offset: float
    unit: float
    factor: float
    constant: float
    size: float

    @property
    def shape(self) -> Shape:
        return Shape(0.0, self.size, self.offset, self.unit)


def classes(values: np.ndarray, outputs: int) -> Target:
    """Classes 0, 1, ... as they are; a score is a decision value, and there are `outputs` of a row."""
    dtype = np.float64 if outputs == 1 else np.int32
    return Target(values.astype(dtype), 0.0, 1.0, 1.0, 0.0, 0.0)


def numbers(
    y: np.ndarray, moments: Columns, family: Family, e: Any, *, offset: bool = True, stream: bool = False
) -> Target:
    """A number, less its mean and over its deviation; rates over their mean.

    Args:
        moments: of y, (rows,), or of all that was seen of it. e: the estimator, for `epsilon`, `quantile`, `power`.
        stream: whether y is but a part of what was seen; epsilon then goes by the deviation of all of that.
        offset: whether the model has an intercept that can take the mean up.

    Raises:
        DataError: targets that the loss has no meaning for.
    """
    y = np.asarray(y, np.float64)
    mean = float(moments.mean[0])
    if family.log:
        return _rates(y, mean, family, e, offset=offset)
    mean = mean if offset else 0.0
    unit = float(moments.about(np.array([mean]))[0]) or 1.0
    if family.name == "own":
        return Target(y, mean, unit, 1.0, 0.0, 0.0)
    size = e.quantile if family.name == "quantile" else _epsilon(e, family, y, unit, stream) / unit
    return Target((y - mean) / unit, mean, unit, unit**family.power, 0.0, size)


def _epsilon(e: Any, family: Family, y: np.ndarray, unit: float, stream: bool) -> float:
    """epsilon in the user's units; by default a share of the spread of y that a few outliers do not change."""
    if e.epsilon is not None:
        return float(e.epsilon)
    spread = unit if stream else 1.4826 * float(np.median(np.abs(y - np.median(y))))
    return (1.35 if family.name == "huber" else 0.1) * (spread or unit)


def _rates(y: np.ndarray, mean: float, family: Family, e: Any, *, offset: bool) -> Target:
    bad = y <= 0 if family.name == "gamma" else y < 0
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        needed = "above 0" if family.name == "gamma" else "0 or more"
        raise DataError(
            f"{int(bad.sum()):,} of {len(y):,} targets are not {needed}; the first is {y[at]!r} at row {at + 1}. "
            f"The loss {family.name!r} needs targets {needed}.",
            row=at + 1,
            count=int(bad.sum()),
            example=float(y[at]),
        )
    if not mean > 0:
        raise DataError(f"All targets are 0. The loss {family.name!r} needs one above 0.", count=len(y))
    mean = mean if offset else 1.0
    t, shift = y / mean, float(np.log(mean))
    if family.name == "poisson":  # e^p - y p with p = z + log m is m (e^z - t z) - y log m
        return Target(t, shift, 1.0, mean, -mean * shift, 0.0)
    if family.name == "gamma":  # p + y e^-p is z + t e^-z + log m
        return Target(t, shift, 1.0, 1.0, shift, 0.0)
    return Target(t, shift, 1.0, mean ** (2 - e.power), 0.0, float(e.power))

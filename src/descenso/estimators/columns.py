"""The columns of a table in units of their own: so no scaling is needed beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from descenso._errors import DataError
from descenso.data.aligned import aligned

_CHUNK = 1 << 22  # values looked at together


@dataclass(frozen=True)
class Columns:
    """Weighted moments of each column, float64 (features,).

    total: the sum of the weights. mean, variance: of the column, the variance 0 where it is constant.
    sparse: whether the table is, which is then never centred. filled: the share of the rows, by weight, in which the
    column is not zero.
    """

    total: float
    mean: np.ndarray
    variance: np.ndarray
    sparse: bool
    filled: np.ndarray

    @property
    def center(self) -> np.ndarray:
        return np.zeros_like(self.mean) if self.sparse else self.mean

    @property
    def deviation(self) -> np.ndarray:
        return np.sqrt(self.variance)

    def about(self, center: np.ndarray) -> np.ndarray:
        """The root of the mean square about `center`."""
        return np.sqrt(self.variance + (self.mean - center) ** 2)

    @property
    def entry(self) -> np.ndarray:
        """The root of the mean square about the center, over the root of the share of the rows that are not zero."""
        return self.about(self.center) / np.sqrt(np.where(self.filled > 0, self.filled, 1.0))

    def merged(self, other: Columns) -> Columns:
        """The moments of both tables together. Source: Chan, Golub, LeVeque 1983, Amer. Stat. 37, equation 2.1."""
        total = self.total + other.total
        share, apart = other.total / total, other.mean - self.mean
        within = (1 - share) * self.variance + share * other.variance
        variance = within + share * (1 - share) * apart**2
        filled = (1 - share) * self.filled + share * other.filled
        return Columns(total, self.mean + share * apart, variance, self.sparse, filled)


def measure(X: Any, weights: np.ndarray, name: str | None = None) -> Columns:
    """The moments of the columns of X, dense or CSR, (rows, features).

    Args:
        weights: (rows,), above 0.
        name: what X is called in messages, where it is one column.

    Raises:
        DataError: a column's values are so large or so small that their squares are no numbers.
    """
    total = float(weights.sum())
    mean = np.asarray(sum(_moment(part, w) for part, w in _parts(X, weights))) / total
    filled = np.asarray(sum(_moment(part != 0, w) for part, w in _parts(X, weights))) / total
    with np.errstate(over="ignore"):  # refused below
        if sparse.issparse(X):
            square = np.asarray(sum(_moment(part.multiply(part), w) for part, w in _parts(X, weights))) / total
            variance = np.maximum(square - mean**2, 0)
        else:
            variance = np.asarray(sum(w @ np.square(part - mean) for part, w in _parts(X, weights))) / total
        square = mean**2 + variance
    extreme = np.flatnonzero(~np.isfinite(square) | ((mean != 0) & (square < np.finfo(np.float64).tiny)))
    if extreme.size:
        at = int(extreme[0])
        raise DataError(
            f"{name or f'Column {at} of X'} has the mean {mean[at]:.3g}: the squares of such values do not fit 64-bit "
            "floats.",
            hint="give it in other units",
            column=name or str(at),
        )
    # what is left of a constant column is the rounding of its mean
    variance[variance <= (64 * np.finfo(np.float64).eps * mean) ** 2] = 0
    return Columns(total, mean, variance, sparse.issparse(X), filled)


def _parts(X: Any, weights: np.ndarray) -> Iterator[tuple[Any, np.ndarray]]:
    """X in float64, a chunk of rows at a time, and the weights of those rows."""
    rows = max(1, _CHUNK // max(1, X.shape[1]))
    if sparse.issparse(X):
        rows = max(1, int(_CHUNK * len(weights) / max(1, X.nnz)))
    for start in range(0, len(weights), rows):
        yield X[start : start + rows].astype(np.float64), weights[start : start + rows]


def _moment(part: Any, w: np.ndarray) -> np.ndarray:
    return np.asarray(part.T @ w).ravel()


def standardised(
    X: np.ndarray, center: np.ndarray, scale: np.ndarray, shape: tuple[int, int], dtype: Any
) -> np.ndarray:
    """(X - center) / scale in the corner of zeros of `shape`: rows and columns of zeros change no answer."""
    out = aligned(shape, dtype, np.zeros)
    rows = max(1, _CHUNK // max(1, X.shape[1]))
    for start in range(0, len(X), rows):
        part = X[start : start + rows]
        out[start : start + len(part), : X.shape[1]] = (part - center) / scale
    return out


def bucket(n: int, finest: int = 4) -> int:
    """The next size from a coarse list, so that tables of nearly the same shape share their compiled code.

    `finest`: sizes in an octave, a power of 2; at most 1 / finest of the size is padding.
    """
    octave = 1 << max(0, (n - 1).bit_length() - 1)  # n lies above it, and not above twice of it
    step = max(1, octave // finest)
    return -(-n // step) * step


def power_of_four(n: int) -> int:
    """The next power of four."""
    return 4 ** (((n - 1).bit_length() + 1) // 2)

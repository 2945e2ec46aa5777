"""The rows of a dense table as the descent sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from descenso.estimators.columns import bucket, power_of_four, standardised
from descenso.estimators.objective import coefficients

_LEAST_ROWS = 256  # this many cost no more than fewer
_FEW_ROWS, _FEW_COLUMNS = 1024, 64  # up to which shapes are rounded up to powers of four
_MANY_ROWS = 16_384  # from which a padding of a sixteenth costs more than compiling now and then


@dataclass(frozen=True)
class Dense:
    """Rows less `center`, over `scale`, with rows and columns of zeros that change no answer.

    Attributes:
        x: (padded rows, padded features). rows, features: how many are real.
    """

    x: np.ndarray
    rows: int
    features: int

    @property
    def width(self) -> int:
        """How many coefficients there are, padding included."""
        return self.x.shape[1]

    def data(self, t: np.ndarray, w: np.ndarray) -> dict:
        """The batch of all rows: targets t and weights w, (rows,); the weights come out with mean 1."""
        more = len(self.x) - self.rows
        filled = np.concatenate([t, np.repeat(t[:1], more)])
        weights = np.concatenate([w, np.zeros(more)]) * (len(self.x) / w.sum())
        kind = self.x.dtype if filled.dtype.kind == "f" else filled.dtype
        return {"x": self.x, "t": filled.astype(kind), "w": weights.astype(self.x.dtype)}

    def scores(self, params: Any) -> np.ndarray:
        """z of a linear model, (padded rows,) or (padded rows, outputs)."""
        z = self.x @ np.asarray(coefficients(params))
        return z + params["intercept"] if "intercept" in params else z

    def back(self, theta: np.ndarray) -> np.ndarray:
        """x' theta, (padded features,) or (padded features, outputs)."""
        return (theta.T.astype(self.x.dtype) @ self.x).T

    def batch_size(self, asked: Any) -> Any:
        """The batch size, which is in rows."""
        return asked


def dense(
    X: np.ndarray, center: np.ndarray, scale: np.ndarray, dtype: Any, *, shape: tuple[int, int] | None = None
) -> Dense:
    """The table of X, (rows, features), in a shape that is at least as large; None takes that of X."""
    rows, features = X.shape
    return Dense(standardised(X, center, scale, shape or X.shape, dtype), rows, features)


def rounded(rows: int, features: int) -> tuple[int, int]:
    """A shape that many tables of about this one share; compiling takes longer than a few idle rows."""
    long = bucket(rows, 4 if rows <= _MANY_ROWS else 16) if rows > _FEW_ROWS else max(_LEAST_ROWS, power_of_four(rows))
    return long, features if features > _FEW_COLUMNS else max(4, power_of_four(features))

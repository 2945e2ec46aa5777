"""Between the user's units and those of the descent, for coefficients and for the layers of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from descenso.estimators.columns import Columns
from descenso.estimators.objective import coefficients
from descenso.estimators.settings import Settings
from descenso.estimators.target import Target

_MOVED = 0.05  # the share by which units may be off before they are made anew


@dataclass(frozen=True)
class Units:
    """A column x is descended on as (x - center) / scale, and a score z is offset + unit z in the user's units.

    center, scale: (features,) float64. offset, unit: of the scores.
    """

    center: np.ndarray
    scale: np.ndarray
    offset: float = 0.0
    unit: float = 1.0

    def near(self, other: Units) -> bool:
        """Whether the other units are about these."""
        size = np.abs(other.scale / self.scale - 1).max(initial=abs(other.unit / self.unit - 1))
        place = np.abs((other.center - self.center) / self.scale).max(
            initial=abs(other.offset - self.offset) / self.unit
        )
        return bool(max(size, place) <= _MOVED)

    def coef(self, params: Any) -> tuple[np.ndarray, np.ndarray]:
        """coef (outputs, features) and intercept (outputs,), float64, of the params of a linear model.

        w = unit u / scale,   intercept = offset + unit b - center.w
        """
        u = np.asarray(coefficients(params), np.float64)[: len(self.scale)]
        coef = np.atleast_2d((u.T if u.ndim > 1 else u) * (self.unit / self.scale))
        b = np.atleast_1d(np.asarray(params.get("intercept", 0.0), np.float64))
        return coef, self.offset + self.unit * b - coef @ self.center

    def params(self, coef: np.ndarray, intercept: np.ndarray, *, like: dict) -> dict:
        """The params of that coef and intercept, in the form of `like`."""
        u = (coef * self.scale / self.unit).T
        width = len(next(iter(v for k, v in like.items() if k != "intercept")))
        u = np.concatenate([u, np.zeros((width - len(u), u.shape[1]))])
        b = (intercept - self.offset + coef @ self.center) / self.unit
        found = {"coef": u, "plus": np.maximum(u, 0), "minus": np.maximum(-u, 0), "intercept": b}
        return {name: found[name].reshape(value.shape).astype(value.dtype) for name, value in like.items()}

    def layers(self, params: Any) -> list[dict]:
        """The layers of a network in the user's units, float64."""
        layers = [{k: np.asarray(v, np.float64) for k, v in layer.items()} for layer in params]
        first = layers[0]["weight"] / self.scale[:, None]
        layers[0] = {"weight": first, "bias": layers[0]["bias"] - self.center @ first}
        last = layers[-1]
        layers[-1] = {"weight": last["weight"] * self.unit, "bias": last["bias"] * self.unit + self.offset}
        return layers

    def own_layers(self, layers: list[dict]) -> list[dict]:
        """The layers that are descended on, float32, of a network in the user's units."""
        layers = [dict(layer) for layer in layers]
        first = layers[0]
        bias = first["bias"] + self.center @ first["weight"]
        layers[0] = {"weight": first["weight"] * self.scale[:, None], "bias": bias}
        last = layers[-1]
        layers[-1] = {"weight": last["weight"] / self.unit, "bias": (last["bias"] - self.offset) / self.unit}
        return [{k: v.astype(np.float32) for k, v in layer.items()} for layer in layers]


def penalised(columns: Columns, s: Settings) -> np.ndarray:
    """What each coefficient is multiplied by before it is penalised, (features,)."""
    standardize = not columns.sparse if s.standardize is None else s.standardize
    return columns.deviation if standardize else np.ones_like(columns.deviation)


def units_of(columns: Columns, s: Settings, target: Target, ridge: float = 0.0) -> Units:
    """The units of a fit.

    The scale makes the curvature of the loss about the same along every coefficient of a linear model, that of a
    penalty of strength `ridge` included. For a network it is the deviation of the columns over the root of the share
    of their rows that are not zero: over the deviation alone the entries of a rare column would be as large as it is
    rare, and would be learned by heart.
    """
    linear = s.model == "linear"
    center = columns.center if s.intercept or not linear else np.zeros_like(columns.mean)
    scale = columns.entry
    if linear:
        scale = columns.about(center)
        scale = np.hypot(scale, penalised(columns, s) * np.sqrt(ridge / s.family.curve))
    return Units(center, np.where(scale > 0, scale, 1.0), target.offset, target.unit)


def strengths(s: Settings, target: Target, total: float) -> tuple[float, float]:
    """The strengths of absolute values and of squares, for coefficients in units of the target over the column.

    Without an alpha both are one over the sum of the weights: LogisticRegression's C = 1 and Ridge's alpha = 1.
    """
    if s.alpha is None:
        return s.l1 / total, s.l2 / total
    alpha = s.alpha / target.factor
    return s.l1 * alpha * target.unit, s.l2 * alpha * target.unit**2

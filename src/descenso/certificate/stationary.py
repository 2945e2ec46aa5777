"""Whether the gradient at a point is zero, measured against what its rounding makes of zero."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import NamedTuple

import numpy as np

from descenso._types import Leaves
from descenso.certificate.surface import Surface
from descenso.engine.engine import key_data
from descenso.engine.objective import Objective, Trace

_POINTS = 5  # around `x`, at 4 rounding units, that the noise of the gradient is measured on
_AWAY = 4  # points at the length of the params, that the size of the gradient elsewhere is measured on
_PRODUCTS = 50  # of a Hessian and a vector, that the predicted decrease may cost
_SHORT = 0.01  # of the length of the params: a Newton step below it leads nowhere else


@dataclass(frozen=True)
class Stationarity:
    """Whether a gradient counts as zero, and why.

    Attributes:
        grad_norm: |g|, the norm of the gradient.
        noise: what rounding makes of the gradient, the median of |g(x + d) - g(x) - H d| over 5 random d of 4 rounding
            units.
        largest: the norm of the gradient elsewhere, that a vanished one is small against.
        predicted_decrease: g'H^-1 g / 2, by how much the loss would still fall to the minimum of its quadratic model;
            inf where the model has none. A lower bound unless `solved`.
        resolution: the decrease that the loss, or the params, in their dtype can hardly show.
        newton_step: the length of H^-1 g.
        solved: whether the equation H p = g was solved, within 50 products.
        zero: whether the gradient counts as zero.
        cost: what this took, in gradients.
    """

    grad_norm: float
    noise: float
    largest: float
    predicted_decrease: float
    resolution: float
    newton_step: float
    solved: bool
    zero: bool
    cost: float

    def __str__(self) -> str:
        told = f"gradient {self.grad_norm:.2g}, its noise {self.noise:.1g}"
        if not isfinite(self.predicted_decrease):
            return told
        least = "" if self.solved else " at least"
        return f"{told}; predicted decrease{least} {self.predicted_decrease:.2g}, resolved {self.resolution:.1g}"


def stationary(
    objective: Objective,
    leaves: Leaves,
    data: Leaves,
    *,
    largest: float | None = None,
    key: np.ndarray | None = None,
    trace: Trace | None = None,
    seed: int = 0,
) -> Stationarity:
    """Whether the gradient of the loss over all rows of `data` counts as zero at `leaves`.

    Args:
        objective: the loss over leaves.
        leaves: the point.
        data: the arrays of the data, and those of the loss itself; () without.
        largest: the largest gradient norm of the run so far; None measures it at 4 random points away.
        key: of a loss that takes one, two words (`engine.key_data`); None takes 0.
        trace: what tracing the loss showed, so that compiled code is found again.
        seed: of the directions.
    """
    surface = Surface(objective, leaves, data, key_data(0, 0) if key is None else key, trace)
    return at_rest(surface, np.random.default_rng(seed), largest)[0]


def at_rest(
    surface: Surface, rng: np.random.Generator, largest: float | None = None
) -> tuple[Stationarity, np.ndarray]:
    """The same for a `Surface`, and the step H^-1 g (n,). The gradient counts as zero where one of these holds:

    * |g| <= 3 noise;
    * the predicted decrease is below the resolution;
    * the Newton step is below 4 rounding units of every param;
    * |g| <= tol largest, tol = max(1e-8, 8 eps), and the Newton step is below 1e-2 of the length of the params;

    and the loss and its gradient are finite.
    """
    before = surface.spent
    f = surface.loss
    g = surface.gradient
    norm = float(np.linalg.norm(g))
    if not (isfinite(f) and isfinite(norm)):
        return Stationarity(norm, inf, inf, inf, inf, inf, False, False, surface.spent - before), np.zeros_like(g)
    noise, shift = _noise(surface, g, rng)
    largest = elsewhere(surface, rng) if largest is None else largest
    model = _model(surface, g)
    resolution = max(10 * surface.eps * abs(f), shift)
    step = float(np.linalg.norm(model.step))
    tiny = norm <= max(1e-8, 8 * surface.eps) * largest and step <= _SHORT * surface.scale
    there = model.solved and bool((np.abs(model.step) <= 4 * surface.eps * np.abs(surface.x)).all())
    zero = norm <= 3 * noise or (model.solved and model.decrease <= resolution) or there or tiny
    spent = surface.spent - before
    found = Stationarity(norm, noise, largest, model.decrease, resolution, step, model.solved, zero, spent)
    return found, model.step


def _noise(surface: Surface, g: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The noise of the gradient, and how much of the loss lies within 3/2 rounding units of the params."""
    typical = np.sqrt(np.mean(surface.x**2)) or 1.0
    d = 4 * surface.eps * np.maximum(np.abs(surface.x), typical) * rng.standard_normal((_POINTS, surface.n))
    points = surface.rounded(surface.x + d)
    d = points - surface.x
    curved = surface.products(d)
    left = np.linalg.norm(surface.gradients(points) - g - curved, axis=1)
    within = np.abs(np.sum(d * curved, axis=1)) / 2 * (1.5 / 4) ** 2
    return _median(left), _median(within)


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else 0.0


def elsewhere(surface: Surface, rng: np.random.Generator) -> float:
    """The size of the gradient at the length of the params away from the point."""
    d = rng.standard_normal((_AWAY, surface.n))
    d *= surface.scale / np.linalg.norm(d, axis=1, keepdims=True)
    return _median(np.linalg.norm(surface.gradients(surface.x + d), axis=1))


class _Model(NamedTuple):
    """The minimum of the quadratic model: how far below it is, where (x - step), and whether it was found."""

    decrease: float
    step: np.ndarray
    solved: bool


def _model(surface: Surface, g: np.ndarray) -> _Model:
    """H p = g by conjugate gradients, to a residual of |g| / 10. Source: Hestenes and Stiefel 1952."""
    p, r = np.zeros_like(g), g
    d, rr = r, float(g @ g)
    if rr == 0:
        return _Model(0.0, p, True)
    for k in range(min(_PRODUCTS, 2 * surface.n)):
        hd = surface.products(d[None])[0]
        curvature = float(d @ hd)
        if not curvature > 0:
            along = r * (np.sqrt(rr) / max(float(np.linalg.norm(hd)), np.sqrt(rr) * 1e-30))
            return _Model(inf, p if k else along, False)
        a = rr / curvature
        p, r = p + a * d, r - a * hd
        rr, last = float(r @ r), rr
        if rr <= 1e-2 * float(g @ g):
            return _Model(float(g @ p) / 2, p, True)
        d = r + rr / last * d
    return _Model(float(g @ p) / 2, p, False)

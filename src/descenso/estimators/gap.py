"""How far a convex linear model can still be from its optimum: the duality gap."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from descenso.estimators.objective import Penalised

NOTHING = 1e-12
"""A loss below this is none: shares are taken of it at least."""


class Rows(NamedTuple):
    """What is known of each row at a point, float64.

    sharp: (n,), the loss l with its kinks sharp. apart: (n,), l(z) + l*(s) - s z, which is 0 where s is a slope of l.
    slopes: s, shaped as z, those of the loss as it was descended. weights: (n,), with the sum 1.
    """

    sharp: np.ndarray
    apart: np.ndarray
    slopes: np.ndarray
    weights: np.ndarray

    @property
    def rounded(self) -> float:
        """What rounding off the kinks leaves of the bound, however near the gradient is to 0."""
        return max(float(self.weights @ self.apart), 0.0)


class Gap(NamedTuple):
    """loss: the penalised loss, its kinks sharp. bound: no coefficients have a loss lower by more than this."""

    loss: float
    bound: float

    @property
    def relative(self) -> float:
        return self.bound / max(abs(self.loss), NOTHING)


def rows_at(loss: Penalised, scores: np.ndarray, data: dict) -> Rows:
    """The rows at these scores, (n,) or (n, outputs); data: the arrays that are descended on."""
    found = _rows(loss, scores, data["t"].reshape(-1), data.get("pull"))
    w = np.asarray(data["w"], np.float64).reshape(-1) / data["w"].size
    sharp, apart, slopes = (np.asarray(a, np.float64) for a in found)
    return Rows(sharp, apart, slopes, w)


@jax.jit
def _rows(
    loss: Penalised, z: jax.Array, t: jax.Array, pull: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`Rows` without the weights.

    With kinks rounded off over k and centred at p, d/dk of max_s (s z - l*(s) - k (s - p)^2 / 2) is -(s - p)^2 / 2, so
    s z - l*(s) is the rounded loss less k times that.
    """
    k = jnp.asarray(loss.shape.kink, z.dtype)

    def smooth(z: jax.Array, k: jax.Array) -> jax.Array:
        return replace(loss, shape=loss.shape._replace(kink=k)).of_rows(z, t, pull)

    value, back = jax.vjp(lambda z: smooth(z, k), z)
    widened = jax.jvp(lambda k: smooth(z, k), (k,), (jnp.ones_like(k),))[1]
    sharp = smooth(z, 0 * k)
    return sharp, sharp - value + k * widened, back(jnp.ones_like(value))[0]


def duality_gap(loss: Penalised, params: Any, rows: Rows, table: Any) -> Gap | None:
    """The gap at numpy params; None without a penalty, where it says nothing.

    With s the slopes of the rows and v = -X'(w s) the pull on the coefficients u, the dual value at s lies below the
    optimum, and the primal value above it by

        sum_j ridge_j u_j^2 / 2 + lasso_j |u_j| - v_j u_j + max_x (v_j x - ridge_j x^2 / 2 - lasso_j |x|)
        + sum_i w_i (l(z_i) + l*(s_i) - s_i z_i)

    Where ridge_j is 0 the maximum is taken over coefficients up to twice as large as the largest of u.

    Args:
        table: has `back(theta)`, X' theta.

    Source: Fenchel's duality; Rockafellar 1970, theorem 31.1.
    """
    ridge, lasso = (np.asarray(s, np.float64) for s in (loss.ridge, loss.lasso))
    if not (ridge.any() or lasso.any()):
        return None
    theta = rows.slopes * (rows.weights if rows.slopes.ndim == 1 else rows.weights[:, None])
    u = np.asarray(params["plus"] - params["minus"] if "plus" in params else params["coef"], np.float64)
    v = -np.asarray(table.back(theta), np.float64)
    if u.ndim > 1:
        ridge, lasso = ridge[:, None], lasso[:, None]
    own = ridge * u * u / 2 + lasso * np.abs(u)
    over = np.maximum(np.abs(v) - lasso, 0)
    reach = 2 * float(np.abs(u).max(initial=0.5))
    curved = ridge > 0
    most = np.where(curved, over * over / (2 * np.where(curved, ridge, 1.0)), reach * over)
    bound = float(np.sum(np.maximum(own - v * u + most, 0)))
    if "intercept" in params:
        bound += float(np.sum(np.abs(theta.sum(0)) * (2 * np.abs(params["intercept"]) + 1)))
    return Gap(float(rows.weights @ rows.sharp + own.sum()), bound + rows.rounded)

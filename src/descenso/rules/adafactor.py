"""Adafactor."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from descenso._namespace import counter, increment, real, widen, zeros
from descenso._ranges import check_ranges
from descenso._types import Array, Leaves, Namespace, Scalar, State


@dataclass(frozen=True)
class Adafactor:
    """Adam's scaling from one row and one column of second moments per matrix, in steps relative to the params.

        c_t = t^tau                                                  the weight of the newest square
        R_t, C_t = (1 - c_t) (R, C)_{t-1} + c_t (row means, column means of g_t^2)
        V_t = R_t C_t / mean(R_t)                                    vectors: V_t = (1 - c_t) V_{t-1} + c_t g_t^2
        U_t = g_t / max(sqrt(V_t), eps1)
        d_t = max(eps2, rms(x_t)) U_t / max(1, rms(U_t) / clip)

    Args:
        tau: exponent of the weight of the newest square, in [-1, 0).
        eps1: smallest root divided by, > 0, in units of the gradient.
        eps2: smallest size of the params that steps are relative to, >= 0.
        clip: largest root mean square of U, > 0.

    State: count () int32; per leaf a row and a column over its last two axes, or the squares if it has fewer.
    Memory: (rows + columns) of each matrix, 1 x of each vector.
    Use: models whose second moment does not fit in memory. The step size is a share of the params' size.
    Source: Shazeer and Stern 2018, arXiv:1804.04235, Algorithms 4 and 5, in the form of torch.optim.Adafactor.
    """

    tau: float = -0.8
    eps1: float = 1e-15
    eps2: float = 1e-3
    clip: float = 1.0

    def __post_init__(self):
        check_ranges(self, tau="[-1, 0)", eps1="(0, inf)", eps2="[0, inf)", clip="(0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return counter(params, xp), tuple(_means(z, xp) for z in zeros(params, xp))

    def direction(self, grads: Leaves, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]:
        count, moments = state
        count = increment(count, xp)
        weight = real(count, params[0], xp) ** self.tau
        moments = tuple(
            tuple(_blend(old, new, weight, xp) for old, new in zip(moment, _means(g * g, xp), strict=True))
            for moment, g in zip(moments, grads, strict=True)
        )
        direction = tuple(self._scaled(g, x, v, xp) for g, x, v in zip(grads, params, moments, strict=True))
        return direction, (count, moments)

    def _scaled(self, g: Array, x: Array, moment: tuple, xp: Namespace) -> Array:
        u = g / _at_least(self.eps1, xp.sqrt(_second(moment, self.eps1, xp)), xp)
        return _at_least(self.eps2, _rms(widen(x, xp), xp), xp) * u / _at_least(1.0, _rms(u, xp) / self.clip, xp)


def _means(squares: Array, xp: Namespace) -> tuple[Array, ...]:
    """Row and column means over the last two axes; of fewer axes the squares themselves."""
    if len(squares.shape) < 2:
        return (squares,)
    rows, columns = squares.shape[-2:]
    return xp.sum(squares, axis=-1, keepdims=True) / columns, xp.sum(squares, axis=-2, keepdims=True) / rows


def _blend(old: Array, new: Array, weight: Scalar, xp: Namespace) -> Array:
    return old + xp.asarray(weight, dtype=old.dtype) * (new - old)


def _second(moment: tuple, eps1: float, xp: Namespace) -> Array:
    if len(moment) == 1:
        return moment[0]
    row, column = moment
    mean = xp.sum(row, axis=-2, keepdims=True) / row.shape[-2]
    return row @ column / _at_least(eps1**2, mean, xp)


def _at_least(least: float, value: Array, xp: Namespace) -> Array:
    return xp.where(value > least, value, least)


def _rms(leaf: Array, xp: Namespace) -> Scalar:
    return xp.sqrt(xp.sum(leaf * leaf) / max(prod(leaf.shape), 1))

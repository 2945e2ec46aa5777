"""A function of SciPy's form, f(x, *args): its loss, gradient and Hessian-vector products, in float64 and counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from descenso._errors import ArgumentError, LossGradientError
from descenso.interop import differences
from descenso.interop.called import Called, number, vector
from descenso.interop.stencil import Stencil
from descenso.interop.traced import traced

SCHEMES = ("auto", "jax", "2-point", "3-point")


class Point(NamedTuple):
    """A point (n,), the loss there, and its gradient (n,), NaN where the loss is not finite."""

    x: np.ndarray
    loss: float
    grads: np.ndarray

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.loss) and np.isfinite(self.grads).all())


class OutOfCalls(Exception):
    """An evaluation was asked for that the limit on them does not allow."""


@dataclass
class Function:
    """What is asked of the function, however its gradient comes about.

    Args:
        fun, jac, hess, hessp: as SciPy hands them over; `jac` a callable or None.
        x: where it starts, for tracing.
        scheme: one of `SCHEMES`; "auto" takes JAX where `fun` can be traced, else forward differences while they are
            good enough and central ones from then on.
        share: the step of differences as a share of max(1, |x_i|), or None.
        box: low and high (n,), outside which nothing is asked; None without.

    Attributes:
        exact: whether the gradient is one, not differences of the loss. products: the same of the Hessian.
        stencil: the differences.
        calls: evaluations allowed; asking for one more raises OutOfCalls.
    """

    fun: Callable
    x: np.ndarray
    args: tuple = ()
    jac: Callable | None = None
    hess: Callable | None = None
    hessp: Callable | None = None
    scheme: str = "auto"
    share: float | None = None
    box: differences.Box | None = None

    def __post_init__(self):
        if self.scheme not in SCHEMES:
            raise ArgumentError(f"`differentiate` is {self.scheme!r}. It must be one of {', '.join(SCHEMES)}.")
        self._fun = Called(self.fun, self.args)
        self._jac, self._hess, self._hessp = (
            None if f is None else Called(f, self.args) for f in (self.jac, self.hess, self.hessp)
        )
        self.calls = inf
        self._programs, self._own, why = None, (), ""
        self._compiled = self._pushed = self._differenced = 0
        if self.jac is None and self.scheme in ("auto", "jax"):
            self._programs, self._own, why = traced(self.fun, self.x, self.args)
            if self._programs is None and self.scheme == "jax":
                raise LossGradientError(f"`fun` cannot be differentiated by JAX: {why}")
        self.exact = self.jac is not None or self._programs is not None
        self.products = self._programs is not None or self.hess is not None or self.hessp is not None
        self.stencil = Stencil(self.scheme, self.share, self.box)
        self._told = self._how(why)
        self._curved: tuple[np.ndarray, np.ndarray] | None = None

    def _how(self, why: str) -> str:
        if self.jac is not None:
            return ""
        if self._programs is not None:
            return "the gradient is JAX's"
        reason = f", since JAX cannot trace `fun` ({why})" if why else ""
        return f"the gradient is made of finite differences{reason}; with `jac` it would be exact and cheaper"

    @property
    def told(self) -> str:
        """How the gradient comes about where nobody gave it, in words."""
        return self._told if self.exact else self._told + self.stencil.told

    @property
    def blurred(self) -> bool:
        """Whether the gradient is made of differences that more than the rounding of float64 is seen in."""
        return not self.exact and self.stencil.noise > 0

    @property
    def nfev(self) -> int:
        """Losses asked for, those of finite differences as well."""
        return self._fun.count + self._compiled

    @property
    def njev(self) -> int:
        """Gradients asked for."""
        return self._compiled + self._differenced + (self._jac.count if self._jac else 0)

    @property
    def nhev(self) -> int:
        """Hessians asked for, or Hessian-vector products."""
        return self._pushed + sum(c.count for c in (self._hess, self._hessp) if c)

    def loss(self, x: np.ndarray) -> float:
        """The loss at x."""
        if self._programs is not None:
            return self.at(x).loss
        self._may()
        return number(self._fun(x))

    def _may(self) -> None:
        if self.nfev >= self.calls:
            raise OutOfCalls

    def at(self, x: np.ndarray) -> Point:
        """The loss and its gradient at x."""
        if self._programs is not None:
            self._may()
            self._compiled += 1
            with jax.enable_x64(True):
                loss, grads = self._programs.evaluate((jnp.asarray(x),), self._own)
            return Point(x, float(loss), np.asarray(grads, np.float64))
        loss = self.loss(x)
        if not np.isfinite(loss):
            return Point(x, loss, np.full_like(x, np.nan))
        return Point(x, loss, self._gradient(x, loss))

    def _gradient(self, x: np.ndarray, loss: float) -> np.ndarray:
        if self._jac is not None:
            return vector(self._jac(x), len(x), "jac")
        self._differenced += 1
        return self.stencil.gradient(self.loss, x, loss)

    def sharpen(self) -> bool:
        """Go to better differences; False where there is nothing better than what is there."""
        return not self.exact and self.stencil.sharpen()

    def error(self, point: Point) -> float:
        """How far the norm of a gradient by differences may be wrong."""
        return self.stencil.error(self.loss, *point)

    def refit(self, point: Point, stalled: bool) -> Point | None:
        """Fit the steps of differences to a point, where they are all 0 or a search has stalled.

        Returns the point that the descent goes on from, a lower one or this one with its new gradient; None where the
        steps are right.
        """
        if stalled:
            self.stencil.look(self.loss, *point)
            if not self.stencil.noise:
                return None
        x = self.stencil.fit(self.loss, point.x, point.loss, stalled)
        return None if x is None else self.at(x)

    def product(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """H v at x: from `hessp`, `hess` or JAX, else central differences of the gradient."""
        if self._hessp is not None:
            return vector(self._hessp(x, v), len(x), "hessp")
        if self._hess is not None:
            return vector(self._hessian(x, self._hess) @ v, len(x), "hess")
        if self._programs is not None:
            self._pushed += 1
            with jax.enable_x64(True):
                return np.asarray(self._programs.product((jnp.asarray(x),), (jnp.asarray(v),), self._own), np.float64)
        length = float(np.linalg.norm(v))
        t = differences.CENTRAL * max(1.0, float(np.linalg.norm(x))) / (length or 1.0)
        ahead, behind = x + t * v, x - t * v
        if self.box is not None:
            # each entry goes as far as there is room, and one without any does not go
            ahead, behind = np.clip(ahead, *self.box), np.clip(behind, *self.box)
            if not np.array_equal(ahead - x, x - behind):
                return self._beside(x, v, t)
        return (self.at(ahead).grads - self.at(behind).grads) / (2 * t)

    def _beside(self, x: np.ndarray, v: np.ndarray, t: float) -> np.ndarray:
        """The sum of H e_i v_i by differences on the side that has room: where a direction would leave the box."""
        assert self.box is not None
        total, here = np.zeros_like(x), self.at(x).grads
        for i in np.flatnonzero(v):
            h = np.zeros_like(x)
            h[i] = t if x[i] + t <= self.box[1][i] else -t
            moved = np.clip(x + h, *self.box)
            if moved[i] != x[i]:
                total += v[i] * (self.at(moved).grads - here) / (moved[i] - x[i])
        return total

    def _hessian(self, x: np.ndarray, hess: Called) -> Any:
        if self._curved is None or not np.array_equal(self._curved[0], x):
            found = hess(x)  # an array, a sparse matrix or a LinearOperator
            self._curved = x.copy(), np.asarray(found) if isinstance(found, jax.Array) else found
        return self._curved[1]

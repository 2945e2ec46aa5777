"""The losses that the estimators know by name: what they cost, and how a target is put into units of about one.

A prediction is first a score z of the model, in units of the family: for a regression z = (prediction - offset) / unit,
for rates z = log(prediction / mean target), for classes z is the decision value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp

from descenso import losses
from descenso._errors import LossShapeError
from descenso._types import Array


class Shape(NamedTuple):
    """The numbers that shape a loss; traced, so that other values compile nothing.

    kink: width over which a kink is rounded off, in units of z; 0 leaves it sharp. size: epsilon, in units of z.
    offset, unit: prediction = offset + unit z.
    """

    kink: Any
    size: Any
    offset: Any
    unit: Any


def ramp(x: Array, kink: Any) -> Array:
    """max(0, x), rounded off below `kink`: x^2 / (2 kink) there, x - kink / 2 beyond; at most kink / 2 too low."""
    up = jnp.maximum(x, 0)
    near = jnp.minimum(up, kink)
    return near * near / (2 * jnp.maximum(kink, 1e-30)) + (up - near)


def signs(z: Array, t: Array) -> Array:
    """+1 for the class of the row and -1 for the others, shaped as z: (n,) for two classes, else (n, classes)."""
    hit = t == 1 if z.ndim == 1 else t[:, None] == jnp.arange(z.shape[1])
    return jnp.where(hit, 1.0, -1.0).astype(z.dtype)


def one_against_rest(f: Callable[[Array, Shape], Array]) -> Callable:
    """A loss of the margins, summed over the classes."""

    def value(z: Array, t: Array, shape: Shape) -> Array:
        each = f(signs(z, t) * z, shape)
        return each if z.ndim == 1 else jnp.sum(each, axis=1)

    return value


def _log_loss(z: Array, t: Array, shape: Shape) -> Array:
    return losses.logistic(z, t) if z.ndim == 1 else losses.softmax(z, t)


def _of_margin(loss: losses.Loss) -> Callable:
    return one_against_rest(lambda m, shape: loss(m, jnp.ones_like(m)))


def _perceptron(m: Array, shape: Shape) -> Array:
    # at m = 0, where the descent starts, the row counts as wrong
    return jnp.where(m <= 0, -m, 0.0)


def _huber(z: Array, t: Array, shape: Shape) -> Array:
    d = jnp.maximum(shape.size, 1e-12)
    return d * d * losses.huber(z / d, jnp.asarray(t, z.dtype) / d)


def _epsilon_insensitive(z: Array, t: Array, shape: Shape) -> Array:
    r = t - z
    return ramp(r - shape.size, shape.kink) + ramp(-r - shape.size, shape.kink)


def _quantile(z: Array, t: Array, shape: Shape) -> Array:
    # the slope is r / kink between -(1 - size) and size, as rounding off over one width of z has it
    r, over, under = t - z, shape.size, 1 - shape.size
    return over * ramp(r, over * shape.kink) + under * ramp(-r, under * shape.kink)


def _tweedie(z: Array, t: Array, shape: Shape) -> Array:
    k = shape.size
    return jnp.exp((2 - k) * z) / (2 - k) - t * jnp.exp((1 - k) * z) / (1 - k)


@dataclass(frozen=True)
class Family:
    """A loss by name.

    Args:
        value: (z, t, shape) -> loss of each row, (n,).
        power: the loss in the user's units is unit^power times that of z, for a loss of differences.
        curve: the second derivative to expect, for the scale of the params.
        rough: whether it has a kink that `Shape.kink` rounds off.
        convex: whether it is convex in z.
        log: whether the prediction is exp(z) times the mean target.
    """

    name: str
    value: Callable
    power: int = 0
    curve: float = 1.0
    rough: bool = False
    convex: bool = True
    log: bool = False


CLASSES: dict[str, Family] = {
    f.name: f
    for f in (
        Family("log_loss", _log_loss, curve=0.25),
        Family("hinge", one_against_rest(lambda m, shape: ramp(1 - m, shape.kink)), rough=True),
        Family("squared_hinge", _of_margin(losses.squared_hinge), curve=2.0),
        Family("modified_huber", _of_margin(losses.modified_huber), curve=2.0),
        # convex, but its minimum is the model that says nothing: it is descended row by row, as Rosenblatt did
        Family("perceptron", one_against_rest(_perceptron), convex=False),
    )
}
"""Losses of a class."""

NUMBERS: dict[str, Family] = {
    f.name: f
    for f in (
        Family("squared_error", lambda z, t, shape: losses.squared(z, t) / 2, power=2),
        Family("huber", _huber, power=2),
        Family("epsilon_insensitive", _epsilon_insensitive, power=1, rough=True),
        Family("quantile", _quantile, power=1, rough=True),
        Family("poisson", lambda z, t, shape: losses.poisson(z, t), log=True),
        Family("gamma", lambda z, t, shape: losses.gamma(z, t), log=True),
        Family("tweedie", _tweedie, log=True),
    )
}
"""Losses of a number."""


@dataclass(frozen=True)
class Own:
    """The user's own loss, `f(y, prediction)` of arrays, as a function of z.

    Raises LossShapeError where it is not one number for each row: a mean would hold rows that only fill a block up.
    """

    f: Callable

    def __call__(self, z: Array, t: Array, shape: Shape) -> Array:
        each = self.f(t, shape.offset + shape.unit * z)
        if jnp.shape(each) != t.shape:
            raise LossShapeError(
                f"`loss(y, prediction)` returned shape {jnp.shape(each)}. It must return one number for each row, "
                "shaped as `y`.",
                hint="leave out the mean: the estimator weights the rows and takes it",
            )
        return each


def family(loss: Any, known: dict[str, Family]) -> Family:
    """The family of that name, or of the user's own function."""
    if callable(loss):
        return Family("own", Own(loss), convex=False)
    return known[loss]

"""Losses of a number: how far a prediction is from it."""

from __future__ import annotations

import jax.numpy as jnp

from descenso._errors import ArgumentError
from descenso._types import Array
from descenso.losses.shapes import residual


def squared(prediction: Array, target: Array) -> Array:
    """(t - p)^2, in squared units of the target; the mean of it is the mean squared error.

    Args:
        prediction: p, any shape.
        target: t, the same shape.

    Raises:
        LossShapeError: the shapes differ.
    """
    gap = residual(squared, prediction, target)
    return gap * gap


def huber(prediction: Array, target: Array, delta: float = 1.0) -> Array:
    """r^2 / 2 where |r| <= delta, else delta (|r| - delta / 2), with r = t - p.

    Args:
        prediction: p, any shape.
        target: t, the same shape.
        delta: where the square turns into a straight line, > 0, in units of the target.

    Raises:
        LossShapeError: the shapes differ.
        ArgumentError: delta is not above 0.

    Source: Huber 1964, Annals of Mathematical Statistics 35, p. 73.
    """
    if not delta > 0:
        raise ArgumentError(f"`huber` got delta={delta!r}. It must be above 0.")
    size = jnp.abs(residual(huber, prediction, target))
    # the clipped residual keeps the unused branch finite, so that no NaN enters the gradient
    near = jnp.minimum(size, delta)
    return near * near / 2 + delta * (size - near)


def quantile(prediction: Array, target: Array, q: float = 0.5) -> Array:
    """max(q r, (q - 1) r), with r = t - p; its minimiser is the q-quantile of t. At q = 0.5 it is half of |r|.

    Args:
        prediction: p, any shape.
        target: t, the same shape.
        q: the quantile, in (0, 1).

    Raises:
        LossShapeError: the shapes differ.
        ArgumentError: q is outside (0, 1).

    Source: Koenker and Bassett 1978, Econometrica 46, equation 3.1.
    """
    if not 0 < q < 1:
        raise ArgumentError(f"`quantile` got q={q!r}. It must lie between 0 and 1.")
    gap = residual(quantile, prediction, target)
    return jnp.maximum(q * gap, (q - 1) * gap)


def epsilon_insensitive(prediction: Array, target: Array, epsilon: float = 0.1) -> Array:
    """max(0, |t - p| - epsilon): zero where the prediction is near enough.

    Args:
        prediction: p, any shape.
        target: t, the same shape.
        epsilon: how near is near enough, >= 0, in units of the target.

    Raises:
        LossShapeError: the shapes differ.
        ArgumentError: epsilon is below 0.

    Source: Vapnik 1995, The Nature of Statistical Learning Theory, section 6.1.
    """
    if not epsilon >= 0:
        raise ArgumentError(f"`epsilon_insensitive` got epsilon={epsilon!r}. It must be 0 or more.")
    size = jnp.abs(residual(epsilon_insensitive, prediction, target))
    return jnp.maximum(size - epsilon, jnp.zeros_like(size))

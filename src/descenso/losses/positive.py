"""Losses of a count or an amount, whose prediction is the log of the mean."""

from __future__ import annotations

import jax.numpy as jnp

from descenso._errors import ArgumentError
from descenso._types import Array
from descenso.losses.shapes import same_shape


def poisson(prediction: Array, target: Array) -> Array:
    """e^p - t p: minus the log-likelihood of a count t at the rate e^p, without log t!, in nats.

    It overflows in float32 where p > 88; a run that comes there takes the step back.

    Args:
        prediction: p, the log of the rate, any shape.
        target: t, the same shape, counts or rates >= 0.

    Raises:
        LossShapeError: the shapes differ.
    """
    same_shape(poisson, prediction, target)
    return jnp.exp(prediction) - jnp.asarray(target, dtype=prediction.dtype) * prediction


def gamma(prediction: Array, target: Array) -> Array:
    """p + t e^-p: half the gamma deviance of t from the mean e^p, without the terms in t alone.

    Args:
        prediction: p, the log of the mean, any shape.
        target: t, the same shape, > 0.

    Raises:
        LossShapeError: the shapes differ.
    """
    same_shape(gamma, prediction, target)
    return prediction + jnp.asarray(target, dtype=prediction.dtype) * jnp.exp(-prediction)


def tweedie(prediction: Array, target: Array, power: float = 1.5) -> Array:
    """e^((2 - k) p) / (2 - k) - t e^((1 - k) p) / (1 - k): half the Tweedie deviance without the terms in t alone.

    Between `poisson` (k = 1) and `gamma` (k = 2): for amounts that are often exactly 0.

    Args:
        prediction: p, the log of the mean, any shape.
        target: t, the same shape, >= 0.
        power: k, in (1, 2); the variance goes as the mean to this power.

    Raises:
        LossShapeError: the shapes differ.
        ArgumentError: power is outside (1, 2).

    Source: Jorgensen 1987, J. R. Stat. Soc. B 49, 127-162.
    """
    if not 1 < power < 2:
        raise ArgumentError(f"`tweedie` got power={power!r}. It must lie between 1 and 2.")
    same_shape(tweedie, prediction, target)
    t = jnp.asarray(target, dtype=prediction.dtype)
    return jnp.exp((2 - power) * prediction) / (2 - power) - t * jnp.exp((1 - power) * prediction) / (1 - power)

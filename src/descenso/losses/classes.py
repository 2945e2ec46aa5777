"""Losses of a class: what a prediction says against the right one."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from descenso._errors import LossShapeError
from descenso._types import Array
from descenso.losses.shapes import same_shape


def logistic(prediction: Array, target: Array) -> Array:
    """-t log s(p) - (1 - t) log(1 - s(p)), with s(p) = 1 / (1 + e^-p), in nats.

    Written as t softplus(-p) + (1 - t) softplus(p): neither overflows, and neither loses the small loss of a sure and
    right prediction in a difference of large numbers.

    Args:
        prediction: p, log-odds, any shape.
        target: t, the same shape, 0 or 1, or a probability in between.

    Raises:
        LossShapeError: the shapes differ.
    """
    same_shape(logistic, prediction, target)
    t = jnp.asarray(target, dtype=prediction.dtype)
    return t * jax.nn.softplus(-prediction) + (1 - t) * jax.nn.softplus(prediction)


def softmax(prediction: Array, target: Array) -> Array:
    """log sum_k e^(p_k) - p_t, in nats: minus the log of the probability that the prediction gives to the class t.

    Args:
        prediction: p, unnormalised log-probabilities, shape (..., classes).
        target: t, integers in [0, classes), shape (...). Outside of that the loss is NaN.

    Returns:
        shape (...).

    Raises:
        LossShapeError: the shapes do not fit, or the target is not of integers.
    """
    prediction, target = jnp.asarray(prediction), jnp.asarray(target)
    if prediction.ndim == 0 or prediction.shape[:-1] != target.shape:
        raise LossShapeError(
            f"`softmax` got predictions of shape {prediction.shape} and targets of shape {target.shape}. "
            "It needs (..., classes) and (...).",
            hint="one output for each class, and one integer for each example",
        )
    if not jnp.issubdtype(target.dtype, jnp.integer):
        raise LossShapeError(f"`softmax` got targets of dtype {target.dtype}. It needs integers, one for each example.")
    classes, target = prediction.shape[-1], target.astype(jnp.int32)
    hit = jnp.arange(classes) == target[..., None]
    # a sum over a mask and no gather: jax wraps a negative index round, and scatters the gradient slowly on a CPU
    chosen = jnp.sum(jnp.where(hit, prediction, 0), axis=-1)
    loss = jax.nn.logsumexp(prediction, axis=-1) - chosen
    return jnp.where((target >= 0) & (target < classes), loss, jnp.nan)


def hinge(prediction: Array, target: Array) -> Array:
    """max(0, 1 - s p), with s = 2 t - 1: zero where the prediction is right by a margin of 1.

    Args:
        prediction: p, any shape; its sign is the class.
        target: t, the same shape, 0 or 1.

    Raises:
        LossShapeError: the shapes differ.

    Source: Cortes and Vapnik 1995, Machine Learning 20, section 3.
    """
    same_shape(hinge, prediction, target)
    sign = 2 * jnp.asarray(target, dtype=prediction.dtype) - 1
    return jnp.maximum(1 - sign * prediction, jnp.zeros_like(prediction))


def squared_hinge(prediction: Array, target: Array) -> Array:
    """max(0, 1 - s p)^2, with s = 2 t - 1: the hinge without its kink.

    Args:
        prediction: p, any shape; its sign is the class.
        target: t, the same shape, 0 or 1.

    Raises:
        LossShapeError: the shapes differ.
    """
    short = hinge(prediction, target)
    return short * short


def modified_huber(prediction: Array, target: Array) -> Array:
    """max(0, 1 - s p)^2 where s p >= -1, else -4 s p, with s = 2 t - 1: a squared hinge that outliers cannot pull far.

    Args:
        prediction: p, any shape; (clip(p, -1, 1) + 1) / 2 estimates the probability of t = 1.
        target: t, the same shape, 0 or 1.

    Raises:
        LossShapeError: the shapes differ.

    Source: Zhang 2004, ICML, section 2.
    """
    short = hinge(prediction, target)
    near = jnp.minimum(short, 2)
    return near * near + 4 * (short - near)

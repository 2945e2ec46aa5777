"""Losses per example: how far a prediction is from its target.

Each is a function of (prediction, target) that returns one number per example; `jnp.mean` of it is a loss to descend.
Prediction and target are never broadcast against each other: (n, 1) against (n,) would silently compare every
prediction with every target, so it is refused while the loss is traced.

What a loss cannot refuse while it is compiled are values; `check_targets` looks at them once, before the first step.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from descenso._errors import ArgumentError, DataError, LossShapeError
from descenso._types import Array

Loss = Callable[..., Array]


def squared(prediction: Array, target: Array) -> Array:
    """(t - p)^2, in squared units of the target; the mean of it is the mean squared error.

    Args:
        prediction: p, any shape.
        target: t, the same shape.

    Raises:
        LossShapeError: the shapes differ.
    """
    residual = _residual(squared, prediction, target)
    return residual * residual


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
    size = jnp.abs(_residual(huber, prediction, target))
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
    residual = _residual(quantile, prediction, target)
    return jnp.maximum(q * residual, (q - 1) * residual)


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
    _same_shape(logistic, prediction, target)
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
    _same_shape(hinge, prediction, target)
    sign = 2 * jnp.asarray(target, dtype=prediction.dtype) - 1
    return jnp.maximum(1 - sign * prediction, jnp.zeros_like(prediction))


def poisson(prediction: Array, target: Array) -> Array:
    """e^p - t p: minus the log-likelihood of a count t at the rate e^p, without log t!, in nats.

    It overflows in float32 where p > 88; a run that comes there takes the step back.

    Args:
        prediction: p, the log of the rate, any shape.
        target: t, the same shape, counts or rates >= 0.

    Raises:
        LossShapeError: the shapes differ.
    """
    _same_shape(poisson, prediction, target)
    return jnp.exp(prediction) - jnp.asarray(target, dtype=prediction.dtype) * prediction


def check_targets(loss: Loss, target: Array, *, classes: int | None = None) -> None:
    """Refuse targets that `loss` has no meaning for, before they turn into a NaN or a number that means nothing.

    Args:
        loss: a function of this module; any other function is let through.
        target: all the targets, any shape.
        classes: how many classes the model tells apart; only for `softmax`, where None checks the lower end alone.

    Raises:
        DataError: with the number of such targets, the first row and its value.
    """
    values = np.asarray(target)
    if values.size == 0:
        raise DataError("There are no targets. At least one is needed.", count=0)
    needed, good = _requirement(loss, values, classes)
    bad = np.flatnonzero(~np.broadcast_to(good, values.shape))
    if bad.size:
        row, example = _row(values, int(bad[0])), values.reshape(-1)[bad[0]].item()
        raise DataError(
            f"{bad.size:,} of {values.size:,} targets are not {needed}; the first is {example!r} at row {row}. "
            f"`{loss.__name__}` needs {needed}.",
            hint="number the classes from 0"
            if loss in (softmax, logistic, hinge, squared_hinge, modified_huber)
            else None,
            row=row,
            count=int(bad.size),
            example=example,
        )


def _requirement(loss: Loss, values: np.ndarray, classes: int | None) -> tuple[str, np.ndarray]:
    if values.dtype.kind not in "biuf":
        return "numbers", np.asarray(False)
    finite = np.isfinite(values)
    if loss is logistic:
        return "between 0 and 1", finite & (values >= 0) & (values <= 1)
    if loss in (hinge, squared_hinge, modified_huber):
        return "0 or 1", (values == 0) | (values == 1)
    if loss in (poisson, tweedie):
        return "0 or more", finite & (values >= 0)
    if loss is gamma:
        return "above 0", finite & (values > 0)
    if loss is softmax:
        top = "" if classes is None else f" to {classes - 1}"
        in_range = finite & (values >= 0) & (True if classes is None else values < classes)
        return f"whole numbers from 0{top}", in_range & (values == np.floor(values))
    return "finite", finite


def _row(values: np.ndarray, flat: int) -> int:
    return int(np.unravel_index(flat, values.shape)[0]) + 1 if values.ndim else 1


def _residual(loss: Loss, prediction: Array, target: Array) -> Array:
    _same_shape(loss, prediction, target)
    return jnp.asarray(target, dtype=prediction.dtype) - prediction


def _same_shape(loss: Loss, prediction: Array, target: Array) -> None:
    if jnp.shape(prediction) != jnp.shape(target):
        raise LossShapeError(
            f"`{loss.__name__}` got predictions of shape {jnp.shape(prediction)} and targets of shape "
            f"{jnp.shape(target)}. They must be the same.",
            hint="a model with one output often needs `prediction[:, 0]`",
        )


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
    size = jnp.abs(_residual(epsilon_insensitive, prediction, target))
    return jnp.maximum(size - epsilon, jnp.zeros_like(size))


def gamma(prediction: Array, target: Array) -> Array:
    """p + t e^-p: half the gamma deviance of t from the mean e^p, without the terms in t alone.

    Args:
        prediction: p, the log of the mean, any shape.
        target: t, the same shape, > 0.

    Raises:
        LossShapeError: the shapes differ.
    """
    _same_shape(gamma, prediction, target)
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
    _same_shape(tweedie, prediction, target)
    t = jnp.asarray(target, dtype=prediction.dtype)
    return jnp.exp((2 - power) * prediction) / (2 - power) - t * jnp.exp((1 - power) * prediction) / (1 - power)

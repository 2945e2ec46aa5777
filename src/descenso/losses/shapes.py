"""Prediction and target are never broadcast against each other."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from descenso._errors import LossShapeError
from descenso._types import Array

Loss = Callable[..., Array]
"""Of (prediction, target), one number per example."""


def residual(loss: Loss, prediction: Array, target: Array) -> Array:
    same_shape(loss, prediction, target)
    return jnp.asarray(target, dtype=prediction.dtype) - prediction


def same_shape(loss: Loss, prediction: Array, target: Array) -> None:
    if jnp.shape(prediction) != jnp.shape(target):
        raise LossShapeError(
            f"`{loss.__name__}` got predictions of shape {jnp.shape(prediction)} and targets of shape "
            f"{jnp.shape(target)}. They must be the same.",
            hint="a model with one output often needs `prediction[:, 0]`",
        )

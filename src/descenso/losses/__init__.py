"""Losses per example: how far a prediction is from its target.

Each is a function of (prediction, target) that returns one number per example; `jnp.mean` of it is a loss to descend.
Prediction and target are never broadcast against each other: (n, 1) against (n,) would silently compare every
prediction with every target, so it is refused while the loss is traced.

What a loss cannot refuse while it is compiled are values; `check_targets` looks at them once, before the first step.
"""

from descenso.losses.classes import hinge, logistic, modified_huber, softmax, squared_hinge
from descenso.losses.continuous import epsilon_insensitive, huber, quantile, squared
from descenso.losses.positive import gamma, poisson, tweedie
from descenso.losses.shapes import Loss
from descenso.losses.targets import check_targets

__all__ = [
    "Loss",
    "check_targets",
    "epsilon_insensitive",
    "gamma",
    "hinge",
    "huber",
    "logistic",
    "modified_huber",
    "poisson",
    "quantile",
    "softmax",
    "squared",
    "squared_hinge",
    "tweedie",
]

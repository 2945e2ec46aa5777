"""What a fit goes on from: one of the same model, with the same columns and scores."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
import numpy as np

from descenso._errors import ArgumentError
from descenso.estimators.settings import Settings


def check_last(start: Any, s: Settings, features: int, outputs: int) -> None:
    """Raise ArgumentError where these settings cannot go on from the last fit, coef and intercept or a network.

    A network of the user's own is checked when its params are there (`check_form`).
    """
    check_kind(start, linear=s.model == "linear")
    if s.model == "linear":
        check_form(start, (np.empty((outputs, features)), np.empty(outputs)))
    elif s.model == "mlp":
        sizes = pairwise((features, *s.hidden, outputs))
        check_form(start.params, [{"weight": np.empty(size), "bias": np.empty(size[1])} for size in sizes])


def check_kind(start: Any, *, linear: bool) -> None:
    """Raise ArgumentError where the last fit, coef and intercept or a network, was of the other kind of model."""
    if isinstance(start, tuple) != linear:
        kinds = ("a linear model", "a network")
        then, now = kinds if isinstance(start, tuple) else kinds[::-1]
        raise ArgumentError(
            f"The last fit was of {then}, and this one, which goes on from it, is of {now}.", hint=_AFRESH
        )


def check_form(start: Any, now: Any) -> None:
    """Raise ArgumentError where the arrays of the last fit do not have the shapes of those of this one."""
    if _form(start) != _form(now):
        raise ArgumentError(
            f"The last fit has arrays of shapes {_told(start)}, and this one, which goes on from it, needs "
            f"{_told(now)}: columns, classes or `hidden` are not what they were.",
            hint=_AFRESH,
        )


_AFRESH = "`fit` with warm_start=False, or `clone`, begins afresh"


def _form(params: Any) -> tuple[Any, list]:
    return jax.tree.structure(params), [np.shape(leaf) for leaf in jax.tree.leaves(params)]


def _told(params: Any) -> str:
    return " ".join(str(np.shape(leaf)) for leaf in jax.tree.leaves(params))

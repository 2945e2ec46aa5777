"""What a warm start goes on from: a fit of the same model, with the same columns and scores."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from descenso._errors import ArgumentError


def check_kind(start: Any, *, linear: bool) -> None:
    """Raise ArgumentError where the last fit, coef and intercept or a network, was of the other kind of model."""
    if isinstance(start, tuple) != linear:
        kinds = ("a linear model", "a network")
        then, now = kinds if isinstance(start, tuple) else kinds[::-1]
        raise ArgumentError(
            f"`warm_start` is True, but the last fit was of {then}, and this is of {now}.", hint=_AFRESH
        )


def check_form(start: Any, now: Any) -> None:
    """Raise ArgumentError where the arrays of the last fit do not have the shapes of those of this one."""
    if _form(start) != _form(now):
        raise ArgumentError(
            f"`warm_start` is True, but the last fit has arrays of shapes {_told(start)}, and this one needs "
            f"{_told(now)}: columns, classes or `hidden` are not what they were.",
            hint=_AFRESH,
        )


_AFRESH = "set_params(warm_start=False) or `clone` begins afresh"


def _form(params: Any) -> tuple[Any, list]:
    return jax.tree.structure(params), [np.shape(leaf) for leaf in jax.tree.leaves(params)]


def _told(params: Any) -> str:
    return " ".join(str(np.shape(leaf)) for leaf in jax.tree.leaves(params))

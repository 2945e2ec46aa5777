"""What an estimator was asked for, checked; nothing is checked before `fit`, as scikit-learn has it."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from descenso._errors import ArgumentError
from descenso.estimators.families import Family, family
from descenso.estimators.objective import ACTIVATIONS
from descenso.watch.limits import Budget

_PENALTIES = ("l2", "l1", "elasticnet", None)


@dataclass(frozen=True)
class Settings:
    """The checked arguments; see `DescentClassifier`.

    l1, l2: shares of the penalty that go to absolute values and to squares; both 0 without a penalty.
    alpha: its strength, or None for one over the sum of the weights. standardize: None for what suits X.
    held_out: share of the rows to validate on, or None for what suits the model.
    """

    family: Family
    model: Any
    hidden: tuple[int, ...]
    activation: str
    l1: float
    l2: float
    alpha: float | None
    intercept: bool
    standardize: bool | None
    method: Any
    batch_size: Any
    budget: Budget
    held_out: float | None
    verbose: int


def settings(estimator: Any, known: dict[str, Family]) -> Settings:
    """The settings of an estimator, whose losses by name are `known`.

    Raises:
        ArgumentError: an argument is not what it must be.
    """
    e = estimator
    l1, l2 = _shares(e)
    _yes(e, "warm_start")
    return Settings(
        family=_family(e, known),
        model=_model(e.model),
        hidden=_hidden(e.hidden),
        activation=_one_of(e, "activation", tuple(ACTIVATIONS)),
        l1=l1,
        l2=l2,
        alpha=None if e.alpha == "auto" else _number(e, "alpha", 0, 1e30),
        intercept=_yes(e, "fit_intercept"),
        standardize=None if isinstance(e.standardize, str) and e.standardize == "auto" else _yes(e, "standardize"),
        method=e.method,
        batch_size=e.batch_size,
        budget=_budget(e.budget),
        held_out=_held_out(e),
        verbose=int(e.verbose),
    )


def _family(e: Any, known: dict[str, Family]) -> Family:
    if not callable(e.loss):
        _one_of(e, "loss", tuple(known), "; or a function of (y, prediction), written in jax.numpy")
    if e.loss == "quantile":
        _number(e, "quantile", 0, 1, ends=False)
    if e.loss == "tweedie":
        _number(e, "power", 1, 2, ends=False)
    if e.loss in ("huber", "epsilon_insensitive") and e.epsilon is not None:
        _number(e, "epsilon", 0, 1e30)
    return family(e.loss, known)


def _held_out(e: Any) -> float | None:
    if e.validation_fraction == "auto":
        return None
    return 0.0 if e.validation_fraction is None else _number(e, "validation_fraction", 0, 1, ends=False)


def _model(model: Any) -> Any:
    if model in ("linear", "mlp"):
        return model
    if isinstance(model, tuple) and len(model) == 2 and all(callable(f) for f in model):
        return model
    raise ArgumentError(
        f'`model` is {model!r}. It must be "linear", "mlp" or a pair of functions (init, apply).',
        hint="init(key, features, outputs) makes the params, apply(params, x) gives (rows, outputs)",
    )


def _hidden(hidden: Any) -> tuple[int, ...]:
    sizes = (hidden,) if isinstance(hidden, Integral) else tuple(hidden)
    if not all(isinstance(s, Integral) and int(s) > 0 for s in sizes):
        raise ArgumentError(
            f"`hidden` is {hidden!r}. It must hold the sizes of the hidden layers, whole numbers from 1."
        )
    return tuple(int(s) for s in sizes)


def _shares(e: Any) -> tuple[float, float]:
    penalty = None if e.penalty == "none" else e.penalty
    if penalty not in _PENALTIES:
        raise ArgumentError(f'`penalty` is {e.penalty!r}. It must be "l2", "l1", "elasticnet" or None.')
    if penalty is None:
        return 0.0, 0.0
    if penalty == "elasticnet":
        share = _number(e, "l1_ratio", 0, 1)
        return share, 1 - share
    return (1.0, 0.0) if penalty == "l1" else (0.0, 1.0)


def _budget(budget: Any) -> Budget:
    if budget is None or isinstance(budget, Budget):
        return budget or Budget()
    if isinstance(budget, Real) and not isinstance(budget, bool) and float(budget) > 0:
        return Budget(epochs=float(budget))
    raise ArgumentError(
        f"`budget` is {budget!r}. It must be a number of epochs above 0, a descenso.Budget, or None for no limit."
    )


def _yes(e: Any, name: str) -> bool:
    value = getattr(e, name)
    if not isinstance(value, (bool, np.bool_)):
        auto = ' or "auto"' if name == "standardize" else ""
        raise ArgumentError(f"`{name}` is {value!r}. It must be True or False{auto}.")
    return bool(value)


def _one_of(e: Any, name: str, allowed: tuple[str, ...], more: str = "") -> str:
    value = getattr(e, name)
    if not isinstance(value, str) or value not in allowed:
        raise ArgumentError(f"`{name}` is {value!r}. It must be one of {', '.join(map(repr, allowed))}{more}.")
    return value


def _number(e: Any, name: str, low: float, high: float, *, ends: bool = True) -> float:
    value = getattr(e, name)
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else float("nan")
    if not (low <= number <= high if ends else low < number < high):
        needed = f"a number from {low:g}" if high > 1e20 else f"a number {'from' if ends else 'between'} {low:g} "
        needed += "" if high > 1e20 else f"{'to' if ends else 'and'} {high:g}"
        raise ArgumentError(f"`{name}` is {value!r}. It must be {needed}.")
    return number

"""What fitting has in common for classes and numbers: the rows that count, the options, the attributes, the warning."""

from __future__ import annotations

import warnings
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from descenso._errors import ArgumentError, DataError
from descenso.estimators.descend import Options
from descenso.estimators.linear import fit_linear
from descenso.estimators.network import fit_network, scores
from descenso.estimators.packed import as_csr
from descenso.estimators.settings import Settings
from descenso.estimators.target import Target
from descenso.estimators.told import Told
from descenso.estimators.warm import check_last
from descenso.result import Progress, Reason, Result

_HELD_OUT, _ENOUGH = 0.1, 100  # share of the rows that a network is validated on, from this many rows on


def row_weights(sample_weight: Any, rows: int) -> np.ndarray:
    """The weights of the rows, float64 (rows,).

    Raises:
        DataError: they are not one number from 0 on for each row, or all are 0.
    """
    if sample_weight is None:
        return np.ones(rows)
    weights = np.asarray(sample_weight, np.float64)
    if weights.ndim == 0:
        weights = np.full(rows, float(weights))
    if weights.shape != (rows,):
        raise DataError(
            f"`sample_weight` has shape {weights.shape}. It must have one weight for each of {rows:,} rows."
        )
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise DataError(f"`sample_weight` holds {weights[at]!r} at row {at + 1}. Weights must be finite and 0 or more.")
    if not weights.any():
        raise DataError("All of `sample_weight` are zero. At least one must be above 0.")
    return weights


def counted(X: Any, y: np.ndarray, weights: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
    """The rows whose weight is above 0: the others are as good as not there. A sparse X has no duplicates then."""
    X, keep = as_csr(X) if sparse.issparse(X) else X, weights > 0
    return (X, y, weights) if keep.all() else (X[keep], y[keep], weights[keep])


def options(e: Any, s: Settings, told: Told | None = None) -> Options:
    """The options of the descent; a seed is drawn from `random_state`."""
    seed = int(check_random_state(e.random_state).randint(2**31 - 1))
    listens = None if told is None else lambda found: told.watch(lambda params: attributes(e, found(params), s))
    return Options(s.method, s.batch_size, s.budget, seed, False, _tell if s.verbose else None, told=listens)


def _tell(p: Progress) -> None:
    held = "" if p.validation is None else f", held out {p.validation:.5g}"
    print(f"epoch {p.epoch:.3g}, step {p.step:,}: loss {p.loss:.6g}{held} {p.note}")


def split(X: Any, t: np.ndarray, w: np.ndarray, share: float, *, classes: bool, seed: int) -> tuple[tuple, tuple]:
    """Rows to learn from and rows held out, each as X, t, w.

    Raises:
        DataError: there are too few rows.
    """
    count = max(1, round(share * len(t)))
    if len(t) - count < 1:
        raise DataError(f"`validation_fraction` of {len(t)} rows leaves none to learn from.", hint="set it to None")
    kinds = np.unique(t, return_counts=True)[1] if classes else np.zeros(0)
    even = classes and kinds.min() > 1 and min(count, len(t) - count) >= len(kinds)
    rows = np.arange(len(t))
    a, b = train_test_split(rows, test_size=count, random_state=seed, stratify=t if even else None)  # pyrefly: ignore
    return (X[a], t[a], w[a]), (X[b], t[b], w[b])


def learn(e: Any, X: Any, target: Target, weights: np.ndarray, outputs: int, s: Settings, o: Options) -> None:
    """Fit the model and set what it leaves on the estimator.

    Args:
        outputs: scores of a row: 1 for a number or two classes, else one for each class.

    Raises:
        ArgumentError: a warm start from a fit of another model, or with other columns or classes.
    """
    start, held_out = last_fit(e) if e.warm_start else None, None
    if start is not None:
        check_last(start, s, X.shape[1], outputs)
    share = s.held_out
    if share is None:
        share = _HELD_OUT if s.model != "linear" and len(weights) >= _ENOUGH else 0.0
    if share:
        kept, held_out = split(X, target.values, weights, share, classes=hasattr(e, "classes_"), seed=o.seed)
        X, weights, target = kept[0], kept[2], replace(target, values=kept[1])
    if s.model == "linear":
        run, *found = fit_linear(X, target, weights, outputs, s, o, start=start, held_out=held_out)
    else:
        run, found = fit_network(X, target, weights, outputs, s, o, start=start, held_out=held_out)
    keep(e, found, s)
    tell_end(e, in_user_units(run, target))


def last_fit(e: Any) -> Any:
    """coef and intercept of the last fit, or its `Fitted` network; None where there was no fit."""
    return getattr(e, "_net", None) or ((e._coef, e._intercept) if hasattr(e, "_coef") else None)


def forget(e: Any) -> None:
    """Take what was found off the estimator."""
    for name in ("_coef", "_intercept", "coef_", "intercept_", "_net", "coefs_", "intercepts_", "_stream"):
        e.__dict__.pop(name, None)


def keep(e: Any, found: Any, s: Settings) -> None:
    """Set what was found, coef and intercept or a `Fitted` network, on the estimator."""
    forget(e)
    for name, value in attributes(e, found, s).items():
        setattr(e, name, value)


def attributes(e: Any, found: Any, s: Settings) -> dict[str, Any]:
    """The attributes of an estimator that was fitted to what was found."""
    if s.model == "mlp":
        layers = found.params
        return {
            "_net": found,
            "coefs_": [layer["weight"] for layer in layers],
            "intercepts_": [layer["bias"] for layer in layers],
        }
    if s.model != "linear":
        return {"_net": found}
    coef, intercept = found
    shown = (coef, intercept) if hasattr(e, "classes_") else (coef[0], intercept if s.intercept else 0.0)
    return {"_coef": coef, "_intercept": intercept, "coef_": shown[0], "intercept_": shown[1]}


def in_user_units(run: Result, target: Target) -> Result:
    """The run with its losses in units of y."""

    def back(loss: Any) -> Any:
        return None if loss is None else target.factor * loss + target.constant

    history = replace(run.history, loss=back(run.history.loss), validation=back(run.history.validation))
    return replace(run, loss=back(run.loss), validation_loss=back(run.validation_loss), history=history)


def arrived(e: Any, run: Result) -> bool:
    """Whether the run ended where it should: a network also where its loss falls ever more slowly.

    A convex linear model has an optimum to arrive at; a network has none, and its plateau is all there is to find.
    """
    return run.success or (e.model != "linear" and run.reason is Reason.PLATEAU)


def tell_end(e: Any, run: Result) -> None:
    """Set `result_`, `reason_`, `n_iter_`, `loss_curve_`; warn if and only if the run did not arrive.

    Raises:
        ArgumentError: it arrived nowhere: there is not one finite loss.
    """
    if not np.isfinite(run.loss):
        raise ArgumentError(f"The descent found no finite loss: {run.message}.", hint="check the loss and the data")
    e.result_, e.reason_ = run, run.reason
    e.n_iter_ = max(1, ceil(run.epochs))
    e.loss_curve_ = run.history.loss
    if e.verbose:
        print(run)
    if not arrived(e, run):
        warnings.warn(f"{run.reason}: {run.message}. {_ADVICE[run.reason]}", ConvergenceWarning, stacklevel=4)


_ADVICE = {
    Reason.PLATEAU: "The model can be used; a larger `budget`, another `method` or a larger `alpha` may arrive.",
    Reason.BUDGET: "Raise `budget`, or leave it out to go on until it has arrived.",
    Reason.INTERRUPTED: "The model is the best so far; with warm_start=True `fit` goes on from here.",
    Reason.DIVERGED: 'Look for extreme values in X and y, or leave `method` and `batch_size` to "auto".',
    Reason.NONFINITE: "Look for extreme values in X and y.",
    Reason.UNBOUNDED: "The loss has no minimum: set a penalty, or look at the loss.",
}


def decision(e: Any, X: Any) -> np.ndarray:
    """The scores of the rows in the user's units, (rows, outputs)."""
    if hasattr(e, "_net"):
        return scores(e._net, X)
    return np.asarray(X @ e._coef.T) + e._intercept

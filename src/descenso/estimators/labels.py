"""Classes and their numbers, weights and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from descenso._errors import ArgumentError, DataError


def found_in(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes in y, in order, and the number of that of each row.

    Raises:
        DataError: there is one class only.
    """
    found, labels = np.unique(y, return_inverse=True)
    if len(found) < 2:
        raise DataError(
            f"y holds one class only, {found[0]!r} (rows of weight 0 do not count). At least two classes are needed."
        )
    return found, labels


def all_classes(known: np.ndarray | None, given: Any) -> np.ndarray:
    """The classes of a stream, `known` from its first call.

    Raises:
        ArgumentError: none are given at the first call, or others later. DataError: fewer than two.
    """
    if given is None:
        if known is None:
            raise ArgumentError("`classes` must be given at the first call of `partial_fit`: all that there will be.")
        return known
    given = np.unique(np.asarray(given))
    if known is not None and not np.array_equal(given, known):
        raise ArgumentError(f"`classes` is {given}, but at an earlier call it was {known}.", hint="`clone` begins anew")
    if len(given) < 2:
        raise DataError(f"`classes` holds {len(given)} class. At least two classes are needed.")
    return given


def labels_among(found: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The number of the class of each row of y.

    Raises:
        DataError: a row has another class.
    """
    labels = np.minimum(np.searchsorted(found, y), len(found) - 1)
    strange = found[labels] != y
    if strange.any():
        at = int(np.flatnonzero(strange)[0])
        raise DataError(f"y holds {y[at]!r}, which is not one of the classes {found}.", row=at + 1)
    return labels


def class_weights(asked: Any, found: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """What the weight of each row is multiplied by: "balanced" gives every class the same share of the weights.

    Raises:
        ArgumentError: `asked` is none of None, "balanced" and a dict of weights above 0, or names another class.
    """
    if asked is None:
        return np.ones(len(labels))
    if asked == "balanced":
        if weights is None:
            raise ArgumentError(
                'class_weight="balanced" needs all rows at once, which `partial_fit` does not have.',
                hint="give a dict of class and weight",
            )
        totals = np.bincount(labels, weights)
        return (weights.sum() / (len(found) * totals))[labels]
    if not isinstance(asked, dict):
        raise ArgumentError(f'`class_weight` is {asked!r}. It must be "balanced", a dict or None.')
    names = [c.item() if hasattr(c, "item") else c for c in found]
    if strange := [name for name in asked if name not in names]:
        raise ArgumentError(f"`class_weight` names {strange}. The classes are {names}; those left out have weight 1.")
    by_class = np.array([float(asked.get(name, 1.0)) for name in names])
    if not (np.isfinite(by_class).all() and (by_class > 0).all()):
        raise ArgumentError(f"`class_weight` is {asked!r}. Its weights must be finite and above 0.")
    return by_class[labels]


def probabilities(z: np.ndarray) -> np.ndarray:
    """Of each class, (rows, classes), from scores that are log-odds, (rows,), or unnormalised logarithms."""
    return np.exp(log_probabilities(z))


def log_probabilities(z: np.ndarray) -> np.ndarray:
    """The logarithm of `probabilities`."""
    if z.ndim == 1:
        return -np.logaddexp(0, np.stack([z, -z], axis=1))
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def clipped(z: np.ndarray) -> np.ndarray:
    """Estimates of the probabilities from scores of the modified Huber loss. Source: Zhang 2004, ICML."""
    share = (np.clip(z, -1, 1) + 1) / 2
    if z.ndim == 1:
        return np.stack([1 - share, share], axis=1)
    total = share.sum(axis=1, keepdims=True)
    return np.where(total > 0, share / np.where(total > 0, total, 1.0), 1 / z.shape[1])

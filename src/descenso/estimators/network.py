"""Fitting a network, or the user's own pair of functions: the columns are standardised, the target too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import jax
import numpy as np
from scipy import sparse

from descenso._errors import ArgumentError
from descenso.estimators.columns import measure, standardised
from descenso.estimators.descend import Options, descend
from descenso.estimators.objective import Given, Network, Penalised
from descenso.estimators.rows import batch_rows, others, table_of
from descenso.estimators.settings import Settings
from descenso.estimators.target import Target
from descenso.estimators.units import Units, strengths, units_of
from descenso.estimators.warm import check_form
from descenso.result import Result


@dataclass(frozen=True)
class Fitted:
    """A fitted network.

    params: numpy arrays; of a `Network` its layers in the user's units. model: what they are params of.
    units: those of the params; None for a `Network`.
    """

    params: Any
    model: Any
    units: Units | None = None


def fit_network(
    X: Any,
    target: Target,
    weights: np.ndarray,
    outputs: int,
    s: Settings,
    options: Options,
    *,
    held_out: tuple | None = None,
    start: Fitted | None = None,
) -> tuple[Result, Fitted]:
    """The result, and the network.

    Args:
        held_out: X, targets and weights of rows to validate on, or None.
        start: what to start from, or None for random params.
    """
    columns = measure(X, weights)
    units = units_of(columns, s, target)
    model, params = new_model(s, X.shape[1], outputs, options.seed)
    if start is not None:
        check_form(start.params, params)
        params, units = restarted(start, units)
    loss = network_loss(s, target, columns.total, model)
    X, held_out = (whole(X), _whole_rows(held_out)) if isinstance(model, Given) else (X, held_out)
    if options.batch_size == "auto" and options.method == "auto":
        # not all rows, however few: a network goes lower, and to better places, by batches
        options = replace(options, batch_size=batch_rows("auto", X.shape[0]))
    table = table_of(X, units.center, units.scale, np.float32, options, held_out)
    check = None if held_out is None else others(table, held_out, units.center, units.scale)
    options = options.watching(lambda params: fitted(params, model, units))
    asked = replace(options, batch_size=table.batch_size(options.batch_size))
    run = descend(loss, params, table.data(target.values, weights), asked, check)
    return run, fitted(run.params, model, units)


def network_loss(s: Settings, target: Target, total: float, model: Any) -> Penalised:
    """The penalised loss of a network; `total` is the sum of the weights."""
    lasso, ridge = strengths(s, target, total)
    return Penalised(s.family, model, np.float32(ridge), np.float32(lasso), target.shape)


def restarted(start: Fitted, units: Units) -> tuple[Any, Units]:
    """The params of a fitted network in these units where it can have them, and the units they are in."""
    return (units.own_layers(start.params), units) if start.units is None else (start.params, start.units)


def fitted(params: Any, model: Any, units: Units) -> Fitted:
    """The network of these params, which are in these units."""
    return Fitted(units.layers(params), model) if isinstance(model, Network) else Fitted(params, model, units)


def whole(X: Any) -> np.ndarray:
    return X.toarray() if sparse.issparse(X) else X


def _whole_rows(rows: tuple | None) -> tuple | None:
    return None if rows is None else (whole(rows[0]), *rows[1:])


def new_model(s: Settings, features: int, outputs: int, seed: int) -> tuple[Any, Any]:
    """The model and params to start from."""
    if s.model == "mlp":
        sizes = (features, *s.hidden, outputs)
        return Network(s.activation, outputs == 1), _random(sizes, s.activation, np.random.default_rng(seed))
    init, apply = s.model
    params = init(jax.random.key(seed), features, outputs)
    _check_own(apply, params, features, outputs)
    return Given(apply, outputs == 1), params


def _random(sizes: tuple[int, ...], activation: str, rng: np.random.Generator) -> list[dict]:
    """Weights of variance 2 / in for relu, else 2 / (in + out), the last layer's small, and no biases.

    Source: He et al. 2015, arXiv:1502.01852, equation 10; Glorot and Bengio 2010, AISTATS, equation 12.
    """
    layers = []
    for k, (n, m) in enumerate(pairwise(sizes)):
        last = k == len(sizes) - 2
        spread = np.sqrt(2 / n if activation in ("relu", "silu") and not last else 2 / (n + m)) * (0.1 if last else 1.0)
        weight = (spread * rng.normal(size=(n, m))).astype(np.float32)
        layers.append({"weight": weight, "bias": np.zeros(m, np.float32)})
    return layers


def _check_own(apply: Callable, params: Any, features: int, outputs: int) -> None:
    # the params closed over: a module of Equinox holds functions too
    shape = jax.eval_shape(lambda x: apply(params, x), jax.ShapeDtypeStruct((3, features), np.float32)).shape
    if shape != (3, outputs) and not (outputs == 1 and shape == (3,)):
        raise ArgumentError(
            f"`apply(params, x)` gave shape {shape} for x of shape (3, {features}). It must give (3, {outputs}).",
            hint="one output for a number or two classes, else one for each class",
        )


def scores(net: Fitted, X: Any) -> np.ndarray:
    """What the network says of the rows of X in the user's units, (rows, outputs)."""
    if net.units is not None:
        u, rows = net.units, whole(X)
        x = standardised(rows, u.center, u.scale, rows.shape, np.float32)
        z = np.asarray(net.model.outputs(net.params, {"x": x}), np.float64).reshape(len(x), -1)
        return u.offset + u.unit * z
    x = X
    for layer in net.params[:-1]:
        x = _ACTIVATE[net.model.activation](np.asarray(x @ layer["weight"]) + layer["bias"])
    last = net.params[-1]
    return np.asarray(x @ last["weight"]) + last["bias"]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


_ACTIVATE: dict[str, Callable] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "logistic": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "identity": lambda x: x,
}

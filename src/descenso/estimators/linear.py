"""Fitting a linear model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from descenso._errors import ArgumentError
from descenso.estimators.columns import Columns, measure
from descenso.estimators.descend import Options, descend
from descenso.estimators.objective import Linear, Penalised
from descenso.estimators.optimum import exact
from descenso.estimators.rows import others, table_of
from descenso.estimators.settings import Settings
from descenso.estimators.target import Target
from descenso.estimators.units import Units, penalised, strengths, units_of
from descenso.result import Result

_EXACT = 200_000_000  # values of a table up to which every step sees all of them
_WIDE = 40_000_000  # and up to which that is done in 64 bits
_WIDE_SPARSE = 4_000_000  # the same for the entries of a sparse table, which are read slowly whatever their size


def fit_linear(
    X: Any,
    target: Target,
    weights: np.ndarray,
    outputs: int,
    s: Settings,
    options: Options,
    *,
    start: Any = None,
    held_out: tuple | None = None,
) -> tuple[Result, np.ndarray, np.ndarray]:
    """The result, coef (outputs, features) and intercept (outputs,).

    Args:
        X: (rows, features), dense or CSR. weights: (rows,), above 0. outputs: scores of a row; 1 for two classes.
        start: coef and intercept to start from, or None for zeros.
        held_out: X, targets and weights of rows to validate on, or None.

    Raises:
        ArgumentError: an L1 penalty, with a method or batches of the user's own.
    """
    if s.l1 and (s.method != "auto" or s.batch_size not in ("auto", "all")):
        raise ArgumentError(
            f"An L1 penalty was asked for with method={s.method!r} and batch_size={s.batch_size!r}.",
            hint='coefficients that are exactly 0 need all rows at every step: leave both at "auto"',
        )
    columns = measure(X, weights)
    units = units_of(columns, s, target, strengths(s, target, columns.total)[1])
    size = X.nnz if sparse.issparse(X) else X.size
    whole = s.l1 > 0 or _goes_to_optimum(s, size, held_out)
    options = replace(options, wide=whole and size <= (_WIDE_SPARSE if sparse.issparse(X) else _WIDE))
    dtype = np.float64 if options.wide else np.float32
    table = table_of(X, units.center, units.scale, dtype, None if whole else options, held_out)
    loss = linear_loss(s, target, columns, units, table.width, dtype)
    params = zeros(table.width, outputs, loss.model, dtype)
    if start is not None:
        params = units.params(*start, like=params)
    data = table.data(target.values, weights)
    options = options.watching(units.coef)
    check = None if held_out is None else others(table, held_out, units.center, units.scale)
    if whole:
        run = exact(loss, params, table, data, options, check)
    else:
        run = descend(loss, params, data, replace(options, batch_size=table.batch_size(options.batch_size)), check)
    return (run, *units.coef(run.params))


def _goes_to_optimum(s: Settings, size: int, held_out: Any) -> bool:
    """Whether every step sees all rows, and the descent goes on to the optimum."""
    return s.method == "auto" and s.batch_size == "auto" and held_out is None and size <= _EXACT


def linear_loss(s: Settings, target: Target, columns: Columns, units: Units, width: int, dtype: Any) -> Penalised:
    """The penalised loss over params in these units, `width` of them in a score."""
    lasso, ridge = strengths(s, target, columns.total)
    grown = np.zeros(width)
    grown[: len(units.scale)] = penalised(columns, s) / units.scale
    model = Linear(s.intercept, lasso > 0)
    return Penalised(s.family, model, (ridge * grown**2).astype(dtype), (lasso * grown).astype(dtype), target.shape)


def zeros(width: int, outputs: int, model: Any, dtype: Any) -> dict:
    """The params to start from."""
    shape = (width,) if outputs == 1 else (width, outputs)
    params = {name: np.zeros(shape, dtype) for name in (("minus", "plus") if model.parts else ("coef",))}
    return params | ({"intercept": np.zeros(shape[1:], dtype)} if model.intercept else {})

"""The rows of a table, dense or sparse, as the descent sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from descenso.estimators.descend import Options
from descenso.estimators.packed import Packed, packed
from descenso.estimators.table import Dense, dense, rounded


def table_of(
    X: Any,
    center: np.ndarray,
    scale: np.ndarray,
    dtype: Any,
    options: Options | None,
    held_out: tuple | None = None,
) -> Dense | Packed:
    """The table of X, dense or CSR, (rows, features).

    Args:
        center: 0 for a sparse X. options: of a descent over batches; None where every step sees all rows.
        held_out: X, targets and weights of rows to validate on, which must fit as well, or None.
    """
    if not sparse.issparse(X):
        return dense(X, center, scale, dtype, shape=rounded(*X.shape) if options is None else None)
    longest = 0 if held_out is None else int(np.diff(held_out[0].indptr).max())
    if options is None:
        return packed(X, scale, dtype, longest=longest)
    order = np.random.default_rng(options.seed).permutation(X.shape[0])
    return packed(X, scale, dtype, batch_rows(options.batch_size, X.shape[0]), order, longest=longest)


def others(table: Dense | Packed, held_out: tuple, center: np.ndarray, scale: np.ndarray) -> dict:
    """Rows to validate on, (X, targets, weights), in the form of `table`."""
    X, t, w = held_out
    if isinstance(table, Dense):
        return dense(X, center, scale, table.x.dtype).data(t, w)
    return packed(X, scale, table.value.dtype, table.rows, entries=table.at.shape[1]).data(t, w)


def batch_rows(asked: Any, rows: int) -> Any:
    """The rows of a batch, never all of them for the reason alone that they are few."""
    if asked == "all":
        return rows
    if asked == "auto":
        return min(rows, 32 if rows < 4096 else 128 if rows < 100_000 else 256)
    return asked if isinstance(asked, str) else min(int(asked), rows)

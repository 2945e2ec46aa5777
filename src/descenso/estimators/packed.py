"""The rows of a sparse table as the descent sees them: packs of rows, each a flat list of its entries.

Every pack has room for the same number of rows and of entries, so that the compiled code has fixed shapes and a batch
is a pack; a row keeps all of its entries, however many they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from descenso.data.aligned import aligned
from descenso.estimators.columns import bucket, power_of_four
from descenso.estimators.objective import coefficients

_ROWS = 32  # of a pack, where every step sees all packs: the engine takes 256 of them at a time
_LEAST_PACKS, _LEAST_ENTRIES = 4, 256  # this many cost no more than fewer
_PACKS, _ENTRIES = 32, 1024  # numbers up to which shapes are rounded up to powers of four


@dataclass(frozen=True)
class Packed:
    """Packs of rows of X / scale.

    Attributes:
        X: the CSR table itself, not copied. scale: of its columns.
        at, value, row: column, value and row within the pack of every entry, (packs, entries); value 0 fills up.
        slot: where each row of X stands, counted over packs of `rows` rows.
        rows: of a pack.
    """

    X: Any
    scale: np.ndarray
    at: np.ndarray
    value: np.ndarray
    row: np.ndarray
    slot: np.ndarray
    rows: int

    @property
    def width(self) -> int:
        """How many coefficients there are."""
        return self.X.shape[1]

    def data(self, t: np.ndarray, w: np.ndarray) -> dict:
        """All packs: targets t and weights w, (rows,); the weights come out with mean 1."""
        kind = self.value.dtype if t.dtype.kind == "f" else t.dtype
        places = len(self.at) * self.rows
        targets, weights = np.full(places, t[0], kind), np.zeros(places, self.value.dtype)
        targets[self.slot], weights[self.slot] = t, w * (places / w.sum())
        shape = (len(self.at), self.rows)
        entries = {"at": self.at, "value": self.value, "row": self.row}
        return {**entries, "t": targets.reshape(shape), "w": weights.reshape(shape)}

    def scores(self, params: Any) -> np.ndarray:
        """z of a linear model at every place of the packs, (places,) or (places, outputs)."""
        u = np.asarray(coefficients(params), np.float64)
        z = np.zeros((len(self.at) * self.rows, *u.shape[1:]))
        z[self.slot] = self.X @ (u.T / self.scale).T
        return z + params["intercept"] if "intercept" in params else z

    def back(self, theta: np.ndarray) -> np.ndarray:
        """(X / scale)' theta of a theta at every place, (features,) or (features, outputs)."""
        return ((self.X.T @ theta[self.slot]).T / self.scale).T

    def batch_size(self, asked: Any) -> Any:
        """The batch size in packs: one, or all."""
        return "all" if len(self.at) == 1 or asked == "all" else 1


def packed(
    X: Any,
    scale: np.ndarray,
    dtype: Any,
    rows: int | None = None,
    order: np.ndarray | None = None,
    *,
    longest: int = 0,
    entries: int | None = None,
) -> Packed:
    """The packs of X, CSR (rows, features).

    Args:
        rows: of a pack; None where every step sees all packs.
        order: the order of the rows, (rows,); None leaves them as they are.
        longest: the entries of the longest row of another table that is to be packed alike.
        entries: of a pack, at least those of the longest row; None for what suits X.
    """
    n, counts = X.shape[0], np.diff(X.indptr)
    whole = rows is None
    rows = _ROWS if rows is None else rows
    order = np.arange(n) if order is None else order
    total = np.concatenate([[0], np.cumsum(counts[order])])
    ends = _ends(total, rows, _suiting(total, rows) if entries is None else entries)
    starts = np.concatenate([[0], ends[:-1]])
    if entries is None:
        entries = _rounded(max(_LEAST_ENTRIES, longest, int((total[ends] - total[starts]).max())), _ENTRIES)
    shape = (_rounded(max(_LEAST_PACKS, len(ends)), _PACKS) if whole else len(ends), entries)
    at, value = aligned(shape, np.int32, np.zeros), aligned(shape, dtype, np.zeros)
    row = aligned(shape, np.uint8 if rows <= 256 else np.int32, np.zeros)
    row += row.dtype.type(rows - 1)
    slot = np.empty(n, np.int64)
    for k, (a, b) in enumerate(zip(starts, ends, strict=True)):
        members = order[a:b]
        columns, values = _entries(X, members, counts)
        at[k, : len(columns)], value[k, : len(columns)] = columns, values / scale[columns]
        row[k, : len(columns)] = np.repeat(np.arange(b - a), counts[members])
        slot[members] = k * rows + np.arange(b - a)
    return Packed(X, scale, at, value, row, slot, rows)


def _entries(X: Any, members: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and values of some rows, end to end."""
    first, number = X.indptr[members], counts[members]
    if members[-1] - members[0] == len(members) - 1 and (np.diff(members) == 1).all():
        place: Any = slice(int(first[0]), int(first[-1] + number[-1]))
    else:
        shift = np.repeat(first - np.concatenate([[0], np.cumsum(number)[:-1]]), number)
        place = np.arange(len(shift)) + shift
    return X.indices[place], X.data[place]


def _suiting(total: np.ndarray, rows: int) -> int:
    """The entries of a pack a third longer than the mean one, or of the longest row."""
    return max(int(4 * total[-1] * rows / (3 * (len(total) - 1))), int(np.diff(total).max()))


def _ends(total: np.ndarray, rows: int, most: int) -> np.ndarray:
    """Where packs end: after `rows` rows, or sooner where the pack would have more than `most` entries.

    total: entries before each row, and of all, (rows + 1,).
    """
    n, ends = len(total) - 1, [0]
    while ends[-1] < n:
        start = ends[-1]
        end = int(np.searchsorted(total, total[start] + most, side="right")) - 1
        ends.append(min(start + rows, end, n))
    return np.array(ends[1:])


def _rounded(n: int, few: int) -> int:
    return power_of_four(n) if n <= few else bucket(n, 16)


def as_csr(X: Any) -> Any:
    """X as CSR with 32-bit column numbers and no duplicate entries."""
    X = sparse.csr_array(X) if not isinstance(X, (sparse.csr_array, sparse.csr_matrix)) else X
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X

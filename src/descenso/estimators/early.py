"""The first rows of a stream, where they come in small lots: kept until there are enough to find a step size on.

Few rows tell neither the units of the columns nor a step size. So whenever the rows have doubled, the stream begins
anew with all of them, until there are 256.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from descenso.estimators.families import Family
from descenso.estimators.settings import Settings
from descenso.estimators.stream import Stream, begun, learned, renewed
from descenso.estimators.target import Target

_ENOUGH = 256  # rows, after which they are not kept


@dataclass(frozen=True)
class Early:
    """All rows of a stream so far.

    Attributes:
        X, target, w: the rows, the targets in units of all of them, and the weights.
        lots, new: how many lots they came in, and how many rows came last.
        start: what the stream started from, as of `begun`.
    """

    X: Any
    target: Target
    w: np.ndarray
    lots: int
    new: int
    start: Any

    @property
    def rows(self) -> int:
        return len(self.w)

    @property
    def doubled(self) -> bool:
        """Whether the last lot has brought them to a power of two, or over it."""
        return self.rows.bit_length() > (self.rows - self.new).bit_length()

    def lot(self, batch: int) -> int:
        """The rows of a step: a batch, or where lots are smaller the power of two below what they have."""
        mean = self.rows // self.lots
        return batch if mean >= batch else 1 << (mean.bit_length() - 1)

    def kept(self) -> Early:
        """The same in arrays of its own: a caller may fill those of a lot again for the next."""
        return replace(
            self, X=self.X.copy(), target=replace(self.target, values=np.array(self.target.values)), w=self.w.copy()
        )

    def with_more(self, X: Any, target: Target, w: np.ndarray, family: Family) -> Early:
        both = [self.X, X]
        rows = sparse.vstack(both, format="csr") if any(map(sparse.issparse, both)) else np.concatenate(both)
        values = np.concatenate([_in_units(self.target, target, family), target.values])
        weights = np.concatenate([self.w, w])
        return Early(rows, replace(target, values=values), weights, self.lots + 1, len(w), self.start)


def _in_units(old: Target, new: Target, family: Family) -> np.ndarray:
    """Targets in the units of others; see `target.numbers`."""
    if family.name == "own" or (old.offset, old.unit) == (new.offset, new.unit):
        return old.values
    if family.log:
        return old.values * np.exp(old.offset - new.offset)
    return (old.values * old.unit + (old.offset - new.offset)) / new.unit


def gone_on(
    before: Stream | None, X: Any, target: Target, w: np.ndarray, outputs: int, s: Settings, *, seed: int, start: Any
) -> Stream:
    """The stream after one more lot.

    Args:
        before: None at the first lot. seed, start: of a stream that begins, as of `begun`.
    """
    if before is None:
        early = Early(X, target, w, 1, len(w), start)
    else:
        early = before.early and before.early.with_more(X, target, w, s.family)
        if early is None or not early.doubled:
            return replace(learned(renewed(before, X, target, w, s), X, target, w, s), early=early)
    seed = seed if before is None else before.seed
    stream = begun(early.X, early.target, early.w, outputs, s, seed=seed, start=early.start)
    stream = stream if before is None else replace(stream, losses=before.losses, made=before.made, spent=before.spent)
    stream = learned(stream, early.X, early.target, early.w, s, early.lot(stream.batch))
    return replace(stream, early=early.kept() if early.rows < _ENOUGH else None)

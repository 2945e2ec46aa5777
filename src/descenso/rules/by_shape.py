"""Muon for what is shaped like a matrix, Adam for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from descenso._errors import ArgumentError
from descenso._masks import Mask
from descenso._namespace import cast, norm
from descenso._ranges import check_ranges
from descenso._types import Array, Leaves, Namespace, Scalar, State
from descenso.rules.adam import Adam
from descenso.rules.muon import Muon

_RMS = 0.2


@dataclass(frozen=True)
class ByShape:
    """Muon where the shape of a leaf says matrix, Adam elsewhere.

        d_t = Muon's direction      two or more axes, as a matrix at least `narrow` wide and `slim` times as long
        d_t = Adam's direction      else

    Args:
        b1, b2: decays of Adam's moments, in [0, 1).
        beta: decay of Muon's momentum, in [0, 1).
        narrow: the shorter side that a matrix has at least, >= 2; below, there is little to orthogonalise.
        slim: how many times as long the other is at most, >= 1: embeddings and the first layers of images are longer.
        matrices: False takes Adam for everything.
        output_axis: how a leaf with more than two axes is read as a matrix: 0 keeps the first axis and joins the
            others, as the weights of torch's convolutions need, -1 keeps the last, as those of Flax do.

    State: that of `Muon`, whose matrices have two axes. Memory: 2 x params; 1 x for matrices.
    Use: where one rule must serve any network; `Muon` with a mask where the hidden matrices are known.
    Source: the two rules; the limit on the shape is measured, see docs/arena.md.
    """

    b1: float = 0.9
    b2: float = 0.97
    beta: float = 0.95
    narrow: int = 8
    slim: float = 16.0
    matrices: bool = True
    output_axis: int = -1

    def __post_init__(self):
        check_ranges(self, b1="[0, 1)", b2="[0, 1)", beta="[0, 1)", narrow="[2, inf)", slim="[1, inf)")
        if self.matrices not in (True, False):
            raise ArgumentError(f"ByShape got matrices={self.matrices!r}. It must be True or False.")
        if self.output_axis not in (0, -1):
            raise ArgumentError(f"ByShape got output_axis={self.output_axis!r}. It must be 0 or -1.")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return self._rule(params).init(self._flat(params), xp=xp)

    def direction(self, grads: Leaves, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]:
        flat, state = self._rule(params).direction(self._flat(grads), self._flat(params), state, xp=xp)
        return tuple(d.reshape(tuple(x.shape)) for d, x in zip(flat, params, strict=True)), state

    def dual_norm(self, vectors: Leaves, like: Scalar, *, xp: Namespace) -> Scalar:
        """A bound on <vectors, d> for the directions d: |.|_1 of entries, .2 sqrt(entries) |.| of matrices.

        The bound of a matrix is met where its singular values are equal. The exact one takes their sum in place of
        |.| sqrt(columns), which costs a second orthogonal factor and came to the same in the arena.
        """
        parts = (self._bound(v, m, xp) for v, m in zip(vectors, self._mask(vectors), strict=True))
        return sum((cast(part, like, xp) for part in parts), 0 * like)

    def _bound(self, vector: Array, is_matrix: bool, xp: Namespace) -> Scalar:
        if is_matrix:
            return _RMS * prod(vector.shape) ** 0.5 * norm((vector,), xp)
        return xp.sum(xp.abs(vector))

    def _rule(self, leaves: Leaves) -> Muon:
        return Muon(self.beta, rms=_RMS, hidden=self._mask(leaves), rest=Adam(self.b1, self.b2))

    def _mask(self, leaves: Leaves) -> Mask:
        shapes = (self._as_matrix(leaf.shape) for leaf in leaves)
        return tuple(self.matrices and min(s) >= self.narrow and max(s) <= self.slim * min(s) for s in shapes)

    def _flat(self, leaves: Leaves) -> Leaves:
        """The leaves, those that count as matrices with two axes."""
        masked = zip(leaves, self._mask(leaves), strict=True)
        return tuple(x.reshape(self._as_matrix(x.shape)) if is_matrix else x for x, is_matrix in masked)

    def _as_matrix(self, shape: Sequence[int]) -> tuple[int, int]:
        if len(shape) < 2:
            return 1, prod(shape)
        return (shape[0], prod(shape[1:])) if self.output_axis == 0 else (prod(shape[:-1]), shape[-1])

"""Distance over gradients."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import copies, dot, norm, scalar, widen
from descenso._ranges import check_ranges
from descenso._types import Evaluation, Leaves, Namespace, Scalar, State


@dataclass(frozen=True)
class DoG:
    """The farthest distance from the start, over the root of the sum of all squared directions.

        r_t = max(r_{t-1}, |x_t - x_0|),   r_0 = first (1 + |x_0|)
        s_t = s_{t-1} + |d_t|^2
        eta_t = r_t / sqrt(s_t + eps)

    Args:
        first: length of the first step, as a share of 1 + |x_0|, > 0.
        eps: added to the sum, > 0, in units of the squared gradient.

    State: x_0: leaves shaped as params, at least float32; r (), s (). Memory: 1 x params.
    Use: plain gradient descent with noise and averaging, and no step size to choose; starts slowly.
    Source: Ivgi, Hinder, Carmon 2023, arXiv:2302.12022, equation 1.
    """

    first: float = 1e-6
    eps: float = 1e-8

    def __post_init__(self):
        check_ranges(self, first="(0, inf)", eps="(0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        zero = scalar(0.0, params, xp)
        return copies(params, xp), zero + self.first * (1 + norm(params, xp)), zero

    def choose(
        self, evaluation: Evaluation, direction: Leaves, params: Leaves, state: State, *, xp: Namespace
    ) -> tuple[Scalar, State]:
        start, r, s = state
        r = xp.maximum(r, xp.sqrt(squared_distance(params, start, r, xp)))
        s = s + xp.asarray(dot(direction, direction, xp), dtype=s.dtype)
        return r / xp.sqrt(s + self.eps), (start, r, s)


def squared_distance(params: Leaves, start: Leaves, like: Scalar, xp: Namespace) -> Scalar:
    """|x - x_0|^2 in the dtype of `like`."""
    apart = tuple(widen(x, xp) - x0 for x, x0 in zip(params, start, strict=True))
    return xp.asarray(dot(apart, apart, xp), dtype=like.dtype)

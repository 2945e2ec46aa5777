"""Distance over weighted gradients."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import copies, dot, scalar
from descenso._ranges import check_ranges
from descenso._types import Evaluation, Leaves, Namespace, Scalar, State
from descenso.step_sizes.dog import squared_distance


@dataclass(frozen=True)
class DoWG:
    """DoG with squared directions weighted by the distance at which they were seen.

        q_t = max(q_{t-1}, |x_t - x_0|^2),   q_0 = eps
        v_t = v_{t-1} + q_t |d_t|^2
        eta_t = q_t / (sqrt(v_t) + eps)

    Args:
        eps: square of the first distance, and added to the root, > 0.

    State: x_0: leaves shaped as params, at least float32; q (), v (). Memory: 1 x params.
    Use: as DoG; quicker off the mark, less robust to noise.
    Source: Khaled, Mishchenko, Jin 2023, arXiv:2305.16284, Algorithm 1.
    """

    eps: float = 1e-4

    def __post_init__(self):
        check_ranges(self, eps="(0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return copies(params, xp), scalar(self.eps, params, xp), scalar(0.0, params, xp)

    def choose(
        self, evaluation: Evaluation, direction: Leaves, params: Leaves, state: State, *, xp: Namespace
    ) -> tuple[Scalar, State]:
        start, q, v = state
        q = xp.maximum(q, squared_distance(params, start, q, xp))
        v = v + q * xp.asarray(dot(direction, direction, xp), dtype=q.dtype)
        return q / (xp.sqrt(v) + self.eps), (start, q, v)

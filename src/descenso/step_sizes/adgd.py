"""Adaptive gradient descent."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import copies, norm, scalar, zeros
from descenso._ranges import check_ranges
from descenso._types import Evaluation, Leaves, Namespace, Scalar, State


@dataclass(frozen=True)
class AdGD:
    """Half the inverse of the curvature seen in the last step, growing only slowly.

        L_t = |g_t - g_{t-1}| / |x_t - x_{t-1}|
        eta_t = min(sqrt(1 + theta_{t-1}) eta_{t-1}, 1 / (2 L_t))
        theta_t = eta_t / eta_{t-1},   eta_0 = first, theta_0 = 1e9

    Args:
        first: the first step size, > 0, so small that it is safe.

    State: x, g: leaves shaped as params, at least float32; eta (), theta (); whether a step was made () bool.
    Memory: 2 x params.
    Use: full batches, convex or nearly; it needs two gradients of the same loss.
    Source: Malitsky and Mishchenko 2020, arXiv:1910.09529, Algorithm 1.
    """

    first: float = 1e-10

    def __post_init__(self):
        check_ranges(self, first="(0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        eta = scalar(self.first, params, xp)
        return copies(params, xp), zeros(params, xp), eta, 0 * eta + 1e9, eta < 0

    def choose(
        self, evaluation: Evaluation, direction: Leaves, params: Leaves, state: State, *, xp: Namespace
    ) -> tuple[Scalar, State]:
        x, g, old, theta, begun = state
        now, grads = copies(params, xp), copies(evaluation.grads, xp)  # shared with neither
        moved = norm(tuple(a - b for a, b in zip(now, x, strict=True)), xp)
        turned = norm(tuple(a - b for a, b in zip(grads, g, strict=True)), xp)
        grown = xp.sqrt(1 + theta) * old
        inverse = xp.asarray(moved / xp.where(turned > 0, 2 * turned, 1.0), dtype=old.dtype)
        # no curvature was seen where nothing turned, or where the step was lost in rounding
        bounded = xp.where((turned > 0) & (moved > 0) & (inverse < grown), inverse, grown)
        eta = xp.where(begun, bounded, old)
        theta = xp.where(begun, eta / old, theta)
        return eta, (now, grads, eta, theta, begun | True)

"""Barzilai and Borwein's step size."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._errors import ArgumentError
from descenso._namespace import between, copies, dot, norm, scalar, zeros
from descenso._ranges import check_ranges
from descenso._types import Evaluation, Leaves, Namespace, Scalar, State


@dataclass(frozen=True)
class BarzilaiBorwein:
    """The step size that fits the last change of the gradient best.

        s = x_t - x_{t-1},  y = g_t - g_{t-1}
        long:  eta_t = <s, s> / <s, y>
        short: eta_t = <s, y> / <y, y>
        where <s, y> <= 0: eta_t = grow eta_{t-1};  eta_1 = first / |g_1|

    Args:
        kind: "long" or "short".
        first: the length of the first step, > 0, in units of the params.
        grow: factor where the curvature is not positive, >= 1.
        cap: largest step size, > 0.

    State: x, g: leaves shaped as params, at least float32; eta (); whether a step was made () bool.
    Memory: 2 x params.
    Use: full batches, strongly convex losses. The loss does not fall at every step, and nothing guards it.
    Source: Barzilai and Borwein 1988, IMA J. Numer. Anal. 8, 141-148, equations 5 and 6.
    """

    kind: str = "short"
    first: float = 1e-3
    grow: float = 2.0
    cap: float = 1e10

    def __post_init__(self):
        check_ranges(self, first="(0, inf)", grow="[1, inf)", cap="(0, inf)")
        if self.kind not in ("long", "short"):
            raise ArgumentError(f'BarzilaiBorwein got kind={self.kind!r}. It must be "long" or "short".')

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        eta = scalar(0.0, params, xp)
        return copies(params, xp), zeros(params, xp), eta, eta > 0

    def choose(
        self, evaluation: Evaluation, direction: Leaves, params: Leaves, state: State, *, xp: Namespace
    ) -> tuple[Scalar, State]:
        x, g, old, begun = state
        now, grads = copies(params, xp), copies(evaluation.grads, xp)  # shared with neither
        s = tuple(a - b for a, b in zip(now, x, strict=True))
        y = tuple(a - b for a, b in zip(grads, g, strict=True))
        above, below = (dot(s, s, xp), dot(s, y, xp)) if self.kind == "long" else (dot(s, y, xp), dot(y, y, xp))
        convex = (above > 0) & (below > 0)
        fitted = xp.where(convex, above / xp.where(convex, below, 1.0), self.grow * old)
        size = norm(grads, xp)
        eta = xp.where(begun, fitted, self.first / xp.where(size > 0, size, 1.0))
        eta = xp.asarray(between(eta, 0.0, self.cap, xp), dtype=old.dtype)
        return eta, (now, grads, eta, begun | True)

"""Schedule-free averaging."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import cast, copies, scalar, widen
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace, Scalar, State
from descenso.averaging.last import descend
from descenso.averaging.proximal import Proximal


@dataclass(frozen=True)
class ScheduleFree:
    """Gradients at a point between the descending one and its average; the average is the answer.

        z_{t+1} = prox(z_t - eta_t d_t),   d_t from the gradient at y_t
        c_t = w_t / (w_1 + ... + w_t),     w_t = (largest eta so far)^2
        x_{t+1} = (1 - c_t) x_t + c_t z_{t+1}
        y_{t+1} = (1 - b) z_{t+1} + b x_{t+1}

    The params that the method carries are y; x is recovered from y and z. y moves without x being written down:
        y_{t+1} = y_t + c_t (z_t - y_t) + (1 - b (1 - c_t)) (z_{t+1} - z_t)

    Args:
        b: how near to the average the gradient is taken, in (0, 1).
        proximal: the map after every update (`descenso.averaging.proximal`), or None.

    State: z: leaves shaped as params, at least float32; sum of the weights (); largest eta (). Memory: 1 x params.
    Use: in place of a schedule, with a rule without momentum of its own; larger steps than otherwise, and a warm-up.
    Source: Defazio et al. 2024, arXiv:2405.15682, section 2 and Algorithm 1.
    """

    b: float = 0.9
    proximal: Proximal | None = None

    def __post_init__(self):
        check_ranges(self, b="(0, 1)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return copies(params, xp), scalar(0.0, params, xp), scalar(0.0, params, xp)

    def apply(
        self, params: Leaves, direction: Leaves, step_size: Scalar, state: State, *, xp: Namespace
    ) -> tuple[Leaves, State]:
        old, total, largest = state
        eta = xp.asarray(step_size, dtype=largest.dtype)
        largest = xp.maximum(largest, eta)
        weight = xp.where(eta > 0, largest * largest, 0.0)
        total = total + weight
        c = weight / xp.where(total > 0, total, 1.0)
        z = descend(old, direction, step_size, self.proximal, xp)
        moves = zip(params, old, z, strict=True)
        return tuple(self._move(y, a, b, c, xp) for y, a, b in moves), (z, total, largest)

    def _move(self, y, z_old, z, c: Scalar, xp: Namespace):
        c, wide = cast(c, z, xp), widen(y, xp)
        return cast(wide + c * (z_old - wide) + (1 - self.b * (1 - c)) * (z - z_old), y, xp)

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return tuple((y - (1 - self.b) * z) / self.b for y, z in zip(params, state[0], strict=True))

"""RAdam."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import counter, increment, one_minus_power, real, zeros
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace, Scalar, State


@dataclass(frozen=True)
class RAdam:
    """Adam that does not trust its second moment before it has seen enough gradients.

        m_t = b1 m_{t-1} + (1 - b1) g_t
        v_t = b2 v_{t-1} + (1 - b2) g_t^2
        r_inf = 2 / (1 - b2) - 1
        r_t = r_inf - 2 t b2^t / (1 - b2^t)
        k_t^2 = (r_t - 4) (r_t - 2) r_inf / ((r_inf - 4) (r_inf - 2) r_t)
        d_t = k_t m_t / (1 - b1^t) sqrt(1 - b2^t) / (sqrt(v_t) + eps)       where r_t > 5
        d_t = m_t / (1 - b1^t)                                              else

    Args:
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in (0.6, 1), so that r_inf > 4.
        eps: added to the root, >= 0, in units of the gradient.

    State: count () int32; mean, second: leaves shaped as params. Memory: 2 x params.
    Use: Adam without a warm-up schedule. The first steps are plain momentum and depend on the scale of the loss.
    Source: Liu et al. 2020, arXiv:1908.03265, Algorithm 2, with the threshold 5 of torch and optax.
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self):
        check_ranges(self, b1="[0, 1)", b2="(0.6, 1)", eps="[0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return counter(params, xp), zeros(params, xp), zeros(params, xp)

    def direction(self, grads: Leaves, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]:
        count, mean, second = state
        count = increment(count, xp)
        mean = tuple(self.b1 * m + (1 - self.b1) * g for m, g in zip(mean, grads, strict=True))
        second = tuple(self.b2 * v + (1 - self.b2) * g * g for v, g in zip(second, grads, strict=True))
        t = real(count, params[0], xp)
        fix1, fix2 = one_minus_power(self.b1, t, xp), one_minus_power(self.b2, t, xp)
        trusted, k = self._rectification(t, fix2, xp)
        direction = tuple(
            m / fix1 * xp.where(trusted, k * xp.sqrt(fix2) / (xp.sqrt(v) + self.eps), xp.ones_like(v))
            for m, v in zip(mean, second, strict=True)
        )
        return direction, (count, mean, second)

    def _rectification(self, t: Scalar, fix2: Scalar, xp: Namespace) -> tuple[Scalar, Scalar]:
        r_inf = 2 / (1 - self.b2) - 1
        r = r_inf - 2 * t * (1 - fix2) / fix2
        trusted = r > 5
        r = xp.where(trusted, r, 5 + 0 * r)
        return trusted, xp.sqrt((r - 4) * (r - 2) * r_inf / ((r_inf - 4) * (r_inf - 2) * r))

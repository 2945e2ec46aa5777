"""NAdam."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import counter, increment, one_minus_power, real, scalar, zeros
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace, Scalar, State


@dataclass(frozen=True)
class NAdam:
    """Adam with Nesterov's look ahead.

        mu_t = b1 (1 - 0.96^(psi t) / 2)                          mu_t = b1 with psi = None
        m_t = b1 m_{t-1} + (1 - b1) g_t
        v_t = b2 v_{t-1} + (1 - b2) g_t^2
        n_t = (1 - mu_t) g_t / (1 - mu_1 ... mu_t) + mu_{t+1} m_t / (1 - mu_1 ... mu_{t+1})
        d_t = n_t / (sqrt(v_t / (1 - b2^t)) + eps)

    Args:
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root, >= 0, in units of the gradient.
        psi: how fast the momentum warms up from b1 / 2 to b1, >= 0; None starts at b1.

    State: count () int32; product mu_1 ... mu_t (); mean, second: leaves shaped as params. Memory: 2 x params.
    Use: where Adam is used, with Nesterov's momentum in place of the heavy ball.
    Source: Dozat 2016, ICLR workshop, Algorithm 2; psi = None is the form of optax.nadam.
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    psi: float | None = 4e-3

    def __post_init__(self):
        check_ranges(self, b1="[0, 1)", b2="[0, 1)", eps="[0, inf)", psi="[0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return counter(params, xp), scalar(1.0, params, xp), zeros(params, xp), zeros(params, xp)

    def direction(self, grads: Leaves, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]:
        count, product, mean, second = state
        count = increment(count, xp)
        t = real(count, params[0], xp)
        mu, mu_next = self._momentum(t), self._momentum(t + 1)
        product = product * mu
        mean = tuple(self.b1 * m + (1 - self.b1) * g for m, g in zip(mean, grads, strict=True))
        second = tuple(self.b2 * v + (1 - self.b2) * g * g for v, g in zip(second, grads, strict=True))
        now, ahead = (1 - mu) / (1 - product), mu_next / (1 - product * mu_next)
        fix = one_minus_power(self.b2, t, xp)
        direction = tuple(
            (now * g + ahead * m) / (xp.sqrt(v / fix) + self.eps) for g, m, v in zip(grads, mean, second, strict=True)
        )
        return direction, (count, product, mean, second)

    def _momentum(self, t: Scalar) -> Scalar:
        return self.b1 + 0 * t if self.psi is None else self.b1 * (1 - 0.5 * 0.96 ** (self.psi * t))

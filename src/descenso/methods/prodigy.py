"""Prodigy."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, sqrt

from descenso._namespace import (
    cast,
    copies,
    counter,
    dot,
    increment,
    norm,
    one_minus_power,
    real,
    scalar,
    widen,
    widen_evaluation,
    zeros,
)
from descenso._ranges import check_ranges
from descenso._types import Array, Averaging, Evaluation, Info, Leaves, Namespace, Scalar, State, StepSize
from descenso.averaging import Last
from descenso.step_sizes import Constant


@dataclass(frozen=True)
class Prodigy:
    """Adam whose step size is an estimate of the distance to the answer, which only grows.

        s_t = b3 s_{t-1} + d_t / d0 eta_t g_t,  r_t = b3 r_{t-1} + d_t / d0 eta_t <g_t, x_0 - x_t>,  b3 = sqrt(b2)
        m_t = b1 m_{t-1} + (1 - b1) d_t g_t
        v_t = b2 v_{t-1} + (1 - b2) d_t^2 g_t^2
        d_{t+1} = max(d_t, coefficient r_t / |s_t|_1)                            d_1 = d0
        x_{t+1} = x_t - eta_t (m_t / (sqrt(v_t) + d_{t+1} eps) + decay x_t)
        eta_t = d_t lr_t, and times sqrt(1 - b2^t) / (1 - b1^t) with `correct`

    Args:
        lr: a step size slot that multiplies the estimate: a constant near 1, or a schedule with peak 1.
        b1, b2: decays of the moments, in [0, 1).
        eps: added to the root, >= 0, in units of the gradient.
        d0: the first estimate of the distance, > 0, in units of the params.
        coefficient: factor on the estimate, > 0.
        growth: largest factor by which the estimate grows in a step, > 1.
        decay: decoupled weight decay, >= 0.
        correct: whether to correct the bias of the moments; otherwise the first steps are shorter.
        averaging: which point is the answer.

    State: count () int32; d (), largest estimate (), r (); x_0, s, m, v: leaves shaped as params; lr; averaging.
    Memory: 4 x params.
    Use: networks without a step size to choose, with a cosine schedule; an estimate that is too large never recovers.
    Source: Mishchenko and Defazio 2024, arXiv:2306.06101, Algorithm 4, in the form of prodigyopt.
    """

    lr: StepSize = field(default_factory=lambda: Constant(1.0))
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    d0: float = 1e-6
    coefficient: float = 1.0
    growth: float = inf
    decay: float = 0.0
    correct: bool = False
    averaging: Averaging = field(default_factory=Last)

    def __post_init__(self):
        check_ranges(self, b1="[0, 1)", b2="[0, 1)", eps="[0, inf)", d0="(0, inf)", coefficient="(0, inf)")
        check_ranges(self, growth="(1, inf]", decay="[0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        d = scalar(self.d0, params, xp)
        start, slots = copies(params, xp), (zeros(params, xp), zeros(params, xp), zeros(params, xp))
        lr, mean = self.lr.init(params, xp=xp), self.averaging.init(params, xp=xp)
        return counter(params, xp), (d, d, 0 * d), (start, *slots), lr, mean

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        count, (d, largest, r), (start, s, m, v), lr, mean = state
        count = increment(count, xp)
        evaluation = widen_evaluation(evaluation, xp)
        grads = evaluation.grads
        rate, lr = self.lr.choose(evaluation, grads, params, lr, xp=xp)
        eta = d * cast(scale * rate * self._correction(count, params, xp), d, xp)
        b3, pull = sqrt(self.b2), d / self.d0 * eta
        back = tuple(x0 - widen(x, xp) for x0, x in zip(start, params, strict=True))
        r = b3 * r + pull * cast(dot(grads, back, xp), d, xp)
        s = tuple(b3 * s + cast(pull, g, xp) * g for s, g in zip(s, grads, strict=True))
        scaled = tuple(cast(d, g, xp) * g for g in grads)
        m = tuple(self.b1 * m + (1 - self.b1) * h for m, h in zip(m, scaled, strict=True))
        v = tuple(self.b2 * v + (1 - self.b2) * h * h for v, h in zip(v, scaled, strict=True))
        d, largest = self._estimate(d, largest, r, s, xp)
        direction = tuple(self._direction(m, v, x, d, xp) for m, v, x in zip(m, v, params, strict=True))
        params, mean = self.averaging.apply(params, direction, eta, mean, xp=xp)
        info = Info(evaluation.loss, norm(grads, xp), eta, eta * norm(direction, xp))
        return params, (count, (d, largest, r), (start, s, m, v), lr, mean), info

    def _correction(self, count: Scalar, params: Leaves, xp: Namespace) -> Scalar | float:
        if not self.correct:
            return 1.0
        t = real(count, params[0], xp)
        return xp.sqrt(one_minus_power(self.b2, t, xp)) / one_minus_power(self.b1, t, xp)

    def _estimate(self, d: Scalar, largest: Scalar, r: Scalar, s: Leaves, xp: Namespace) -> tuple[Scalar, Scalar]:
        size = sum((cast(xp.sum(xp.abs(x)), d, xp) for x in s), 0 * d)
        seen = xp.where(size > 0, self.coefficient * r / xp.where(size > 0, size, 1.0), 0.0)
        # the first estimate is only a placeholder: leaving it is not growth
        left = xp.where(d <= self.d0, xp.maximum(d, seen), d)
        largest = xp.maximum(largest, seen)
        return xp.minimum(largest, left * self.growth), largest

    def _direction(self, m: Array, v: Array, x: Array, d: Scalar, xp: Namespace) -> Array:
        root = xp.sqrt(v) + cast(d, v, xp) * self.eps
        return m / xp.where(root > 0, root, 1.0) + self.decay * widen(x, xp)

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return self.averaging.eval_params(params, state[4])

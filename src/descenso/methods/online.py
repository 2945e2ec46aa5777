"""Descent that chooses its own step size as it goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod, sqrt
from typing import NamedTuple

from descenso._namespace import (
    between,
    cast,
    copies,
    counter,
    dot,
    increment,
    norm,
    real,
    scalar,
    select,
    stable_norm,
    widen,
    widen_evaluation,
    zeros,
)
from descenso._ranges import check_ranges
from descenso._types import Evaluation, Info, Leaves, Namespace, Scalar, State
from descenso.averaging.ema import pull
from descenso.rules import ByShape

_PATIENCE = 3  # nonfinite gradients in a row that are only left out


class Numbers(NamedTuple):
    """The numbers that an `Online` descent remembers, each ().

    count: steps, int32. skipped: nonfinite gradients in a row, int32. unit: rms of the first gradient that was not 0.
    first: d_1. size: d. bound: cap, 0 if x_0 is 0. largest: of rms(x). along: n. drift, spread: the means of h and h^2.
    brake: 1 over the largest d since the last recovery, 0 before one.
    """

    count: Scalar
    skipped: Scalar
    unit: Scalar
    first: Scalar
    size: Scalar
    bound: Scalar
    largest: Scalar
    along: Scalar
    drift: Scalar
    spread: Scalar
    brake: Scalar


class Vectors(NamedTuple):
    """The vectors that it remembers, each shaped as params: x_0, s, r and a."""

    start: Leaves
    total: Leaves
    recent: Leaves
    average: Leaves


@dataclass(frozen=True)
class Online:
    """A step size from the distance travelled that also forgets, and an average for the answer.

        g_t <- g_t / rms(g_1),  u_t = direction of the rule
        n_t = b n_{t-1} + (1 - b) w <g_t, x_0 - x_t>,  s_t = b s_{t-1} + (1 - b) w g_t,  w = (d / d_1)^2,  d = d_{t-1}
        e_t = n_t / |s_t|, in the norm dual to the rule: a distance that the gradients have proved
        h_t = <g_t, x_t - r_t>,  z_t = mean(h) / sqrt(mean(h^2)) over the last max(8, t / 10) steps
        q_t = power - (1 + power) min(1, max(0, (-z_t - .2) / .4)),  power in the first 20 steps
        d_t = max(((t - 1) / t)^q_t d, min(e_t, 2 d)),  at most cap max(rms(x_0), ..., rms(x_t)) if x_0 is not 0
        x_{t+1} = x_t - d_t (u_t + decay x_t)
        r_t = r_{t-1} + 3 / (t + 2) (x_{t+1} - r_{t-1}),  a_t = a_{t-1} + 9 / (t + 8) (x_{t+1} - a_{t-1})

    In noise z is about 0 and d falls like t^-power; while the gradients go on pointing the same way z is near -1 and d
    grows like t. The answer is a. The units of the loss change nothing, nor do those of the params if x_0 is not 0.

    Args:
        rule: which way, with a `dual_norm`.
        b: decay of the sums of the estimate, in [0, 1).
        power: how fast the step size falls in noise, >= 0.
        cap: largest step size as a share of the params, > 0.
        first: the first step size as a share of the params, > 0; 1e-4 as much, in their units, where x_0 is 0.
        decay: decoupled weight decay, >= 0.

    State: Numbers; Vectors; that of the rule. Memory: 4 x params and that of the rule.
    Use: mini-batches with nothing to tune, the number of steps unknown; a tuned fall of the step size ends a bit lower.
    Source: measured, docs/arena.md; e is Algorithm 4 of Mishchenko and Defazio 2024, arXiv:2306.06101, that forgets.
    """

    rule: ByShape = field(default_factory=ByShape)
    b: float = sqrt(0.97)
    power: float = 0.4
    cap: float = 0.07
    first: float = 0.01
    decay: float = 0.0

    def __post_init__(self):
        check_ranges(self, b="[0, 1)", power="[0, inf)", cap="(0, inf)", first="(0, inf)", decay="[0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        zero, count = scalar(0.0, params, xp), counter(params, xp)
        largest = cast(norm(params, xp) / _root(params), zero, xp)
        first = self.first * xp.where(largest > 0, largest, 1e-4)
        bound = xp.where(largest > 0, zero + self.cap, zero)
        numbers = Numbers(count, count, zero, first, first, bound, largest, zero, zero, zero, zero)
        start, recent, average = (copies(params, xp) for _ in range(3))
        return numbers, Vectors(start, zeros(params, xp), recent, average), self.rule.init(params, xp=xp)

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        evaluation = widen_evaluation(evaluation, xp)
        size = stable_norm(evaluation.grads, xp)
        params, state, direction = self._move(evaluation.grads, size, params, state, scale, xp)
        eta = scale * state[0].size
        return params, state, Info(evaluation.loss, size, eta, eta * norm(direction, xp))

    def advance(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State]:
        """`step` without its Info."""
        grads = widen_evaluation(evaluation, xp).grads
        return self._move(grads, stable_norm(grads, xp), params, state, scale, xp)[:2]

    def _move(
        self, grads: Leaves, size: Scalar, params: Leaves, state: State, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Leaves]:
        numbers, vectors, rule = state
        count = increment(numbers.count, xp)
        unit = xp.where(numbers.unit > 0, numbers.unit, cast(size / _root(grads), numbers.unit, xp))
        grads = tuple(g / cast(xp.where(unit > 0, unit, 1.0), g, xp) for g in grads)
        numbers = numbers._replace(count=count, skipped=0 * count, unit=unit)
        numbers, total = self._estimated(numbers, vectors, grads, params, xp)
        direction, rule = self.rule.direction(grads, params, rule, xp=xp)
        direction = tuple(d + self.decay * widen(x, xp) for d, x in zip(direction, params, strict=True))
        t, eta = real(count, unit, xp), scale * numbers.size
        moved = (widen(x, xp) - cast(eta, d, xp) * d for x, d in zip(params, direction, strict=True))
        params = tuple(cast(m, x, xp) for m, x in zip(moved, params, strict=True))
        recent = pull(vectors.recent, params, 3 / (t + 2), xp)
        vectors = Vectors(vectors.start, total, recent, pull(vectors.average, params, 9 / (t + 8), xp))
        return params, (numbers, vectors, rule), direction

    def skip(self, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]:
        """In place of a step whose gradient is not finite, for a caller that does not go back by itself.

        Nothing moves, but at the third in a row the params go back to the average, and the step size is halved and kept
        low: its limit rises by 4 / (t + 10) of itself a step.
        """
        numbers, vectors, rule = state
        skipped = increment(numbers.skipped, xp)
        lost = skipped >= _PATIENCE
        half = 0.5 * numbers.size
        back = numbers._replace(skipped=0 * skipped, size=half, brake=1 / half)
        numbers = select(lost, back, numbers._replace(skipped=skipped), xp)
        average = tuple(cast(a, x, xp) for a, x in zip(vectors.average, params, strict=True))
        return select(lost, average, params, xp), (numbers, vectors, rule)

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return state[1].average

    def _estimated(
        self, numbers: Numbers, vectors: Vectors, grads: Leaves, params: Leaves, xp: Namespace
    ) -> tuple[Numbers, Leaves]:
        """The numbers with the new step size in them, and s."""
        d, now = numbers.size, tuple(widen(x, xp) for x in params)
        weight = (1 - self.b) * (d / numbers.first) * (d / numbers.first)
        along = self.b * numbers.along + weight * _toward(grads, vectors.start, now, d, xp)
        total = tuple(self.b * s + cast(weight, s, xp) * g for s, g in zip(vectors.total, grads, strict=True))
        against = self.rule.dual_norm(total, d, xp=xp)
        proved = xp.where(against > 0, along / xp.where(against > 0, against, 1.0), 0.0)
        drift, spread, share = self._faded(numbers, -_toward(grads, vectors.recent, now, d, xp), xp)
        largest = xp.maximum(numbers.largest, cast(norm(now, xp) / _root(now), d, xp))
        brake = numbers.brake / (1 + 4 / (real(numbers.count, d, xp) + 10))
        d = xp.maximum(share * d, xp.minimum(proved, 2 * d))
        d = xp.where(numbers.bound > 0, xp.minimum(d, numbers.bound * largest), d)
        d = xp.where(brake * d > 1, 1 / xp.where(brake > 0, brake, 1.0), d)
        seen = numbers._replace(size=d, largest=largest, along=along, drift=drift, spread=spread, brake=brake)
        return seen, total

    def _faded(self, numbers: Numbers, h: Scalar, xp: Namespace) -> tuple[Scalar, Scalar, Scalar]:
        """The means of h and h^2, and ((t - 1) / t)^q."""
        t = real(numbers.count, h, xp)
        weight = xp.maximum(xp.minimum(10 / t, 0.125 + 0 * t), 1 / t)
        drift, spread = (m + weight * (v - m) for m, v in ((numbers.drift, h), (numbers.spread, h * h)))
        z = drift / xp.sqrt(xp.where(spread > 0, spread, 1.0))
        onward = xp.where(t > 20, between((-z - 0.2) / 0.4, 0.0, 1.0, xp), 0.0)
        share = xp.where(t > 1, (t - 1) / t, 1.0)
        return drift, spread, share ** (self.power - (1 + self.power) * onward)


def _toward(grads: Leaves, goal: Leaves, now: Leaves, like: Scalar, xp: Namespace) -> Scalar:
    """<g, goal - x>."""
    return cast(dot(grads, tuple(a - x for a, x in zip(goal, now, strict=True)), xp), like, xp)


def _root(leaves: Leaves) -> float:
    """The root of the number of entries: a norm divided by it is a root mean square."""
    return max(1, sum(prod(leaf.shape) for leaf in leaves)) ** 0.5

"""The method that the pilot flies: Adam, with Muon for hidden matrices, a fading step size, two averages.

The driver's `scale` is the learning rate, so that every lane of a race and every fork runs the same compiled code.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax.numpy as jnp

from descenso._masks import Mask
from descenso._namespace import counter, increment, norm, real, scalar, widen
from descenso._types import Averaging, Evaluation, Leaves, Namespace, Rule, Scalar, State
from descenso.averaging import Polynomial
from descenso.engine.chunk import RunState
from descenso.methods import Descent
from descenso.rules import Adam, Muon


@dataclass(frozen=True)
class Relative:
    """A rule that sees gradients in units of the first one, so that its eps means the same for every loss.

        d_t = rule(g_t / rms(g_1))

    State: unit (), the rule's. Memory: that of the rule.
    """

    rule: Rule

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return scalar(0.0, params, xp), self.rule.init(params, xp=xp)

    def direction(self, grads: Leaves, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]:
        unit, inner = state
        rms = norm(grads, xp) / sum(g.size for g in grads) ** 0.5 + 1e-30
        unit = xp.where(unit > 0, unit, rms)
        direction, inner = self.rule.direction(tuple(widen(g, xp) / unit for g in grads), params, inner, xp=xp)
        return direction, (unit, inner)


@dataclass(frozen=True)
class Fade:
    """1, then a slow decay from a step on, then linearly to nothing at the horizon.

        eta_t = min(1, t_s / t)^power min(1, (N - t) / (tail N))

    The step t_s from which it decays and the horizon N stand in the state, where the pilot sets them.

    Args:
        power: of the decay.
        tail: the share of the horizon over which the step size goes to zero.

    State: count () int32; start (), horizon () float: t_s and N, both infinite at first.
    Source: measured; see docs/arena.md.
    """

    power: float = 0.25
    tail: float = 0.6

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return counter(params, xp), scalar(float("inf"), params, xp), scalar(float("inf"), params, xp)

    def choose(
        self, evaluation: Evaluation, direction: Leaves, params: Leaves, state: State, *, xp: Namespace
    ) -> tuple[Scalar, State]:
        count, start, horizon = state
        count = increment(count, xp)
        t = real(count, params[0], xp)
        decay = xp.where(t > start, (start / t) ** self.power, 1 + 0 * t)
        left = (1 - t / horizon) / self.tail
        left = xp.where(left < 1, xp.where(left > 0, left, 0 * t), 1 + 0 * t)
        return decay * left, (count, start, horizon)


@dataclass(frozen=True)
class Windowed:
    """An average for the answer, and beside it the plain mean since the pilot last cleared it, to judge a fork by.

    Args:
        answer: the averaging that `eval_params` gives.

    State: the answer's; count () int32; mean: leaves shaped as params. Memory: 1 x params more than the answer's.
    """

    answer: Averaging = field(default_factory=Polynomial)

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return self.answer.init(params, xp=xp), counter(params, xp), tuple(widen(p, xp) for p in params)

    def apply(
        self, params: Leaves, direction: Leaves, step_size: Scalar, state: State, *, xp: Namespace
    ) -> tuple[Leaves, State]:
        inner, count, mean = state
        params, inner = self.answer.apply(params, direction, step_size, inner, xp=xp)
        count = increment(count, xp)
        weight = 1 / real(count, params[0], xp)
        mean = tuple(m + weight * (widen(x, xp) - m) for m, x in zip(mean, params, strict=True))
        return params, (inner, count, mean)

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return self.answer.eval_params(params, state[0])


def pilot_method(*, anytime: bool, hidden: Mask = ()) -> Descent:
    """The method for a run with data.

    Args:
        anytime: whether no horizon is known, so that forks must be judged.
        hidden: which leaves are hidden matrices; they go by Muon, the others by Adam.
    """
    averaging = Windowed() if anytime else Polynomial()
    rule = Adam(b1=0.9, b2=0.99, eps=1e-8)
    return Descent(Relative(Muon(hidden=hidden, rest=rule) if any(hidden) else rule), Fade(), averaging)


def with_fade(state: RunState, start: float, horizon: float) -> RunState:
    """The state with the step from which the step size decays, and the horizon, set."""
    rule, (count, old, _), mean = state.method
    return state._replace(method=(rule, (count, jnp.full_like(old, start), jnp.full_like(old, horizon)), mean))


def window_cleared(state: RunState) -> RunState:
    """The state with the mean that judges a fork begun anew."""
    rule, size, (answer, count, mean) = state.method
    return state._replace(method=(rule, size, (answer, jnp.zeros_like(count), mean)))


def window_mean(state: RunState) -> Leaves:
    """The mean of the params since the window was cleared."""
    return state.method[2][2]

"""The gradient method of Barzilai and Borwein, made to converge from anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from descenso._namespace import counter, increment, ravel, select
from descenso._types import Array, Evaluation, Info, Leaves, Namespace, Scalar, State
from descenso.methods.line_search import ARMIJO, TRIALS
from descenso.methods.searched import ROUNDING, Point, along, evaluated, first_trial, same, wide

SHORT = 0.25
"""The short step is taken where it is below this share of the long one."""


class Spectral(NamedTuple):
    """The state of `GlobalBarzilaiBorwein`.

    Attributes:
        point: the accepted point of this step, `best`: the one of lowest loss so far.
        losses: at the last accepted points, (window,), the newest last.
        trial: the step size being tried, ().
        step_size, update_norm: of the last accepted move, ().
        moves: accepted points so far, the start included; int32 ().
        trials: along this gradient; int32 ().
        stalled: no loss low enough can be represented along the gradient; boolean ().
    """

    point: Point
    best: Point
    losses: Array
    trial: Scalar
    step_size: Scalar
    update_norm: Scalar
    moves: Scalar
    trials: Scalar
    stalled: Scalar


@dataclass(frozen=True)
class GlobalBarzilaiBorwein:
    """The negative gradient, as far as the last change of the gradient tells, if the loss is not above the last ten.

        x_{t+1} = x_t - a_t g_t
        a_{t+1} = s.y / y.y where that is below SHORT s.s / s.y, else s.s / s.y
        accepted where f(x_{t+1}) <= max of the last `window` losses - 1e-4 a g.g, else a is shortened

    The loss may rise for a while: the answer is the best point.

    Args:
        window: losses that a trial is compared with, >= 1.

    State: `Spectral`. Memory: 4 x params.
    Use: the same loss at every step, well scaled, and params that fill the memory; else L-BFGS needs fewer steps.
    Source: Raydan 1997, SIAM J. Optim. 7(1); the choice of step: Zhou, Gao, Dai 2006, Comput. Optim. Appl. 35(1).
    """

    window: int = 10
    line_search: ClassVar[bool] = True

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        none = xp.zeros_like(ravel(params, xp))
        zero, count = xp.sum(none), counter(params, xp)
        point = Point(wide(params, xp), zero, none)
        losses = xp.stack([zero] * self.window)
        return Spectral(point, point, losses, zero, zero, zero, count, count, count > 0)

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        state = _judged(evaluation, params, state, scale=scale, xp=xp)
        t = xp.where(state.stalled, 0.0, state.trial)
        grads = xp.where(xp.isfinite(state.point.grads), state.point.grads, 0.0)
        norm = xp.sqrt(xp.sum(state.point.grads * state.point.grads))
        info = Info(state.point.loss, norm, state.step_size, state.update_norm)
        return along(state.point.x, -t, grads, params, xp=xp), state, info

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return state.best.x


def _judged(evaluation: Evaluation, params: Leaves, state: Spectral, *, scale: Scalar, xp: Namespace) -> Spectral:
    """The state with the trial accepted, or a shorter one to try."""
    point, first = state.point, state.moves == 0
    trial, finite = evaluated(evaluation, params, xp)
    fall = state.trial * xp.sum(point.grads * point.grads)
    ceiling = state.losses.max() + ROUNDING * xp.finfo(fall.dtype).eps * abs(point.loss)
    stuck = same(trial.x, point.x)
    accepted = first | (finite & ~stuck & (trial.loss <= ceiling - ARMIJO * fall))
    lost = ~accepted & (stuck | (state.trials >= TRIALS))
    losses = xp.concatenate((state.losses[1:], trial.loss[None]))
    losses = xp.where(first, trial.loss, losses)
    s = ravel(trial.x, xp) - ravel(point.x, xp)
    size = scale * xp.where(first, first_trial(trial, xp), _size(s, trial.grads - point.grads, state.trial, xp))
    shorter = state.trial * _shorter(trial.loss - point.loss, fall, finite, xp)
    lower = first | (accepted & (trial.loss < state.best.loss))
    return state._replace(
        point=select(accepted, trial, point, xp),
        best=select(lower, trial, state.best, xp),
        losses=xp.where(accepted, losses, state.losses),
        trial=xp.where(accepted, size, shorter),
        step_size=xp.where(accepted, state.trial, state.step_size),
        update_norm=xp.where(accepted, xp.sqrt(xp.sum(s * s)), state.update_norm),
        moves=xp.where(accepted, increment(state.moves, xp), state.moves),
        trials=xp.where(accepted, 0, state.trials + 1),
        stalled=state.stalled | lost,
    )


def _size(s: Array, y: Array, last: Scalar, xp: Namespace) -> Scalar:
    """The step size that the last move tells; ten times the last one where the loss curves down."""
    ss, sy, yy = xp.sum(s * s), xp.sum(s * y), xp.sum(y * y)
    curved = sy > xp.finfo(s.dtype).eps * xp.sum(abs(s * y))
    long, short = ss / xp.where(curved, sy, 1.0), sy / xp.where(yy > 0, yy, 1.0)
    return xp.where(curved, xp.where(short < SHORT * long, short, long), 10 * last)


def _shorter(rise: Scalar, fall: Scalar, finite: Scalar, xp: Namespace) -> Scalar:
    """By how much to shorten: to the minimum of the parabola through what is known, within .1 and .5."""
    above = rise + fall
    known = finite & (above > 0)
    share = xp.where(known, fall / (2 * xp.where(known, above, 1.0)), 0.1)
    return xp.where(share < 0.1, 0.1, xp.where(share > 0.5, 0.5, share))

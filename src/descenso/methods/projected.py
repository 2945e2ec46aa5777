"""L-BFGS for params between bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from descenso._masks import Mask, check_mask
from descenso._namespace import all_finite, cast, counter, increment, ravel, select, unravel
from descenso._types import Array, Evaluation, Info, Leaves, Namespace, Scalar, State
from descenso.methods.lbfgs import metric
from descenso.methods.line_search import APPROXIMATE, ARMIJO, TRIALS
from descenso.methods.searched import CURVED, ROUNDING
from descenso.methods.two_loops import two_loops

_NEAR = 1e-2  # entries closer to a bound than this, or this share of their range, and than |p|, may be held there
_LONGER, _LONGEST = 4.0, 1e6  # by how much the first trial grows after each move that showed no curvature


class Along(NamedTuple):
    """The state of a search along the bent path P(x + t d).

    x, loss, grads: the accepted point, as vectors. direction (n,), trial () t, trials () int32. step_size, update_norm:
    of the last move. moves, pairs: counters. stretch (): what the first trial is multiplied by. stalled: no lower loss
    can be represented. S, Y: (m, n) moves and changes of the gradient, oldest first. lower, upper: the bounds (n,).
    """

    x: Array
    loss: Scalar
    grads: Array
    direction: Array
    trial: Scalar
    trials: Scalar
    step_size: Scalar
    update_norm: Scalar
    moves: Scalar
    pairs: Scalar
    stretch: Scalar
    stalled: Scalar
    S: Array
    Y: Array
    curvature: Array
    seen: Scalar
    lower: Array
    upper: Array


@dataclass(frozen=True)
class ProjectedLBFGS:
    """L-BFGS on the entries that are free, with a search along the path that is bent at the bounds.

        p   = x - P(x - g),  P(x) = min(max(x, lower), upper)
        A   = {i : x_i within min(|p|, .01) of lower and g_i > 0, or of upper and g_i < 0}
        d_A = bound - x_A,  d_F = -H_FF g_F                 H from the pairs (s_F, y_F) of the free entries
        x_{t+1} = P(x_t + t d)                              f(x_{t+1}) <= f(x_t) + 1e-4 g.(x_{t+1} - x_t)

    Entries at a bound are exactly there, and `Info.grad_norm` is |p|. With x = p - n for p, n >= 0 it minimises under
    an L1 penalty, which is then linear.

    Args:
        mask: which leaves may not be negative, one boolean per leaf; None takes all. `within` sets other bounds.
        m: pairs kept, >= 1.

    State: `Along`. Memory: 2 m n.
    Use: the same loss at every step, params between bounds; what `minimize(bounds=)` takes.
    Source: Bertsekas 1982, SIAM J. Control Optim. 20(2), section 3 (two-metric projection).
    """

    mask: Mask | None = None
    m: int = 20
    line_search: ClassVar[bool] = True

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        if self.mask is not None:
            check_mask(self, self.mask, params)
        x = ravel(params, xp)
        none, zero, count = xp.zeros_like(x), xp.sum(xp.zeros_like(x)), counter(params, xp)
        rows, inf = xp.stack([none] * self.m), none + float("inf")
        masked = zip(params, self.mask or (True,) * len(params), strict=True)
        bound = ravel(tuple(xp.ones_like(p) if m else xp.zeros_like(p) for p, m in masked), xp) > 0
        lower = xp.where(bound, none, -inf)
        numbers = (zero, count, zero, zero, count, count, zero + 1, count > 0)
        return Along(x, zero, none, none, *numbers, rows, rows, none, zero, lower, inf)

    def within(self, state: State, lower: Leaves, upper: Leaves, *, xp: Namespace) -> State:
        """A state before the first evaluation, with bounds shaped as params; infinite for none."""
        low, high = (cast(ravel(side, xp), state.x, xp) for side in (lower, upper))
        return state._replace(lower=low, upper=high)

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        state, moved, lost = _judge(evaluation, params, state, xp)
        forgot = lost & (state.pairs > 0)
        state = state._replace(pairs=xp.where(forgot, 0, state.pairs), stalled=state.stalled | (lost & ~forgot))
        state = _aim(moved | forgot, scale, state, xp)
        trial = _bent(state, xp)
        norm = xp.sqrt(xp.sum(projected_gradient(state, xp) ** 2))
        info = Info(state.loss, norm, state.step_size, state.update_norm)
        return unravel(xp.where(state.stalled, state.x, trial), params, xp), state, info

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        # the accepted point, cut into leaves by its own lengths: no namespace is at hand here
        out, start = [], 0
        for p in params:
            end = start + (p.numel() if hasattr(p, "numel") else p.size)
            out.append(state.x[start:end].reshape(tuple(p.shape)))
            start = end
        return tuple(out)


def projected_gradient(state: Along, xp: Namespace) -> Array:
    """x - P(x - g): zero where nothing allowed lowers the loss."""
    to_lower, to_upper, g = state.x - state.lower, state.x - state.upper, state.grads
    return xp.where(g > to_lower, to_lower, xp.where(g < to_upper, to_upper, g))


def _bent(state: Along, xp: Namespace) -> Array:
    """P(x + t d)."""
    moved = state.x + state.trial * state.direction
    moved = xp.where(moved < state.lower, state.lower, moved)
    return xp.where(moved > state.upper, state.upper, moved)


def _judge(evaluation: Evaluation, params: Leaves, state: Along, xp: Namespace) -> tuple[Along, Scalar, Scalar]:
    """Accept the trial, or shorten it. Returns the state, whether the point moved, and whether the search is lost."""
    trial, finite, first = ravel(params, xp), all_finite(evaluation, xp), state.moves == 0
    grads = xp.where(finite, ravel(evaluation.grads, xp), 0 * state.grads)
    loss = xp.where(finite, cast(evaluation.loss, grads, xp), 0 * state.loss)
    s = trial - state.x
    slope, noise = xp.sum(state.grads * s), ROUNDING * xp.finfo(grads.dtype).eps * abs(state.loss)
    falls = loss <= state.loss + ARMIJO * slope
    level = (loss <= state.loss + noise) & (xp.sum(grads * s) <= (2 * APPROXIMATE - 1) * slope)
    moved = first | (finite & (slope < 0) & (falls | level))
    lost = ~moved & ((state.trials >= TRIALS) | (s == 0).all() | ~(slope < 0))
    accepted = _learned(trial, grads, state, xp)
    at_start = cast(evaluation.loss, grads, xp)  # as it is, finite or not
    shorter = state._replace(trial=_shorter(state, loss, slope, finite, xp), trials=state.trials + 1)
    return select(moved, accepted._replace(loss=xp.where(first, at_start, loss)), shorter, xp), moved, lost


def _shorter(state: Along, loss: Scalar, slope: Scalar, finite: Scalar, xp: Namespace) -> Scalar:
    """The next trial: the minimum of the parabola through what is known, between a tenth and a half of the last."""
    above = loss - state.loss - slope
    share = xp.where(finite & (above > 0), -slope / (2 * xp.where(above > 0, above, 1.0)), 0.1)
    return state.trial * xp.where(share < 0.1, 0.1, xp.where(share > 0.5, 0.5, share))


def _learned(trial: Array, grads: Array, state: Along, xp: Namespace) -> Along:
    """The state at the trial, with the move in its memory."""
    s, y = trial - state.x, grads - state.grads
    sy, ss, yy = xp.sum(s * y), xp.sum(s * s), xp.sum(y * y)
    first = state.moves == 0
    curved = ~first & (sy > CURVED * xp.sqrt(ss) * xp.sqrt(yy))
    S = xp.where(curved, xp.concatenate((state.S[1:], s[None])), state.S)
    Y = xp.where(curved, xp.concatenate((state.Y[1:], y[None])), state.Y)
    return state._replace(
        x=trial,
        grads=grads,
        step_size=xp.where(first, state.step_size, state.trial),
        update_norm=xp.sqrt(ss),
        moves=increment(state.moves, xp),
        pairs=xp.where(curved, increment(state.pairs, xp), state.pairs),
        stretch=xp.where(curved | first, 1.0, xp.minimum(_LONGER * state.stretch, _LONGEST + 0 * sy)),
        trials=0 * state.trials,
        S=S,
        Y=Y,
        curvature=state.curvature + xp.where(curved, y * (y / xp.where(curved, sy, 1.0)), 0.0),
        seen=xp.where(curved, state.seen + 1, state.seen),
    )


def _aim(anew: Scalar, scale: Scalar, state: Along, xp: Namespace) -> Along:
    """Where the point moved or the memory was dropped, a new direction and a first trial along it."""
    x, g = state.x, state.grads
    forgotten = state.pairs == 0
    state = state._replace(S=xp.where(forgotten, 0 * state.S, state.S), Y=xp.where(forgotten, 0 * state.Y, state.Y))
    at_lower, at_upper = _held(state, xp)
    held = at_lower | at_upper
    free = xp.where(held, 0 * g, 1 + 0 * g)
    steepest = -g * free
    quasi = two_loops(steepest, state.S * free, state.Y * free, metric(state.curvature, state.seen, xp), xp)
    usable = (state.pairs > 0) & (xp.sum(quasi * g) < 0) & xp.isfinite(quasi).all()
    size = xp.sqrt(xp.sum(steepest * steepest))
    to_bound = xp.where(at_lower, state.lower, xp.where(at_upper, state.upper, x)) - x
    direction = xp.where(usable, quasi, steepest) + to_bound
    t = scale * state.stretch * xp.where(usable, 1.0, 1 / xp.where(size > 1, size, 1.0))
    return state._replace(
        direction=xp.where(anew, direction, state.direction),
        trial=xp.where(anew, t, state.trial),
        trials=xp.where(anew, 0, state.trials),
    )


def _held(state: Along, xp: Namespace) -> tuple[Array, Array]:
    """Which entries the gradient holds at their lower and at their upper bound; booleans (n,)."""
    rest = xp.sqrt(xp.sum(projected_gradient(state, xp) ** 2))
    width = _NEAR * xp.minimum(state.upper - state.lower, 1 + 0 * state.x)
    near = xp.minimum(width, rest + 0 * width)
    at_lower = (state.grads > 0) & (state.x - state.lower <= near)
    return at_lower, (state.grads < 0) & (state.upper - state.x <= near)

"""One step of a method that searches along a line: judge the trial, accept it, shorten it, forget, or stall."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple, Protocol

from descenso._namespace import all_finite, cast, counter, increment, ravel, select, unravel, widen
from descenso._types import Array, Evaluation, Info, Leaves, Namespace, Scalar, State
from descenso.methods.line_search import LONGER, TRIALS, Search, accepts, begin, narrow

ROUNDING = 10.0
"""The relative error that a loss may have, in units of the machine's."""
CURVED = 1e-12
"""A pair is learned if s.y > CURVED |s| |y|, and above the rounding of the sum, eps sum |s_i y_i|."""


class Pair(NamedTuple):
    """An accepted move s (n,), the change y (n,) of the gradient along it, s.y > 0 (), how many came before ()."""

    s: Array
    y: Array
    sy: Scalar
    before: Scalar


class Way(Protocol):
    """What a method learns from accepted moves, and the direction it makes of that. Vectors are 1-d."""

    def fresh(self, x: Array, *, xp: Namespace) -> State:
        """A memory that has learned nothing."""
        ...

    def learn(self, memory: State, pair: Pair, *, xp: Namespace) -> State:
        """The memory with one more pair."""
        ...

    def direction(self, memory: State, grads: Array, pairs: Scalar, *, xp: Namespace) -> tuple[Array, Scalar]:
        """Where to search, and the first trial along it, 0 if unknown.

        `pairs` counts those learned since the memory was last dropped: with 0, no single pair is to be trusted.
        """
        ...


class Point(NamedTuple):
    """A point as leaves of at least float32, its loss () and its gradient as one vector (n,)."""

    x: Leaves
    loss: Scalar
    grads: Array


class Searched(NamedTuple):
    """The state of a method that searches along a line.

    Attributes:
        point: the accepted point.
        direction, slope: where the trials lie, (n,), and its product with the gradient, ().
        search: what the trials have shown.
        grads_best: the gradient at the best trial of this search, (n,).
        step_size, update_norm: of the last accepted move, ().
        moves: accepted points so far, the start included; int32 ().
        pairs: pairs learned since the memory was last dropped; int32 ().
        skipped: pairs in a row that showed no positive curvature; int32 ().
        stalled: no lower loss can be represented along the gradient; boolean ().
        memory: what the method has learned.
    """

    point: Point
    direction: Array
    slope: Scalar
    search: Search
    grads_best: Array
    step_size: Scalar
    update_norm: Scalar
    moves: Scalar
    pairs: Scalar
    skipped: Scalar
    stalled: Scalar
    memory: State


def start(way: Way, params: Leaves, xp: Namespace) -> Searched:
    """The state before the first evaluation, which is accepted whatever it shows."""
    x = ravel(params, xp)
    none, zero, count = xp.zeros_like(x), xp.sum(xp.zeros_like(x)), counter(params, xp)
    search = begin(zero, zero, zero, count)
    memory = way.fresh(none, xp=xp)
    return Searched(
        Point(wide(params, xp), zero, none),
        none,
        zero,
        search,
        none,
        zero,
        zero,
        count,
        count,
        count,
        count > 0,
        memory,
    )


def advance(
    way: Way, evaluation: Evaluation, params: Leaves, state: Searched, *, scale: Scalar, xp: Namespace
) -> tuple[Leaves, Searched, Info]:
    """One step: the next trial, the state, and numbers about the accepted point."""
    before = state.point
    state, moved, lost = _judge(evaluation, params, state, xp)
    state, forgot = _learn(way, before, moved, lost, state, xp=xp)
    state = _aim(way, moved | forgot, scale, state, xp=xp)
    t = xp.where(state.stalled, 0.0, state.search.trial)
    norm = xp.sqrt(xp.sum(state.point.grads * state.point.grads))
    return (
        along(state.point.x, t, state.direction, params, xp=xp),
        state,
        Info(state.point.loss, norm, state.step_size, state.update_norm),
    )


def _judge(evaluation: Evaluation, params: Leaves, state: Searched, xp: Namespace) -> tuple[Searched, Scalar, Scalar]:
    """Accept the trial or narrow the search. Returns the state, whether the point moved, whether the search is lost."""
    point, first = state.point, state.moves == 0
    trial, finite = evaluated(evaluation, params, xp)
    grads, loss = xp.where(finite, trial.grads, 0.0), xp.where(finite, trial.loss, 0.0)
    slope, eps = xp.sum(grads * state.direction), xp.finfo(grads.dtype).eps
    noise = ROUNDING * eps * abs(point.loss)
    stuck = same(trial.x, point.x)
    accepted = first | (finite & ~stuck & accepts(state.search, loss, slope, (point.loss, state.slope), noise))
    search = narrow(state.search, loss, slope, point.loss + noise, finite=finite, xp=xp)
    grads_best = xp.where(search.loss_best < state.search.loss_best, grads, state.grads_best)
    allowed = xp.where(xp.isfinite(search.high), TRIALS, LONGER)
    spent = (search.trials >= allowed) | stuck | (search.high * (1 - 4 * eps) <= search.low)
    settled = ~accepted & spent & (search.best > 0)
    best = Point(wide(along(point.x, search.best, state.direction, params, xp=xp), xp), search.loss_best, grads_best)
    point = select(accepted, trial, select(settled, best, point, xp), xp)
    step_size = xp.where(accepted, state.search.trial, xp.where(settled, search.best, state.step_size))
    state = state._replace(point=point, search=search, grads_best=grads_best, step_size=step_size)
    return state, accepted | settled, ~accepted & ~settled & spent


def _learn(
    way: Way, before: Point, moved: Scalar, lost: Scalar, state: Searched, *, xp: Namespace
) -> tuple[Searched, Scalar]:
    """Take the move into the memory; drop that after a lost search. Returns the state and whether it was dropped."""
    s, y = ravel(state.point.x, xp) - ravel(before.x, xp), state.point.grads - before.grads
    sy, ss = xp.sum(s * y), xp.sum(s * s)
    eps, rounding = xp.finfo(s.dtype).eps, xp.sum(abs(s * y))
    curved = moved & (sy > CURVED * xp.sqrt(ss) * xp.sqrt(xp.sum(y * y))) & (sy > eps * rounding)
    pair = Pair(s, y, xp.where(curved, sy, 1.0), state.pairs)
    memory = select(curved, way.learn(state.memory, pair, xp=xp), state.memory, xp)
    forgot, first = lost & (state.pairs > 0), state.moves == 0
    pairs = xp.where(curved, increment(state.pairs, xp), state.pairs)
    skipped = xp.where(curved | first, 0, xp.where(moved, increment(state.skipped, xp), state.skipped))
    state = state._replace(
        update_norm=xp.where(moved, xp.sqrt(ss), state.update_norm),
        moves=xp.where(moved, increment(state.moves, xp), state.moves),
        pairs=xp.where(forgot, 0, pairs),
        skipped=xp.where(forgot, 0, skipped),
        stalled=state.stalled | (lost & ~forgot),
        memory=memory,
    )
    return state, forgot


def _aim(way: Way, anew: Scalar, scale: Scalar, state: Searched, *, xp: Namespace) -> Searched:
    """Where the point moved or the memory was dropped, begin a search along a new direction."""
    point = state.point
    direction, trial = way.direction(state.memory, point.grads, state.pairs, xp=xp)
    slope = xp.sum(direction * point.grads)
    usable = (slope < 0) & xp.isfinite(slope)
    steepest = -xp.where(xp.isfinite(point.grads), point.grads, 0.0)
    direction = xp.where(usable, direction, steepest)
    slope = xp.where(usable, slope, -xp.sum(steepest * steepest))
    trial = scale * xp.where(usable & (trial > 0), trial, first_trial(point, xp))
    return state._replace(
        direction=xp.where(anew, direction, state.direction),
        slope=xp.where(anew, slope, state.slope),
        search=select(anew, begin(trial, point.loss, slope, state.moves), state.search, xp),
        pairs=xp.where(anew & ~usable, 0, state.pairs),
    )


def first_trial(point: Point, xp: Namespace) -> Scalar:
    """The first trial along the gradient, when nothing is known: a move of length at most 1 and at most |g|."""
    size = xp.sqrt(xp.sum(point.grads * point.grads))
    return 1 / xp.where(size > 1, size, 1.0)


def evaluated(evaluation: Evaluation, params: Leaves, xp: Namespace) -> tuple[Point, Scalar]:
    """The evaluation as a point, and whether all of it is finite."""
    grads = ravel(evaluation.grads, xp)
    return Point(wide(params, xp), cast(evaluation.loss, grads, xp), grads), all_finite(evaluation, xp)


def along(x: Leaves, t: Scalar, direction: Array, like: Leaves, *, xp: Namespace) -> Leaves:
    """The leaves of x + t d, in the dtypes of `like`."""
    return unravel(ravel(x, xp) + t * direction, like, xp)


def wide(leaves: Leaves, xp: Namespace) -> Leaves:
    """The leaves in at least float32."""
    return tuple(widen(leaf, xp) for leaf in leaves)


def same(a: Leaves, b: Leaves) -> Scalar:
    """Whether two points are equal in every entry."""
    return reduce(lambda s, t: s & t, ((x == y).all() for x, y in zip(a, b, strict=True)))

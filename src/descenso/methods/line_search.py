"""The line search of the deterministic methods: it looks at one trial at a time and says where to try next.

A step of such a method costs one evaluation: it judges the trial that was just evaluated, and either the trial is the
new point or the search is narrowed and proposes another. So search and descent are one flat loop.
"""

from __future__ import annotations

from typing import NamedTuple

from descenso._types import Namespace, Scalar

ARMIJO, CURVATURE = 1e-4, 0.9
"""Weak Wolfe: phi(t) <= phi(0) + ARMIJO t phi'(0) and phi'(t) >= CURVATURE phi'(0)."""
APPROXIMATE = 0.1
"""Approximate Wolfe: phi(t) <= phi(0) + noise and (2 APPROXIMATE - 1) phi'(0) >= phi'(t) >= CURVATURE phi'(0)."""
TRIALS = 40
"""Trials along one direction before the search is exhausted."""
LONGER = 10
"""Trials, each longer than the last and none too far, after which the best is taken: the loss falls without bound."""


class Search(NamedTuple):
    """What the trials along one direction have shown. All 0-d arrays.

    The step sought lies between `low` (the loss is no higher there than at the start, and the slope negative) and
    `high` (inf while nothing is known to be too far, `slope_high` inf after a nonfinite trial). `best` is the trial of
    lowest loss below the start, 0 while there is none.
    """

    trial: Scalar
    low: Scalar
    loss_low: Scalar
    slope_low: Scalar
    high: Scalar
    loss_high: Scalar
    slope_high: Scalar
    best: Scalar
    loss_best: Scalar
    trials: Scalar


def begin(trial: Scalar, loss: Scalar, slope: Scalar, count: Scalar) -> Search:
    """A search from a point of that loss and slope, first trying `trial`; `count` is any int32 array of shape ()."""
    zero, infinite = 0 * trial, 0 * trial + float("inf")
    return Search(trial, zero, loss, slope, infinite, loss, infinite, zero, loss, 0 * count)


def accepts(search: Search, loss: Scalar, slope: Scalar, start: tuple[Scalar, Scalar], noise: Scalar) -> Scalar:
    """Whether the trial, of that loss and slope, meets the weak Wolfe or the approximate Wolfe conditions.

    Args:
        start: phi(0) and phi'(0).
        noise: the difference of losses that rounding alone may make, >= 0.

    Source: Hager and Zhang 2005, SIAM J. Optim. 16(1), conditions T1 and T2.
    """
    loss_0, slope_0 = start
    far_enough = slope >= CURVATURE * slope_0
    wolfe = loss <= loss_0 + ARMIJO * search.trial * slope_0
    approximate = (loss <= loss_0 + noise) & (slope <= (2 * APPROXIMATE - 1) * slope_0)
    return far_enough & (wolfe | approximate)


def narrow(search: Search, loss: Scalar, slope: Scalar, ceiling: Scalar, *, finite: Scalar, xp: Namespace) -> Search:
    """The search after a trial that was not accepted, with the next trial chosen.

    Args:
        loss, slope: at the trial; any finite numbers where `finite` is false.
        ceiling: a loss above it is too high, whatever the slope.
    """
    t = search.trial
    too_far = ~(finite & (loss <= ceiling) & (slope < 0))
    better = finite & (loss < search.loss_best)
    beyond = _beyond(search, slope, xp)
    search = Search(
        trial=t,
        low=xp.where(too_far, search.low, t),
        loss_low=xp.where(too_far, search.loss_low, loss),
        slope_low=xp.where(too_far, search.slope_low, slope),
        high=xp.where(too_far, t, search.high),
        loss_high=xp.where(too_far, loss, search.loss_high),
        slope_high=xp.where(too_far, xp.where(finite, slope, float("inf")), search.slope_high),
        best=xp.where(better, t, search.best),
        loss_best=xp.where(better, loss, search.loss_best),
        trials=search.trials + 1,
    )
    return search._replace(trial=xp.where(xp.isfinite(search.high), _between(search, xp), beyond))


def _beyond(search: Search, slope: Scalar, xp: Namespace) -> Scalar:
    """A longer trial: where the slopes at `low` and at the trial, drawn as a line, reach zero; 2 to 10 times as far."""
    t, gained = search.trial, slope - search.slope_low
    bends = gained > 0
    reach = xp.where(bends, t - (t - search.low) * slope / xp.where(bends, gained, 1.0), 4 * t)
    return xp.minimum(xp.maximum(reach, 2 * t), 10 * t)


def _between(search: Search, xp: Namespace) -> Scalar:
    """A trial inside the bracket: the minimum of the cubic through both ends, a tenth of the width away from each.

    After a nonfinite trial, a tenth of the width. Source: Nocedal and Wright 2006, equation 3.59.
    """
    low, slope_low = search.low, search.slope_low
    known = xp.isfinite(search.slope_high) & xp.isfinite(search.high)
    width = xp.where(xp.isfinite(search.high), search.high, 2 * low + 1.0) - low
    slope_high = xp.where(known, search.slope_high, -slope_low)
    d1 = slope_low + slope_high - 3 * (search.loss_high - search.loss_low) / width
    d2 = xp.sqrt(xp.maximum(d1 * d1 - slope_low * slope_high, 0 * d1))
    down = slope_high - slope_low + 2 * d2
    cubic = low + width * (1 - (slope_high + d2 - d1) / xp.where(down > 0, down, 1.0))
    guess = xp.where(known & (down > 0) & xp.isfinite(cubic), cubic, low)
    return xp.minimum(xp.maximum(guess, low + 0.1 * width), low + 0.9 * width)

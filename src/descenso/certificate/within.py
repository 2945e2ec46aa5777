"""What kind of point it is within bounds: the question is that of the params that are free to move."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from descenso._types import Leaves
from descenso.certificate.face import Face, standing
from descenso.certificate.probes import along
from descenso.certificate.stationary import Stationarity, at_rest, elsewhere
from descenso.certificate.surface import Surface
from descenso.certificate.verdict import Effort, Judged, Verdict, judge
from descenso.engine.bounds import Bounds
from descenso.engine.engine import key_data
from descenso.engine.objective import Objective, Trace

_FALLING = (Verdict.SADDLE, Verdict.MAXIMUM, Verdict.DEGENERATE)


def judge_within(
    surface: Surface, low: np.ndarray, high: np.ndarray, effort: Effort, rng: np.random.Generator
) -> tuple[Judged, int]:
    """The verdict on the point of a `Surface` among the points between `low` and `high` (n,), and how many params are
    at a bound.

    A param at a bound whose gradient points out of it is held there: a first-order rise of the loss outweighs all
    curvature. So the gradient and the curvature of the others decide (Nocedal and Wright 2006, theorems 12.5 and 12.6
    for bounds). Where the gradient of a held one may be zero its curvature is looked at too.
    """
    found = standing(surface, low, high, _small(surface, low, high, rng))
    judged = _on_face(surface, ~found.held, low, high, effort, rng)
    if found.weak.any() and judged.verdict in (Verdict.STRICT_MINIMUM, Verdict.MINIMUM, Verdict.FLAT):
        judged = _with_weak(surface, judged, ~found.held | found.weak, found.weak, low, high, effort, rng)
    if judged.verdict is Verdict.MAXIMUM and (found.held & (low < high)).any():
        judged = replace(judged, verdict=Verdict.SADDLE)  # the params that are held are at their best, not their worst
    count = int(found.at.sum())
    told = f"{count:,} of {surface.n:,} params at a bound; {judged.detail}"
    return replace(judged, detail=told), count


def stationary_within(
    objective: Objective, leaves: Leaves, data: Leaves, bounds: Bounds, *, largest: float | None, trace: Trace
) -> Stationarity:
    """Whether the gradient counts as zero at `leaves` by the params that no bound holds; see `stationary`."""
    surface = Surface(objective, leaves, data, key_data(0, 0), trace)
    return rest_within(surface, *bounds.flat, np.random.default_rng(0), largest)


def rest_within(
    surface: Surface, low: np.ndarray, high: np.ndarray, rng: np.random.Generator, largest: float | None
) -> Stationarity:
    """Whether the gradient by the params that are free counts as zero."""
    face = Face(surface, ~standing(surface, low, high, 0.0).held, low, high)
    return at_rest(cast(Surface, face), rng, largest)[0] if face.n else _nowhere(surface)


def _small(surface: Surface, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> float:
    """A gradient entry that is small against the gradients elsewhere."""
    whole = Face(surface, np.ones(surface.n, bool), low, high)
    size = max(elsewhere(cast(Surface, whole), rng), float(np.linalg.norm(surface.gradient)))
    return max(1e-8, 8 * surface.eps) * size


def _on_face(
    surface: Surface, free: np.ndarray, low: np.ndarray, high: np.ndarray, effort: Effort, rng: np.random.Generator
) -> Judged:
    if not np.isfinite(surface.loss) or not np.isfinite(surface.gradient).all():
        free = np.ones_like(free)
    face = Face(surface, free, low, high)
    if not face.n:
        moves = "each is fixed" if (low >= high).all() else "the gradient holds each of them there"
        return Judged(Verdict.STRICT_MINIMUM, moves, _nowhere(surface))
    judged = judge(cast(Surface, face), effort, rng)
    curved = judged.curvature and replace(judged.curvature, vectors=face.widened(judged.curvature.vectors))
    down = None if judged.descent is None else face.widened(judged.descent)
    return replace(judged, curvature=curved, descent=down)


def _with_weak(
    surface: Surface,
    judged: Judged,
    free: np.ndarray,
    weak: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    effort: Effort,
    rng: np.random.Generator,
) -> Judged:
    """The verdict where some params at a bound have hardly a gradient, so that their curvature counts."""
    more = _on_face(surface, free, low, high, effort, rng)
    if more.verdict not in _FALLING:
        # a gradient that is seen there after all holds them: then the curvature of the others has decided
        return judged if more.verdict in (Verdict.NOT_STATIONARY, Verdict.UNDECIDED, Verdict.KINK) else more
    face = Face(surface, free, low, high)
    ways = np.eye(surface.n)[weak][: effort.directions]
    ways = ways if more.descent is None else np.vstack([more.descent, ways])
    sides = along(cast(Surface, face), ways[:, free], more.stationarity.resolution, 1e-4 * face.scale, None)
    if sides.falls and sides.descent is not None:
        return replace(more, descent=face.widened(sides.descent))
    told = "the curvature is below zero along a direction that leaves the bounds; the loss rose wherever it was probed"
    return replace(more, verdict=Verdict.DEGENERATE, detail=told, descent=None)


def _nowhere(surface: Surface) -> Stationarity:
    """The stationarity where no param is free."""
    size = float(np.linalg.norm(surface.gradient))
    return Stationarity(0.0, 0.0, size, 0.0, 10 * surface.eps * abs(surface.loss), 0.0, True, True, surface.spent)

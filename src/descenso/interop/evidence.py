"""What a NumPy function shows around the point where a descent came to rest."""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np

from descenso.certificate.curvature import curvature
from descenso.certificate.stationary import at_rest
from descenso.certificate.surface import Surface
from descenso.certificate.verdict import EFFORTS, Judged, Verdict, judge
from descenso.certificate.within import judge_within, rest_within
from descenso.interop.differences import sides
from descenso.interop.function import Function, Point
from descenso.interop.surroundings import Surroundings

_WRONG = 1e-2  # relative difference of a slope from those of the loss, from which `jac` is called wrong
_DEEP = 1e3  # times the loss at the start, below zero: from there on a loss may have no floor
_FARTHER = 100.0  # from one probe for a floor to the next
_OFF = 1e-2  # of the length of the params: the first step off a saddle
_DOUBLINGS = 30
_FAR = 1e-3  # of the length of the params: a stationary point farther away may be none
_FALLING = (Verdict.SADDLE, Verdict.MAXIMUM, Verdict.DEGENERATE)
DOUBTED = (Verdict.NOT_STATIONARY, Verdict.KINK, Verdict.UNDECIDED)
"""Verdicts on a point that no arrival can be said of."""

_PRODUCTS, _DELTA = 64, 1e-2  # of Lanczos, above 512 params


def resting(f: Function, point: Point) -> np.ndarray:
    """What of the gradient (n,) is left to descend on: x - P(x - g) within bounds, all of it without."""
    if f.box is None:
        return point.grads
    return -np.clip(-point.grads, f.box[0] - point.x, f.box[1] - point.x)


def rests(f: Function, point: Point, largest: float) -> tuple[bool, str]:
    """Whether the gradient at the point cannot be told from zero, and how that was measured."""
    if not f.exact:
        error, h = f.error(point), f.stencil.share
        told = f"its differences are right to {error:.1g}"
        if f.blurred:
            told = f"its differences over h = {h:.1g} max(1, |x|) are blurred by {error:.1g}, "
            told += f"and a fall of less than {f.stencil.noise:.1g} does not show"
        return float(np.linalg.norm(resting(f, point))) <= error, told
    surface, rng = _surface(f, point), np.random.default_rng(0)
    found = at_rest(surface, rng, largest)[0] if f.box is None else rest_within(surface, *f.box, rng, largest)
    return found.zero, str(found)


class Curved(NamedTuple):
    """The curvature at a point at rest.

    lowest, largest: of it. told: what it says. verdict: of the certificate, None where the curvature alone decides.
    way: a direction (n,) along which the loss falls from a stationary point, or None.
    """

    lowest: float
    largest: float
    told: str
    verdict: Verdict | None
    way: np.ndarray | None


def curved(f: Function, point: Point) -> Curved:
    """The curvature at a point where the gradient is zero; the loss is probed where some of it is zero too, or where
    the stationary point is so far away that the gradient may have vanished without one, as that of exp(-x) does.
    """
    surface, rng = _surface(f, point), np.random.default_rng(0)
    if f.box is not None:
        return _curved_within(surface, f.box, rng)
    found = curvature(surface, np.zeros_like(point.x), rng, _PRODUCTS, _DELTA)
    seen = f"curvature from {found.lowest:.3g} to {found.largest:.3g}"
    if found.negative:
        return Curved(found.lowest, found.largest, seen, None, found.vectors[0])
    far = np.linalg.norm(found.settle(point.grads)) > _FAR * surface.scale if len(found.values) else True
    if not far and not found.flat:
        return Curved(found.lowest, found.largest, seen, None, None)
    judged = judge(surface, EFFORTS["quick"], rng)
    return Curved(found.lowest, found.largest, f"{seen}, {judged.verdict}: {judged.detail}", *_verdict(judged))


def _curved_within(surface: Surface, box: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> Curved:
    judged, _ = judge_within(surface, *box, EFFORTS["quick"], rng)
    found, told = judged.curvature, f"{judged.verdict} within bounds: {judged.detail}"
    extremes = (np.nan, np.nan) if found is None else (found.lowest, found.largest)
    return Curved(*extremes, told, *_verdict(judged))


def _verdict(judged: Judged) -> tuple[Verdict, np.ndarray | None]:
    return judged.verdict, judged.descent if judged.verdict in _FALLING else None


def beside(f: Function, point: Point, direction: np.ndarray) -> Point | None:
    """The lowest point along the direction, on either side, at steps that double while the loss falls; None if none."""
    unit = direction / np.linalg.norm(direction)
    inside = (lambda x: x) if f.box is None else (lambda x: np.clip(x, *f.box))
    first = _OFF * max(float(np.linalg.norm(point.x)), 1.0)
    lowest, at = point.loss, None
    for step in (first * unit, -first * unit):
        for k in range(_DOUBLINGS):
            x = inside(point.x + 2.0**k * step)
            loss = f.loss(x)
            if not loss < lowest:
                break
            lowest, at = loss, x
    return None if at is None else f.at(at)


def bottomless(f: Function, start: Point, point: Point) -> str:
    """How the loss falls along the line from the start through the point until it overflows; "" where it does not."""
    if not point.loss < -_DEEP * abs(start.loss):
        return ""
    way, lowest, t = point.x - start.x, point.loss, 1.0
    inside = (lambda x: x) if f.box is None else (lambda x: np.clip(x, *f.box))
    with np.errstate(over="ignore", invalid="ignore"):
        while np.isfinite(x := inside(start.x + t * way)).all() and np.isfinite(lowest):
            loss = f.loss(x)
            if not (loss < lowest or t == 1.0):
                return ""
            lowest, t = loss, _FARTHER * t
    return f"the loss fell from {start.loss:.4g} to {point.loss:.4g}, and falls on along that line until it overflows"


def noisy(f: Function, point: Point) -> str:
    """By how much two calls at the point differ; "" where they do not."""
    differ = f.stencil.noise if f.stencil.random else 0.0
    if f.jac is not None:
        differ = abs(f.loss(point.x) - f.loss(point.x))
    return f"`fun` is noisy: two calls at one point differ by {differ:.2g}" if differ else ""


def doubt_of_jac(f: Function, point: Point) -> str:
    """What the loss says of the slope along the gradient, where that disagrees with `jac`; "" where it does not."""
    norm = float(np.linalg.norm(point.grads))
    if f.jac is None or f.box is not None or not norm > 0:
        return ""  # within bounds there may be no room to measure it
    behind, ahead, doubt = sides(f.loss, point, point.grads / norm)
    if abs(ahead - behind) > _WRONG * norm + doubt:
        return f"; a kink: along the gradient the slope is {behind:.3g} before the point and {ahead:.3g} behind it"
    if min(abs(ahead - norm), abs(behind - norm)) <= _WRONG * norm + doubt:
        return ""
    return f"; `jac` is not the gradient of `fun`: along it the slope is {ahead:.3g} by differences of `fun`"


def _surface(f: Function, point: Point) -> Surface:
    return cast(Surface, Surroundings(f, point))  # it answers the same questions

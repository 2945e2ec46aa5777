"""What kind of point it is, from the gradient, the curvature and probes of the loss."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

import numpy as np

from descenso.certificate.curvature import Curvature, curvature
from descenso.certificate.probes import Sides, along, jumps, spread
from descenso.certificate.stationary import Stationarity, at_rest
from descenso.certificate.surface import Surface


class Verdict(StrEnum):
    """What kind of point it is."""

    STRICT_MINIMUM = "strict minimum"
    """The gradient is zero and every curvature is above zero."""
    MINIMUM = "minimum"
    """The gradient is zero and no curvature lies below the level stated."""
    FLAT = "minimum with flat directions"
    """The same, and the loss is level along some directions, or along the floor of a curved valley."""
    DEGENERATE = "degenerate"
    """Some curvature is zero, and higher orders decide: the detail says whether the loss rose or fell where probed."""
    SADDLE = "saddle"
    """The gradient is zero and the loss falls along some directions: `index` of them."""
    MAXIMUM = "maximum"
    """The gradient is zero and every curvature is below zero, or zero."""
    KINK = "kink"
    """The gradient jumps here, and no descent was found in any direction sampled."""
    NO_GRADIENT = "no gradient detectable"
    """The gradients of the batches have no common part that could be seen."""
    NOT_STATIONARY = "not stationary"
    """The gradient is not zero: the loss can still be lowered."""
    UNDECIDED = "undecided"
    """What was measured does not tell."""


_FAR = 1e-3  # of the length of the params: a Newton step beyond it leads to another point


@dataclass(frozen=True)
class Effort:
    """What may be spent. products: of Lanczos. delta: how often its level may be wrong. directions: to probe.

    batches: whose gradients are compared.
    """

    products: int
    delta: float
    directions: int
    batches: int


EFFORTS = {"quick": Effort(64, 1e-2, 4, 16), "thorough": Effort(256, 1e-4, 12, 64)}


@dataclass(frozen=True)
class Judged:
    """A verdict and what it rests on. descent: a step (n,) along which the loss falls, or None."""

    verdict: Verdict
    detail: str
    stationarity: Stationarity
    curvature: Curvature | None = None
    descent: np.ndarray | None = None


def judge(surface: Surface, effort: Effort, rng: np.random.Generator) -> Judged:
    """The verdict on the point of a `Surface`."""
    rest, step = at_rest(surface, rng)
    if not isfinite(rest.noise):
        return Judged(Verdict.UNDECIDED, "the loss or its gradient is not finite", rest)
    g = surface.gradient
    if jumps(surface, rest.largest, rest.noise, g, rng):
        return _kink(surface, rest, g, rng)
    if not rest.zero:
        return _moving(surface, rest, g)
    found = curvature(surface, step, rng, effort.products, effort.delta)
    if not len(found.values):
        return Judged(Verdict.UNDECIDED, "the curvature is not finite", rest)
    if found.negative:
        return _falling(rest, found)
    return _resting(surface, rest, found, effort, rng)


def _doubt(rest: Stationarity) -> float:
    """The change of the loss that says nothing: rounding, or what the point still lacks of a stationary one."""
    lacking = rest.predicted_decrease if isfinite(rest.predicted_decrease) else rest.grad_norm * rest.newton_step
    return max(rest.resolution, 4 * lacking)


def _near(surface: Surface) -> float:
    return surface.scale * max(1e-8, 8 * surface.eps)


def _kink(surface: Surface, rest: Stationarity, g: np.ndarray, rng: np.random.Generator) -> Judged:
    directions = spread(surface, g, rng)
    nearest = surface.scale * max(1e-5, 100 * surface.eps)
    sides = along(surface, directions, rest.resolution, nearest, None)
    if sides.falls:
        told = "the gradient jumps close by, and the loss falls along a direction that was sampled"
        return Judged(Verdict.NOT_STATIONARY, told, rest, descent=sides.descent)
    return Judged(
        Verdict.KINK, f"the gradient jumps, and no descent was found along {len(directions)} directions", rest
    )


def _moving(surface: Surface, rest: Stationarity, g: np.ndarray) -> Judged:
    sides = along(surface, -g[None], rest.resolution, _near(surface), None)
    if not sides.falls:
        return Judged(Verdict.UNDECIDED, "no lower loss was found along a gradient that is not zero", rest)
    small = rest.grad_norm <= 1e-6 * rest.largest
    plateau = f"; a plateau: the gradient elsewhere is {rest.largest:.2g}" if small else ""
    return Judged(Verdict.NOT_STATIONARY, f"the loss falls along the gradient{plateau}", rest, descent=sides.descent)


def _falling(rest: Stationarity, found: Curvature) -> Judged:
    v = found.vectors[0]
    seen = "every curvature" if found.flat == 0 else "every curvature that is not zero"
    if found.ceiling < 0 or (found.complete and not found.positive):
        return Judged(Verdict.MAXIMUM, f"{seen} is below zero", rest, found, v)
    least = "" if found.complete else "at least "
    told = f"the loss falls along {least}{_counted(found.negative)}, with curvature down to {found.lowest:.2g}"
    return Judged(Verdict.SADDLE, told, rest, found, v)


def _resting(
    surface: Surface, rest: Stationarity, found: Curvature, effort: Effort, rng: np.random.Generator
) -> Judged:
    """The verdict where the gradient is zero and no negative curvature was seen."""
    flat = np.abs(found.values) <= found.doubt
    if flat.any():
        return _flat(surface, rest, found, _mixed(found.vectors[flat], effort.directions, rng))
    doubt, v = _doubt(rest), found.vectors[0]
    bend = found.values[0] / float(v @ v)
    nearest = float(np.clip(np.sqrt(200 * doubt / bend), _near(surface), 1e-3 * surface.scale))
    sides = along(surface, v[None], doubt, nearest, None)
    if sides.falls:
        return Judged(Verdict.DEGENERATE, "the loss falls where the curvature is lowest", rest, found, sides.descent)
    if sides.level and bend * sides.farthest**2 / 2 > 10 * doubt:
        told = "a plateau: the loss is level where its curvature says that it rises"
        return Judged(Verdict.UNDECIDED, told, rest, found)
    away = abs(float(v @ surface.gradient)) / found.values[0] * float(np.linalg.norm(v))
    if sides.level and away > _FAR * surface.scale:
        told = f"a plateau: the loss is level along a direction whose stationary point lies {away:.2g} away"
        return Judged(Verdict.UNDECIDED, told, rest, found)
    if found.floor > 0:
        return Judged(Verdict.STRICT_MINIMUM, _proved(found), rest, found)
    return Judged(Verdict.MINIMUM, _proved(found), rest, found)


def _mixed(flat: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Directions to probe in the space of the flat ones (q, n): the first of them, and random mixtures."""
    if len(flat) == 1:
        return flat
    units = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return np.concatenate([units[: count // 4], rng.standard_normal((count, len(units))) @ units])


def _flat(surface: Surface, rest: Stationarity, found: Curvature, directions: np.ndarray) -> Judged:
    sides = along(surface, directions, _doubt(rest), 1e-3 * surface.scale, found)
    if sides.falls:
        told = f"{_flats(found)}, and the loss falls along one"
        return Judged(Verdict.DEGENERATE, told, rest, found, sides.descent)
    if sides.level and not found.positive:
        where = "" if sides.all_level else f" on {sides.level} of the sides that were probed"
        told = f"a plateau: no slope, no curvature, and the loss is level out to {sides.farthest:.2g}{where}"
        return Judged(Verdict.UNDECIDED, told, rest, found)
    if sides.all_level:
        return Judged(Verdict.FLAT, f"{_flats(found)}; {_proved(found)}", rest, found)
    return Judged(Verdict.DEGENERATE, f"{_flats(found)}, along which the loss {_told(sides)}", rest, found)


def _flats(found: Curvature) -> str:
    some = f"{_counted(found.flat)} of no curvature"
    return some if found.complete else f"at least {some}"


def _counted(directions: int) -> str:
    return f"{directions} direction" + ("s" if directions > 1 else "")


def _told(sides: Sides) -> str:
    return "rises wherever it was probed" if sides.all_rise else "rises or is level wherever it was probed"


def _proved(found: Curvature) -> str:
    """What is proved of the curvature, and how surely."""
    seen = f"curvature from {found.lowest:.2g} to {found.largest:.2g}"
    if found.complete:
        return f"all {len(found.values):,} eigenvalues known, {seen}"
    bound = f"none below {found.lowest - (found.values[0] - found.floor):.2g}"
    return f"{seen} seen, {bound} with probability {100 * found.sure:.4g} %"

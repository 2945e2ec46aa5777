"""The loss and its gradient along lines through a point: what the Hessian alone cannot tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descenso.certificate.curvature import Curvature
from descenso.certificate.surface import Surface

_FARTHEST = 0.1  # of the length of the params: where the last probe stands
_APART = np.sqrt(10.0)  # from one probe to the next
_MOST = 64  # directions that a kink is searched along
_LEVEL = 0.05  # of the rise along the line, that may be left of it on the floor of a curved valley


@dataclass(frozen=True)
class Sides:
    """What the loss does on the sides of the point that were probed, two for each direction.

    rises, falls, level: on how many sides it does so first. farthest: the length of the last probe. descent: a step
    (n,) that lowers the loss by more than the doubt, or None.
    """

    rises: int
    falls: int
    level: int
    farthest: float
    descent: np.ndarray | None

    @property
    def all_rise(self) -> bool:
        return self.falls == self.level == 0

    @property
    def all_level(self) -> bool:
        return self.falls == self.rises == 0


def along(surface: Surface, directions: np.ndarray, doubt: float, nearest: float, bend: Curvature | None) -> Sides:
    """Probe the loss on both sides along each direction (m, n), from `nearest` out to a tenth of the params' length.

    A side rises or falls as the loss does where it first differs by more than `doubt`: what lies beyond a rise is
    another basin. With `bend` the three farthest probes are also moved to the floor of the valley by a Newton step in
    the directions of positive curvature, because flat valleys are seldom straight.
    """
    f = surface.loss
    farthest = _FARTHEST * surface.scale
    count = 1 + max(3, int(np.ceil(np.log(farthest / nearest) / np.log(_APART))))
    lengths = farthest * _APART ** np.arange(1.0 - count, 1.0)
    units = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    steps = surface.inside(np.concatenate([units, -units])[:, None] * lengths[:, None])  # (sides, count, n)
    steps = steps[np.any(steps[:, -1], axis=-1)]  # a side that leaves the bounds at once is none
    if not len(steps):
        return Sides(0, 0, 0, 0.0, None)
    told = np.array([0, 0, 0])
    descent = None
    change = _changes(surface, steps, f)
    for side, c in zip(steps, change, strict=True):
        turn, at = _first(c, doubt), int(np.argmax(np.abs(c) > doubt))
        step = side[at]
        if turn > 0 and bend is not None:
            turn, step = _on_the_floor(surface, side[-3:], c[-3:], f, doubt, bend)
        told[turn] += 1
        if turn < 0 and descent is None:
            descent = step
    reached = float(np.linalg.norm(steps[:, -1], axis=-1).min())  # the farthest, where no bound is nearer
    return Sides(int(told[1]), int(told[-1]), int(told[0]), reached, descent)


def _changes(surface: Surface, steps: np.ndarray, f: float) -> np.ndarray:
    """The loss at the end of each step, less `f`; a nonfinite loss counts as a rise."""
    flat = surface.losses(surface.x + steps.reshape(-1, surface.n)) - f
    return np.where(np.isfinite(flat), flat, np.inf).reshape(steps.shape[:-1])


def _first(changes: np.ndarray, doubt: float) -> int:
    """1, -1 or 0: the sign of the first change that exceeds the doubt."""
    seen = changes[np.abs(changes) > doubt]
    return int(np.sign(seen[0])) if len(seen) else 0


def _on_the_floor(
    surface: Surface, steps: np.ndarray, changes: np.ndarray, f: float, doubt: float, bend: Curvature
) -> tuple[int, np.ndarray]:
    settled = steps + np.stack([bend.settle(g) for g in surface.gradients(surface.x + steps)])
    settled = np.where(np.isfinite(settled), settled, steps)
    now = _changes(surface, settled, f)
    if (now < -doubt).any():
        return -1, settled[int(np.argmax(now < -doubt))]
    level = now[-1] <= max(doubt, _LEVEL * changes[-1])
    return (0 if level else 1), settled[-1]


def jumps(surface: Surface, largest: float, noise: float, g: np.ndarray, rng: np.random.Generator) -> bool:
    """Whether the gradient jumps at the point: it differs across a hundredth of the distance by almost as much.

    A smooth gradient differs 100 times less. A difference that may be noise counts where it is the same at both
    distances in every direction.
    """
    d = rng.standard_normal((3, surface.n))
    if np.any(g):
        d = np.concatenate([d, g[None]])
    d *= surface.scale / np.linalg.norm(d, axis=1, keepdims=True)
    d *= max(1e-3, 30 * surface.eps**0.5)
    d = -surface.inside(-surface.inside(d))
    wide, narrow = _across(surface, d), _across(surface, d / 100)
    size = np.linalg.norm(narrow, axis=1)
    stays = size > 0.3 * np.linalg.norm(wide, axis=1)
    same = np.linalg.norm(wide - narrow, axis=1) <= 0.5 * size
    return bool(np.any(stays & (size > 1e-6 * largest) & ((size > 100 * noise) | same.all())))


def _across(surface: Surface, d: np.ndarray) -> np.ndarray:
    """By how much the gradient differs between x + d and x - d: (m, n)."""
    ends = surface.gradients(np.concatenate([surface.x + d, surface.x - d]))
    return ends[: len(d)] - ends[len(d) :]


def spread(surface: Surface, g: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Directions to search a kink along (m, n): random ones, min(2 n, 64), and the gradient."""
    random = rng.standard_normal((min(2 * surface.n, _MOST), surface.n))
    return np.concatenate([random, g[None]]) if np.any(g) else random

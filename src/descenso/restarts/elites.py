"""Where the next descent starts: near the best minima found, between them, or anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

_KEPT = 4  # minima
_SAME = 2e-3  # of the box, within which two points may be one minimum
_SAME_LOSS = 1e-4
_BETTER = 1e-7  # a relative fall of the loss that is an improvement
_PATIENCE = 40  # failures after which a minimum that does not lead is dropped
_LEAD = 0.6  # of the hops start at the best
_GAUSS, _SOME, _DIFFERENCE = 0.45, 0.30, 0.10  # of the starts; the rest is fresh
_SHORTEST, _LONGEST = 0.004, 0.6  # radius of a hop, in units of the box
_RAISED = 0.12  # the most that the shortest is raised to, where hops come back to where they began
_FRESH_MOVE = 0.05  # the first move of a fresh descent, in units of the box for each root of a dimension


@dataclass(eq=False)
class Elite:
    """A minimum that is hopped from: x (n,) in units of the box, its loss, and how many hops found nothing better."""

    x: np.ndarray
    loss: float
    failures: int = 0


class Start(NamedTuple):
    """Where a descent starts.

    x: (n,), in units of the box. parent: the minimum that it hopped from, or None. radius: of the hop. first: how long
    its first move may be. drawn: whether it was drawn at random from the whole box.
    """

    x: np.ndarray
    parent: Elite | None = None
    radius: float = np.inf
    first: float = _FRESH_MOVE
    drawn: bool = False


@dataclass
class Elites:
    """The few best minima found so far, shared by all lanes.

    That the lanes share them is what matters: descents that each hop from their own best did not do better than
    independent ones in trials.

    Args:
        size: dimensions.
        bounded: whether a start is to be reflected into the box.
        by_loss: whether two points of one loss are one minimum: params of a network that are permuted are other points.
        rng: of all draws.
    """

    size: int
    bounded: bool
    by_loss: bool
    rng: np.random.Generator
    found: list[Elite] = field(default_factory=list)
    radii: list[float] = field(default_factory=list)
    shortest: float = _SHORTEST

    def fresh(self) -> Start:
        """A start drawn evenly from the box, independent of all others."""
        return Start(self.rng.uniform(size=self.size), drawn=True)

    def offer(self, x: np.ndarray, loss: float, start: Start) -> None:
        """Take note of the minimum that a descent from `start` ended in."""
        parent, unit = start.parent, max(1.0, abs(loss))
        fall = 0.0 if parent is None else parent.loss - loss
        if fall > _SAME_LOSS * unit and np.isfinite(start.radius):
            self.radii = [*self.radii, start.radius][-20:]
        self._measure(x, loss, start)
        better = fall > _BETTER * unit
        self._keep(x, loss, parent if better else None)
        self.failed(start, better)

    def _measure(self, x: np.ndarray, loss: float, start: Start) -> None:
        """Hops that come back to their parent are too short; others show that shorter ones may do."""
        if start.parent is None:
            return
        if self._same(start.parent, x, loss):
            if start.radius < 2 * self.shortest:
                self.shortest = min(_RAISED, 1.15 * self.shortest)
        else:
            self.shortest = max(_SHORTEST, 0.97 * self.shortest)

    def _same(self, elite: Elite, x: np.ndarray, loss: float) -> bool:
        near = self.by_loss or abs(elite.x - x).max() < _SAME
        return near and abs(elite.loss - loss) <= _SAME_LOSS * max(1.0, abs(loss))

    def failed(self, start: Start, better: bool = False) -> None:
        """Count a hop that found nothing better, and drop a minimum that too many have left."""
        if start.parent is not None and not better:
            start.parent.failures += 1
        self.found.sort(key=lambda e: e.loss)
        tired = next((e for e in self.found[1:] if e.failures > _PATIENCE), None)
        self.found = [e for e in self.found if e is not tired]

    def _keep(self, x: np.ndarray, loss: float, beaten: Elite | None) -> None:
        same = [e for e in self.found if self._same(e, x, loss)]
        worst = max(self.found, key=lambda e: e.loss, default=None)
        if same:
            if loss < same[0].loss:
                same[0].x, same[0].loss = x, loss
        elif beaten is not None and any(e is beaten for e in self.found):
            beaten.x, beaten.loss, beaten.failures = x, loss, 0
        elif len(self.found) < _KEPT:
            self.found.append(Elite(x, loss))
        elif worst is not None and loss < worst.loss:
            self.found.remove(worst)  # not overwritten: a lane may be on its way from there
            self.found.append(Elite(x, loss))

    def next(self) -> Start:
        """Where the next descent starts."""
        draw = self.rng.uniform()
        if not self.found or draw >= _GAUSS + _SOME + _DIFFERENCE:
            return self.fresh()
        parent = self.found[0] if self.rng.uniform() < _LEAD else self.found[self.rng.integers(len(self.found))]
        if draw < _GAUSS + _SOME:
            radius = self._radius()
            move = radius * self.rng.normal(size=self.size) if draw < _GAUSS else self._of_some(radius)
            return Start(self._inside(parent.x + move), parent, radius, min(_FRESH_MOVE, 0.3 * radius))
        a, b = (self.found[i].x for i in self.rng.integers(len(self.found), size=2))
        move = self.rng.choice([0.5, 0.8, 1.0]) * (a - b) + 0.02 * self.rng.normal(size=self.size)
        return Start(self._inside(parent.x + move), parent, _FRESH_MOVE, 0.3 * _FRESH_MOVE)

    def _radius(self) -> float:
        if self.radii and self.rng.uniform() < 0.5:
            recent = self.radii[self.rng.integers(len(self.radii))]
            return float(min(_LONGEST, recent * np.exp(0.4 * self.rng.normal())))
        return float(self.shortest * (_LONGEST / self.shortest) ** self.rng.uniform())

    def _of_some(self, radius: float) -> np.ndarray:
        """A longer move along some of the coordinates."""
        count = int(self.rng.integers(1, max(2, self.size // 2 + 1)))
        move = np.zeros(self.size)
        move[self.rng.choice(self.size, count, replace=False)] = 1.5 * radius * self.rng.normal(size=count)
        return move

    def _inside(self, x: np.ndarray) -> np.ndarray:
        if not self.bounded:
            return x
        x = abs(x) % 2
        return np.where(x > 1, 2 - x, x)

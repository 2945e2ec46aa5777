"""Exploring: lanes descend, each end is shared, and whoever ends asks where to start next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from descenso._namespace import ravel, unravel
from descenso._types import Array, Leaves, Scalar
from descenso.certificate.certify import certificate
from descenso.certificate.curvature import DENSE
from descenso.data.batches import Order
from descenso.engine.bounds import Bounds
from descenso.engine.chunk import as_key
from descenso.engine.compile_cache import Remembered
from descenso.engine.engine import Engine, key_data
from descenso.engine.evaluate import full_gradient
from descenso.engine.objective import Objective
from descenso.restarts.basins import Basin, Found, note, unseen
from descenso.restarts.box import Box, box_around
from descenso.restarts.elites import Elites, Start
from descenso.restarts.lanes import ARRIVED, RUNNING, Lane, lane_at, looped

_LANES = 4  # on a CPU, where they are evaluated one after the other
_LANES_ACCELERATED = 16
_ROWS = 4096  # of the data, the same for all lanes
_TICKS = 64  # evaluations of each lane between two looks at the clock
_CERTIFIED = 5  # basins
_SHOWN = 100  # basins

_remembered = Remembered()


class Explored(NamedTuple):
    """What exploring gave.

    leaves, loss: the best point found, and the loss there. basins: the minima, the lowest first. gradients: spent, in
    those of the rows explored on. told: how it went, in a sentence.
    """

    leaves: Leaves
    loss: float
    basins: list[Basin]
    gradients: int
    told: str


def explore(
    engine: Engine,
    leaves: Leaves,
    bounds: Bounds | None,
    *,
    descents: int | None,
    gradients: float | None,
    target: float | None = None,
    halted: Callable[[], bool] = lambda: False,
) -> Explored:
    """Descend again and again, from `leaves` first, until so many descents have ended or gradients are spent.

    With data the loss is that over the same 4,096 rows for every lane (all rows, if there are fewer); a loss that takes
    a key is given the same one always.

    Args:
        descents, gradients: limits, of which one is not None; a gradient of each of four lanes is four.
        target: a loss that is low enough.
        halted: asked between ticks whether to stop with what there is.
    """
    box = box_around(leaves, bounds)
    lanes = _Lanes(engine, leaves, box, _data_of(engine), bounds)
    limits = (np.inf if descents is None else descents, np.inf if gradients is None else gradients)
    enough = -np.inf if target is None else target
    while lanes.ended < limits[0] and lanes.spent < limits[1] and lanes.best[0] > enough and not halted():
        left = (limits[1] - lanes.spent) / lanes.count
        lanes.go(int(max(1, min(left, _TICKS))), enough)
    return lanes.explored(engine, leaves)


def _data_of(engine: Engine) -> Leaves:
    """The rows that all lanes descend on, and what the loss itself carries."""
    if not engine.rows:
        return engine.data
    if engine.stream is not None:
        count = min(_ROWS, engine.rows)
        return (*engine.stream.judged(engine.seed, 0, count, "restarts"), *engine.data)
    if engine.rows <= _ROWS:
        return engine.data
    rows = np.sort(Order(engine.rows, engine.seed, "restarts").take(0, _ROWS))
    arrays, own = engine.objective.split(engine.data)
    return (*(a[rows] for a in arrays), *own)


class _Lanes:
    """The lanes, what they have found, and what they have cost."""

    def __init__(self, engine: Engine, leaves: Leaves, box: Box, data: Leaves, bounds: Bounds | None):
        self.box, self.data, self.bounds = box, data, bounds
        self.by_loss = bool(engine.rows)
        self.count = _LANES if jax.default_backend() == "cpu" else _LANES_ACCELERATED
        self.elites = Elites(box.low.size, box.bounded, self.by_loss, np.random.default_rng([engine.seed % 2**64, 7]))
        self.basins: list[Found] = []
        self.spent, self.ended = 0, 0
        self.best = (np.inf, box.inside(ravel(tuple(np.asarray(p) for p in leaves), np)))
        key = ("lanes", engine.objective, tuple((p.shape, str(p.dtype)) for p in leaves))
        self.run = _remembered.get(key, engine.trace, lambda: looped(_evaluation(engine.objective, leaves)))
        self.starts = [Start(self.best[1]), *(self.elites.fresh() for _ in range(self.count - 1))]
        self.lanes = _stacked([self._lane(start) for start in self.starts])

    def _lane(self, start: Start) -> Lane:
        dtype = self.box.low.dtype
        x = np.clip(start.x, self.box.lower, self.box.upper).astype(dtype)
        parent = None if start.parent is None else start.parent.x.astype(dtype)
        return lane_at(x, parent, -np.inf if start.parent is None else start.parent.loss, start.radius, start.first)

    def go(self, ticks: int, enough: float) -> None:
        """Let the lanes descend until one ends or has a loss that is low enough, and start one that ended anew."""
        box, key = self.box, key_data(1, 0)
        lanes, made = self.run(
            self.lanes,
            box.lower,
            box.upper,
            np.int32(ticks),
            box.low.dtype.type(enough),
            self.data,
            key,
            box.low,
            box.width,
        )
        self.spent += int(made) * self.count
        lanes = jax.tree.map(np.array, lanes)
        for i in np.flatnonzero(lanes.ended != RUNNING).tolist():
            self._end(lanes.x[i].astype(np.float64), float(lanes.loss[i]), bool(lanes.ended[i] == ARRIVED), i)
            for held, new in zip(lanes, self._lane(self.starts[i]), strict=True):
                held[i] = new
        now = int(np.argmin(lanes.loss))
        if lanes.loss[now] < self.best[0]:
            self.best = (float(lanes.loss[now]), lanes.x[now].copy())
        self.lanes = lanes

    def _end(self, x: np.ndarray, loss: float, arrived: bool, i: int) -> None:
        start = self.starts[i]
        self.ended += 1
        if arrived and np.isfinite(loss):
            self.elites.offer(x, loss, start)
            note(self.basins, x, loss, start.drawn, self.by_loss)
            if loss < self.best[0]:
                self.best = (loss, x.astype(self.box.low.dtype))
        else:
            self.elites.failed(start)
        self.starts[i] = self.elites.next()

    def explored(self, engine: Engine, like: Leaves) -> Explored:
        """The best point, the basins in the caller's units, and how it went."""
        basins = []
        for place, found in enumerate(sorted(self.basins, key=lambda b: b.loss)[:_SHOWN]):
            leaves = self._leaves(found.x, like)
            proof = self._proof(engine, leaves) if place < _CERTIFIED else None
            basins.append(Basin(engine.objective.tree.build(leaves), found.loss, found.hits, found.fresh, proof))
        rows = f" on {rows_of(engine):,} rows" if engine.rows > _ROWS else ""
        told = f"{self.ended:,} descents of {self.spent:,} gradients{rows} ended in {len(self.basins):,} basins"
        told += f", the lowest {basins[0].loss:.6g} found {basins[0].hits} times" if basins else ""
        told = f"{told}; {unseen(self.basins)}"
        return Explored(self._leaves(self.best[1], like), self.best[0], basins, self.spent, told)

    def _leaves(self, u: np.ndarray, like: Leaves) -> Leaves:
        """The point u (n,) of the box in the caller's units: rounding may not put it outside the bounds."""
        leaves = unravel(self.box.low + self.box.width * u.astype(self.box.low.dtype), like, np)
        return leaves if self.bounds is None else self.bounds.clip(leaves)

    def _proof(self, engine: Engine, leaves: Leaves) -> Any:
        if engine.objective.keyed or self.box.low.size > DENSE:
            return None
        known = {"seed": engine.seed, "trace": engine.trace, "bounds": self.bounds}
        return certificate(engine.objective, leaves, self.data, rows_of(engine), **known)


def rows_of(engine: Engine) -> int:
    """The rows of the data that lanes descend on."""
    return min(engine.rows, _ROWS)


def _stacked(lanes: list[Lane]) -> Lane:
    return Lane(*(np.stack(parts) for parts in zip(*lanes, strict=True)))


def _evaluation(objective: Objective, like: Leaves) -> Callable[..., tuple[Scalar, Array]]:
    """The loss at u (n,) in units of the box, and its gradient by u."""
    like = tuple(jax.ShapeDtypeStruct(p.shape, p.dtype) for p in like)

    def evaluate(u: Array, data: Leaves, key: Array, low: Array, width: Array) -> tuple[Scalar, Array]:
        loss, grads = full_gradient(objective, unravel(low + width * u, like, jnp), data, as_key(key))
        return loss.astype(u.dtype), width * ravel(grads, jnp)

    return evaluate

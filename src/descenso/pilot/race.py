"""Finding the learning rate: short lanes from the start, judged on the same fresh batches.

A lane is a run of its own from the same point on the same batches; its scale is its learning rate. What is judged is
the averaged point: judged raw, a smaller rate always looks better over a short time than it is (short-horizon bias).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import jax
import numpy as np

from descenso._types import Leaves
from descenso.engine.chunk import RunState
from descenso.result import Finding
from descenso.watch.records import Records

FIRST_RATE = 0.01
FACTOR = 4.0
_MOST_LANES = 24
_FEW = 0.25  # of the steps of a lane, or of the batches that it is judged on


class Bench(Protocol):
    """What the pilot may do; the driver counts what it costs."""

    def advance(self, state: RunState, steps: int) -> tuple[RunState, Records]:
        """Make steps."""
        ...

    def judge(self, points: list[Leaves], *, again: bool = False) -> np.ndarray:
        """Losses of the points on the next few batches of a stream kept for judging: (points, batches).

        `again` judges on the first batches of that stream, the same at every call.
        """
        ...

    def answer(self, state: RunState) -> Leaves: ...

    def show(self, state: RunState, loss: float) -> None:
        """Show the caller the answer of this moment, `loss` the mean over the last record."""
        ...

    @property
    def halted(self) -> bool:
        """Whether time is up or the user has asked for the end."""
        ...


@dataclass
class Lane:
    """One rate's run: its records, and its losses on the last common batches."""

    rate: float
    state: RunState
    scores: np.ndarray
    records: list[Records]

    def run(self, bench: Bench, steps: int) -> None:
        if steps > 0:
            self.state, new = bench.advance(self.state, steps)
            self.records.append(new)

    def run_shown(self, bench: Bench, until: int, every: int) -> None:
        """Run on to step `until`, and show the answer every `every` steps before that."""
        while (step := self.state.cursor) < until and not bench.halted:
            self.run(bench, min(every, until - step))
            if self.state.cursor == step:
                break
            if self.state.cursor < until:
                self.show(bench)

    def show(self, bench: Bench) -> None:
        if self.records:
            bench.show(self.state, float(self.records[-1].loss[-1]))

    @property
    def finite(self) -> bool:
        """Whether its steps were finite, but for a few: a bad row is no fault of the rate."""
        return sum(r.nonfinite.sum() for r in self.records) <= _FEW * sum(r.steps.sum() for r in self.records)

    @property
    def score(self) -> float:
        """The mean loss of the batches, few nonfinite ones left out; infinite if they are not few."""
        few = np.mean(~np.isfinite(self.scores)) <= _FEW
        return mean_of_finite(self.scores) if few else np.inf


def mean_of_finite(losses: np.ndarray) -> float:
    """Infinite if none is finite."""
    known = losses[np.isfinite(losses)]
    return float(known.mean()) if len(known) else np.inf


def at_rate(state: RunState, rate: float) -> RunState:
    return state._replace(scale=filled(state.scale, rate))


def filled(like: jax.Array, value: float) -> jax.Array:
    """`jnp.full_like`, which would be compiled."""
    return jax.device_put(np.full(like.shape, value, like.dtype))


def bracket(bench: Bench, start: RunState, steps: int) -> list[Lane]:
    """Lanes of `steps` steps at rates a factor 4 apart, until the best has a worse one on either side.

    Returns the finite ones, best first; empty if none was.
    """
    lanes: dict[int, Lane] = {}

    def probe(k: int) -> None:
        rate = FIRST_RATE * FACTOR**k
        lane = lanes[k] = Lane(rate, at_rate(start, rate), np.array([np.inf]), [])
        lane.run(bench, steps // 2)
        if lane.finite:
            lane.run(bench, steps - steps // 2)
            lane.scores = bench.judge([bench.answer(lane.state)], again=True)[0]  # the same batches for every probe

    probe(0)
    probe(1)
    while len(lanes) < _MOST_LANES and not bench.halted:
        best = min(lanes, key=lambda k: (lanes[k].score, k))
        if not np.isfinite(lanes[best].score) or best == min(lanes):
            probe(min(lanes) - 1)
        elif best == max(lanes):
            probe(best + 1)
        else:
            break
    return sorted((lane for lane in lanes.values() if np.isfinite(lane.score)), key=lambda lane: lane.score)


def narrowed(bench: Bench, lanes: list[Lane], until: int, keep: int, every: int = 10**9) -> list[Lane]:
    """Run the lanes on to step `until`, judge them on common batches, and keep the best; the first leads on the way.

    A smaller rate goes before a better one unless it is worse by more than two standard errors: the rate that is best
    early is larger than the one that is best in the end.
    """
    lanes[0].run_shown(bench, until, every)
    for lane in lanes[1:]:
        if not bench.halted:
            lane.run(bench, until - lane.state.cursor)
    if len(lanes) == 1:
        return lanes
    for lane, scores in zip(lanes, bench.judge([bench.answer(lane.state) for lane in lanes]), strict=True):
        lane.scores = scores
    ranked = sorted(lanes, key=lambda lane: lane.score)
    for lane in ranked[1:]:
        if lane.rate < ranked[0].rate and np.isfinite(lane.score) and not better(ranked[0].scores, lane.scores, 2.0):
            ranked.remove(lane)
            ranked.insert(0, lane)
    return ranked[:keep]


def better(a: np.ndarray, b: np.ndarray, errors: float) -> bool:
    """Whether `a` lies below `b` by more than `errors` standard errors of their paired difference.

    Batches that are nonfinite for both are left out: it is their rows.
    """
    known = np.isfinite(a) | np.isfinite(b)
    a, b = a[known], b[known]
    if not np.isfinite(a).all() or not len(a):
        return False
    if not np.isfinite(b).all():
        return True
    d = a - b
    error = d.std(ddof=1) / np.sqrt(len(d)) if len(d) > 1 else 0.0
    return bool(d.mean() < -errors * error)


def race(
    bench: Bench, start: RunState, first: int, rungs: list[tuple[int, int]], note: Callable[[Finding], None]
) -> Lane | None:
    """The winning lane; None if no rate gave finite losses. The leading lane is shown as it goes, the winner too.

    Args:
        first: steps of the first lanes.
        rungs: (step, how many lanes to keep there), in order; the last keeps one.
    """
    lanes = bracket(bench, start, first)
    if not lanes:
        return None
    tried = sorted(lanes, key=lambda lane: lane.rate)
    rates, losses = " ".join(f"{x.rate:.3g}" for x in tried), ", ".join(f"{x.score:.4g}" for x in tried)
    keep = 3
    for until, after in rungs:
        lanes[0].show(bench)
        lanes = narrowed(bench, lanes[:keep], until, after, first)
        keep = after
    won = lanes[0]
    note(
        Finding(
            "rate",
            won.state.cursor,
            f"learning rate {won.rate:.3g} chosen among {rates} (loss {losses} after {first} steps each, "
            f"the best followed to step {won.state.cursor})",
        )
    )
    return won

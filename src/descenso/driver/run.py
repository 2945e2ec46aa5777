"""A run in progress: what it holds, and the steps and measurements that every part of the driver asks of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from descenso._types import Leaves
from descenso.checkpoint.keeper import Keeper
from descenso.driver.pace import Pace
from descenso.driver.prepare import Prepared
from descenso.driver.spending import FORWARD, Spending
from descenso.driver.stretch import Stretch
from descenso.driver.telling import Teller
from descenso.engine.chunk import RunState, no_sums
from descenso.result import Finding, Look
from descenso.watch.limits import Stop
from descenso.watch.records import Course, Records
from descenso.watch.recover import Recovery
from descenso.watch.stop import Arrival, Validation

if TYPE_CHECKING:
    from descenso.certificate import Certificate

_FIRST_LOOK = 64  # steps
_JUDGES = 8  # batches, or keys, that a point is judged on


@dataclass
class Run:
    """A run in progress. The modules of this room, and they alone, replace what it holds."""

    ready: Prepared
    stop: Stop
    spending: Spending
    teller: Teller
    watch: Callable[[Look], None] | None
    keeper: Keeper | None = None
    course: Course = field(default_factory=Course)
    marks: list[tuple[float, float]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    judged: int = 0
    best: Leaves | None = None
    milestone: Leaves | None = None
    earlier: RunState | None = None
    certificate: Certificate | None = None
    pace: Pace = field(default_factory=Pace)
    stretch: Stretch | None = None
    unit: float = 1.0
    recovery: Recovery = field(default_factory=lambda: Recovery(np.nan, 0.0))  # until the loss at the start is known

    def __post_init__(self):
        self.engine, self.pilot, self.ladder = self.ready.engine, self.ready.pilot, self.ready.ladder
        self.findings += self.ready.findings
        self.state = self.engine.start(self.ready.leaves)
        self.search = getattr(self.engine.method, "line_search", False)
        self.endless = all(limit is None for limit in vars(self.spending.budget).values())
        self.validation = None
        if self.ready.validation is not None:
            self.validation = Validation(self.stop.patience, self.endless)

    def set_watchers(self, first: float, spread: float) -> None:
        wide = self.state.scale.dtype == np.float64
        self.recovery = Recovery(first, spread, self.search)
        self.arrival = Arrival(
            self.stop,
            self.engine.exact,
            gradient=self.stop.gradient or (1e-8 if wide else 1e-6),
            rounding=1e-14 if wide else 3e-7,
            # a pilot that knows its horizon has planned every step up to it
            floor=self.stop.floor and not (self.pilot and self.pilot.horizon),
            endless=self.endless,
            norm="gradient norm" if self.engine.bounds is None else "projected gradient norm",
        )

    def watchers(self) -> dict[str, Any]:
        found = {"recovery": self.recovery, "arrival": self.arrival, "validation": self.validation, "pilot": self.pilot}
        found["ladder"] = self.ladder
        return {name: watcher for name, watcher in found.items() if watcher is not None}

    def first_losses(self) -> tuple[float, float]:
        """The loss at the start, and its standard deviation from batch to batch."""
        losses = self.judge([self.state.params], again=True)[0]
        if len(known := losses[np.isfinite(losses)]):  # a batch with a nonfinite loss is left out, as it will be later
            losses = known
        return float(losses.mean()), float(losses.std(ddof=1)) if len(losses) > 1 else 0.0

    def next_look(self) -> int:
        """The step of the next look. It depends on steps alone, never on time: so the same seed gives the same run."""
        step, steps = self.state.cursor, self.ready.steps
        if self.engine.exact and self.search and step == 0:
            return 1  # shows the gradient at the start, which the end is measured by
        # what ends an exact run, a vanished gradient or a stalled search, ends it between two looks as well
        look = step + max(_FIRST_LOOK, step // 2 if self.engine.exact else step // 4)
        if steps is not None and self.validation is not None:
            look = min(look, step + max(_FIRST_LOOK, steps // 20))
        if every := getattr(self.watch, "every", None):
            look = min(look, step + every - step % every)
        if (allowed := self.spending.budget.gradients) is not None:
            look = min(look, step + max(1, int(allowed - self.spending.gradients)))
        ends = (steps, self.pilot.next_step if self.pilot else None)
        return min([look, *(end for end in ends if end is not None and end > step)])

    @property
    def recent(self) -> Records:
        """The records since the batches are of their present size, and their steps counted from there."""
        since = self.engine.origin[0]
        if not since:
            return self.course.records
        records = self.course.records.since(since)
        return replace(records, step=records.step - since)

    def accept(self, state: RunState, new: Records) -> None:
        self.earlier, self.state = self.state, state
        self.course.append(new)
        self.marks += [(self.spending.seconds, np.nan)] * len(new)

    def chunk(self, stretch: Stretch, most: int) -> Stretch:
        """One compiled call's steps further."""
        clock, steps = perf_counter(), min(stretch.left, most, self.engine.reach(stretch.state.cursor))
        new = self._advanced(stretch, steps)
        self.pace.measure(steps, perf_counter() - clock)
        if new.hopeless is not None and new.hopeless < new.state.cursor:
            new = self._advanced(stretch, new.hopeless - stretch.state.cursor)
        self.spending.updates += new.made - stretch.made
        self.teller.tell(self.engine, new.state.cursor, new.sums, self.findings, self.validation)
        return new

    def unfinished(self, stretch: Stretch) -> bool:
        """Whether a stretch has steps left, may make them, and has finite ones to expect."""
        return bool(stretch.left) and stretch.hopeless is None and not (stretch.made and self.spending.halted)

    def _advanced(self, stretch: Stretch, steps: int) -> Stretch:
        state, sums, over = self.engine.advance(
            stretch.state,
            steps,
            stride=stretch.stride,
            offset=stretch.made,
            sums=stretch.sums,
            vanished=self.arrival.vanished,
        )
        return stretch._replace(state=state, sums=sums, arrived=over)

    def validation_loss(self, point: Leaves) -> float:
        data = self.ready.validation or ()
        self.spending.probes += FORWARD * len(data[0]) / (self.engine.batch_size or self.engine.rows)
        return self.engine.mean_loss(point, data)

    # what the pilot may do: pilot.race.Bench

    def advance(self, state: RunState, steps: int) -> tuple[RunState, Records]:
        """Steps from `state`, or fewer if time is up or nothing is finite any more."""
        stretch = Stretch(state, state.cursor, state.cursor + steps, no_sums())
        while self.unfinished(stretch):
            stretch = self.chunk(stretch, self.pace.steps)
        return stretch.state, stretch.records

    def judge(self, points: list[Leaves], *, again: bool = False, least: int = _JUDGES) -> np.ndarray:
        count = 1 if self.engine.exact else max(least, _JUDGES)
        first = 0 if again else max(self.judged, _JUDGES)
        self.judged = max(self.judged, first + count)
        self.spending.probes += FORWARD * count * len(points)
        return np.stack([self.engine.batch_losses(p, first, count) for p in points])

    def answer(self, state: RunState) -> Leaves:
        return self.engine.answer(state)

    def show(self, state: RunState, loss: float) -> None:
        if self.watch is not None:
            build = lambda: self.ready.tree.build(self.engine.answer(state))  # noqa: E731
            self.watch(Look(state.cursor, self.spending.gradients, loss, build))

    @property
    def halted(self) -> bool:
        return self.spending.halted

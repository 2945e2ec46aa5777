"""method="auto" on data: a race for the learning rate, then a decay; forks where nobody said how long the run will be.

Every decision is a finding. What it costs is counted by the bench.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from descenso.engine.chunk import RunState
from descenso.pilot.fork import Forked, fork, tried
from descenso.pilot.method import with_fade
from descenso.pilot.race import Bench, Lane, race
from descenso.result import Finding
from descenso.watch.records import Records

_FIRST = 24  # steps of the first lanes where the length of the run is not known
_SELECTED = 8 * _FIRST  # step at which one lane is left, and the decay begins
_DOUBTS = 3  # how often a run that falls no longer, and has a gradient still, is tried at other rates
_OTHERS = (4.0, 0.1)  # times the present rate: it was too small, it was too large


@dataclass
class Pilot:
    """Chooses the learning rate of a run and changes it.

    Args:
        horizon: the steps that the run will make, or None where nobody knows.

    Attributes:
        findings: what it decided, in order.
        next_step: the step at which it wants the run again, or None.
        rejected: how many forks in a row kept the present rate.
        doubts: how often a rest was doubted. probing: whether the next fork is to answer a doubt.
    """

    horizon: int | None
    findings: list[Finding] = field(default_factory=list)
    next_step: int | None = None
    rejected: int = 0
    doubts: int = 0
    probing: bool = False

    def begin(self, bench: Bench, start: RunState) -> Lane | None:
        """The lane that won the race, its decay begun; None if no rate gave finite losses."""
        if self.horizon is None:
            first, rungs = _FIRST, [(2 * _FIRST, 2), (_SELECTED, 1)]
        else:
            first = min(max(round(0.02 * self.horizon), 20), max(self.horizon // 4, 1))
            rungs = [(max(round(share * self.horizon), first), keep) for share, keep in ((0.04, 2), (0.16, 1))]
        won = race(bench, start, first, rungs, self.findings.append)
        if won is None:
            return None
        if self.horizon is None:
            self.next_step = _SELECTED
        won.state = with_fade(won.state, max(won.state.cursor, 1), self.horizon or np.inf)
        return won

    def due(self, step: int) -> bool:
        """Whether it wants the run at `step`."""
        return self.next_step is not None and step >= self.next_step

    def steer(self, bench: Bench, state: RunState, run: Records) -> Lane | None:
        """The lane to go on with at `next_step`, None for the run as it is; `run` are its records so far."""
        step = state.cursor
        self.next_step = 2 * step
        if self.rejected >= 2 and not self.probing:
            self.rejected = 0
            return None
        found = self._fork(bench, state, run)
        self.rejected = 0 if found.changed else self.rejected + 1
        self.findings.append(found.finding)
        return found.lane

    def _fork(self, bench: Bench, state: RunState, run: Records) -> Forked:
        step, probing = state.cursor, self.probing
        self.probing = False
        length = max(step // 10, 8)
        if probing:
            return tried(bench, state, length, _OTHERS, "the loss no longer falls but a gradient is seen")
        return fork(bench, state, length, run.since(0.6 * step).loss)

    def doubt(self, step: int) -> bool:
        """Whether it wants to try other rates at `step`, where the loss no longer falls but has a gradient still.

        So it is not the noise of the batches that the run has come to rest in. Three doubts at most.
        """
        if self.horizon is not None or self.doubts >= _DOUBTS:
            return False
        self.doubts, self.probing, self.next_step = self.doubts + 1, True, step
        return True

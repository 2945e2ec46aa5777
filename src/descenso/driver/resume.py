"""What a checkpoint holds of a run, and how a run goes on from it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from descenso.checkpoint.keeper import Keeper
from descenso.checkpoint.snapshot import Points, Snapshot, remembered, remind
from descenso.driver.growth import resize
from descenso.driver.interrupt import TERMINATED
from descenso.driver.run import Run
from descenso.driver.units import take_unit
from descenso.engine.chunk import RunState
from descenso.result import Finding, Reason
from descenso.watch.records import Records
from descenso.watch.verdict import Stop as Ended


def keep(run: Run, keeper: Keeper, ended: Ended | None = None) -> None:
    """Write all that the run is to disk; `ended` where it is over."""
    watchers = {name: remembered(w) for name, w in run.watchers().items()}
    numbers = {
        "judged": run.judged,
        "updates": run.spending.updates,
        "probes": run.spending.probes,
        "seconds": run.spending.seconds,
        "unit": run.unit,
        "batch": [run.engine.batch_size, *run.engine.origin],
        "findings": [list(f) for f in run.findings],
        "watchers": watchers,
        "ended": None if ended is None else asdict(ended),
    }
    marks = np.array(run.marks).reshape(-1, 2)
    course = run.course.table
    scores = run.validation.seen if run.validation else run.course.records.loss
    points = Points(run.ready.leaves, run.best, run.milestone)
    snapshot = Snapshot(run.state, run.earlier, run.stretch, points, course, marks, numbers)
    keeper.save(snapshot, float(scores[-1]) if len(scores) else np.nan)


def like(run: Run, numbers: dict[str, Any]) -> RunState:
    """A state of the form that a checkpoint with these numbers holds: the method may have been changed by then."""
    rows, step, position = numbers.get("batch", [run.engine.batch_size, 0, 0])
    resize(run, rows, (step, position))
    ladder = run.ladder
    if ladder and (numbers["watchers"].get("ladder") or {}).get("rung"):
        remind(ladder, numbers["watchers"]["ladder"])
        run.engine = replace(run.engine, method=ladder.method())
    take_unit(run, numbers.get("unit", 1.0))
    run.state = run.engine.start(run.ready.leaves)
    return run.state


def restore(run: Run, found: Snapshot, told: list[Finding]) -> Ended | None:
    """Make the run what it was when it was stopped; why it had ended, None if it had not."""
    numbers = found.numbers
    run.set_watchers(0.0, 0.0)
    for name, watcher in run.watchers().items():
        remind(watcher, numbers["watchers"].get(name, {}))
    run.state, run.earlier, run.stretch = found.state, found.earlier, found.stretch
    start, run.best, run.milestone = found.points
    run.ready = replace(run.ready, leaves=start)
    run.course.append(Records(*found.course))
    run.marks = [tuple(mark) for mark in found.marks.tolist()]
    run.judged = numbers["judged"]
    run.spending.updates, run.spending.probes = numbers["updates"], numbers["probes"]
    run.spending.started -= numbers["seconds"]
    earlier = [Finding(*f) for f in numbers["findings"]]
    run.findings = told + [f for f in earlier if f.kind != "resumed"]
    ended = numbers["ended"] and Ended(Reason(numbers["ended"]["reason"]), numbers["ended"]["why"])
    return None if not ended or ended.reason is Reason.BUDGET else ended


def leave_if_told(run: Run) -> None:
    """End the process where SIGTERM has asked for it: what it had made is on disk."""
    if run.spending.interrupt.terminated:
        raise SystemExit(TERMINATED)

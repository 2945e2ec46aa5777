"""Where the noise of the batches is what limits a run: larger batches, or all rows at every step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from descenso.driver.pace import Pace
from descenso.driver.prepare import is_mean
from descenso.driver.run import Run
from descenso.driver.units import in_unit
from descenso.engine.engine import Engine
from descenso.methods.bfgs import BFGS, DENSE
from descenso.methods.projected import ProjectedLBFGS
from descenso.pilot.deterministic import Ladder
from descenso.result import Finding, Reason
from descenso.watch.verdict import Stop as Ended

_FACTOR = 4  # what a batch grows by: half the noise
_LEAST = 16  # batches in the data: the end is judged on so many, none of them twice
_RESTS = frozenset({Reason.NOISE_FLOOR, Reason.PLATEAU})


def unless_grown(run: Run, ended: Ended | None) -> Ended | None:
    """The end, unless the rows of a batch were left to us and more of them lead further down.

    Few params go on with all rows, where no noise is left and a dense inverse Hessian is affordable. Else, and where
    rows are streamed, batches grow.
    """
    steered = run.ready.may_grow and run.pilot is not None  # no pilot is left where all rows are taken already
    if ended is None or not steered or ended.reason not in _RESTS or run.spending.halted:
        return ended
    engine, step = run.engine, run.state.cursor
    size = sum(leaf.size for leaf in run.state.params)
    held = engine.stream is None
    if held and size <= DENSE and not engine.objective.keyed and run.validation is None:
        run.findings.append(
            Finding("batch_size", step, f"all {engine.rows:,} rows at every step from here: {ended.why}")
        )
        point = engine.answer(run.state)
        _grow(run, None)
        run.state = run.engine.start(point)._replace(cursor=step)
        return None
    larger = _FACTOR * (engine.batch_size or 0)
    if ended.reason is not Reason.NOISE_FLOOR or not 0 < larger <= most_rows(engine):
        return ended
    run.findings.append(Finding("batch_size", step, f"batches of {larger:,} rows from here: {ended.why}"))
    _grow(run, larger)
    return None


def most_rows(engine: Engine) -> int:
    """The most rows of a batch that is chosen: what the end is judged on, and what memory streamed ones may take."""
    most = engine.rows // _LEAST
    return most if engine.stream is None else min(most, engine.stream.most)


def _grow(run: Run, rows: int | None) -> None:
    """Take `rows` rows a batch from here on. What the run is judged by begins anew: more rows have less noise."""
    step = run.state.cursor
    resize(run, rows, (step, run.engine.position(step)))
    run.earlier, run.milestone, run.pace = None, None, Pace()
    run.set_watchers(run.recovery.first, run.recovery.spread)
    run.arrival.largest = float(np.nanmax(run.course.records.grad_norm))


def resize(run: Run, rows: int | None, origin: tuple[int, int]) -> None:
    """The engine for batches of `rows` rows from `origin` on; for all of them, by a deterministic method, for None."""
    engine = replace(run.engine, batch_size=rows, origin=origin)
    if rows is None and run.engine.batch_size is not None:
        method = BFGS() if engine.bounds is None else ProjectedLBFGS()
        engine = replace(engine, method=in_unit(method, run.unit))
        run.pilot, run.ladder, run.search = None, Ladder(method), True
        if not is_mean(engine, run.ready.leaves):
            engine = replace(engine, objective=replace(engine.objective, blocked=False))
    run.engine = engine

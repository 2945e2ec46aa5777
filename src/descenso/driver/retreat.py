"""Going back: to the last good point at a smaller scale, or to the start."""

from __future__ import annotations

from dataclasses import replace

from descenso.driver.pace import Pace
from descenso.driver.run import Run
from descenso.engine.chunk import RunState
from descenso.pilot.race import better
from descenso.result import Finding, Reason
from descenso.watch.recover import SMALLEST
from descenso.watch.verdict import Recover
from descenso.watch.verdict import Stop as Ended

_DOUBTFUL = 4  # failures in a row after which the snapshot itself is doubted
_LITTLE = 0.1  # of the rise of a loss: what the steps made of it may be laid on the batches


def recover(run: Run, verdict: Recover, *, lost: bool) -> None:
    """Back to the last look; to the one before where that has failed often, or where no step from it is finite."""
    scale, times = run.state.scale * verdict.shrink, run.recovery.failures
    if run.earlier is not None and (lost or times == _DOUBTFUL):
        # the last step before the snapshot may have been the bad one
        run.state, run.earlier = run.earlier, None
        run.course.cut(run.state.cursor)
        run.marks = run.marks[: len(run.course.records)]
    step = run.state.cursor
    run.state = run.state._replace(scale=scale)
    run.pace = Pace()
    if times > 1:  # one finding for one trouble
        run.findings.pop()
    again = f", {times} times" if times > 1 else ""
    message = f"{verdict.why}: back to step {step:,}{again}, scale {float(scale):.3g}"
    run.findings.append(Finding("recovered", step, message))


def spared(run: Run, state: RunState, verdict: Recover, *, lost: bool) -> RunState | None:
    """The state to go on with, where it was the batches that raised the loss and not the steps; None to go back.

    So it is where a smaller scale gave the same verdict, and the last good point is hardly better on common batches.
    """
    smaller = run.recovery.failures - 1
    if lost or smaller < 1 or run.engine.batch_size is None:
        return None
    now, then = run.judge([state.params, run.state.params])
    if not now.mean() - then.mean() <= _LITTLE * verdict.rise:
        return None
    run.recovery.failures = 0
    run.findings.pop()  # that it went back for this
    scale = state.scale / verdict.shrink**smaller
    message = f"{verdict.why}, at a smaller scale too, but the point before is hardly better: these batches were hard"
    run.findings.append(Finding("batches", state.cursor, f"{message}; scale {float(scale):.3g} again"))
    return state._replace(scale=scale)


def above_start(run: Run) -> bool:
    """Whether the answer of this moment is worse than the params at the start; a pilot judges by itself."""
    if run.pilot or run.search:
        return False
    now, start = run.judge([run.engine.answer(run.state), run.ready.leaves])
    return better(start, now, 2.0) and bool(now.mean() - start.mean() > run.arrival.rounding * abs(start.mean()))


def begin_again(run: Run, why: str) -> Ended | None:
    """From the start at a smaller scale; the course so far led nowhere and is forgotten."""
    scale, times = run.state.scale * Recover.shrink, run.recovery.restarts + 1
    run.engine = replace(run.engine, origin=(0, 0))
    run.state, run.earlier, run.milestone = run.engine.start(run.ready.leaves), None, None
    run.course.cut(0)
    run.marks.clear()
    run.arrival = replace(run.arrival, largest=0.0, agreed=0, next_step=256.0)
    if float(scale) < SMALLEST:
        return Ended(Reason.DIVERGED, f"{why}, still after {times - 1} returns to the start")
    run.state, run.recovery.restarts = run.state._replace(scale=scale), times
    run.findings = [f for f in run.findings if f.kind != "restarted"]
    again = f", {times} times" if times > 1 else ""
    run.findings.append(Finding("restarted", 0, f"{why}: back to the start{again}, scale {float(scale):.3g}"))
    return None


def unless_above_start(run: Run, ended: Ended) -> Ended | None:
    """The end, if it is not worse than the start; else the run begins again."""
    if ended.reason is Reason.TARGET:
        return ended
    if above_start(run):
        return begin_again(run, f"the run ended above where it began ({ended.why})")
    seen, last = run.recovery, run.course.records.loss[-1]
    if run.engine.exact and (seen.restarts or seen.troubled) and not last < seen.first:
        reason, what = (Reason.NONFINITE, "is not finite") if seen.nonfinite else (Reason.DIVERGED, "rises")
        return Ended(reason, f"the loss {what} at every step size that moves the params; {ended.why}")
    return ended

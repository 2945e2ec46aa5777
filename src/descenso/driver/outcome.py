"""What a run that is over gives back."""

from __future__ import annotations

import numpy as np

from descenso._types import Leaves
from descenso.driver.onward import certificate_of
from descenso.driver.run import Run
from descenso.pilot.race import better
from descenso.result import Finding, History, Reason, Result
from descenso.watch.verdict import Stop as Ended


def result_of(run: Run, ended: Ended) -> Result:
    ended, answer, loss = _end(run, ended)
    _tell_validated(run, ended)
    certificate = certificate_of(run, ended, answer)
    records = run.course.records
    seconds, validation = np.array(run.marks).reshape(-1, 2).T
    return Result(
        params=run.ready.tree.build(answer),
        loss=loss,
        reason=ended.reason,
        message=ended.why,
        history=History(
            records.step.astype(np.int64), records.loss, records.step_size, records.grad_norm, seconds, validation
        ),
        steps=run.state.cursor,
        gradients=run.spending.gradients,
        epochs=run.engine.epochs(run.state.cursor),
        seconds=run.spending.seconds,
        findings=run.findings,
        certificate=certificate,
        aux=run.engine.aux(answer),
        validation_loss=None if run.best is None or run.validation is None else run.validation.best,
    )


def _end(run: Run, ended: Ended) -> tuple[Ended, Leaves, float]:
    """How it ended, the answer and its loss: the params at the start where nothing better was found."""
    answer = _best_answer(run)
    loss = run.engine.mean_loss(answer)
    if np.isfinite(run.recovery.first) and run.best is None and not loss < run.recovery.first - run.recovery.spread:
        start = run.engine.mean_loss(run.ready.leaves)
        if np.isfinite(start) and not loss <= start:
            told = f"the loss at the end, {loss:.6g}, is above that at the start, {start:.6g}: the start is returned"
            run.findings.append(Finding("start", run.state.cursor, told))
            answer, loss = run.ready.leaves, start
    if ended.reason is Reason.UNBOUNDED and run.earlier is not None and not np.isfinite(loss):
        answer = run.engine.answer(run.earlier)  # it fell out of the range of its dtype since
        loss = run.engine.mean_loss(answer)
    if not np.isfinite(loss) and ended.reason is not Reason.NONFINITE:
        why = f"the loss of all rows is {loss}, though that of most batches is finite; the run itself ended since"
        ended = Ended(Reason.NONFINITE, f"{why} {ended.why}")
    return ended, answer, loss


def _tell_validated(run: Run, ended: Ended) -> None:
    """Say which point is returned, where another one ended the run."""
    seen = run.validation
    if seen is None or not seen.steps or ended.reason is Reason.VALIDATION or seen.best_step == seen.steps[-1]:
        return
    told = f"the params are those of step {seen.best_step:,}, of the lowest validation loss, {seen.best:.6g}"
    run.findings.append(
        Finding("validation", seen.best_step, f"{told}; at step {seen.steps[-1]:,} it was {seen.seen[-1]:.6g}")
    )


def _best_answer(run: Run) -> Leaves:
    """The best validated point, else the method's answer, or the last point if that is clearly better."""
    if run.best is not None:
        return run.best
    answer = run.engine.answer(run.state)
    if run.pilot is None:
        return answer
    averaged, last = run.judge([answer, run.state.params])
    return run.state.params if better(last, averaged, 2.0) else answer

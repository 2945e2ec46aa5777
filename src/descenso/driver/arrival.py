"""Whether a run has arrived, and where: each ending is confirmed before it is said."""

from __future__ import annotations

import numpy as np

from descenso.driver.endings import proven
from descenso.driver.growth import unless_grown
from descenso.driver.onward import unless_climbed
from descenso.driver.retreat import unless_above_start
from descenso.driver.run import Run
from descenso.driver.spending import FORWARD
from descenso.pilot.race import better
from descenso.result import Reason
from descenso.watch.records import Records
from descenso.watch.stop import Validation
from descenso.watch.verdict import Stop as Ended


def validate_start(run: Run) -> Ended | None:
    """Take the start as the first of the validated points."""
    if run.validation is None:
        return None
    loss = run.validation_loss(run.ready.leaves)
    if not np.isfinite(loss):
        return Ended(Reason.NONFINITE, f"the validation loss at the start is {loss}; check that data for NaN")
    run.best = run.ready.leaves
    run.validation.look(0, loss)
    return None


def arrived(run: Run, new: int, early: bool) -> Ended | None:
    """Why the run is over, None if it is not; `early` where the steps ended before the look."""
    if run.validation is not None and (ended := _validate(run, run.validation)) is not None:
        return ended
    records = run.recent
    if run.search and bool(run.state.method.stalled):
        return unless_climbed(run, _stalled(run, records))
    verdict = run.arrival.look(records, new, early)
    if not isinstance(verdict, Ended) or not _confirmed(run, verdict.reason):
        return None
    ended = unless_above_start(run, verdict)
    if ended is None or ended.reason is Reason.CONVERGED:
        return ended
    return unless_grown(run, _doubted(run, _proven(run, ended)))


def _doubted(run: Run, ended: Ended) -> Ended | None:
    """The end, unless the pilot would rather try other rates: where a gradient is seen it is not the noise floor."""
    if run.pilot is None or ended.reason is not Reason.PLATEAU or not run.pilot.doubt(run.state.cursor):
        return ended
    run.arrival.agreed = 0
    return None


def _validate(run: Run, validation: Validation) -> Ended | None:
    point = run.engine.answer(run.state)
    loss = run.validation_loss(point)
    run.marks[-1] = (run.marks[-1][0], loss)
    if loss < validation.best:
        run.best = point
    verdict = validation.look(run.state.cursor, loss)
    if run.stop.target is not None and loss <= run.stop.target:
        return Ended(Reason.TARGET, f"the validation loss {loss:.6g} is at or below the target {run.stop.target:g}")
    return verdict if isinstance(verdict, Ended) and run.stop.floor else None


def _stalled(run: Run, records: Records) -> Ended:
    norm, largest, loss = records.grad_norm[-1], max(run.arrival.largest, records.grad_norm.max()), records.loss[-1]
    if not np.isfinite(norm):
        where = f"at step {run.state.cursor:,}" if int(run.state.method.moves) > 1 else "at the start"
        return Ended(Reason.NONFINITE, f"the gradient {where} is NaN or infinite, the loss {loss:.6g}")
    told = f"no lower loss was found along the gradient, whose norm is {norm:.3g}; the largest seen was {largest:.3g}"
    if norm == largest and _far_away(run) and run.recovery.bottomless(loss):
        fell = f"the loss fell from {run.recovery.first:.4g} to {loss:.4g} and its gradient did not shrink"
        return Ended(Reason.UNBOUNDED, f"{fell}; the params are so large that their rounding is longer than a step")
    return _proven(run, Ended(Reason.PLATEAU, told))


def _far_away(run: Run) -> bool:
    """Whether the params are so large that their rounding hides a move as large as the params at the start."""
    now, start = (max(float(abs(p).max()) for p in leaves if p.size) for leaves in (run.state.params, run.ready.leaves))
    return now * float(np.finfo(np.float32).eps) > 0.1 * (1 + start)


def _confirmed(run: Run, reason: Reason) -> bool:
    """Whether it is true of the answer too: the records are of single batches, and not of the averaged point."""
    now = run.engine.answer(run.state)
    if reason is Reason.TARGET and run.stop.target is not None:
        run.spending.probes += FORWARD * run.engine.rows / (run.engine.batch_size or run.engine.rows or 1)
        return run.engine.mean_loss(now) <= run.stop.target
    if reason is not Reason.NOISE_FLOOR:
        return True
    if run.validation is not None and run.validation.best_step == run.state.cursor:
        return False  # rows that it does not learn from say that it still gets better
    then, run.milestone = run.milestone, now
    if then is None:
        return False
    scores, scores_then = run.judge([now, then], least=_share(run, 32))
    return not better(scores, scores_then, 1.0)


def _share(run: Run, steps: int) -> int:
    """One in so many of the steps made, in powers of two; 1 where no pilot would go on.

    An average over many batches lies nearer to the minimum than eight batches can tell.
    """
    return 1 << (run.state.cursor // steps).bit_length() >> 1 or 1 if run.pilot else 1


def _proven(run: Run, ended: Ended) -> Ended:
    """The ending that a closer look at the point bears out."""
    largest = float(np.nanmax(run.course.records.grad_norm))
    found, cost = proven(run.engine, run.engine.answer(run.state), ended, largest, _share(run, 128))
    run.spending.probes += cost
    return found

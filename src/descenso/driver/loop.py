"""The driver: from look to look until the run is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from descenso._types import Method
from descenso.checkpoint.keeper import Checkpoint, as_checkpoint, keeping
from descenso.checkpoint.snapshot import Snapshot
from descenso.driver.arrival import arrived, validate_start
from descenso.driver.interrupt import watching
from descenso.driver.noise import choose_first
from descenso.driver.onward import unless_left
from descenso.driver.outcome import result_of
from descenso.driver.prepare import check_arguments, check_certify, prepare
from descenso.driver.restarting import check_restarts, restarted
from descenso.driver.resume import keep, leave_if_told, like, restore
from descenso.driver.retreat import above_start, begin_again, recover, spared
from descenso.driver.run import Run
from descenso.driver.spending import Spending
from descenso.driver.stretch import Stretch
from descenso.driver.telling import Teller
from descenso.driver.units import choose_unit
from descenso.engine.chunk import no_sums
from descenso.pilot.auto import Pilot
from descenso.pilot.race import Lane
from descenso.result import Finding, Look, Progress, Reason, Result
from descenso.watch.limits import Budget, Stop
from descenso.watch.verdict import Continue, Recover
from descenso.watch.verdict import Stop as Ended


def minimize(
    loss: Callable,
    params: Any,
    data: Any = None,
    *,
    method: str | Method | Any = "auto",
    batch_size: int | str = "auto",
    bounds: Any = None,
    budget: Budget | None = None,
    stop: Stop | None = None,
    validate: Any = None,
    has_aux: bool = False,
    restarts: int | Budget | None = None,
    seed: int = 0,
    certify: str | bool = "auto",
    escape: bool = True,
    checkpoint: str | Path | Checkpoint | None = None,
    resume: str = "auto",
    progress: Callable[[Progress], None] | None = None,
    watch: Callable[[Look], None] | None = None,
) -> Result:
    """Lower a loss by gradient descent, and say truthfully how it ended.

    Args:
        loss: `loss(params)`, or with data `loss(params, batch)`, written in jax.numpy; returns one float, with data the
            mean over the rows of the batch. With a parameter named `key` it is given a fresh JAX PRNG key at each step.
            The arrays of a loss that is itself a pytree (`jax.tree_util.Partial(f, strength)`, say) are arguments of
            the compiled code: another value of them compiles nothing again.
        params: any pytree whose float leaves are descended on; functions and strings in it are kept as they are.
        data: a pytree of arrays with rows as first dimension; a batch has the same form. Held in memory.
        method: "auto" chooses and tunes one: BFGS or L-BFGS where every step sees the same loss, else Adam with a
            learning rate found by a race. Or a name ("adam"), a method such as
            `Descent(rules.Adam(), step_sizes.Constant(1e-3))`, or an optax transformation.
        batch_size: rows of a batch: a number from 1 to all, "all", or "auto": by the number of rows, by how noisy the
            gradient is at the start, and more of them on the way where method="auto" has no budget to plan by.
        bounds: between what values the params stay: a pair (low, high), each a number, None for none, or a pytree like
            `params` of numbers, None, or arrays that broadcast to the leaf; infinite for none. A start outside is
            moved to the nearest bound. See docs/deterministic.md.
        budget: what the run may spend; without one it goes on until it has arrived.
        stop: when it has arrived.
        validate: data of the same form to validate on; the params of the best validation loss are returned.
        has_aux: whether the loss returns a pair `(loss, aux)`. `aux`, a pytree of float arrays such as the batch
            statistics of a network and of the same shapes for any number of rows, is not descended on; `result.aux` is
            its mean over all rows at the answer.
        restarts: how often to descend from elsewhere before the run starts from the best point that this found: a
            number of descents, or `Budget(gradients=...)`. It leads out of local minima; `result.basins` are those
            found, between the `bounds` where there are some. With data it descends on the same 4,096 rows each time.
        seed: of the order of the rows, the PRNG keys and the restarts; the same seed gives the same run.
        certify: whether to say at the end what kind of point it is: "quick", "thorough", or False; "auto" is "quick"
            where a run without data came to rest. It goes to `result.certificate`; see `descenso.certify` for its cost.
        escape: whether to go on below a saddle that the certificate shows; only with method "auto" and the same loss at
            every step.
        checkpoint: a folder to write the run to as it goes, or a `Checkpoint`; the same call then goes on where it was
            stopped, by whatever. SIGTERM writes a checkpoint and exits with status 143.
        resume: "auto" goes on from the checkpoint where there is one, "must" refuses to start without one, "never" to
            go on from one.
        progress: called a few times a second with how the run stands.
        watch: called at each look with a `Look`; where it has an attribute `every`, looks fall on its multiples too.

    Returns:
        A `Result`, whatever happens: a run that fails ends with a reason and its best finite params.

    Raises:
        ArgumentError, BudgetError, MethodNameError: an argument is not what it must be.
        LossShapeError, LossPurityError, LossGradientError: the loss cannot be descended; or what the loss raises.
        ParamsError: a leaf is integer, boolean or complex.
        DataError: the data is empty, of unequal lengths, or does not fit the dtype.
        CheckpointError: a checkpoint cannot be written, none can be read, or it is of another run.
        KeyboardInterrupt: Ctrl-C a second time; the first ends the run with what it has.
    """
    started = perf_counter()
    budget, stop = Budget() if budget is None else budget, Stop() if stop is None else stop
    check_arguments(budget, stop, seed, progress, watch)
    check_certify(certify, escape)
    check_restarts(restarts, checkpoint)
    plan = as_checkpoint(checkpoint, resume)
    ready = prepare(loss, params, data, method, batch_size, budget, validate, seed, bounds, has_aux)
    ready = replace(ready, certify=certify, escape=escape and ready.ladder is not None)
    with watching(terminate=plan is not None) as interrupt, keeping(plan, ready, budget, stop, watch) as keeper:
        spending = Spending(budget, ready.steps, interrupt, started)
        basins = []
        if restarts is not None:
            ready, basins = restarted(ready, restarts, spending)
        run = Run(ready, stop, spending, Teller(progress, spending), watch, keeper)
        found = keeper.found(resume, partial(like, run)) if keeper else None
        try:
            result = _go_on(run, *found) if found else _start(run)
        finally:
            if ready.engine.stream is not None:
                ready.engine.stream.rest()
        return replace(result, basins=basins) if basins else result


def _start(run: Run) -> Result:
    choose_first(run)
    run.engine.ahead(run.state.cursor)
    first, spread = run.first_losses()
    if not np.isfinite(first):
        hint = "; check the params to start from, and the data for NaN"
        return result_of(run, Ended(Reason.NONFINITE, f"the loss at the start is {first}{hint}"))
    choose_unit(run, first)
    run.set_watchers(first, spread)
    return _to_the_end(run, validate_start(run) or _begin(run))


def _go_on(run: Run, found: Snapshot, told: list[Finding]) -> Result:
    """The rest of a run that was stopped."""
    ended = restore(run, found, told)
    return result_of(run, ended) if ended else _to_the_end(run, None)


def _to_the_end(run: Run, ended: Ended | None) -> Result:
    while ended is None:
        ended = _stretch(run)
        ended = None if ended is None else unless_left(run, ended)
    if run.keeper:
        keep(run, run.keeper, None if run.spending.halted else ended)
        leave_if_told(run)
    return result_of(run, ended)


def _begin(run: Run) -> Ended | None:
    if run.pilot is None:
        return None
    lane = run.pilot.begin(run, run.state)
    if lane is None:
        why = "no learning rate down to the smallest tried gave finite losses"
        return run.spending.ended(0) or Ended(Reason.NONFINITE, why)
    _take(run, run.pilot, lane)
    return None


def _stretch(run: Run) -> Ended | None:
    """The steps to the next look, and what is made of them."""
    if run.stretch is None:
        step = run.state.cursor
        if (ended := run.spending.ended(step)) is not None:
            return ended
        pilot = run.pilot if run.pilot and run.pilot.due(step) else None
        if run.keeper and (pilot or run.keeper.due(step)):
            keep(run, run.keeper)  # what a pilot does begins anew after a stop: nothing is written in between
        if pilot:
            return _take(run, pilot, pilot.steer(run, run.state, run.course.records))
        run.stretch = Stretch(run.state, step, run.next_look(), no_sums())
    done = _to_look(run, run.stretch)
    if run.keeper and done.left and run.spending.halted:
        run.keeper.spoiled = True
    run.stretch = None
    return _look(run, done)


def _to_look(run: Run, stretch: Stretch) -> Stretch:
    """Steps to the end of the stretch, or fewer if time is up or nothing is finite; with checkpoints on the way."""
    while run.unfinished(stretch):
        most = run.keeper.most(stretch.state.cursor) if run.keeper else run.pace.steps
        run.stretch = stretch = run.chunk(stretch, min(most, run.pace.steps))
        if run.keeper and (run.spending.halted or run.keeper.due(stretch.state.cursor)):
            keep(run, run.keeper)
            leave_if_told(run)
    return stretch


def _look(run: Run, done: Stretch) -> Ended | None:
    """Accept a stretch or go back from it, and say why the run is over, None if it is not."""
    state, new = done.state, done.records
    verdict = run.recovery.look(new, run.course.records, float(run.state.scale))
    if isinstance(verdict, Recover) and not verdict.to_start:
        lost = not np.isfinite(new.loss).any()
        if (kept := spared(run, state, verdict, lost=lost)) is None:
            return recover(run, verdict, lost=lost)
        state, verdict = kept, Continue()
    if isinstance(verdict, Ended) and verdict.reason is not Reason.UNBOUNDED:
        return verdict
    run.accept(state, new)
    run.show(state, float(new.loss[-1]))
    if isinstance(verdict, Continue):
        run.findings += [Finding("skipped", state.cursor, verdict.note)] if verdict.note else []
        return arrived(run, len(new), done.arrived)
    if isinstance(verdict, Recover):
        return begin_again(run, verdict.why) if above_start(run) else None
    return verdict


def _take(run: Run, pilot: Pilot, lane: Lane | None) -> None:
    """Go on with a lane of the pilot's."""
    if run.keeper and run.spending.halted:
        run.keeper.spoiled = True
    run.findings += pilot.findings
    pilot.findings.clear()
    before = run.state
    if lane is not None:
        for new in lane.records:
            run.accept(lane.state, new)
        lane.show(run)
        run.earlier = before

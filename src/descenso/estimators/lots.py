"""`partial_fit`, and the `fit` that is the same as so many calls of it."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

from descenso._errors import ArgumentError
from descenso.estimators.columns import Columns
from descenso.estimators.early import gone_on
from descenso.estimators.fit import decision, forget, in_user_units, keep, last_fit, tell_end
from descenso.estimators.settings import Settings
from descenso.estimators.stream import fitted_stream
from descenso.estimators.target import Target
from descenso.estimators.warm import check_last
from descenso.result import History, Reason, Result

_MOST_EPOCHS = 100  # of a perceptron that nobody has given a budget; where no plane parts the classes it never ends


def learn_lot(
    e: Any, X: Any, target: Target, targets: Columns | None, w: np.ndarray, outputs: int, s: Settings, seed: int
) -> None:
    """One pass over a lot of rows; sets what `fit` sets, but no reason: a stream does not end.

    Args:
        target: of the lot, in units of all targets seen. targets: their moments, where they are numbers.
        outputs: scores of a row. seed: of a stream that begins; one that goes on keeps its own.
    """
    if s.held_out:
        raise ArgumentError(
            f"`validation_fraction` is {s.held_out:g}, but a stream holds no rows out.", hint="set it to None"
        )
    last, before = last_fit(e), getattr(e, "_stream", None)
    if last is not None:
        check_last(last, s, X.shape[1], outputs)
    start = last if before is None else None
    stream = gone_on(before, X, target, w, outputs, s, seed=seed, start=start)
    stream = replace(stream, targets=targets)
    keep(e, fitted_stream(stream), s)
    e._stream = stream
    for name in ("result_", "reason_"):
        e.__dict__.pop(name, None)
    e.n_iter_ = len(stream.losses)
    e.loss_curve_ = target.factor * np.array(stream.losses) + target.constant


def learn_stream(
    e: Any, X: Any, target: Target, targets: Columns | None, w: np.ndarray, outputs: int, s: Settings, seed: int
) -> None:
    """`fit` with method="stream": as many lots as epochs, each of all rows.

    A perceptron ends sooner, as soon as it has every row on its side.
    """
    perceptron = s.family.name == "perceptron"
    most = _MOST_EPOCHS if perceptron and s.budget.epochs is None else s.budget.epochs
    if most is None or most != int(most):
        raise ArgumentError(
            f'`budget` is {e.budget!r}. With method="stream" it must be a whole number of epochs.',
            hint="leave `method` out to go on until it has arrived",
        )
    started, marks = perf_counter(), []
    if not e.warm_start:
        forget(e)
    spent = e._stream.spent if hasattr(e, "_stream") else 0
    right = False
    while len(marks) < most and not right:
        learn_lot(e, X, target, targets, w, outputs, s, seed)
        marks.append(perf_counter() - started)
        right = perceptron and _on_their_side(decision(e, X), target.values)
    tell_end(e, in_user_units(_result(e._stream, spent, np.array(marks), right=right), target))


def _on_their_side(z: np.ndarray, t: np.ndarray) -> bool:
    """Whether every row has a positive score for its class and negative ones for the others."""
    hit = (t == 1)[:, None] if z.shape[1] == 1 else t[:, None] == np.arange(z.shape[1])
    return bool((np.where(hit, z, -z) > 0).all())


def _result(stream: Any, spent: int, seconds: np.ndarray, *, right: bool) -> Result:
    """The run over the last lots of a stream, which had spent so many gradients before."""
    lots = len(seconds)
    losses, steps = np.array(stream.losses[-lots:]), np.cumsum(stream.made[-lots:])
    nothing = np.full(lots, np.nan)
    return Result(
        params=stream.answer,
        loss=float(losses[-1]),
        reason=Reason.CONVERGED if right else Reason.BUDGET,
        message="every row is on its side" if right else f"the {lots:,} epochs allowed were made",
        history=History(steps, losses, nothing, nothing, seconds, nothing),
        steps=int(steps[-1]),
        gradients=float(stream.spent - spent),
        epochs=float(lots),
        seconds=float(seconds[-1]),
    )

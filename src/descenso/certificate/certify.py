"""The certificate of a point, from the caller's loss and params."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from zlib import crc32

import jax
import numpy as np

from descenso._errors import ArgumentError, DataError
from descenso._types import Leaves
from descenso.certificate.batches import BatchGradient, detectable_gradient
from descenso.certificate.curvature import DENSE
from descenso.certificate.stationary import Stationarity
from descenso.certificate.surface import Surface
from descenso.certificate.verdict import EFFORTS, Effort, Judged, Verdict, judge
from descenso.certificate.within import judge_within
from descenso.data.batches import Order
from descenso.data.source import in_memory
from descenso.engine.bounds import Bounds, bounds_of
from descenso.engine.calling import check_call, takes_key
from descenso.engine.chunk import as_key
from descenso.engine.compile_cache import keep_on_disk
from descenso.engine.engine import key_data
from descenso.engine.objective import Objective, Trace, inspect_loss, parted
from descenso.engine.tree import flatten, is_wide, names_of

_FULL_ROWS = 20_000  # rows up to which "auto" takes the loss over all of them
_BATCH = 256  # rows of a batch, where there are enough


@dataclass(frozen=True)
class Certificate:
    """What kind of point the params are, with the evidence.

    Attributes:
        verdict: the kind.
        detail: what it rests on, in words.
        stationarity: the gradient against its noise, and the predicted decrease; None from batches.
        index: directions along which the curvature is below zero; at least so many unless `complete`.
        flat: directions of no curvature; at least so many unless `complete`.
        lowest, largest: the extreme curvatures seen, eigenvalues of the Hessian; None where it was not looked at.
        level: no curvature is below -`level`, with probability `sure`; None where it was not looked at.
        sure: that probability.
        complete: whether all eigenvalues are known.
        batches: the test of the gradients of batches; None without.
        rows: of the data that were looked at, 0 without data.
        descent: a step of the form of params along which the loss falls, or None. At a saddle its sign is open.
        cost: what it took, in gradients of the whole loss (with batches, of one batch): a Hessian-vector product is 2,
            a loss 1/3.
        at_bounds: how many params are at a bound; None where there are no bounds. The verdict is then that among the
            points within them: index, flat and curvature are of the params that no bound holds.
    """

    verdict: Verdict
    detail: str
    stationarity: Stationarity | None
    index: int
    flat: int
    lowest: float | None
    largest: float | None
    level: float | None
    sure: float
    complete: bool
    batches: BatchGradient | None
    rows: int
    descent: Any
    cost: float
    at_bounds: int | None = None

    @property
    def is_minimum(self) -> bool:
        """Whether it is certified as a minimum: strict, to the level stated, or with flat directions."""
        return self.verdict in (Verdict.STRICT_MINIMUM, Verdict.MINIMUM, Verdict.FLAT)

    def __str__(self) -> str:
        if self.batches is not None:
            return f"{self.batches}; {self.cost:,.0f} gradients of one batch"
        kind = f"saddle of index {self.index}" if self.verdict is Verdict.SADDLE else str(self.verdict)
        kind = (
            f"minimum with {self.flat} flat direction{'s' if self.flat > 1 else ''}"
            if self.verdict is Verdict.FLAT
            else kind
        )
        kind = kind if self.at_bounds is None else f"{kind} within bounds"
        on = f", for the loss over these {self.rows:,} rows" if self.rows else ""
        return f"{kind}{on}: {self.detail}; {self.stationarity}; {self.cost:,.0f} gradients"


def certify(
    loss: Callable,
    params: Any,
    data: Any = None,
    *,
    effort: str = "quick",
    batch_size: int | str = "auto",
    seed: int = 0,
    bounds: Any = None,
) -> Certificate:
    """Say what kind of point `params` are: a minimum, a saddle, a plateau, a kink, or none that can be told.

    The loss over all rows of the data is a function like any other: its gradient is held against its measured noise,
    and the curvature is found by all eigenvalues up to 512 params, above by Lanczos with the level that it proves. From
    batches, or where the loss takes a key, only the gradient can be tested, and the certificate says what gradient
    would have been seen; it never says "minimum".

    Args:
        loss: `loss(params)`, or `loss(params, batch)` with data, as in `minimize`.
        params: the point, from anywhere.
        data: a pytree of arrays with rows as first dimension, or None.
        effort: "quick" takes 64 Hessian-vector products or 16 batches, "thorough" 256 or 64.
        batch_size: "all" takes the loss over all rows; a number compares batches of so many; "auto" takes all up to
            20,000 rows and 512 params, else batches.
        seed: of what is random: directions, signs, batches. Directions hang on the params as well.
        bounds: between what values the params may lie, as in `minimize`: it is then asked what kind of point it is
            among those. A test of batches takes none.

    Raises:
        ArgumentError: an argument is not what it must be, or there are fewer than 16 batches.
        ParamsError, DataError, LossShapeError, LossPurityError, LossGradientError: as in `minimize`.
    """
    if not callable(loss):
        raise ArgumentError(f"`loss` is a {type(loss).__name__}. It must be a function of params.")
    if effort not in EFFORTS:
        raise ArgumentError(f'`effort` is {effort!r}. It must be "quick" or "thorough".')
    keep_on_disk()
    ready = _ready(loss, params, data)
    batch = _batch(batch_size, ready, EFFORTS[effort])
    box = bounds_of(bounds, ready.objective.tree, ready.leaves)
    if box is not None and (outside := box.outside(ready.leaves)):
        raise ArgumentError(f"{outside:,} of the `params` lie outside `bounds`. All must be within.")
    if batch is None:
        return certificate(
            ready.objective, ready.leaves, ready.data, ready.rows, effort, seed=seed, trace=ready.trace, bounds=box
        )
    if box is not None:
        raise ArgumentError("`bounds` were given. From batches, or with a key, a point is certified without them.")
    rows = _rows_of(ready.rows, batch, EFFORTS[effort].batches, seed) if ready.rows else None
    draws = EFFORTS[effort].batches
    return from_batches(
        detectable_gradient(ready.objective, ready.leaves, ready.data, rows, draws=draws, seed=seed, trace=ready.trace)
    )


def certificate(
    objective: Objective,
    leaves: Leaves,
    data: Leaves,
    rows: int,
    effort: str = "quick",
    *,
    seed: int = 0,
    trace: Trace | None = None,
    bounds: Bounds | None = None,
) -> Certificate:
    """The certificate of the loss over all `rows` of `data`, or without data, at `leaves`; see `certify`."""
    surface = Surface(objective, leaves, data, key_data(0, 0), trace)
    # the directions are random, and the same when asked again; none is the same for all losses
    rng = np.random.default_rng([seed % 2**32, crc32(surface.x.tobytes())])
    if bounds is None:
        return _certificate(judge(surface, EFFORTS[effort], rng), surface, objective, rows)
    judged, count = judge_within(surface, *bounds.flat, EFFORTS[effort], rng)
    return replace(_certificate(judged, surface, objective, rows), at_bounds=count)


def from_batches(found: BatchGradient) -> Certificate:
    """The certificate that batches alone can give."""
    verdict = Verdict.NOT_STATIONARY if found.seen else Verdict.NO_GRADIENT
    return Certificate(
        verdict, str(found), None, 0, 0, None, None, None, 0.0, False, found, found.rows, None, found.cost
    )


def _certificate(judged: Judged, surface: Surface, objective: Objective, rows: int) -> Certificate:
    c, down = judged.curvature, judged.descent
    seen = (0, 0, None, None, None, 0.0, False)
    if c is not None:
        seen = (c.negative, c.flat, c.lowest, c.largest, c.level, c.sure, c.complete)
    step = None if down is None else objective.tree.build(surface.leaves_of(down))
    return Certificate(judged.verdict, judged.detail, judged.stationarity, *seen, None, rows, step, surface.spent)


class _Ready(NamedTuple):
    objective: Objective
    leaves: Leaves
    data: Leaves
    rows: int
    trace: Trace


def _ready(loss: Callable, params: Any, data: Any) -> _Ready:
    tree, leaves = flatten(params)
    structure, arrays, rows = None, (), 0
    if data is not None:
        found, names = names_of(data, "data")
        if not found:
            raise DataError("`data` holds no arrays.", hint="pass e.g. (X, y), or leave it out")
        source = in_memory(found, names, wide=is_wide())
        structure, arrays, rows = jax.tree.structure(data), tuple(jax.device_put(a) for a in source.arrays), source.rows
    check_call(loss, batch=data is not None)
    form, own = parted(loss)
    objective = Objective(form, tree, structure, takes_key(loss), blocked=True, own=len(own))
    first = (*(a[:1] for a in arrays), *own)
    trace = inspect_loss(objective, leaves, first, as_key(key_data(0, 0)))
    return _Ready(objective, leaves, (*arrays, *own), rows, trace)


def _batch(asked: Any, ready: _Ready, effort: Effort) -> int | None:
    """Rows of a batch; None for all rows, or a loss without data; 0 for draws of a key."""
    if not ready.rows:
        if asked != "auto":
            raise ArgumentError(f"`batch_size` is {asked!r}, but there is no `data`. Leave it out, or pass `data`.")
        return 0 if ready.objective.keyed else None
    if asked == "all":
        return None
    few = ready.rows <= _FULL_ROWS and sum(leaf.size for leaf in ready.leaves) <= DENSE
    if asked == "auto":
        most = ready.rows // effort.batches
        return None if (few and not ready.objective.keyed) or not most else min(_BATCH, most)
    if isinstance(asked, bool) or not isinstance(asked, (int, np.integer)) or asked < 1:
        raise ArgumentError(f'`batch_size` is {asked!r}. It must be a whole number from 1, "all" or "auto".')
    if asked * 16 > ready.rows:
        raise ArgumentError(
            f"`batch_size` is {asked:,} and the data has {ready.rows:,} rows. "
            "The test needs 16 batches without common rows.",
            hint=f'take at most {max(ready.rows // 16, 1):,}, or "all"',
        )
    return int(asked)


def _rows_of(rows: int, batch: int, most: int, seed: int) -> np.ndarray:
    """The rows of as many batches as there may be, none of them twice: (K, batch)."""
    count = min(most, rows // batch)
    return Order(rows, seed, "certify").take(0, count * batch).reshape(count, batch)

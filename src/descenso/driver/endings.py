"""A closer look at a point where a run came to rest, before its ending is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from descenso._types import Leaves
from descenso.data.batches import Order
from descenso.engine.engine import Engine
from descenso.pilot.deterministic import has_products
from descenso.result import Reason
from descenso.watch.verdict import Stop

if TYPE_CHECKING:
    from descenso.certificate import Certificate

_BATCHES = 16  # independent batches that a gradient is looked for in
_MOST = 128  # the same, after a long run


def proven(engine: Engine, leaves: Leaves, ended: Stop, largest: float, times: int = 1) -> tuple[Stop, float]:
    """The ending that the gradient at `leaves` bears out, with that evidence, and its cost in gradients.

    A loss that no longer falls has converged if its gradient is zero to the rounding, else it stands on a plateau. With
    batches it is at the noise floor if no gradient can be told from their noise. Other endings are left as they are.

    Args:
        largest: the largest gradient norm of the run.
        times: how many times sixteen batches a gradient is looked for in.
    """
    if ended.reason in (Reason.CONVERGED, Reason.PLATEAU) and engine.exact:
        return _at_rest(engine, leaves, ended, largest)
    if ended.reason is Reason.NOISE_FLOOR and engine.rows >= 2 * _BATCHES and engine.stream is None:
        return _in_noise(engine, leaves, ended, times)
    return ended, 0.0


def _at_rest(engine: Engine, leaves: Leaves, ended: Stop, largest: float) -> tuple[Stop, float]:
    from descenso.certificate import stationary, stationary_within

    if not has_products(engine, leaves):
        return ended, 0.0
    known = {"largest": largest, "trace": engine.trace}
    if engine.bounds is None:
        found = stationary(engine.objective, leaves, engine.data, **known)
    else:
        found = stationary_within(engine.objective, leaves, engine.data, engine.bounds, **known)
    reason = Reason.CONVERGED if found.zero else Reason.PLATEAU
    return Stop(reason, f"{ended.why} ({found})"), found.cost


def _in_noise(engine: Engine, leaves: Leaves, ended: Stop, times: int) -> tuple[Stop, float]:
    from descenso.certificate import detectable_gradient

    found = detectable_gradient(
        engine.objective, leaves, engine.data, _batches(engine, times), trace=engine.trace, bounds=engine.bounds
    )
    reason = Reason.PLATEAU if found.seen else Reason.NOISE_FLOOR
    return Stop(reason, f"{ended.why}; {found}"), found.cost


def _batches(engine: Engine, times: int = 1) -> np.ndarray:
    """The rows of sixteen batches, or `times` as many, none of them twice."""
    size = max(1, min(engine.batch_size or 1, engine.rows // _BATCHES))
    count = min(_BATCHES * times, _MOST, engine.rows // size)
    return Order(engine.rows, engine.seed, "ending").take(0, count * size).reshape(count, size)


def certified(engine: Engine, leaves: Leaves, effort: str) -> Certificate | None:
    """The certificate of the point, None where none can be made: JAX has no product with the Hessian, or too few rows.

    Args:
        effort: "quick" or "thorough"; see `certify`.
    """
    from descenso.certificate import certificate, detectable_gradient, from_batches

    if engine.exact:
        if not has_products(engine, leaves):
            return None
        return certificate(
            engine.objective,
            leaves,
            engine.data,
            engine.rows,
            effort,
            seed=engine.seed,
            trace=engine.trace,
            bounds=engine.bounds,
        )
    if engine.stream is not None or 0 < engine.rows < 2 * _BATCHES:
        return None
    rows = _batches(engine) if engine.rows else None
    return from_batches(
        detectable_gradient(engine.objective, leaves, engine.data, rows, trace=engine.trace, bounds=engine.bounds)
    )

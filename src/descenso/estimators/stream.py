"""Learning from rows as they come: one pass over each lot of them, the state of the descent kept between lots.

The step size is found on the first lot, from the same start at each of a few rates, by one pass or by as many as tell;
from then on it falls slowly. Where that lot is small, `early` says on what. The units of columns and target are those
of all rows seen, and are made anew where they have moved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from descenso._types import State
from descenso.averaging import Last, NonNegative, Polynomial
from descenso.driver.prepare import prepare
from descenso.engine.chunk import CELLS, RunState
from descenso.engine.engine import Engine
from descenso.estimators.columns import Columns, measure
from descenso.estimators.linear import linear_loss, zeros
from descenso.estimators.network import Fitted, network_loss, new_model, restarted, whole
from descenso.estimators.objective import Given, Linear, Network, Penalised
from descenso.estimators.packed import Packed, packed
from descenso.estimators.settings import Settings
from descenso.estimators.table import Dense, dense
from descenso.estimators.target import Target
from descenso.estimators.units import Units, units_of
from descenso.methods import Descent
from descenso.pilot.method import Fade, with_fade
from descenso.rules import Adam
from descenso.watch.limits import Budget

_BATCH = 32  # rows
_RATES = (0.003, 0.012, 0.05, 0.2)
_TELLING, _FEW = 64, 8  # steps that tell which rate is good, and that tell it where there are rows enough for
_ENOUGH = _TELLING * _BATCH
_STEADY = 100  # steps before the step size begins to fall


@dataclass(frozen=True)
class Stream:
    """What is kept between two lots of rows.

    Attributes:
        columns, targets: the moments of X, and of a target that is a number, over all rows seen.
        units: those of the params. model: what they are params of. batch: rows of a batch. seed: of their order.
        params, answer: where the descent stands, and the average that is its answer; numpy arrays.
        state, rate: the rest of its state, and its step size before it began to fall.
        losses: the mean loss over each lot, as it was met. made: steps taken on each.
        spent: gradients in all, those at other rates too.
        early: the first rows, an `Early`, where they came in small lots and are not yet enough; else None.
    """

    columns: Columns
    targets: Columns | None
    units: Units
    model: Any
    batch: int
    seed: int
    params: Any
    answer: Any = None
    state: State = None
    rate: float = 0.0
    losses: tuple[float, ...] = ()
    made: tuple[int, ...] = ()
    spent: int = 0
    early: Any = None


def begun(X: Any, target: Target, w: np.ndarray, outputs: int, s: Settings, *, seed: int, start: Any = None) -> Stream:
    """A stream that has met the columns of its first lot, and learned nothing from it.

    Args:
        start: a fitted coef and intercept, or a `Fitted` network, to start from; or None.
    """
    columns = measure(X, w)
    units = units_of(columns, s, target)
    batch = _BATCH if isinstance(s.batch_size, str) else int(s.batch_size)
    if s.model != "linear":
        model, params = new_model(s, X.shape[1], outputs, seed)
        params, units = (params, units) if start is None else restarted(start, units)
        return Stream(columns, None, units, model, batch, seed, params)
    model = Linear(s.intercept, s.l1 > 0)
    params = zeros(X.shape[1], outputs, model, np.float32)
    params = params if start is None else units.params(*start, like=params)
    return Stream(columns, None, units, model, batch, seed, params)


def renewed(stream: Stream, X: Any, target: Target, w: np.ndarray, s: Settings) -> Stream:
    """The stream that has met the columns of one more lot: where units have moved it is in new ones."""
    columns = stream.columns.merged(measure(X, w))
    units = units_of(columns, s, target)
    stream = replace(stream, columns=columns)
    if stream.units.near(units) or isinstance(stream.model, Given):
        return stream
    params, answer = (_moved(p, stream.model, stream.units, units) for p in (stream.params, stream.answer))
    return replace(stream, units=units, params=params, answer=answer)


def _moved(params: Any, model: Any, old: Units, new: Units) -> Any:
    if isinstance(model, Network):
        return new.own_layers(old.layers(params))
    return new.params(*old.coef(params), like=params)


def learned(stream: Stream, X: Any, target: Target, w: np.ndarray, s: Settings, lot: int | None = None) -> Stream:
    """The stream after one pass over a lot of rows whose columns it has met.

    Args:
        lot: rows of a step, of which at least so many are made as tell a step size, however often that takes each row;
            None for one pass by batches.
    """
    size = lot or stream.batch
    table = _table(stream, X, size)
    loss = _loss(stream, target, s, table)
    batch = size if isinstance(table, Dense) else 1
    method = _method(stream)
    data, share = _data(table, target.values, w, size / stream.batch)
    ready = prepare(loss, stream.params, data, method, batch, Budget(), None, stream.seed)
    engine = ready.engine
    steps = engine.rows // batch
    if lot:
        steps = max(steps, _FEW if len(w) >= _ENOUGH else _TELLING)
    start = engine.start(ready.leaves)
    if stream.state is None:
        rate, state, met = _raced(engine, start, steps)
        spent = steps * len(_RATES)
    else:
        rate, cursor = stream.rate, len(stream.losses) * steps
        kept = jax.tree.map(jnp.asarray, _with_answer(stream.state, jax.tree.leaves(stream.answer)))
        state, met = _passed(engine, _at(start._replace(method=kept, cursor=cursor), rate), steps)
        spent = steps
    params, answer = (_numpy(ready.tree.build(p)) for p in (state.params, engine.answer(state)))
    stream = replace(stream, params=params, answer=answer, state=_numpy(state.method), rate=rate)
    told = {"losses": (*stream.losses, met / share), "made": (*stream.made, steps)}
    return replace(stream, **told, spent=stream.spent + spent)


def _method(stream: Stream) -> Descent:
    averaging: Any = Polynomial()
    if "plus" in stream.params:
        # an average of points has no zeros: with them the answer is the last point
        averaging = Last(NonNegative(tuple(name != "intercept" for name in sorted(stream.params))))
    return Descent(Adam(b1=0.9, b2=0.99, eps=1e-8), Fade(), averaging)


def _loss(stream: Stream, target: Target, s: Settings, table: Dense | Packed) -> Penalised:
    if s.model == "linear":
        return linear_loss(s, target, stream.columns, stream.units, table.width, np.float32)
    return network_loss(s, target, stream.columns.total, stream.model)


def _table(stream: Stream, X: Any, batch: int) -> Dense | Packed:
    units = stream.units
    if sparse.issparse(X) and not isinstance(stream.model, Given):
        order = np.random.default_rng([stream.seed, len(stream.losses)]).permutation(X.shape[0])
        return packed(X, units.scale, np.float32, batch, order)
    rows = -(-X.shape[0] // batch) * batch
    return dense(whole(X), units.center, units.scale, np.float32, shape=(rows, X.shape[1]))


def _data(table: Dense | Packed, t: np.ndarray, w: np.ndarray, share: float) -> tuple[dict, float]:
    """The batches of a lot, and what their loss is as a share of its own: one that is not full counts for less.

    Args:
        share: of a batch that a full one of the table is.
    """
    data = table.data(t, w)
    share *= len(t) / data["w"].size
    if share == 1:
        return data, share
    weights = data["w"] * np.float32(share)
    return {**data, "w": weights, "cost": np.full_like(weights, share)}, share


def _raced(engine: Engine, start: RunState, steps: int) -> tuple[float, RunState, float]:
    """The rate whose pass ends lowest, the state after it, and the mean loss on the way."""
    passes = {}
    for rate in _RATES:
        state, met = _passed(engine, _at(with_fade(start, max(steps, _STEADY), np.inf), rate), steps)
        passes[rate] = (engine.mean_loss(engine.answer(state)), state, met)
    finite = {rate: p for rate, p in passes.items() if np.isfinite(p[0])} or passes
    best = min(finite, key=lambda rate: finite[rate][0])
    return best, *passes[best][1:]


def _at(state: RunState, rate: float) -> RunState:
    return state._replace(scale=jnp.full_like(state.scale, rate))


def _passed(engine: Engine, state: RunState, steps: int) -> tuple[RunState, float]:
    """The state after so many steps, and their mean loss."""
    sums, left = np.zeros(2), steps
    while left:
        made = min(left, engine.longest, CELLS)
        state, part, _ = engine.advance(state, made)
        sums += np.asarray(part, np.float64)[:, [0, 4]].sum(0)
        left -= made
    return state, float(sums[0] / sums[1]) if sums[1] else np.nan


def _with_answer(state: State, answer: list) -> State:
    """The state of the method with this average in it."""
    rule, size, mean = state
    return (rule, size, (mean[0], tuple(answer))) if mean else state


def _numpy(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, tree)


def fitted_stream(stream: Stream) -> Any:
    """coef and intercept of a linear model, or the `Fitted` network."""
    if isinstance(stream.model, Linear):
        return stream.units.coef(stream.answer)
    if isinstance(stream.model, Network):
        return Fitted(stream.units.layers(stream.answer), stream.model)
    return Fitted(stream.answer, stream.model, stream.units)

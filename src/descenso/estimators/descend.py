"""The runs of `minimize` that a fit is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import numpy as np

from descenso.driver.loop import minimize
from descenso.estimators.objective import Penalised
from descenso.estimators.told import Stopped
from descenso.result import History, Look, Reason, Result
from descenso.watch.limits import Budget


@dataclass(frozen=True)
class Options:
    """What the user asked of the descent.

    wide: whether to compute in 64 bits. progress, watch: as `minimize` takes them, or None.
    told: makes the watch of a function from params to what a fit to them leaves; None where nobody listens.
    """

    method: Any
    batch_size: Any
    budget: Budget
    seed: int
    wide: bool
    progress: Callable | None = None
    watch: Callable | None = None
    told: Callable | None = None

    def watching(self, found: Callable[[Any], Any]) -> Options:
        """The options with the watch of who listens; `found` makes of params what a fit to them leaves."""
        return self if self.told is None else replace(self, watch=self.told(found))


@contextmanager
def precision(wide: bool) -> Iterator[None]:
    """64-bit floats inside, whatever the caller's setting; with `wide` False the caller's setting stays."""
    if not wide:
        yield
        return
    with jax.enable_x64(True):
        yield


def left_of(budget: Budget, runs: list[Result]) -> Budget | None:
    """What is left of the budget after these runs, None if nothing is."""
    used = {"steps": sum(r.steps for r in runs), "epochs": sum(r.epochs for r in runs)}
    used |= {"seconds": sum(r.seconds for r in runs), "gradients": sum(r.gradients for r in runs)}
    left = {name: limit - used[name] for name, limit in vars(budget).items() if limit is not None}
    return Budget(**left) if all(v > 0 for v in left.values()) else None


def descend(loss: Penalised, params: Any, data: dict, options: Options, validate: dict | None = None) -> Result:
    """One run as the pilot or the named method makes it, with numpy params; validated without the penalty."""
    data, validate = priced(data, validate)
    o = options
    asked = {"method": o.method, "batch_size": o.batch_size, "budget": o.budget, "validate": validate}
    return run_once(loss, params, data, options, **asked)


def priced(data: dict, validate: dict | None) -> tuple[dict, dict | None]:
    """Rows that bear the penalty, and rows that do not."""
    if validate is None:
        return data, None
    return {**data, "cost": np.ones_like(data["w"])}, {**validate, "cost": np.zeros_like(validate["w"])}


def run_once(loss: Penalised, params: Any, data: dict, options: Options, **asked: Any) -> Result:
    """A run of `minimize` in the precision of the options, with numpy params; `asked` are arguments of `minimize`."""
    o = options
    with precision(options.wide):
        try:
            run = minimize(loss, params, data, seed=o.seed, progress=o.progress, watch=o.watch, **asked)
        except Stopped as stopped:
            run = _until(stopped.look)
        # the answer leaves JAX here: a pickle of it needs no device, and its precision no setting
        return replace(run, params=jax.tree.map(_to_numpy, run.params))


def _until(look: Look) -> Result:
    """The run up to a look at which it was ended."""
    none, at = np.array([np.nan]), np.array([look.step])
    history = History(at, np.array([look.loss]), none, none, none, none)
    why = f"a callback asked for the end at step {look.step:,}"
    return Result(look.params(), look.loss, Reason.INTERRUPTED, why, history, look.step, look.gradients, 0.0, 0.0)


def _to_numpy(leaf: Any) -> Any:
    return np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf


def joined(runs: list[Result]) -> Result:
    """Runs one after another as one: its history and costs are those of all."""
    if len(runs) == 1:
        return runs[0]
    steps = np.cumsum([0] + [r.steps for r in runs])
    seconds = np.cumsum([0.0] + [r.seconds for r in runs])
    # a later run that ended where it began has a record, of its step 0, but has made no step
    kept = [r.history.step > 0 if i else slice(None) for i, r in enumerate(runs)]
    parts = {f.name: [getattr(r.history, f.name)[k] for r, k in zip(runs, kept, strict=True)] for f in fields(History)}
    parts["step"] = [s + n for s, n in zip(parts["step"], steps, strict=False)]
    parts["seconds"] = [s + n for s, n in zip(parts["seconds"], seconds, strict=False)]
    found = [f._replace(step=f.step + int(n)) for r, n in zip(runs, steps, strict=False) for f in r.findings]
    first = {(f.kind, f.message): f for f in reversed(found)}  # each run says anew which method it takes
    return replace(
        runs[-1],
        history=History(**{name: np.concatenate(values) for name, values in parts.items()}),
        steps=int(steps[-1]),
        gradients=sum(r.gradients for r in runs),
        epochs=sum(r.epochs for r in runs),
        seconds=float(seconds[-1]),
        findings=[f for f in found if f is first[f.kind, f.message]],
    )

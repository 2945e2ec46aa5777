"""What a run needs, checked before its first step: the loss over leaves, the data, the method, the batch size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from descenso._errors import ArgumentError
from descenso._masks import Mask
from descenso._types import Leaves, Method
from descenso.averaging import Between
from descenso.driver.inputs import (
    check_batch,
    most_steps,
    rows_of_a_batch,
    source_of,
    stream_of,
    told,
    validation_of,
)
from descenso.engine.bounds import Bounds, bounds_of
from descenso.engine.calling import check_call, takes_key
from descenso.engine.chunk import as_key
from descenso.engine.compile_cache import keep_on_disk
from descenso.engine.engine import Engine, key_data
from descenso.engine.evaluate import block_rows
from descenso.engine.objective import Objective, inspect_loss, parted
from descenso.engine.tree import Tree, flatten
from descenso.methods.bfgs import BFGS, quasi_newton
from descenso.methods.bounded import bounded
from descenso.methods.projected import ProjectedLBFGS
from descenso.pilot.auto import Pilot
from descenso.pilot.deterministic import Ladder
from descenso.pilot.hidden import hidden_matrices, in_words
from descenso.pilot.method import pilot_method
from descenso.result import Finding
from descenso.watch.limits import Budget, Stop


@dataclass(frozen=True)
class Prepared:
    """A run ready for its first step.

    Attributes:
        engine: the compiled steps.
        leaves: where it starts.
        pilot: who steers, or None for a method that was named or needs no learning rate.
        ladder: what follows a method that has stalled, or None for one that was named.
        validation: the arrays of the validation data, or None.
        steps: the most updates the budget allows, or None.
        findings: what was decided on the way.
        grows: whether the rows of a batch were left to us.
        certify, escape: whether the point at the end is certified, as in `minimize`, and a saddle left.
    """

    engine: Engine
    tree: Tree
    leaves: Leaves
    pilot: Pilot | None
    ladder: Ladder | None
    validation: Leaves | None
    steps: int | None
    findings: list[Finding]
    certify: str | bool = False
    escape: bool = False
    grows: bool = False

    @property
    def may_grow(self) -> bool:
        """Whether batches may grow on the way: nobody said how many rows they have, nor how long the run is."""
        return self.grows and self.pilot is not None and self.pilot.horizon is None


def prepare(
    loss: Callable,
    params: Any,
    data: Any,
    method: Any,
    batch_size: Any,
    budget: Budget,
    validate: Any,
    seed: int,
    bounds: Any = None,
    has_aux: bool = False,
) -> Prepared:
    """Check everything that can be checked before a step is made; see `minimize` for the arguments and errors."""
    if not callable(loss):
        raise ArgumentError(f"`loss` is a {type(loss).__name__}. It must be a function of params.")
    keep_on_disk()
    tree, leaves = flatten(params)
    method = method if isinstance(method, str) and method == "auto" else _named_or_checked(method, tree)
    box = bounds_of(bounds, tree, leaves)
    leaves, moved = (leaves, "") if box is None else _started(box, leaves)
    stream, data, notes = stream_of(data)
    source, structure = (None, jax.tree.structure(data)) if stream else source_of(data, "data")
    check_call(loss, batch=structure is not None)
    form, own = parted(loss)
    objective = Objective(form, tree, structure, takes_key(loss), blocked=True, own=len(own), has_aux=bool(has_aux))
    size = sum(leaf.size for leaf in leaves)
    rows = stream.rows if stream else source.rows if source else 0
    batch, note = rows_of_a_batch(batch_size, rows, size, method, held=stream is None)
    if stream:
        check_batch(batch, batch_size, stream)
    arrays = tuple(jax.device_put(a) for a in source.arrays) if source else ()
    key = jax.eval_shape(as_key, key_data(0, 0))
    # of rows in memory the shapes are enough: to cut them out would be compiled
    some = stream.first(batch or 1) if stream else (_shaped(a, batch or rows) for a in arrays)
    one_batch = (*some, *own)
    trace = inspect_loss(objective, leaves, one_batch, key)
    _check_search(method, batch, objective.keyed)
    findings = [Finding("batch_size", 0, note)] if note else []
    steps = most_steps(budget, rows, batch)
    raced = method == "auto" and (batch is not None or objective.keyed)
    hidden = hidden_matrices(objective, leaves, one_batch, key) if raced else ()
    chosen, pilot, how = _method(method, size, batch, steps, budget, objective.keyed, hidden)
    if box is not None:
        chosen, how = _within(box, chosen, how, searches=method == "auto" and pilot is None, size=size)
    how = in_words(hidden, tree.names) if any(hidden) else how
    findings += [Finding("method", 0, how)] if how else []
    findings += [Finding("bounds", 0, moved)] if moved else []
    if trace.convolves and jax.default_backend() == "cpu":
        findings.append(
            Finding("engine", 0, "the loss holds convolutions: steps are compiled one by one, not in a loop")
        )
    findings += [Finding("data", 0, note) for note in notes]
    findings += [Finding("stream", 0, told(stream, int(seed)))] if stream else []
    engine = Engine(objective, chosen, (*arrays, *own), rows, batch, int(seed), trace, stream, box)
    if source and batch is None and not is_mean(engine, leaves):
        engine = replace(engine, objective=replace(objective, blocked=False))
        findings.append(Finding("engine", 0, "the loss is not a mean over rows: all rows are evaluated at once"))
    validation = validation_of(validate, structure, stream.first(1) if stream else arrays)
    checked = None if validation is None else (*validation, *own)
    ladder = Ladder(chosen) if method == "auto" and pilot is None else None
    return Prepared(engine, tree, leaves, pilot, ladder, checked, steps, findings, grows=batch_size == "auto")


def _shaped(array: jax.Array, rows: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((rows, *array.shape[1:]), array.dtype)


def check_arguments(budget: Any, stop: Any, seed: Any, progress: Any, watch: Any) -> None:
    """Raise ArgumentError where an argument of `minimize` is not of its kind."""
    for name, value, kind in (("budget", budget, Budget), ("stop", stop, Stop)):
        if not isinstance(value, kind):
            made = f"{kind.__name__}({'steps=1000' if kind is Budget else 'target=0.1'})"
            raise ArgumentError(f"`{name}` is {value!r}. It must be a {kind.__name__}.", hint=f"e.g. {made}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ArgumentError(f"`seed` is {seed!r}. It must be a whole number.")
    for name, value in (("progress", progress), ("watch", watch)):
        if value is not None and not callable(value):
            raise ArgumentError(f"`{name}` is {value!r}. It must be a function of one argument, or None.")
    if not stop.floor and stop.target is None and all(v is None for v in vars(budget).values()):
        raise ArgumentError(
            "`stop` has floor=False and there is no `budget` and no target: the run would not end.",
            hint="give a budget, e.g. Budget(steps=10_000)",
        )


def check_certify(certify: Any, escape: Any) -> None:
    """Raise ArgumentError where these arguments of `minimize` are not of their kind."""
    if not isinstance(certify, bool) and certify not in ("auto", "quick", "thorough"):
        raise ArgumentError(f'`certify` is {certify!r}. It must be "quick", "thorough", False or "auto".')
    if not isinstance(escape, bool):
        raise ArgumentError(f"`escape` is {escape!r}. It must be True or False.")


def _method(
    method: Any, size: int, batch: int | None, steps: int | None, budget: Budget, keyed: bool, hidden: Mask
) -> tuple[Method, Pilot | None, str]:
    """The method, who steers it, and a sentence where it was chosen."""
    if method != "auto":
        return method, None, ""
    if batch is None and not keyed:
        chosen = quasi_newton(size)
        name = "BFGS" if isinstance(chosen, BFGS) else "L-BFGS"
        return chosen, None, f"{name}, for {size:,} params and the same loss at every step"
    steps = planned(budget, steps)
    return pilot_method(anytime=steps is None, hidden=hidden), Pilot(steps), ""


def planned(budget: Budget, steps: int | None) -> int | None:
    """The steps that a pilot plans by, of the most that are allowed; None where nobody knows."""
    if budget.gradients is None:
        return steps
    # a race and its judging cost about a quarter of a run
    affordable = max(1, int(budget.gradients / 1.25))
    return affordable if steps is None else min(steps, affordable)


def _started(box: Bounds, leaves: Leaves) -> tuple[Leaves, str]:
    """The start within the bounds, and a sentence where it was not."""
    outside = box.outside(leaves)
    if not outside:
        return leaves, ""
    total = sum(leaf.size for leaf in leaves)
    return box.clip(leaves), f"{outside:,} of {total:,} params started outside their bounds: moved to the nearest bound"


def _within(box: Bounds, method: Method, how: str, *, searches: bool, size: int) -> tuple[Method, str]:
    """The method kept within the bounds, and the sentence on how it was chosen."""
    if searches:
        return ProjectedLBFGS(), f"projected L-BFGS, for {size:,} params with bounds and the same loss at every step"
    if not hasattr(method, "within"):
        return bounded(method, Between(*box.sides)), how
    if getattr(method, "mask", None) is not None:
        raise ArgumentError(
            f"`method` {type(method).__name__} has a `mask`, which bounds params by 0, and there are `bounds` too.",
            hint="leave the mask out, and give 0 as the lower bound of these params",
        )
    return method, how


def _check_search(method: Any, batch: int | None, keyed: bool) -> None:
    if getattr(method, "line_search", False) and (batch is not None or keyed):
        raise ArgumentError(
            f"`method` {type(method).__name__} searches along a line, but "
            + ("the loss takes a key" if keyed else f"`batch_size` is {batch:,}")
            + ". It needs the same loss at every step.",
            hint='take "auto" or "adam"' if keyed else 'take batch_size="all", or "auto" or "adam" as method',
        )


def _named_or_checked(method: Any, tree: Tree) -> Method:
    if isinstance(method, str):
        from descenso.methods.named import named

        return named(method)
    if isinstance(method, Method) and not isinstance(method, type):
        _check_inner(method)
        return method
    if getattr(method, "_fields", None) == ("init", "update"):  # told by its form: optax need not be installed
        from descenso.interop.optax import FromOptax

        transformation: Any = method
        return FromOptax(transformation, tree.bare())
    raise ArgumentError(
        f"`method` is {method!r}. It must be a name, a method or an optax transformation.",
        hint='e.g. "auto", "adam" or Descent(rules.Adam(), step_sizes.Constant(1e-3))',
    )


def _check_inner(method: Any) -> None:
    """Raise ArgumentError where a method that is for another has something else in its place."""
    inner = getattr(method, "method", None)
    if inner is None or not type(method).__module__.startswith("descenso."):
        return
    if not isinstance(inner, Method) or isinstance(inner, type):
        raise ArgumentError(
            f"{type(method).__name__} got method={inner!r}. It must be a method.",
            hint='e.g. methods.named("adam", lr=1e-3); "auto" is a word of `minimize` alone',
        )
    _check_inner(inner)


def is_mean(engine: Engine, leaves: Leaves) -> bool:
    """Whether the loss over all rows is the mean of the losses over blocks of rows, as `minimize` asks for."""
    if block_rows(engine.objective.split(engine.data)[0]) == engine.rows:
        return True
    whole = replace(engine, objective=replace(engine.objective, blocked=False)).mean_loss(leaves)
    blocks = engine.mean_loss(leaves)
    return not np.isfinite(whole) or abs(whole - blocks) <= 1e-3 * max(abs(whole), abs(blocks))

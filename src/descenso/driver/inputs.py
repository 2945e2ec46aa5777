"""The data of a run: held or streamed, its rows in a batch, and what validates it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from descenso._errors import ArgumentError, BudgetError, DataError
from descenso._types import Leaves
from descenso.data.memory import as_bytes
from descenso.data.source import Source, in_memory
from descenso.data.stream import Stream
from descenso.data.streamed import Streamed
from descenso.engine.tree import is_wide, names_of
from descenso.methods.bfgs import DENSE
from descenso.watch.limits import Budget

_FULL_ROWS = 256  # rows up to which `auto` takes all of them at every step
_FULL_ROWS_FEW_PARAMS = 20_000  # the same where a dense inverse Hessian is affordable


def stream_of(data: Any) -> tuple[Stream | None, Any, tuple[str, ...]]:
    """The stream of data that are too many to hold, the pytree of arrays, and sentences about them."""
    if not isinstance(data, Streamed):
        arrays = [] if data is None else jax.tree.leaves(data)
        mapped = sum(a.nbytes for a in arrays if isinstance(a, np.memmap))
        if mapped <= as_bytes(Streamed.memory):
            return None, data, ()
        data = Streamed(data)
    arrays, names = names_of(data.data, "data")
    if not arrays:
        raise DataError("`data` holds no arrays.", hint="pass e.g. Streamed((X, y))")
    stream = Stream(arrays, tuple(names), as_bytes(data.memory), wide=is_wide())
    if stream.rows * stream.row_bytes <= stream.memory // 2:
        return None, jax.tree.map(lambda a: np.asarray(a[:]), data.data), data.notes
    from descenso.data.mending import mended  # loads Arrow, which arrays in memory do not need

    arrays, note = mended(stream, None if data.cache is None else Path(data.cache))
    if note:
        stream = Stream(arrays, tuple(names), stream.memory, wide=is_wide())
    return stream, data.data, (*data.notes, note) if note else data.notes


def check_batch(batch: int | None, asked: Any, stream: Stream) -> None:
    if batch is None:
        raise ArgumentError(
            f"`batch_size` {asked!r} takes all {stream.rows:,} rows at every step. They must then fit into the memory "
            f"allowed, {stream.memory:,} bytes.",
            hint="give a number of rows as `batch_size`, a method that takes batches, or more `memory`",
        )


def told(stream: Stream, seed: int) -> str:
    order, size = stream.order(seed), stream.rows * stream.row_bytes
    window = min(order.block * order.span, stream.rows)
    measured = f"; a loss is measured on {stream.measures:,} rows" if stream.measures < stream.rows else ""
    return f"{stream.rows:,} rows of {size / 1e6:,.0f} MB are read in windows of {window:,} rows{measured}"


def source_of(data: Any, root: str) -> tuple[Source | None, Any]:
    if data is None:
        return None, None
    if isinstance(data, Streamed):
        raise ArgumentError(f"`{root}` is Streamed. Only the data that are descended on can be.", hint="pass arrays")
    arrays, names = names_of(data, root)
    if not arrays:
        raise DataError(f"`{root}` holds no arrays.", hint="pass e.g. (X, y), or leave it out")
    return in_memory(arrays, names, wide=is_wide()), jax.tree.structure(data)


def validation_of(validate: Any, structure: Any, data: Leaves) -> Leaves | None:
    if validate is None:
        return None
    source, found = source_of(validate, "validate")
    if structure is None or source is None:
        raise ArgumentError("`validate` was given without `data`. It must be data of the same form as `data`.")
    if found != structure:
        raise ArgumentError(f"`validate` has the form {found}. It must have that of `data`, {structure}.")
    for a, b, name in zip(source.arrays, data, source.names, strict=True):
        if a.shape[1:] != b.shape[1:] or a.dtype != b.dtype:
            raise DataError(
                f"{name} has rows of shape {a.shape[1:]} and dtype {a.dtype}. "
                f"It must be like that of the data, {b.shape[1:]} and {b.dtype}."
            )
    return tuple(jax.device_put(a) for a in source.arrays)


def rows_of_a_batch(asked: Any, rows: int, size: int, method: Any, *, held: bool = True) -> tuple[int | None, str]:
    """Rows of a batch, None for all of them, and a sentence where it was chosen or changed.

    `held`: whether all rows are in memory, so that every step can take them.
    """
    if not rows:
        if asked != "auto":
            raise ArgumentError(f"`batch_size` is {asked!r}, but there is no `data`. Leave it out, or pass `data`.")
        return None, ""
    if asked == "all":
        return None, ""
    if asked == "auto":
        return _auto_batch(rows, size, method, held)
    if isinstance(asked, bool) or not isinstance(asked, (int, np.integer)) or asked < 1:
        raise ArgumentError(f'`batch_size` is {asked!r}. It must be a whole number from 1, "all" or "auto".')
    if asked > rows:
        raise DataError(
            f"`batch_size` is {asked:,}, but the data has {rows:,} rows.", hint='take batch_size="all" for all of them'
        )
    return int(asked), ""


def _auto_batch(rows: int, size: int, method: Any, held: bool) -> tuple[int | None, str]:
    searches = getattr(method, "line_search", False)
    few = rows <= _FULL_ROWS or (rows <= _FULL_ROWS_FEW_PARAMS and size <= DENSE)
    if searches or (held and method == "auto" and few):
        return None, f"all {rows:,} rows at every step"
    batch = min(rows, 32 if rows < 4096 else 128 if rows < 100_000 else 256)
    return batch, f"batches of {batch} of {rows:,} rows"


def most_steps(budget: Budget, rows: int, batch: int | None) -> int | None:
    """The most updates that steps and epochs allow."""
    limits = [budget.steps]
    if budget.epochs is not None:
        if not rows:
            raise BudgetError("`budget` counts epochs, but there is no `data`.", hint="count steps or seconds")
        limits.append(max(1, round(budget.epochs * rows / (batch or rows))))
    return min((int(n) for n in limits if n is not None), default=None)

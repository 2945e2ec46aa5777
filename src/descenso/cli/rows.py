"""From the arguments of `fit` to three sets of encoded rows: to descend on, to choose when to stop, to report on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from descenso._errors import ArgumentError, DataError
from descenso.data import parts
from descenso.data.checks import check_to_fit
from descenso.data.column import Table
from descenso.data.encode import Encoding, fit_encoding
from descenso.data.memory import share_of_free
from descenso.data.split import hold_out
from descenso.data.table import Wanted, example_of, read_table
from descenso.data.target import CLASSIFICATION, Classes, Target
from descenso.data.task import fit_target, infer_task
from descenso.watch.limits import Budget

_LARGE = 10_000  # rows from which a tenth is enough to see where to stop; below, a fifth
_MOST_HELD, _MOST_STOP = 1_000_000, 100_000  # rows that tell as much as more would


@dataclass(frozen=True)
class Request:
    """The arguments of `fit`, as `descenso fit --help` describes them. `task` None: told from the target.

    `table`: files, folders, patterns or addresses, whose rows follow one another; or one example. `valid_fraction`
    None: a fifth, a million rows at most. `memory`: in bytes; None until it is settled. `cache`: None for the user's.
    `checkpoint`: a folder to write the run to, every so many seconds, or None.
    """

    table: tuple[str, ...]
    target: str
    model: str = "linear"
    out: Path = Path()
    valid: str | None = None
    valid_fraction: float | None = None
    drop: tuple[str, ...] = ()
    task: str | None = None
    seed: int = 0
    budget: Budget = field(default_factory=Budget)
    batch_size: int | str = "auto"
    checkpoint: Path | None = None
    every: float = 30.0
    memory: int | None = None
    cache: Path | None = None


class Rows(NamedTuple):
    """Encoded rows: inputs float32 (rows, inputs), targets (rows,); arrays, or `Blocks` on disk."""

    inputs: Any
    targets: Any

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Learnable:
    """A table ready to be learned from.

    Attributes:
        train: the rows that are descended on; the encoding and the scale of the target come from them alone.
        stop: the rows that choose where to stop, or None.
        held: the rows that the metrics are measured on; they have no part in the fit.
        held_from: where these come from, in words.
        notes: sentences about the tables.
        spread: how rows on disk stand for inputs, see `Encoding.spread`; () for rows in memory, which are the inputs.
        memory: how much of rows on disk may be in memory, in bytes.
    """

    train: Rows
    stop: Rows | None
    held: Rows
    held_from: str
    encoding: Encoding
    target: Target
    notes: tuple[str, ...]
    spread: tuple[int, ...] = ()
    memory: int = 0


def read_rows(request: Request) -> Learnable:
    """Read, check, split and encode: in memory where a table fits into it, else on disk.

    Raises:
        DataError: a table cannot be read or learned from.
    """
    memory = request.memory or share_of_free()
    if fits(request, memory):
        return rows_in_memory(request)
    from descenso.cli.large import rows_on_disk

    return rows_on_disk(request, memory)


def fits(request: Request, memory: int) -> bool:
    """Whether the tables can be learned from within so many bytes of memory."""
    if example_of(request.table):
        return True
    tables = [request.table] + ([(request.valid,)] if request.valid else [])
    return parts.fits(tables, Wanted(request.drop), memory, target=request.target)


def rows_in_memory(request: Request) -> Learnable:
    """The same, of a table that fits into memory."""
    table = read_table(request.table, drop=request.drop)
    notes = [*table.notes, *check_to_fit(table, request.target)]
    whole, (table, without) = table, _with_target(table, request.target)
    column = table.column(request.target)
    told, why = infer_task(column)
    if request.task is None:
        notes.append(f"a {told}, since {why}")
    target = fit_target(table.file, column, request.task or told)
    groups = target.encode(table.file, column) if target.task == CLASSIFICATION else None
    held, stop = split(request, table.file, table.rows, groups)
    train_table = table.take(~held & ~stop)
    if not isinstance(target, Classes):
        target = fit_target(table.file, train_table.column(request.target), target.task)
    encoding = fit_encoding(train_table.without([request.target]))
    encoding.check(whole)  # for the rows are counted as in the file
    if not isinstance(target, Classes):
        target.check(whole.file, whole.column(request.target))
    held_rows, held_from, more = _held(request, table, held, target, encoding)
    return Learnable(
        _encode(train_table, target, encoding),
        _encode(table.take(stop), target, encoding) if stop.any() else None,
        held_rows,
        held_from,
        encoding,
        target,
        (*notes, *without, *encoding.notes(), *more),
    )


def _with_target(table: Table, name: str) -> tuple[Table, list[str]]:
    """The rows that have a target, and a note on those that have none."""
    gaps = np.flatnonzero(table.column(name).missing)
    if not gaps.size:
        return table, []
    return table.take(~table.column(name).missing), [
        left_out(table.file, name, gaps.size, table.rows, int(gaps[0]) + 1)
    ]


def left_out(file: str, name: str, gaps: int, rows: int, first: int) -> str:
    """The note on rows without a target."""
    return f"{gaps:,} of {rows:,} rows of {file} have no {name!r} (the first is row {first:,}): they are left out"


def split(request: Request, file: str, rows: int, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the rows to hold out (none where there is a file for that), and of those to stop by (or none).

    Args:
        file: for messages.
        rows: how many there are with a target.
        groups: a class for each, None for a regression.
    """
    held = np.zeros(rows, bool)
    if request.valid is None and rows >= 2:
        share = request.valid_fraction or min(0.2, _MOST_HELD / rows)
        held = hold_out(rows, share, request.seed, groups=groups, purpose="held out")
    stop, left = np.zeros(rows, bool), rows - int(held.sum())
    if request.model == "mlp" and left >= 2:
        share = min(0.1 if left >= _LARGE else 0.2, _MOST_STOP / left)
        rest_groups = None if groups is None else groups[~held]
        stop[~held] = hold_out(left, share, request.seed, groups=rest_groups, purpose="stop")
    _check_split(request, file, held, stop)
    return held, stop


def _check_split(request: Request, file: str, held: np.ndarray, stop: np.ndarray) -> None:
    left = len(held) - int(held.sum()) - int(stop.sum())
    if left < 2:
        raise DataError(
            f"{file}: of {len(held):,} rows {held.sum():,} are held out, and {left:,} are left to learn "
            "from. At least 2 are needed.",
            hint="collect more rows, or hold out fewer: --valid-fraction",
            file=file,
            count=left,
        )
    if isinstance(request.batch_size, int) and request.batch_size > left:
        raise ArgumentError(
            f"--batch-size is {request.batch_size:,}, but there are {left:,} rows to learn from.",
            hint="--batch-size all takes all of them",
        )


def _held(
    request: Request, table: Table, held: np.ndarray, target: Target, encoding: Encoding
) -> tuple[Rows, str, list[str]]:
    if request.valid is None:
        told = chosen(request, int(held.sum()), table.rows)
        return _encode(table.take(held), target, encoding), told, []
    wanted = wanted_to_measure(request, target, encoding)
    other = read_table(request.valid, only=wanted.only, text=wanted.text)
    rows = _encode(other, target, encoding)
    kept, notes = _with_target(other, request.target)
    if not kept.rows:
        raise DataError(f"{other.file}: no row has a {request.target!r}. Some must.", file=other.file, count=0)
    if notes:
        present = ~other.column(request.target).missing
        rows = Rows(rows.inputs[present], rows.targets[present])
    return rows, f"{len(rows):,} rows of {other.file}", notes


def chosen(request: Request, held: int, rows: int) -> str:
    """What was held out, in words."""
    return f"{held:,} of {rows:,} rows, chosen by seed {request.seed}"


def wanted_to_measure(request: Request, target: Target, encoding: Encoding) -> Wanted:
    """The columns to read of a table to measure on."""
    words = isinstance(target, Classes) and isinstance(target.labels[0], str)
    text = {*encoding.text_columns, request.target} if words else encoding.text_columns
    return Wanted(only=[*encoding.columns, request.target], text=text)


def _encode(table: Table, target: Target, encoding: Encoding) -> Rows:
    column = table.column(target.name)
    features = replace(table, columns={n: c for n, c in table.columns.items() if n != target.name})
    return Rows(encoding.apply(features), target.encode(table.file, column))

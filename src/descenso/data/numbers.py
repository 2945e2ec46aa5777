"""A table of numbers as blocks of rows on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from descenso._errors import DataError, SchemaError
from descenso.data.blocks import Blocks, Writer
from descenso.data.cache import FORMAT, Kept, in_random_order, keep, name_of, opened, prints, tidied
from descenso.data.readers import Shard
from descenso.data.shards import agreed, locations, shards
from descenso.data.shuffle import Drift
from descenso.data.stream import BLOCK_BYTES

_EXACT = 1 << 24  # up to here float32 holds every whole number


@dataclass(frozen=True)
class Cached:
    """A table on disk.

    Attributes:
        inputs: float32 of shape (rows, columns).
        target: float32 of shape (rows,), or None.
        columns: the names of the inputs, in their order.
        notes: sentences about what was seen.
    """

    inputs: Blocks
    target: Blocks | None
    columns: tuple[str, ...]
    notes: tuple[str, ...]


def cached(
    source: Any, target: str | None, columns: Sequence[str] | None, folder: Path | None = None, system: Any = None
) -> Cached:
    """The table as blocks on disk: those of an earlier call if the files are what they were, else made now.

    Every value is looked at, so that what cannot be learned from is an error before the first step.

    Args:
        source: see `shards`.
        target: the column to predict, or None.
        columns: the others to read; None reads all.
        folder: where to keep it; by default in the user's cache folder.
        system: the file system that the files are in; see `shards`.

    Raises:
        DataError: a file holds no table, a column no numbers, parts do not agree, a value is missing or infinite.
    """
    folder = tidied(folder)
    known = _name(source, target, columns, system)
    if known and (found := opened(folder, known)) is not None:
        return _read(found)
    return _made(shards(source, system), target, columns, folder, known)


def _name(source: Any, target: str | None, columns: Sequence[str] | None, system: Any) -> str | None:
    """What a cache of these files is called, None for a source that is no file."""
    files = locations(source, system)
    return None if files is None else name_of([FORMAT, prints(files), target, columns and list(columns)])


def _read(kept: Kept) -> Cached:
    arrays, about = kept
    return Cached(arrays["inputs"], arrays.get("target"), tuple(about["columns"]), tuple(about["notes"]))


def _made(
    parts: list[Shard], target: str | None, columns: Sequence[str] | None, folder: Path, name: str | None
) -> Cached:
    wanted = None if columns is None else [*dict.fromkeys([*columns, *([target] if target else [])])]
    names = agreed(parts, wanted)
    if target is not None and target not in names:
        raise SchemaError(f"{parts[0].name}: there is no column {target!r}.", file=parts[0].name, column=target)
    inputs = [n for n in names if n != target]
    if not inputs:
        raise SchemaError(f"{parts[0].name}: there is no column but the target.", file=parts[0].name, column=target)

    def make(prepared: Path) -> Kept:
        arrays, notes = _transcribe(parts, inputs, target, prepared)
        return arrays, {"columns": inputs, "notes": notes}

    return _read(keep(folder, name, make))


def _transcribe(
    parts: list[Shard], inputs: list[str], target: str | None, folder: Path
) -> tuple[dict[str, Blocks], list[str]]:
    block = max(1, BLOCK_BYTES // (4 * (len(inputs) + (target is not None))))
    seen, drift = Seen(), Drift()
    with ExitStack() as stack:
        rows = stack.enter_context(Writer(folder / "inputs.f32", block))
        values = None if target is None else stack.enter_context(Writer(folder / "target.f32", block))
        for table in _tables(parts, [*inputs, *([] if target is None else [target])], seen):
            rows.add(table[:, : len(inputs)])
            if values is not None:
                values.add(table[:, -1])
                drift.add(table[:, -1])
        if not rows.rows:
            raise DataError(f"{parts[0].name}: there are no rows. At least one is needed.", file=parts[0].name, count=0)
        seen.check()
        arrays = {"inputs": rows.finish()} | ({} if values is None else {"target": values.finish()})
    notes = [*dict.fromkeys(note for part in parts for note in part.notes), *seen.notes()]
    if not drift.sorted:
        return arrays, notes
    told = f"the rows are in an order that follows {target!r}: they were shuffled into the cache"
    return in_random_order(arrays, folder), [*notes, told]


def _tables(parts: list[Shard], names: list[str], seen: Seen) -> Iterator[np.ndarray]:
    """The values of the columns, float32 of shape (rows, columns), some rows at a time."""
    for part in parts:
        at = 0
        for batch in part.read(names):
            table = np.empty((batch.num_rows, batch.num_columns), np.float32)
            for i, (name, column) in enumerate(zip(names, batch.columns, strict=True)):
                table[:, i] = seen.numbers(part.name, name, column, at)
            yield table
            at += batch.num_rows


@dataclass
class Seen:
    """What is wrong or odd with the values, by column: where first, how often, an example."""

    missing: dict[str, list[Any]] = field(default_factory=dict)
    endless: dict[str, list[Any]] = field(default_factory=dict)
    large: dict[str, list[Any]] = field(default_factory=dict)

    def numbers(self, file: str, name: str, column: pa.Array, at: int) -> np.ndarray:
        """The values of a column as float32; `at` rows of the file came before."""
        t = column.type
        if not (pa.types.is_integer(t) or pa.types.is_floating(t) or pa.types.is_boolean(t) or pa.types.is_decimal(t)):
            if not pa.types.is_null(t):
                raise _no_numbers(file, name, column, at)
            column = column.cast(pa.float64())
        if pa.types.is_boolean(t) or pa.types.is_decimal(t):
            column = column.cast(pa.float64())
        wide = column.to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore"):
            values = np.asarray(wide, np.float32)
        for kind, found in ((self.missing, np.isnan(values)), (self.endless, np.isinf(values))):
            _note(kind, file, name, wide, found, at)
        if pa.types.is_integer(t) and t.bit_width > 16:
            _note(self.large, file, name, wide, np.abs(values) > _EXACT, at)
        return values

    def check(self) -> None:
        """Raise DataError where a value is missing or infinite."""
        told = (
            (self.missing, "has no value", "fill it in, or leave the rows or the column out"),
            (self.endless, "holds {2}", "every number must be finite in float32"),
        )
        for found, words, hint in told:
            for name, (file, row, example, count) in found.items():
                what = words.replace("{2}", str(example))
                raise DataError(
                    f"{file}: column {name!r} {what} at data row {row:,} ({count:,} such values in all).",
                    hint=hint,
                    file=file,
                    column=name,
                    row=row,
                    count=count,
                    example=example,
                )

    def notes(self) -> list[str]:
        return [
            f"column {name!r} holds {count:,} whole numbers beyond 2^24 ({example} at row {row:,}); 24 bits are kept"
            for name, (_, row, example, count) in self.large.items()
        ]


def _note(kind: dict[str, list[Any]], file: str, name: str, wide: np.ndarray, found: np.ndarray, at: int) -> None:
    if not found.any():
        return
    first = int(found.argmax())
    entry = kind.setdefault(name, [file, at + first + 1, wide[first].item(), 0])
    entry[3] += int(found.sum())


def _no_numbers(file: str, name: str, column: pa.Array, at: int) -> DataError:
    first = next((i for i, v in enumerate(column) if v.is_valid), 0)
    example = column[first].as_py()
    return DataError(
        f"{file}: column {name!r} is of type {column.type}, e.g. {example!r} at data row {at + first + 1:,}. "
        "It must hold numbers.",
        hint="write it as numbers, or name the columns to read without it",
        file=file,
        column=name,
        row=at + first + 1,
        example=example,
    )

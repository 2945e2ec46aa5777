"""Three sets of encoded rows of a table that does not fit into memory: on disk, where `rows` has them in memory.

The table is gone through three times, the target's column alone the first: which rows do what follows from it. Then
every value is looked at, and the encoding learned from the rows that are descended on; then the rows are encoded. They
are kept, and found again by the same command.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from descenso import __version__
from descenso._errors import DataError
from descenso.cli.aim import look_at_target
from descenso.cli.rows import Learnable, Request, Rows, chosen, left_out, split, wanted_to_measure
from descenso.data.arrow import Large
from descenso.data.blocks import Blocks, Writer
from descenso.data.cache import FORMAT, Kept, in_random_order, keep, name_of, opened, prints, tidied
from descenso.data.checks import Check
from descenso.data.column import BOOLEAN, NUMBER, Table
from descenso.data.encode import Encoding, encoding_from_json, encoding_of
from descenso.data.expected import Expected
from descenso.data.moments import Moments
from descenso.data.parts import Parts, parts_of
from descenso.data.shards import locations
from descenso.data.shuffle import Drift
from descenso.data.stream import BLOCK_BYTES
from descenso.data.summary import Summary
from descenso.data.table import Wanted
from descenso.data.target import Classes, Target, target_from_json
from descenso.data.task import standardised

TRAIN, HELD, STOP, NONE = range(4)
"""What a row is for: the descent, the metrics, the choice of where to stop; or nothing, for it has no target."""


def rows_on_disk(request: Request, memory: int) -> Learnable:
    """Read, check, split and encode; errors as of `rows_in_memory`."""
    folder = tidied(request.cache)
    name = _name(request)
    kept = opened(folder, name) or keep(folder, name, lambda prepared: _made(request, prepared))
    return _learnable(*kept, memory)


def _name(request: Request) -> str:
    files = prints(locations(request.table) or [])
    valid = None if request.valid is None else prints(locations(request.valid) or [])
    split_by = [request.seed, request.valid_fraction, request.model == "mlp"]
    return name_of([FORMAT, __version__, files, valid, request.target, list(request.drop), request.task, split_by])


def _learnable(arrays: dict[str, Blocks], about: dict[str, Any], memory: int) -> Learnable:
    rows = {name: Rows(arrays[f"{name}.inputs"], arrays[f"{name}.targets"]) for name in about["sets"]}
    encoding = encoding_from_json(about["encoding"])
    target, notes = target_from_json(about["target"]), tuple(about["notes"])
    held, stop = rows["held"], rows.get("stop")
    return Learnable(rows["train"], stop, held, about["held_from"], encoding, target, notes, encoding.spread, memory)


def _made(request: Request, folder: Path) -> Kept:
    with TemporaryDirectory(dir=folder) as hidden:
        parts = parts_of(request.table, _inside(hidden, "table"), Wanted(request.drop))
        aim = look_at_target(request, parts)
        held, stop = split(request, parts.name, aim.rows, aim.groups)
        roles = _roles(aim.present, held, stop)
        look = _look(request, parts, roles)
        target = aim.classes or standardised(parts.name, request.target, look.moments)
        encoding = encoding_of(parts.name, look.seen.values())
        rule = Rule(encoding, target, folder)
        sets = ["train"] + ["held"] * bool(held.any()) + ["stop"] * bool(stop.any())
        arrays, ordered = rule.write(parts, roles, sets)
        held_from, more = chosen(request, int(held.sum()), aim.rows), []
        if request.valid is not None:
            other, held_from, more = _measured(request, _inside(hidden, "valid"), rule)
            arrays, sets = arrays | other, [*sets, "held"]
    notes = [*parts.notes, *look.notes, *aim.notes, *encoding.notes(), *look.sketched(encoding), *ordered, *more]
    about = {"sets": sets, "held_from": held_from, "notes": notes}
    return arrays, {**about, "encoding": encoding.to_json(), "target": target.to_json()}


def _inside(folder: str, name: str) -> Path:
    path = Path(folder) / name
    path.mkdir()
    return path


def _roles(present: np.ndarray, held: np.ndarray, stop: np.ndarray) -> np.ndarray:
    roles = np.full(len(present), NONE, np.uint8)
    of_present = np.where(held, np.uint8(HELD), np.where(stop, np.uint8(STOP), np.uint8(TRAIN)))
    roles[present] = of_present
    return roles


@dataclass
class Look:
    """What the values say: a summary of each column but the target, the target's moments, and notes."""

    seen: dict[str, Summary]
    moments: Moments
    notes: list[str]

    def sketched(self, encoding: Encoding) -> list[str]:
        """Notes on columns whose texts could not all be counted."""
        return [
            f"column {name!r} has more different texts than are counted exactly: those counted may be low by "
            f"{seen.levels.lost:,} rows"
            for name, seen in self.seen.items()
            if seen.levels.lost and name in encoding.columns
        ]


def _look(request: Request, parts: Parts, roles: np.ndarray) -> Look:
    """Go through all values: refuse what cannot be learned from, and sum up the rows that are descended on."""
    check, large = Check(parts.name, request.target), {}
    look = Look({}, Moments(), [])
    for table, at, part in _with_roles(parts, roles, large):
        check.add(table, at)
        train = table.take(part == TRAIN)
        for name, column in train.columns.items():
            if name != request.target:
                look.seen.setdefault(name, Summary(name, column.kind)).add(column)
            elif column.kind in (NUMBER, BOOLEAN):
                look.moments = look.moments.with_more(Moments.of(column.values[np.isfinite(column.values)]))
    check.check()
    look.notes += [note for name, seen in large.items() for note in seen.note(name)] + check.notes()
    return look


def _with_roles(
    parts: Parts, roles: np.ndarray, large: dict[str, Large] | None = None
) -> Iterator[tuple[Table, int, np.ndarray]]:
    done = 0
    for table, at in parts.tables(large=large):
        yield table, at, roles[done : done + table.rows]
        done += table.rows


@dataclass(frozen=True)
class Rule:
    """How rows are written: as the training rows say, into files in a folder."""

    encoding: Encoding
    target: Target
    folder: Path

    def write(self, parts: Parts, roles: np.ndarray, sets: list[str]) -> tuple[dict[str, Blocks], list[str]]:
        """Encode the rows of a table, each into the set that its role names; a note where their order was mended."""
        block = max(1, BLOCK_BYTES // (4 * (len(self.encoding.spread) + 1)))
        drift = Drift()
        numbers = {"train": TRAIN, "held": HELD, "stop": STOP}
        with ExitStack() as stack:
            files = {
                name: stack.enter_context(Writer(self.folder / f"{name}.f32", block))
                for one in sets
                for name in (f"{one}.inputs", f"{one}.targets")
            }
            for table, _, part in _with_roles(parts, roles):
                try:
                    inputs, targets = self._encoded(table)
                except DataError as error:
                    parts.refuse(self._expected(), error)
                    raise
                for one in sets:
                    rows = part == numbers[one]
                    files[f"{one}.inputs"].add(inputs[rows])
                    files[f"{one}.targets"].add(targets[rows])
                    if one == "train":
                        drift.add(targets[rows])
            arrays = {name: file.finish() for name, file in files.items() if file.rows}
        if not drift.sorted:
            return arrays, []
        mine = {name: a for name, a in arrays.items() if name.startswith("train.")}
        told = f"the rows are in an order that follows {self.target.name!r}: they were shuffled on disk"
        return arrays | in_random_order(mine, self.folder), [told]

    def _expected(self) -> dict[str, Expected]:
        of_target = {} if isinstance(self.target, Classes) else {self.target.name: self.target.expected}
        return {f.name: f.expected for f in self.encoding.features} | of_target

    def _encoded(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        targets = self.target.encode(table.file, table.columns[self.target.name])
        features = replace(table, columns={n: c for n, c in table.columns.items() if n != self.target.name})
        return self.encoding.pack(features), targets.astype(np.float32)


def _measured(request: Request, folder: Path, rule: Rule) -> tuple[dict[str, Blocks], str, list[str]]:
    """The rows of the table to measure on, where they are from, and notes."""
    assert request.valid is not None
    parts = parts_of((request.valid,), folder, wanted_to_measure(request, rule.target, rule.encoding))
    present = np.concatenate([~t.columns[request.target].missing for t, _ in parts.tables(request.target)])
    if not present.any():
        raise DataError(f"{parts.name}: no row has a {request.target!r}. Some must.", file=parts.name, count=0)
    arrays, _ = rule.write(
        parts, _roles(present, np.ones(present.sum(), bool), np.zeros(present.sum(), bool)), ["held"]
    )
    gaps = np.flatnonzero(~present)
    notes = []
    if gaps.size:
        notes = [left_out(parts.name, request.target, gaps.size, len(present), int(gaps[0]) + 1)]
    return arrays, f"{present.sum():,} rows of {parts.name}", notes

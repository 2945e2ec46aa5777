"""Rows that are too many to hold: read a window at a time, ahead of where they are needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from descenso._errors import DataError
from descenso.data.aligned import aligned
from descenso.data.batches import Order, words
from descenso.data.source import narrow
from descenso.data.windows import Place, Windows

BLOCK_BYTES = 1 << 20  # of a block: long enough to be read at the speed of the disk
CHUNK_BYTES = 1 << 23  # of the rows handed to one compiled call
_MOST_PERMUTED = 1 << 22  # rows up to which judging draws them without putting any back, as it does in memory
_MEASURED, _RUN = 1 << 18, 1 << 10  # rows that a loss is measured on, in runs spread over all
_HELD = 2  # windows that are kept: the one that is read from, and the next
_PARTS = 4  # of the memory: these, one that is just being let go, and the rows that are handed on

Rows = tuple[np.ndarray, ...]


class Gathered(NamedTuple):
    """Rows that are being gathered into `space`: `room` of them, from position `start` of an order."""

    order: Windows
    start: int
    room: int
    rows: Future
    space: Rows


class Held(NamedTuple):
    """A window that is being read into `space`, which may be longer."""

    rows: Future
    space: Rows


@dataclass
class Stream:
    """Arrays of which only a window is in memory.

    Args:
        arrays: each of shape (rows, ...); anything that gives an array for `a[first:last]`, such as a memory map.
        names: of the arrays, for messages.
        memory: how much of it may be in memory at once, in bytes.
        wide: whether 64-bit values stay so.
    """

    arrays: Sequence[Any]
    names: tuple[str, ...]
    memory: int
    wide: bool = False
    _windows: OrderedDict[tuple[Windows, Place], Held] = field(default_factory=OrderedDict, repr=False)
    _gathered: list[Gathered] = field(default_factory=list, repr=False)

    def __post_init__(self):
        for a, name in zip(self.arrays, self.names, strict=True):
            if not all(hasattr(a, part) for part in ("shape", "dtype", "__getitem__")) or not a.shape:
                raise DataError(
                    f"{name} is a {type(a).__name__}. It must be an array with rows, a memory map, or what gives an "
                    "array for a[first:last] and has a shape and a dtype.",
                    hint="np.asarray(rows) of a list or a DataFrame; Streamed.table reads tables",
                    column=name,
                )
        lengths = {name: len(a) for a, name in zip(self.arrays, self.names, strict=True)}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} has {n:,}" for name, n in lengths.items())
            raise DataError(f"The arrays of the data differ in length: {shown} rows. All need as many rows.")
        if not len(self.arrays[0]):
            raise DataError("The data has no rows.", hint="check what was read, or the filter before it")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="descenso-reader")
        self._gatherer = ThreadPoolExecutor(1, thread_name_prefix="descenso-gatherer")

    @property
    def rows(self) -> int:
        return len(self.arrays[0])

    @cached_property
    def row_bytes(self) -> int:
        """Of a row, as it lies in the arrays."""
        return sum(int(np.prod(a.shape[1:], dtype=np.int64)) * np.dtype(a.dtype).itemsize for a in self.arrays)

    @property
    def block(self) -> int:
        """Rows of a block: it hangs on the form of the data alone."""
        return max(1, BLOCK_BYTES // max(self.row_bytes, 1))

    def order(self, seed: int) -> Windows:
        """The order of the rows; its window is as large as the memory allows."""
        span = self.memory // _PARTS // max(self.row_bytes * self.block, 1)
        return Windows(self.rows, self.block, max(1, span), seed)

    def chunk(self, batch_size: int) -> int:
        """How many batches are handed to one compiled call."""
        return max(1, CHUNK_BYTES // max(self.row_bytes * batch_size, 1))

    @property
    def most(self) -> int:
        """The most rows that a batch grows to: two batches are held at once in a part of the memory."""
        return max(1, self.memory // (2 * _PARTS) // max(self.row_bytes, 1))

    def first(self, count: int) -> Rows:
        """The first rows, in the dtypes that are computed in."""
        return self._done(tuple(np.asarray(a[0:count]) for a in self.arrays))

    def take(self, seed: int, start: int, room: int) -> Rows:
        """The `room` rows at positions from `start` on; the `room` rows behind them are gathered meanwhile.

        They are written over once other rows are asked for.
        """
        return self.begin(seed, start, room).result()

    def begin(self, seed: int, start: int, room: int) -> Future:
        """The same, without waiting for the rows."""
        order = self.order(seed)
        wanted = [(order, at, room) for at in (start, start + room)]
        known = {g[:3]: g for g in self._gathered}
        # memory that was written to before costs no page faults
        free = [g.space for key, g in known.items() if key not in wanted and g.room == room and _over(g.rows)]
        self._gathered = [known.get(key) or self._begin(*key, free.pop() if free else None) for key in wanted]
        return self._gathered[0].rows

    def rest(self) -> None:
        """Read no further ahead: when it returns the files that the arrays map may be written to again."""
        for worker, ahead in (
            (self._gatherer, [g.rows for g in self._gathered]),
            (self._reader, [w.rows for w in self._windows.values()]),
        ):
            for future in ahead:
                future.cancel()
            worker.submit(int).result()  # one thread each: what it had begun is done by then
        self._gathered, self._windows = [], OrderedDict()

    def _begin(self, order: Windows, start: int, room: int, space: Rows | None) -> Gathered:
        space = space or self._space(room)
        return Gathered(order, start, room, self._gatherer.submit(self._gather, order, start, space), space)

    def _space(self, count: int) -> Rows:
        """Room for so many rows."""
        return tuple(aligned((count, *a.shape[1:]), a.dtype) for a in self.arrays)

    def _gather(self, order: Windows, start: int, out: Rows) -> Rows:
        count, done = len(out[0]), 0
        self._ask(order, order.place(start))  # it is read while its rows are permuted
        for place, rows in order.pieces(start, count):
            self._ask(order, place)
            for target, held in zip(out, self._windows[order, place].rows.result(), strict=True):
                np.take(held, rows, axis=0, out=target[done : done + len(rows)], mode="clip")
            done += len(rows)
        return self._done(out)

    def _ask(self, order: Windows, place: Place) -> None:
        """Have a window read, and the next."""
        for wanted in (place, order.after(place)):
            key, length = (order, wanted), min(order.block * order.span, order.rows)
            if key not in self._windows:
                space = None
                while len(self._windows) >= _HELD:
                    _, old = self._windows.popitem(last=False)
                    space = old.space if _over(old.rows) and len(old.space[0]) == length else space
                space = space or self._space(length)
                self._windows[key] = Held(self._reader.submit(self._read, order, wanted, space), space)
            self._windows.move_to_end(key)
        self._windows.move_to_end((order, place))

    def _read(self, order: Windows, place: Place, space: Rows) -> Rows:
        return self._joined(order.stretches(place), space)

    def _joined(self, stretches: Sequence[tuple[int, int]], space: Rows) -> Rows:
        """These rows, (first, behind the last) of each stretch, one after another, as they lie in the arrays.

        They are the first of `space`, which has room for as many or more.
        """
        length = sum(last - first for first, last in stretches)
        out, done = tuple(a[:length] for a in space), 0
        for first, last in stretches:
            for target, a in zip(out, self.arrays, strict=True):
                _read_into(a, target[done : done + last - first], first)
            done += last - first
        return out

    def judged(self, seed: int, first: int, count: int, purpose: str) -> Rows:
        """Rows at positions first .. first + count - 1 of a stream for judging: drawn from all rows, one by one."""
        if self.rows <= _MOST_PERMUTED:
            numbers = Order(self.rows, seed, purpose).take(first, count)
        else:
            numbers = (words(seed, purpose, first, count) % np.uint64(self.rows)).astype(np.int64)
        return self._done(tuple(_picked(a, numbers) for a in self.arrays))

    @property
    def measures(self) -> int:
        """How many rows a loss is measured on: all, or as many as say enough."""
        return min(self.rows, _MEASURED)

    def measured(self) -> Iterator[Rows]:
        """The rows that a loss is measured on, in pieces: all, or runs spread evenly over all.

        Two pieces are kept: a piece is written over when the next but one is asked for.
        """
        piece = max(1, CHUNK_BYTES // max(self.row_bytes, 1))
        if self.rows <= _MEASURED:
            piece = min(piece, self.rows)
            parts = [[(first, min(first + piece, self.rows))] for first in range(0, self.rows, piece)]
        else:
            runs, together = self.runs(), max(1, piece // _RUN)
            parts = [runs[first : first + together] for first in range(0, len(runs), together)]
            piece = together * _RUN
        spaces = [self._space(piece) for _ in parts[:2]]
        for n, part in enumerate(parts):
            yield self._done(self._joined(part, spaces[n % 2]))

    def runs(self) -> list[tuple[int, int]]:
        """Stretches of 1,024 rows, (first, behind the last), 256 spread evenly over all; or as many as there are."""
        count = min(_MEASURED, self.rows) // _RUN
        return [(at, at + _RUN) for i in range(count) for at in [i * (self.rows - _RUN) // max(count - 1, 1)]]

    def _done(self, rows: Rows) -> Rows:
        """The rows in the dtypes that are computed in.

        Raises:
            DataError: a value does not fit.
        """
        if self.wide:
            return rows
        return tuple(
            narrow(a, name) if a.dtype.kind in "iuf" and a.dtype.itemsize > 4 else a
            for a, name in zip(rows, self.names, strict=True)
        )


def _over(ahead: Future) -> bool:
    """Whether nothing is written any more by what was asked for; it is cancelled where it has not begun."""
    return ahead.cancel() or ahead.done()


def _read_into(array: Any, out: np.ndarray, first: int) -> None:
    if hasattr(array, "read_into"):  # spares a copy
        array.read_into(out, first)
    else:
        out[:] = array[first : first + len(out)]


def _picked(array: Any, numbers: np.ndarray) -> np.ndarray:
    if isinstance(array, np.ndarray):
        return np.asarray(array[numbers])
    if hasattr(array, "pick"):
        return array.pick(numbers)
    return np.stack([np.asarray(array[int(n) : int(n) + 1])[0] for n in numbers])

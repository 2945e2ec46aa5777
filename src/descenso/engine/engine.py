"""The compiled functions of one run, and the data they run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from descenso._namespace import widen, zeros
from descenso._types import Leaves, Method
from descenso.data.batches import Order
from descenso.data.stream import Stream
from descenso.engine.bounds import Bounds
from descenso.engine.chunk import CELLS, RunState, as_key, no_sums
from descenso.engine.compile_cache import Remembered
from descenso.engine.evaluate import gradient_on
from descenso.engine.objective import Objective, Trace
from descenso.engine.programs import Programs, programs
from descenso.engine.tree import is_wide

_remembered = Remembered()
_POSITIONS = 1 << 18  # row numbers handed to one chunk: 1 MB
_DRAWS = 64  # of a loss that takes a key and no data, where its mean is asked for


def key_data(high: int, low: int) -> np.ndarray:
    """A PRNG key as two words; `chunk.as_key` makes a key of it inside compiled code, where that costs nothing."""
    return np.array([high % 2**32, low % 2**32], np.uint32)


@dataclass(frozen=True)
class Engine:
    """The steps of one method on one loss and its data.

    Attributes:
        objective: the loss over leaves.
        method: what steps.
        data: the arrays of the data on the device, () without data; then those of the loss itself, if it has any.
        rows: how many rows they have, 0 without data.
        batch_size: rows of a batch; None takes all rows (or a loss without data).
        seed: of the order of the rows.
        trace: what tracing the loss showed; decides whether compiled code can be used again.
        stream: where the rows come from if they are too many to hold, else None; `data` are then the arrays of the
            loss alone.
        bounds: of the params, None without.
        origin: a step and the position in the stream of rows that it begins at: of the first batch of this size.
    """

    objective: Objective
    method: Method
    data: Leaves
    rows: int
    batch_size: int | None
    seed: int
    trace: Trace
    stream: Stream | None = None
    bounds: Bounds | None = None
    origin: tuple[int, int] = (0, 0)
    programs: Programs = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        stepwise = self.trace.convolves and jax.default_backend() == "cpu"
        key = (self.objective, self.method, self.batch_size, stepwise, is_wide())
        found = _remembered.get(key, self.trace, lambda: programs(*key[:4]))
        object.__setattr__(self, "programs", found)  # derived from the fields, and needed at every chunk

    def start(self, leaves: Leaves) -> RunState:
        """The state before the first step."""
        # put, not made by jnp.ones: that would be compiled
        scale = jax.device_put(np.ones((), jnp.promote_types(jnp.float32, leaves[0].dtype)))
        state, within = self.programs.init(leaves), getattr(self.method, "within", None)
        if self.bounds is not None and within is not None:
            # part of the state, not of the code: other bounds compile nothing again
            state = within(state, *self.bounds, xp=jnp)
        return RunState(leaves, state, scale, 0, key_data(self.seed >> 32, self.seed))

    @property
    def longest(self) -> int:
        """The most steps that one chunk can make."""
        if self.stream is not None:
            return self.stream.chunk(self.batch_size or 1)
        return max(_POSITIONS // (self.batch_size or 1), 64)

    def reach(self, cursor: int) -> int:
        """The most steps that one chunk can make from there: streamed rows are gathered `longest` steps at a time."""
        return self.longest - (self._gathered_since(cursor) if self.stream is not None else 0)

    def _gathered_since(self, cursor: int) -> int:
        return (cursor - self.origin[0]) % self.longest

    def advance(
        self,
        state: RunState,
        steps: int,
        *,
        stride: int = 1,
        offset: int = 0,
        sums: np.ndarray | None = None,
        vanished: float = -1.0,
    ) -> tuple[RunState, np.ndarray, bool]:
        """Make `steps` steps; returns the state, the sums of the records (`chunk.COLUMNS`) and whether it is over.

        It is over, and the steps may be fewer, where the gradient norm falls to `vanished` or a line search stalls.

        `steps` is at most `reach(cursor)`, `offset + steps` at most CELLS * stride: `offset` steps of the records were
        made by earlier calls, which returned `sums`.
        """
        assert 0 < steps <= self.reach(state.cursor)
        assert offset + steps <= CELLS * stride
        data, order = self._rows(state.cursor, steps)
        before = no_sums() if sums is None else sums
        over, params, method, sums = self.programs.chunk(
            state.params,
            state.method,
            before,
            state.scale,
            state.key,
            data,
            order,
            np.uint32(state.cursor % 2**32),
            np.int32(steps),
            np.int32(stride),
            np.int32(offset),
            before.dtype.type(vanished),
        )
        sums = np.asarray(sums)
        made = round(float((sums[:, 4:] - before[:, 4:]).sum()))
        return RunState(params, method, state.scale, state.cursor + made, state.key), sums, bool(over)

    def _rows(self, cursor: int, steps: int) -> tuple[Leaves, np.ndarray]:
        """The data of the next batches, and which rows of it are in them, end to end.

        Both in as much room as the longest chunk needs, so that all chunks run the same code.
        """
        if self.batch_size is None:
            return self.data, np.zeros(1, np.int32)
        room, count, first = self.longest * self.batch_size, steps * self.batch_size, self.position(cursor)
        if self.stream is not None:
            at = self._gathered_since(cursor) * self.batch_size
            rows = self.stream.take(self.seed, first - at, room)
            return (*rows, *self.data), np.minimum(np.arange(at, at + room, dtype=np.int32), room - 1)
        order = np.zeros(room, np.int32)
        order[:count] = Order(self.rows, self.seed).take(first, count)
        return self.data, order

    def ahead(self, cursor: int) -> None:
        """Begin to gather the rows of the next batches, where they are streamed."""
        if self.stream is not None and self.batch_size is not None:
            start = self.position(cursor - self._gathered_since(cursor))
            self.stream.begin(self.seed, start, self.longest * self.batch_size)

    @property
    def exact(self) -> bool:
        """Whether every step sees the same loss."""
        return self.batch_size is None and not self.objective.keyed

    def epochs(self, step: int) -> float:
        """Passes over the data after `step` steps, 0.0 without data."""
        return self.position(step) / self.rows if self.rows else 0.0

    def position(self, step: int) -> int:
        """How many rows the first `step` steps have taken."""
        since, before = self.origin
        return before + (step - since) * (self.batch_size or self.rows)

    def answer(self, state: RunState) -> Leaves:
        """The point that the method gives as its answer, in the dtypes of the params."""
        point = self.method.eval_params(state.params, state.method)
        answer = tuple(p.astype(x.dtype) for p, x in zip(point, state.params, strict=True))
        return answer if self.bounds is None else self.bounds.clip(answer)

    def mean_loss(self, leaves: Leaves, data: Leaves | None = None) -> float:
        """The loss over all rows of `data`, by default the training data.

        Where it takes a key it is a random number: without data the mean of 64 of them.
        """
        if data is None and self.stream is not None:
            return self._streamed_loss(leaves, self.stream)
        data = self.data if data is None else data
        draws = _DRAWS if self.objective.keyed and not self.rows else 1
        return float(np.mean([float(self.programs.mean_loss(leaves, data, key_data(0, i))) for i in range(draws)]))

    def _streamed_loss(self, leaves: Leaves, stream: Stream) -> float:
        return float(_over(stream, lambda piece: self.programs.mean_loss(leaves, (*piece, *self.data), key_data(0, 0))))

    def aux(self, leaves: Leaves) -> Any:
        """What the loss returns beside its value, as the mean over blocks of all rows; None where it returns one."""
        if not self.objective.has_aux:
            return None
        if self.stream is None:
            return self.programs.aux(leaves, self.data, key_data(0, 0))
        found = _over(self.stream, lambda piece: self.programs.aux(leaves, (*piece, *self.data), key_data(0, 0)))
        return jax.tree.map(jnp.asarray, found)

    def batch_losses(self, leaves: Leaves, first: int, count: int, purpose: str = "judge") -> np.ndarray:
        """The losses at `leaves` of batches first .. first + count - 1 of a stream of its own: float64 (count,).

        Where all rows are in every batch, each has a key of its own.
        """
        if self.batch_size is None:
            keys = [key_data(1, n) for n in range(first, first + count)]
            return np.array([float(self.programs.mean_loss(leaves, self.data, key)) for key in keys])
        # streamed rows take memory: no more of them at once than one chunk has
        together = count if self.stream is None else min(count, 1 << (self.longest.bit_length() - 1))
        parts = range(first, first + count, together)
        losses = [self._losses(leaves, n, min(together, first + count - n), purpose) for n in parts]
        return np.concatenate(losses, dtype=np.float64)

    def gradients(
        self, leaves: Leaves, first: int, count: int, before: Leaves | None = None
    ) -> tuple[np.ndarray, np.ndarray, Leaves]:
        """The gradients of batches first .. first + count - 1 of a stream of their own, none of them kept.

        Returns the squared norms of each, and of the sum of all up to it: float64 (count,) both; and that sum.
        `before` is the sum of those before `first`.
        """
        assert self.batch_size is not None
        total, found = zeros(leaves, jnp) if before is None else before, []
        # streamed rows take memory: no more of them at once than one chunk has
        together = count if self.stream is None else min(count, self.longest)
        for begin in range(first, first + count, together):
            some = min(together, first + count - begin)
            data, order = self._drawn(begin * self.batch_size, some * self.batch_size, "noise")
            for n, part in enumerate(order.reshape(some, -1)):
                # one by one: convolutions are slow inside a loop
                total, *squares = self.programs.gradient(leaves, total, data, part, key_data(2, begin + n))
                found.append(squares)
        squares, sums = np.asarray(found, np.float64).T
        return squares, sums, total

    def steepest(self, leaves: Leaves) -> float:
        """The largest absolute entry of the gradient of the first batch."""
        data, order = self._rows(0, 1)

        def largest(leaves, data, rows, key):
            grads = gradient_on(self.objective, leaves, data, rows, as_key(key)).grads
            return jnp.stack([jnp.abs(widen(g, jnp)).max() for g in grads if g.size]).max()

        rows = None if self.batch_size is None else order[: self.batch_size]
        return float(jax.jit(largest)(leaves, data, rows, key_data(0, 0)))

    def _losses(self, leaves: Leaves, first: int, count: int, purpose: str) -> np.ndarray:
        rows = self.batch_size or self.rows
        data, order = self._drawn(first * rows, count * rows, purpose)
        return np.asarray(self.programs.batch_losses(leaves, data, order, rows, key_data(1, 0)))

    def _drawn(self, first: int, count: int, purpose: str) -> tuple[Leaves, np.ndarray]:
        """The data of `count` rows from the `first` on of an order of its own, and which rows of it they are."""
        if self.stream is not None:
            return (*self.stream.judged(self.seed, first, count, purpose), *self.data), np.arange(count, dtype=np.int32)
        return self.data, Order(self.rows, self.seed, purpose).take(first, count)


def _over(stream: Stream, f: Callable[[Leaves], Any]) -> Any:
    """The mean of `f(piece)`, a pytree of arrays, over the rows that a loss is measured on."""
    total, rows, ahead = None, 0, None
    for piece in chain(stream.measured(), (None,)):
        # a piece is computed on while the next is read
        last, ahead = ahead, None if piece is None else (len(piece[0]), f(piece))
        if last is not None:
            n, found = last
            part = jax.tree.map(lambda a, n=n: n * np.asarray(a, np.float64), found)
            total, rows = part if total is None else jax.tree.map(np.add, total, part), rows + n
    return jax.tree.map(lambda a: a / rows, total)

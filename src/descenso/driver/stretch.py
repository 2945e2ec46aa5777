"""The steps between two looks, a chunk at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from descenso.engine.chunk import CELLS, RunState
from descenso.watch.records import Records, from_sums

_HOPELESS = 8  # records in a row


class Stretch(NamedTuple):
    """The steps from one look to the next, as far as they are made.

    state: after the last of them. start, end: the steps of the looks. sums: those of the records since `start`.
    arrived: whether it ended early, at a vanished gradient or a stalled line search.
    """

    state: RunState
    start: int
    end: int
    sums: np.ndarray
    arrived: bool = False

    @property
    def made(self) -> int:
        return self.state.cursor - self.start

    @property
    def left(self) -> int:
        return 0 if self.arrived else self.end - self.state.cursor

    @property
    def stride(self) -> int:
        """Steps in a record."""
        return -(-(self.end - self.start) // CELLS)

    @property
    def records(self) -> Records:
        return from_sums(self.sums, self.start, self.stride)

    @property
    def hopeless(self) -> int | None:
        """The step at which eight records in a row had no finite step, None where none had.

        It is a matter of records, not of chunks: whose length hangs on the clock, and the course of a run must not.
        """
        if not self.sums[:, 5].any():
            return None
        dead = (self.sums[:, 4] == 0) & (self.sums[:, 5] >= self.stride)
        runs = np.flatnonzero(np.lib.stride_tricks.sliding_window_view(dead, _HOPELESS).all(axis=1))
        return self.start + (int(runs[0]) + _HOPELESS) * self.stride if runs.size else None

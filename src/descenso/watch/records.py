"""What the watch reads: the course of a run in numbers, without params."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Records:
    """Consecutive records of a run; each is the mean over the finite steps since the record before.

    All arrays are 1-d, float64 and of the same length. `step`: the step at which the record ends. `loss`, `grad_norm`,
    `step_size`, `update_norm`: means, NaN where no step was finite. `steps`, `nonfinite`: how many steps the record is
    of, and how many of them met a nonfinite loss or gradient (and changed nothing).
    """

    step: np.ndarray
    loss: np.ndarray
    grad_norm: np.ndarray
    step_size: np.ndarray
    update_norm: np.ndarray
    steps: np.ndarray
    nonfinite: np.ndarray

    def __len__(self) -> int:
        return len(self.step)

    def since(self, step: float) -> Records:
        """The records that end after `step`."""
        first = int(np.searchsorted(self.step, step, side="right"))
        return Records(*(getattr(self, f.name)[first:] for f in fields(self)))


def from_sums(sums: np.ndarray, start: int, stride: int) -> Records:
    """Records of the steps after `start`, from (cells, 6) sums in the order of `engine.chunk.COLUMNS`."""
    sums = np.asarray(sums, np.float64)
    steps = sums[:, 4] + sums[:, 5]
    used = int(np.count_nonzero(steps))
    sums, steps = sums[:used], steps[:used]
    finite = np.where(sums[:, 4] > 0, sums[:, 4], np.nan)
    loss, grad_norm, step_size, update_norm = (sums[:, :4] / finite[:, None]).T
    return Records(start + np.cumsum(steps), loss, grad_norm, step_size, update_norm, steps, sums[:, 5])


class Course:
    """All accepted records of a run, in arrays that grow by doubling."""

    def __init__(self) -> None:
        self._rows = len(fields(Records))
        self._table = np.empty((self._rows, 256))
        self._length = 0

    def append(self, new: Records) -> None:
        end = self._length + len(new)
        if end > self._table.shape[1]:
            self._table = np.concatenate([self._table, np.empty((self._rows, max(end, self._length)))], axis=1)
        for row, f in zip(self._table, fields(Records), strict=True):
            row[self._length : end] = getattr(new, f.name)
        self._length = end

    @property
    def table(self) -> np.ndarray:
        """All records, a row for each field of `Records`."""
        return self._table[:, : self._length]

    def cut(self, step: int) -> None:
        """Forget what was appended for the steps after `step`."""
        self._length = int(np.searchsorted(self._table[0, : self._length], step, side="right"))

    @property
    def records(self) -> Records:
        """A view of what was appended so far."""
        return Records(*self.table)

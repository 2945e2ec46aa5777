"""What the rows of a column say, taken note of some rows at a time: all that its encoding is learned from.

Counts, means and deviations are exact. Different texts are counted exactly too, up to 2^20 of them; of a column with
more only the frequent are kept, each count too low by at most `Levels.lost`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any

import numpy as np

from descenso.data.column import CLOCK, TEXT, TIME, Column
from descenso.data.moments import Moments

DAY, WEEK, YEAR = 86400.0, 7 * 86400.0, 365.2425 * 86400.0
CYCLES = {"day": DAY, "week": WEEK, "year": YEAR}
MOST_COUNTED = 1 << 20


@dataclass
class Levels:
    """How often each text occurs.

    Attributes:
        counts: by text.
        lost: by how much a count may be too low, or that of a text that is missing here.

    Source: Agarwal et al. 2012, "Mergeable summaries", section 3 (of Misra and Gries 1982).
    """

    counts: dict[str, int] = field(default_factory=dict)
    lost: int = 0

    def add(self, levels: tuple[str, ...], codes: np.ndarray) -> None:
        """Take note of rows: places in `levels`, below 0 where missing."""
        found = np.bincount(codes[codes >= 0], minlength=len(levels))
        for place in np.flatnonzero(found):
            level = levels[place]
            self.counts[level] = self.counts.get(level, 0) + int(found[place])
        if len(self.counts) > 2 * MOST_COUNTED:
            self._forget_rare()

    def _forget_rare(self) -> None:
        largest = nlargest(MOST_COUNTED + 1, self.counts.values())
        gone = largest[-1]
        self.counts = {level: n - gone for level, n in self.counts.items() if n > gone}
        self.lost += gone


@dataclass
class Summary:
    """One column's rows.

    Attributes:
        name, kind: of the column.
        rows, missing: how many were seen, and how many of them have no value.
        moments: of its numbers, or its seconds.
        turns: for each cycle of time the moments of where in it the values stand.
        levels: of its texts.
        first: the first value, as a person would write it.
    """

    name: str
    kind: str
    rows: int = 0
    missing: int = 0
    moments: Moments = field(default_factory=Moments)
    turns: dict[str, Moments] = field(default_factory=dict)
    levels: Levels = field(default_factory=Levels)
    first: Any = None

    @classmethod
    def of(cls, column: Column) -> Summary:
        summary = cls(column.name, column.kind)
        summary.add(column)
        return summary

    def add(self, column: Column) -> None:
        """Take note of more rows."""
        gaps = column.missing
        self.rows += len(column)
        self.missing += int(gaps.sum())
        if self.first is None and not gaps.all():
            self.first = column.example(int((~gaps).argmax()))
        if self.kind == TEXT:
            self.levels.add(column.levels, column.values)
            return
        values = column.values[np.isfinite(column.values)]
        self.moments = self.moments.with_more(Moments.of(values))
        if self.kind in (TIME, CLOCK):
            for name in ("day",) if self.kind == CLOCK else CYCLES:
                turn = Moments.of(values % CYCLES[name])
                self.turns[name] = self.turns.get(name, Moments()).with_more(turn)

    @property
    def constant(self) -> bool:
        """Whether all values are the same."""
        if self.kind == TEXT:
            return len(self.levels.counts) <= 1 and not self.levels.lost
        return not self.moments.least < self.moments.most

"""Seeing that a run goes wrong: nonfinite numbers, a loss that has risen, a loss without a floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descenso.result import Reason
from descenso.watch.records import Records
from descenso.watch.verdict import Continue, Recover, Stop, Verdict

_RISEN = 4.0  # robust standard deviations
_LAST = 8  # records, of which more than half must lie higher than that
_BASELINE = 64  # records that say how the loss lay before
_WANDERING = 256  # records that say how far its level moves by itself
_TAIL = 8  # records in a row without a finite step; fewer are left out and noted
_ABOVE = 3  # looks in a row with a loss above that at the start
SMALLEST = 1e-14  # of the scale: below it, steps are lost in the rounding of the params
_BOTTOMLESS = 1e3  # times what the loss was and fell at first: where a steady fall counts as unbounded
_ABYSS = 1e20  # times the same: where any fall does
_STEADY = 0.95  # the fall of a quarter over that of the quarter before: below it, the fall slows down
_FASTER = 16.0  # the later half over the earlier: above it, the run may be leaving a saddle


@dataclass
class Recovery:
    """Judges each stretch of records against the run so far.

    Args:
        first: the loss at the start, over a sample of batches: its mean.
        spread: the standard deviation of one batch's loss there, 0 where the loss is the same at every step.
        line_search: whether the method backs off by itself; then only a loss without a floor is looked for.

    Attributes:
        failures: in a row. above: looks in a row with a loss above that at the start. restarts: returns to the start.
        troubled: whether anything failed so far. nonfinite: whether the last failure was of nonfinite numbers.
    """

    first: float
    spread: float
    line_search: bool = False
    failures: int = 0
    above: int = 0
    restarts: int = 0
    troubled: bool = False
    nonfinite: bool = False

    def look(self, new: Records, before: Records, scale: float) -> Verdict:
        """The verdict on `new`, which follow the accepted records `before`."""
        trouble = self._unbounded(new, before) or (None if self.line_search else self._trouble(new, before))
        if trouble is None:
            self.failures = 0
            return self._still_above(new) or Continue(self._left_out(new))
        if isinstance(trouble, Stop):
            return trouble
        self.failures += 1
        reason, why, rise = trouble
        self.troubled, self.nonfinite = True, reason is Reason.NONFINITE
        if scale * Recover.shrink < SMALLEST:
            return Stop(
                reason,
                f"{why}, still after {self.failures} returns to the last good point at scales down to {scale:.1g}",
            )
        return Recover(why, rise=rise)

    def _left_out(self, new: Records) -> str:
        skipped = 0 if self.line_search else int(new.nonfinite.sum())
        return f"{skipped:,} steps with a nonfinite loss or gradient left out" if skipped else ""

    def _trouble(self, new: Records, before: Records) -> tuple[Reason, str, float] | None:
        """What went wrong: how a run would end by it, in words, and by how much the loss has risen."""
        tail = _nonfinite_tail(np.concatenate([before.loss[-_TAIL:], new.loss]))
        if tail >= _TAIL:
            at = int(new.step[max(len(new) - tail, 0)])
            return Reason.NONFINITE, f"loss or gradient is NaN or infinite by step {at:,}", 0.0
        if len(before) and len(new) >= _LAST and new.loss[-_LAST:].max() <= before.loss[-_LAST:].min():
            return None  # it falls: the usual case, and a look should cost little
        level, spread = self._baseline(before, new.step_size[-1])
        last = np.sort(_finite(new.loss)[-_LAST:])
        if len(last) >= 3 and last[(len(last) - 1) // 2] > level + _RISEN * spread:
            now = float(np.median(last))
            return (
                Reason.DIVERGED,
                f"the loss rose from {level:.4g} to {now:.4g} by step {int(new.step[-1]):,}",
                now - level,
            )
        return None

    def _baseline(self, before: Records, step_size: float) -> tuple[float, float]:
        """The level of the loss before, and its spread from record to record.

        The spread is at least 2 % of the level, and half of the most that the level has climbed by itself lately: a
        loss may wander. Only records of steps not much smaller count, since larger steps, as after a restart of the
        schedule, make a higher loss; where there are few of them, it is the start that counts.
        """
        loss = _finite(np.where(before.step_size < 0.8 * step_size, np.nan, before.loss))[-_WANDERING:]
        if len(loss) < 8:
            return self.first, max(self.spread, 0.02 * abs(self.first))
        level = float(np.median(loss[-_BASELINE:]))
        away = np.abs(loss[-_BASELINE:] - level)
        # the mean deviation as well: the median one is zero where most losses are equal
        spread = max(1.4826 * float(np.median(away)), 0.5 * float(np.mean(away)))
        climb = float(np.diff([np.median(part) for part in np.array_split(loss, 8)]).max())
        return level, max(spread, 0.5 * climb, 0.02 * abs(level))

    def _still_above(self, new: Records) -> Recover | None:
        """Back to the start, where the loss has been above it for some looks: it rose too slowly to be seen rising."""
        late = _finite(new.loss)[len(new) // 2 :]
        if self.line_search or len(late) < 8:
            return None
        if late.max() <= self.first:
            self.above = 0
            return None
        means = [part.mean() for part in np.array_split(late, 8)]
        error = np.hypot(np.std(means, ddof=1), self.spread) / np.sqrt(8)
        now = float(np.mean(means))
        self.above = self.above + 1 if now > self.first + max(3 * error, 0.1 * abs(self.first)) else 0
        if self.above < _ABOVE:
            return None
        self.above = 0
        step = int(new.step[-1])
        return Recover(
            f"the loss is {now:.4g} at step {step:,}, above the {self.first:.4g} at the start", to_start=True
        )

    def bottomless(self, loss: float) -> bool:
        """Whether `loss` lies so far below zero, by the measure of the first, that it has no floor in sight."""
        return bool(loss < -_BOTTOMLESS * max(abs(self.first), self.spread))

    def _unbounded(self, new: Records, before: Records) -> Stop | None:
        """The end, if the loss has fallen far beyond what it was and fell at first, and does not slow down.

        No finite run proves a loss unbounded. But one that goes on like this has no minimum that it comes nearer to.
        """
        known = np.isfinite(loss := np.concatenate([before.loss, new.loss]))
        loss, step = loss[known], np.concatenate([before.step, new.step])[known]
        if len(loss) < 16 or not loss[-1] < -max(abs(self.first), self.spread):
            return None
        unit = max(abs(self.first), self.spread, loss[0] - loss[8])
        steep = unit > 0 and loss[-1] < -_ABYSS * unit
        early = max(unit, loss[0] - loss[np.searchsorted(step, 64.0)]) if step[-1] > 64 else np.inf
        quarters = loss[np.searchsorted(step, np.linspace(step[0], step[-1], 5))]
        falls = -np.diff(quarters)
        steady = np.all(falls[1:] >= _STEADY * falls[:-1]) and falls[2] + falls[3] <= _FASTER * (falls[0] + falls[1])
        if not (steep or (steady and loss[-1] < -_BOTTOMLESS * early)):
            return None
        fell = f"the loss fell from {self.first:.4g} to {loss[-1]:.4g} in {int(step[-1]):,} steps"
        return Stop(Reason.UNBOUNDED, f"{fell}, and no slower than at first")


def _finite(loss: np.ndarray) -> np.ndarray:
    return loss[np.isfinite(loss)]


def _nonfinite_tail(loss: np.ndarray) -> int:
    """How many records at the end had no finite step; `_TAIL` where none had any."""
    finite = np.flatnonzero(np.isfinite(loss))
    return len(loss) - 1 - int(finite[-1]) if finite.size else _TAIL

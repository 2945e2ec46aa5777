"""Seeing that a run has arrived: target, vanished gradient, a loss that no longer falls, a validation minimum."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from descenso.result import Reason
from descenso.watch import limits
from descenso.watch.records import Records
from descenso.watch.verdict import Continue, Stop, Verdict

_GROWTH = 1.25  # a run is asked whether it still falls each time it has grown by this factor
_GROUPS = 8
_LITTLE = 2e-3  # of the fall of the validation loss so far, over half of the steps
_SLOW = 1e-4  # of the fall so far, over a quarter of the steps
_SHRINKING = 0.1  # the fall of a quarter over that of the quarter before: a power of the steps falls by more


@dataclass
class Arrival:
    """Judges whether the run so far has arrived.

    Args:
        stop: what the caller asked for.
        exact: whether every step saw the same loss (no data, or all of it): then a vanished gradient is the end.
        gradient: the share of the largest gradient norm that counts as zero.
        rounding: the relative rounding error of the loss.
        floor: whether to end where the loss no longer falls.
        endless: whether nothing else would end a run that falls ever more slowly, so that this must.
        norm: what the norm of the records is called.
    """

    stop: limits.Stop
    exact: bool
    gradient: float
    rounding: float
    floor: bool
    endless: bool
    largest: float = 0.0
    agreed: int = 0
    next_step: float = 256.0
    norm: str = "gradient norm"

    @property
    def vanished(self) -> float:
        """The gradient norm that counts as zero, below 0 while there is none."""
        return self.gradient * self.largest if self.exact and self.largest > 0 else -1.0

    def look(self, run: Records, new: int, arrived: bool = False) -> Verdict:
        """The verdict on all accepted records of the run, of which the last `new` are new.

        `arrived`: whether the steps ended because the gradient norm fell to `vanished`.
        """
        norms = run.grad_norm[len(run) - new :]
        self.largest = float(np.max(norms, where=np.isfinite(norms), initial=self.largest))
        if self.stop.target is not None and run.loss[-1] <= self.stop.target:
            return Stop(Reason.TARGET, f"the loss {run.loss[-1]:.6g} is at or below the target {self.stop.target:g}")
        if self.exact and (arrived or norms[-1] <= self.gradient * self.largest):
            why = f"the {self.norm} fell to {self.gradient:g} of the largest seen, {self.largest:.3g}, or below"
            return Stop(Reason.CONVERGED, why if self.largest > 0 else "the gradient is zero at the start")
        if not self.floor or run.step[-1] < self.next_step:
            return Continue()
        self.next_step = float(run.step[-1]) * _GROWTH
        return self._flat(run)

    def _flat(self, run: Records) -> Verdict:
        z, early, late = self._trend(run)
        fallen = float(run.loss[np.isfinite(run.loss)][0]) - late
        slow = self.endless and early - late < _SLOW * fallen and not self._geometric(run, early - late)
        self.agreed = self.agreed + 1 if z > -2 or slow else 0
        if self.agreed < self.stop.patience:
            return Continue()
        seen = f"{early:.6g}, then {late:.6g} in the last two quarters of {int(run.step[-1]):,} steps"
        if z <= -2:
            share = (early - late) / fallen
            why = f"the loss falls ever more slowly: {seen}, {share:.1g} of the way it has come"
            return Stop(Reason.PLATEAU, f"{why}; a budget would let it go on")
        if self.exact:
            return Stop(
                Reason.PLATEAU,
                f"the loss no longer falls: at lowest {seen}, the {self.norm} is {run.grad_norm[-1]:.3g}",
            )
        return Stop(Reason.NOISE_FLOOR, f"the loss no longer falls: {seen} (z = {z:.1f}; {self.agreed} looks agree)")

    def _geometric(self, run: Records, last: float) -> bool:
        """Whether an exact loss falls in proportion to its height, so that it will soon have arrived."""
        end = run.step[-1]
        before = _lowest(run, 0.25 * end, 0.5 * end) - _lowest(run, 0.5 * end, 0.75 * end)
        return self.exact and last < _SHRINKING * before

    def _trend(self, run: Records) -> tuple[float, float, float]:
        """A rank-sum z of the loss in the last quarter of the steps against the quarter before, and the two medians.

        Ranks, because neither a fast fall nor heavy-tailed batches may hide a trend. A difference that is below the
        rounding of the loss is none. Where every step sees the same loss there is no noise: then the lowest losses of
        the two quarters are compared, so that a loss that falls while it oscillates is seen to fall.
        """
        end = run.step[-1]
        if self.exact:
            a, b = _lowest(run, 0.5 * end, 0.75 * end), _lowest(run, 0.75 * end, end)
            return -np.inf if a - b > self.rounding * abs(a) else 0.0, a, b
        early, late = _group_means(run, 0.5 * end, 0.75 * end), _group_means(run, 0.75 * end, end)
        a, b = float(np.median(early)), float(np.median(late))
        if not a - b > self.rounding * abs(a):
            return 0.0, a, b
        return rank_sum(late, early), a, b


def _lowest(run: Records, start: float, end: float) -> float:
    return float(np.nanmin(run.loss[(run.step > start) & (run.step <= end)], initial=np.inf))


def _group_means(run: Records, start: float, end: float) -> np.ndarray:
    """Means of the loss over eight stretches between two steps: nearly independent, unlike neighbouring records."""
    inside = run.loss[(run.step > start) & (run.step <= end) & np.isfinite(run.loss)]
    groups = [g.mean() for g in np.array_split(inside, _GROUPS) if len(g)]
    return np.array(groups or [np.nan])


def rank_sum(a: np.ndarray, b: np.ndarray) -> float:
    """The z of the Mann-Whitney test: below 0 where `a` lies lower than `b`. Ties count half."""
    n, m = len(a), len(b)
    wins = np.sum(a[:, None] > b[None, :]) + 0.5 * np.sum(a[:, None] == b[None, :])
    return float((wins - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12))


@dataclass
class Validation:
    """Follows the validation loss and says when it has passed its minimum.

    Args:
        patience: how many looks in a row must lie above the best by more than the noise of the validation loss.
        endless: whether nothing else would end a run whose validation loss falls ever more slowly, so that this must.
    """

    patience: int
    endless: bool = False
    best: float = np.inf
    best_step: int = 0
    seen: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    above: int = 0

    def look(self, step: int, loss: float) -> Verdict:
        self.seen.append(loss)
        self.steps.append(step)
        if loss < self.best:
            self.best, self.best_step, self.above = loss, step, 0
            return self._slow(step) if self.endless else Continue()
        self.above = self.above + 1 if not loss <= self.best + self._noise() else 0
        if self.above < self.patience or not np.isfinite(self.best):
            return Continue()
        return Stop(
            Reason.VALIDATION,
            f"the validation loss passed its minimum {self.best:.6g} at step {self.best_step:,}; "
            f"at step {step:,} it was {loss:.6g}",
        )

    def _slow(self, step: int) -> Verdict:
        """The end where the second half of the run has gained next to nothing of what the run has."""
        half = [loss for loss, at in zip(self.seen, self.steps, strict=True) if at <= step / 2]
        if len(half) < self.patience:
            return Continue()
        gained, fallen = min(half) - self.best, self.seen[0] - self.best
        if gained > _LITTLE * fallen:
            return Continue()
        return Stop(
            Reason.VALIDATION,
            f"the validation loss falls ever more slowly: {min(half):.6g} by half of the {step:,} steps, "
            f"{self.best:.6g} by the end, {gained / fallen:.1g} of its fall; a budget would let it go on",
        )

    def _noise(self) -> float:
        """Half the typical change from look to look: what a look can move by without meaning anything."""
        change = np.abs(np.diff(self.seen[-8:]))
        return 0.5 * float(np.median(change)) if len(change) else 0.0

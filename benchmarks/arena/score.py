"""Scoring: how soon a run reaches what the best tuned peer reached, how close it ends, and what it cost.

    I, B = the loss at the start; the final loss of the best tuned peer, the median over its seeds
    T1 = B + .02 (I - B)      loose: 98 % of the way down
    T2 = B (I / B)^.05        tight: 95 % of the way down in logarithms
    ratio = steps to the target / steps of the best tuned peer to it; a miss counts 4
    log gap = ln(final / B) / ln(I / B): 0 as good as the best tuned peer, 1 no better than the start

Steps are counted in marks of 2 % of N, for everyone: a run that reaches a target between two marks is given the later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.arena.tuned import Tuned
from benchmarks.arena.workload import MARKS

MISS = 4.0


@dataclass(frozen=True)
class Course:
    """What a contender's run showed.

    Attributes:
        fractions: steps along the path of the answer / N, rising, in (0, 1].
        losses: the judged loss there; the last one is the final loss.
        cost: gradients spent / N, probes and judging included.
        spent: gradients spent / N when each loss was seen; None where it equals `fractions`.
    """

    fractions: np.ndarray
    losses: np.ndarray
    cost: float = 1.0
    spent: np.ndarray | None = None

    @property
    def final(self) -> float:
        return float(self.losses[-1])


class Reference(NamedTuple):
    """What a run on a workload is measured by: the targets and the best tuned peer's marks to them, out of `MARKS`."""

    initial: float
    best: float
    loose: float
    tight: float
    loose_mark: float
    tight_mark: float


class Score(NamedTuple):
    """One run. The ratios are infinite for a miss; `spent1` and `spent2` count every gradient instead of steps."""

    ratio1: float
    ratio2: float
    spent1: float
    spent2: float
    log_gap: float
    cost: float


def targets(initial: float, best: float) -> tuple[float, float]:
    """The loose and the tight target.

    Raises:
        ValueError: `best` is not above 0, where "5 % of the logarithmic range" means nothing, or not below `initial`.
    """
    if not 0 < best < initial:
        raise ValueError(f"best={best:g} must lie between 0 and initial={initial:g}.")
    return best + 0.02 * (initial - best), best * (initial / best) ** 0.05


def reference(tuned: Tuned) -> Reference:
    """The targets of a workload and the median marks of the tuned peer that ended best."""
    loose, tight = targets(tuned.initial, tuned.best_final)
    curves = [peer_course(curve) for curve in tuned.peers[tuned.best].curves]
    marks = [float(np.median([reached(c, t) for c in curves])) for t in (loose, tight)]
    return Reference(tuned.initial, tuned.best_final, loose, tight, *marks)


def peer_course(curve, cost: float = 1.0) -> Course:
    """The course of a peer, whose losses were taken at every mark."""
    return Course(np.arange(1, MARKS + 1) / MARKS, np.asarray(curve, float), cost)


def reached(course: Course, target: float) -> float:
    """The first mark (1 .. MARKS) at which the loss is at or below the target; inf if it never is."""
    return _first_mark(course.fractions, course.losses, target)


def _first_mark(positions: np.ndarray, losses: np.ndarray, target: float) -> float:
    hits = np.flatnonzero(losses <= target)
    if not len(hits):
        return np.inf
    return max(1.0, float(np.ceil(positions[hits[0]] * MARKS - 1e-9)))


def score(course: Course, ref: Reference) -> Score:
    """One run against the best tuned peer of its workload."""
    spent = course.fractions if course.spent is None else course.spent
    aims = ((ref.loose, ref.loose_mark), (ref.tight, ref.tight_mark))
    steps = [_first_mark(course.fractions, course.losses, t) / m for t, m in aims]
    gradients = [_first_mark(spent, course.losses, t) / m for t, m in aims]
    final = course.final if np.isfinite(course.final) else ref.initial
    log_gap = np.log(max(final, 1e-30) / ref.best) / np.log(ref.initial / ref.best)
    return Score(*steps, *gradients, float(np.clip(log_gap, -0.3, 1.0)), course.cost)


class Summary(NamedTuple):
    """Means over workloads, each weighing the same; `worst` is the workload with the largest mean ratio to T2.

    gm1, gm2: geometric means of the ratios. spent1, spent2: the same, every gradient counted. hit1, hit2: the share of
    runs that reach the target. gm1_low ... gm2_high: 95 % bootstrap intervals over workloads and seeds.
    """

    gm1: float
    gm2: float
    spent1: float
    spent2: float
    hit1: float
    hit2: float
    worst1: float
    worst2: float
    worst: str
    log_gap: float
    cost: float
    gm1_low: float
    gm1_high: float
    gm2_low: float
    gm2_high: float


def summarise(scores: dict[str, list[Score]], resamples: int = 2000) -> Summary:
    """A contender's runs on all workloads: name -> one score a seed."""
    names = list(scores)
    runs = [np.array(scores[name], float) for name in names]
    logs = [np.log(_missed(r[:, :4])) for r in runs]
    means = np.array([r.mean(0) for r in logs])
    low, high = _interval(logs, resamples)
    worst = int(np.argmax(means[:, 1]))
    return Summary(
        *np.exp(means.mean(0)),
        *(float(np.mean([np.isfinite(r[:, i]).mean() for r in runs])) for i in (0, 1)),
        *np.exp(means[:, :2].max(0)),
        names[worst],
        float(np.mean([r[:, 4].mean() for r in runs])),
        float(np.mean([r[:, 5].mean() for r in runs])),
        *(float(v) for pair in zip(low, high, strict=True) for v in pair),
    )


def _missed(ratios: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(ratios), ratios, MISS)


def _interval(logs: list[np.ndarray], resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """The 2.5 and 97.5 percentiles of (gm1, gm2), workloads drawn with replacement, then seeds within each."""
    rng = np.random.default_rng(0)
    draws = np.empty((resamples, 2))
    for i in range(resamples):
        picked = rng.integers(0, len(logs), len(logs))
        draws[i] = np.mean([_resampled(logs[j][:, :2], rng) for j in picked], 0)
    return tuple(np.exp(np.percentile(draws, [2.5, 97.5], axis=0)))


def _resampled(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rows[rng.integers(0, len(rows), len(rows))].mean(0)

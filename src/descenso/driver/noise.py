"""The rows of the first batches, from how noisy their gradients are.

    B = tr(S) / |G|^2      the rows whose mean gradient is half noise:
                           S the covariance of the gradients of single rows, G their mean

Batches far smaller are mostly noise. Larger ones than the number of rows asks for are taken where B says so. Smaller
ones never: far from the minimum B is small, it grows on the way there, and no table was learned better by them
(docs/findings.md).

Source: McCandlish et al. 2018, arXiv:1812.06162, appendix A.1.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np

from descenso.driver.growth import most_rows, resize
from descenso.driver.prepare import most_steps, planned
from descenso.driver.run import Run
from descenso.result import Finding

_BATCHES = 16  # whose gradients are compared
_SHARE = 1 / 32  # of the run that they may cost
_SEEN = 1.645 * sqrt(
    2
)  # standard errors of |G|^2 where G is 0 and all noise is in one direction, the most there can be


def choose_first(run: Run) -> None:
    """Take batches as large as the noise of the gradient at the start asks for, where their rows were left to us."""
    rows = run.engine.batch_size
    if not run.ready.grows or rows is None or 2 * rows > most_rows(run.engine) or not _affordable(run):
        return
    each = min(rows, run.engine.rows // _BATCHES)
    squares, whole = run.engine.gradients(run.state.params, _BATCHES, each)
    run.spending.probes += _BATCHES * each / rows
    scale, larger = noise_scale(squares, whole, each), rows
    why = f"at the start no gradient is seen on {_BATCHES * each:,} of them"
    if scale is not None:
        half = max(1, round(scale))
        why = f"at the start the gradient of {half:,} row{'s' * (half > 1)} is half noise"
        while 2 * larger <= min(scale, most_rows(run.engine)):
            larger *= 2
    told = Finding("batch_size", 0, f"batches of {larger:,} of {run.engine.rows:,} rows: {why}")
    run.findings = [told if f.kind == "batch_size" else f for f in run.findings]
    if larger > rows:
        first_of(run, larger)


def first_of(run: Run, rows: int) -> None:
    """Batches of `rows` rows from the start, and the length of the run that follows."""
    budget = run.spending.budget
    steps = most_steps(budget, run.engine.rows, rows)
    resize(run, rows, (0, 0))
    run.state = run.engine.start(run.state.params)
    run.ready, run.spending.steps = replace(run.ready, steps=steps), steps
    if run.pilot is not None:
        run.pilot.horizon = planned(budget, steps)


def noise_scale(squares: np.ndarray, whole: float, rows: int) -> float | None:
    """B, from the squared norms of the gradients of K batches and that of their sum; None where no gradient is seen.

    |G|^2 = (|sum g|^2 - sum |g|^2) / (K (K - 1))
    tr(S) = rows (sum |g|^2 / K - |G|^2)              both without bias
    """
    k, one = len(squares), float(np.mean(squares))
    signal = (whole - k * one) / (k * (k - 1))
    noise = one - signal
    if not np.isfinite(signal) or signal <= _SEEN * max(noise, 0.0) / sqrt(k * (k - 1)):
        return None
    return rows * max(noise, 0.0) / signal


def _affordable(run: Run) -> bool:
    limits = (run.ready.steps, run.spending.budget.gradients)
    return all(limit is None or limit * _SHARE >= _BATCHES for limit in limits)

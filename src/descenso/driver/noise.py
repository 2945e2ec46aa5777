"""The rows of the first batches, from how noisy their gradients are.

    B = tr(S) / |G|^2      the rows whose mean gradient is half noise:
                           S the covariance of the gradients of single rows, G their mean

Batches of b rows need (1 + B / b) times the fewest steps and (1 + b / B) times the fewest rows. So b = B / 4 costs a
quarter more rows than the smallest batches, for a fraction of their steps. Batches larger than the number of rows asks
for are taken where B says so. Smaller ones never: far from the minimum B is small, it grows on the way there, and no
table was learned better by them (docs/findings.md). Nor where epochs or seconds are counted.

Source: McCandlish et al. 2018, arXiv:1812.06162, equation 2.11 and appendix A.1.
"""

from __future__ import annotations

import numpy as np

from descenso.driver.growth import most_rows, resize
from descenso.driver.run import Run
from descenso.result import Finding

_BATCHES = (16, 64)  # whose gradients are compared: the more only where the fewer show nothing
_SHARE = 1 / 32  # of the run that they may cost
_SEEN = 2.0  # standard errors that the inner products of gradients must be above 0
_PART = 1 / 4  # of B


def choose_first(run: Run) -> None:
    """Take batches as large as the noise of the gradient at the start asks for, where their rows were left to us."""
    engine, rows = run.engine, run.engine.batch_size
    counts = [n for n in _BATCHES if _affordable(run, n)]
    if not run.ready.grows or not counts or rows is None or 2 * rows > most_rows(engine):
        return
    squares, sums, total, scale = np.empty(0), np.empty(0), None, None
    for count in counts:
        if run.spending.halted:
            return
        more, longer, total = engine.gradients(run.state.params, len(squares), count - len(squares), total)
        run.spending.probes += len(more)
        squares, sums = np.append(squares, more), np.append(sums, longer)
        scale = noise_scale(squares, sums, rows)
        if scale is not None:
            break
    larger, why = rows, f"at the start no gradient is seen on {len(squares) * rows:,} of them"
    if scale is not None:
        half = max(1, round(scale))
        why = f"at the start the gradient of {half:,} row{'s' * (half > 1)} is half noise"
        while 2 * larger <= min(_PART * scale, most_rows(engine)):
            larger *= 2
    told = Finding("batch_size", 0, f"batches of {larger:,} of {engine.rows:,} rows: {why}")
    run.findings = [told if f.kind == "batch_size" else f for f in run.findings]
    if larger > rows:
        resize(run, larger, run.engine.origin)
        run.state = run.engine.start(run.state.params)


def noise_scale(squares: np.ndarray, sums: np.ndarray, rows: int) -> float | None:
    """B, from the squared norms of the gradients of K batches and those of their running sums; None if none is seen.

        d_n = g_n'(g_1 + ... + g_n-1) = (|s_n|^2 - |s_n-1|^2 - |g_n|^2) / 2
        |G|^2 = 2 sum d / (K (K - 1))
        tr(S) = rows (sum |g|^2 / K - |G|^2)           both without bias

    Where G is 0 the d are differences of a martingale, so that sum d / sqrt(sum d^2) is about normal, whatever S is.
    """
    k, one = len(squares), float(np.mean(squares))
    d = (np.diff(sums) - squares[1:]) / 2
    signal = 2 * float(d.sum()) / (k * (k - 1))
    if not np.isfinite(signal) or d.sum() <= _SEEN * np.sqrt((d**2).sum()):
        return None
    return rows * max(one - signal, 0.0) / signal


def _affordable(run: Run, count: int) -> bool:
    if run.spending.budget.epochs is not None or run.spending.budget.seconds is not None:
        return False  # rows are short, of which the smallest batches make the most; or time is
    limits = (run.ready.steps, run.spending.budget.gradients)
    enough = count * (run.engine.batch_size or 0) <= run.engine.rows  # so that no row is in two batches
    return enough and all(limit is None or limit * _SHARE >= count for limit in limits)

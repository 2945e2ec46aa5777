"""Restarts before a run: it then starts from the best point that they found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from descenso._errors import ArgumentError
from descenso.driver.prepare import Prepared
from descenso.driver.spending import Spending
from descenso.restarts import Basin, explore, rows_of
from descenso.result import Finding
from descenso.watch.limits import Budget

_ABYSS = 1e20  # times the loss at the start: how far below zero no minimum is looked for


def check_restarts(restarts: Any, checkpoint: Any) -> None:
    """Raise ArgumentError where `restarts` of `minimize` is not what it must be."""
    if restarts is None:
        return
    by_budget = isinstance(restarts, Budget) and restarts.gradients is not None
    whole = isinstance(restarts, (int, np.integer)) and not isinstance(restarts, bool) and restarts >= 1
    if not by_budget and not whole:
        raise ArgumentError(
            f"`restarts` is {restarts!r}. It must be a number of descents from 1, or what they may spend.",
            hint="restarts=50, or restarts=Budget(gradients=10_000)",
        )
    if checkpoint is not None:
        raise ArgumentError("`restarts` cannot be gone on with from a `checkpoint`.", hint="leave one of them out")


def restarted(ready: Prepared, restarts: int | Budget, spending: Spending) -> tuple[Prepared, list[Basin]]:
    """The run from the best point found, and the basins."""
    engine = ready.engine
    by_budget = isinstance(restarts, Budget)
    unit = rows_of(engine) / (engine.batch_size or engine.rows) if engine.rows else 1.0
    allowed = [restarts.gradients if by_budget else None, spending.budget.gradients]
    limit = min((n / unit for n in allowed if n is not None), default=None)
    found = explore(
        engine,
        ready.leaves,
        engine.bounds,
        descents=None if by_budget else int(restarts),
        gradients=limit,
        halted=lambda: spending.halted,
    )
    spending.probes += unit * found.gradients
    findings = [*ready.findings, Finding("restarts", 0, found.told)]
    leaves = found.leaves
    # what follows would call the floor of the dtype a plateau
    if found.loss < -_ABYSS and found.loss < -_ABYSS * abs(engine.mean_loss(ready.leaves)):
        told = (
            f"a descent fell to {found.loss:.4g}, where the loss has no floor in sight: the run starts from the start"
        )
        findings.append(Finding("restarts", 0, told))
        leaves = ready.leaves
    return replace(ready, leaves=leaves, findings=findings), found.basins

"""What a run has spent, and whether it may go on."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

from descenso.driver.interrupt import Interrupt
from descenso.result import Reason
from descenso.watch.limits import Budget
from descenso.watch.verdict import Stop

FORWARD = 1 / 3
"""What a loss without its gradient costs, in gradients."""


@dataclass
class Spending:
    """Counts gradients and time against the budget.

    Args:
        budget: what the caller allows.
        steps: the most updates that follow from it, or None.
        interrupt: whether the user has asked for the end.
        started: when the run began, by `perf_counter`.
        updates: gradients of steps: a whole number, so that it does not hang on the order of the additions.
        probes: what else was evaluated, in gradients.
    """

    budget: Budget
    steps: int | None
    interrupt: Interrupt
    started: float = field(default_factory=perf_counter)
    updates: int = 0
    probes: float = 0.0

    @property
    def gradients(self) -> float:
        return self.updates + self.probes

    @property
    def seconds(self) -> float:
        return perf_counter() - self.started

    @property
    def late(self) -> bool:
        return self.budget.seconds is not None and self.seconds >= self.budget.seconds

    @property
    def halted(self) -> bool:
        """Whether time is up or the user has asked for the end."""
        return self.interrupt.asked or self.late

    def ended(self, step: int) -> Stop | None:
        """Why the run may not go on from `step`, or None."""
        budget = self.budget
        if self.interrupt.asked:
            return Stop(Reason.INTERRUPTED, f"stopped by the user at step {step:,}")
        if self.late:
            return Stop(Reason.BUDGET, f"the {budget.seconds:g} seconds allowed were used up at step {step:,}")
        if self.steps is not None and step >= self.steps:
            by_epochs = budget.epochs is not None and budget.steps != self.steps
            return Stop(
                Reason.BUDGET,
                f"the {budget.epochs:g} epochs allowed were made"
                if by_epochs
                else f"the {self.steps:,} steps allowed were made",
            )
        if budget.gradients is not None and self.gradients >= budget.gradients:
            return Stop(Reason.BUDGET, f"the {budget.gradients:g} gradients allowed were spent at step {step:,}")
        return None

    def fraction(self, step: int) -> float | None:
        """The share of the budget that is used up, None where there is no limit."""
        shares = [
            used / limit
            for used, limit in (
                (step, self.steps),
                (self.seconds, self.budget.seconds),
                (self.gradients, self.budget.gradients),
            )
            if limit is not None
        ]
        return min(1.0, max(shares)) if shares else None

"""What a run may spend and where it should stop, as the caller asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isnan
from numbers import Integral, Real

from descenso._errors import ArgumentError, BudgetError


@dataclass(frozen=True)
class Budget:
    """How much a run may spend; it ends at the first limit that is reached. None is no limit.

    Args:
        steps: updates along the path of the answer, > 0.
        epochs: passes over the data, > 0; may be a fraction. Only with data.
        seconds: wall-clock time, > 0, compilation included. Checked between chunks of at most about a second.
        gradients: gradient evaluations in units of one batch, > 0, probes included.
    """

    steps: int | None = None
    epochs: float | None = None
    seconds: float | None = None
    gradients: float | None = None

    def __post_init__(self):
        for name in ("steps", "epochs", "seconds", "gradients"):
            value = getattr(self, name)
            if value is None:
                continue
            if not _is_number(value) or not 0 < value < inf:
                raise BudgetError(f"Budget got {name}={value!r}. It must be a number above 0, or None for no limit.")
            if name == "steps" and value != int(value):
                raise BudgetError(f"Budget got steps={value!r}. It must be a whole number.")


@dataclass(frozen=True)
class Stop:
    """When a run has arrived. The defaults suit most losses.

    Args:
        target: stop as soon as the loss (the validation loss, where there is one) is at or below this.
        gradient: the gradient norm, as a share of the largest seen, that counts as zero where every step sees the same
            loss. None takes 1e-8 in float64 and 1e-6 in float32. In (0, 1).
        patience: how many looks in a row must agree before plateau, noise floor or validation end the run, >= 1.
        floor: whether to stop at the noise floor or a plateau at all; False runs to the budget.
    """

    target: float | None = None
    gradient: float | None = None
    patience: int = 3
    floor: bool = True

    def __post_init__(self):
        if self.target is not None and (not _is_number(self.target) or isnan(self.target)):
            raise ArgumentError(f"Stop got target={self.target!r}. It must be a number, or None.")
        if self.gradient is not None and not (_is_number(self.gradient) and 0 < self.gradient < 1):
            raise ArgumentError(f"Stop got gradient={self.gradient!r}. It must lie between 0 and 1, or be None.")
        if not _is_number(self.patience) or not isinstance(self.patience, Integral) or self.patience < 1:
            raise ArgumentError(f"Stop got patience={self.patience!r}. It must be a whole number from 1.")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)

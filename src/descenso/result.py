"""How a run ended: the result, its reason, and what was found on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from descenso._errors import FailedRun


class Reason(StrEnum):
    """Why a run ended. Each is a statement about the run that its message backs with numbers."""

    CONVERGED = "converged"
    """The gradient is zero, to the tolerance asked for or to the rounding of the loss."""
    NOISE_FLOOR = "noise_floor"
    """The gradient of the whole is buried in the noise of the batches: no progress can be detected."""
    PLATEAU = "plateau"
    """The loss stopped falling while the gradient did not vanish."""
    BUDGET = "budget"
    """The steps, epochs, seconds or gradients allowed were used up."""
    TARGET = "target"
    """The loss asked for was reached."""
    VALIDATION = "validation"
    """The validation loss passed its minimum, or falls so slowly that more steps gain little; the best is returned."""
    INTERRUPTED = "interrupted"
    """The user stopped the run."""
    DIVERGED = "diverged"
    """The loss rose again and again, at ever smaller step sizes."""
    NONFINITE = "nonfinite"
    """The loss or its gradient is NaN or infinite, at ever smaller step sizes."""
    UNBOUNDED = "unbounded"
    """The loss falls without bound: it has no minimum."""


_SUCCESS = frozenset({Reason.CONVERGED, Reason.NOISE_FLOOR, Reason.TARGET, Reason.VALIDATION})
_USABLE = _SUCCESS | {Reason.BUDGET, Reason.INTERRUPTED, Reason.PLATEAU}

SCIPY_STATUS = dict.fromkeys(_SUCCESS, 0) | {
    Reason.BUDGET: 1,
    Reason.PLATEAU: 2,
    Reason.NONFINITE: 3,
    Reason.UNBOUNDED: 4,
    Reason.DIVERGED: 5,
    Reason.INTERRUPTED: 99,
}
"""The `status` of an OptimizeResult: 0 to 3 and 99 are as SciPy's BFGS and L-BFGS-B use them."""


class Finding(NamedTuple):
    """Something the run saw or decided, in a sentence.

    kind: a short word to filter by ("recovered", "rate", "batch_size", "precision", ...).
    step: the step at which it was seen.
    """

    kind: str
    step: int
    message: str


@dataclass(frozen=True)
class History:
    """The course of the run, one entry per record (the mean over the steps since the last record).

    All are 1-d float64 arrays of the same length, but `step` (int64): the step at which the record ends.
    `validation` is NaN where the validation loss was not measured.
    """

    step: np.ndarray
    loss: np.ndarray
    step_size: np.ndarray
    grad_norm: np.ndarray
    seconds: np.ndarray
    validation: np.ndarray

    def __len__(self) -> int:
        return len(self.step)


@dataclass(frozen=True)
class Result:
    """What a run returns.

    Attributes:
        params: the answer, a pytree like the one given: the averaged point where the method averages, the best
            validated point where there is validation data, the best finite point after a failure.
        loss: the loss at `params` on all the data (on a sample of it where the data is too large; a finding says so).
        reason: why the run ended.
        message: the same in a sentence, with the evidence and, after a failure, what to try.
        history: loss, step size and gradient norm along the way.
        steps: updates made along the path that led to `params`.
        gradients: evaluations of the gradient of a batch, of whatever size it was then, probes and judging included; a
            loss alone is 1/3. What it takes to report `loss` at the end is not counted, nor is the certificate, which
            states its own cost, unless the run went on from what it showed.
        epochs: passes over the data along the path, 0.0 without data.
        seconds: wall-clock time, compilation included.
        findings: what was seen and decided on the way.
        validation_loss: the loss at `params` on the validation data, or None.
        certificate: what kind of point `params` is (`descenso.Certificate`); None where it was not asked for, could not
            be made, or the run did not come to rest.
        basins: the minima that `restarts` found, lowest first.
        aux: with `has_aux`, what the loss returns beside its value: the mean over blocks of all rows, at `params`.
    """

    params: Any
    loss: float
    reason: Reason
    message: str
    history: History
    steps: int
    gradients: float
    epochs: float
    seconds: float
    findings: list[Finding] = field(default_factory=list)
    validation_loss: float | None = None
    certificate: Any = None
    basins: list[Any] = field(default_factory=list)
    aux: Any = None

    @property
    def success(self) -> bool:
        """Whether the run arrived: converged, noise_floor, target or validation."""
        return self.reason in _SUCCESS

    @property
    def usable(self) -> bool:
        """Whether `params` can be used: every ending but diverged, nonfinite and unbounded."""
        return self.reason in _USABLE

    def raise_if_failed(self) -> Result:
        """Return the result itself, or raise FailedRun if it is not usable."""
        if not self.usable:
            raise FailedRun(self.message, self)
        return self

    def as_scipy(self) -> Any:
        """The result as a `scipy.optimize.OptimizeResult`.

        x is a vector, the float leaves of `params` end to end, in float64; fun, success and message are those of the
        result, `status` is in `SCIPY_STATUS`; nit are the steps, nfev and njev the gradients, rounded up; nhev is 0,
        since Hessian-vector products are counted as gradients. There is no `jac`: a result holds no gradient. Beside
        them stand params, reason, findings and certificate.
        """
        import jax
        from scipy.optimize import OptimizeResult

        leaves = [x for x in jax.tree.leaves(self.params) if not (callable(x) or isinstance(x, str))]
        spent = ceil(self.gradients)
        return OptimizeResult(
            x=np.concatenate([np.asarray(leaf).astype(np.float64).ravel() for leaf in leaves]),
            fun=self.loss,
            success=self.success,
            status=SCIPY_STATUS[self.reason],
            message=self.message,
            nfev=spent,
            njev=spent,
            nhev=0,
            nit=self.steps,
            params=self.params,
            reason=self.reason,
            findings=self.findings,
            certificate=self.certificate,
        )

    def __str__(self) -> str:
        rows = [
            ("reason", f"{self.reason}: {self.message}"),
            ("loss", f"{self.loss:.6g}"),
            ("steps", f"{self.steps:,}" + (f" ({self.epochs:.3g} epochs)" if self.epochs else "")),
            ("gradients", f"{self.gradients:,.6g}"),
            ("seconds", f"{self.seconds:.3g}"),
        ]
        if self.validation_loss is not None:
            rows.insert(2, ("validation", f"{self.validation_loss:.6g}"))
        if self.certificate is not None:
            rows.append(("certificate", str(self.certificate)))
        rows += [("found", f"step {f.step:,}: {f.message}") for f in self.findings]
        return "\n".join(f"{name:>11}  {value}" for name, value in rows)

    __repr__ = __str__


class Progress(NamedTuple):
    """How a run stands, as told to `progress` a few times a second.

    step, epoch: how far it is. loss: mean over the last record. validation: the last validation loss, or None.
    step_size: the last. rows_per_second: 0.0 without data. note: the newest finding, or "". seconds: since the start.
    fraction: of the budget used, or None without a budget. seconds_left: until the budget is used up, or None.
    """

    step: int
    epoch: float
    loss: float
    validation: float | None
    step_size: float
    rows_per_second: float
    note: str
    seconds: float
    fraction: float | None
    seconds_left: float | None


class Look(NamedTuple):
    """What `watch` is shown at each look: numbers, and the point that would be the answer now.

    step: updates made. gradients: evaluations spent so far, probes included. loss: mean over the last record.
    params: a function that builds the answer of this moment (it costs a copy, so it is made only when called).
    """

    step: int
    gradients: float
    loss: float
    params: Any

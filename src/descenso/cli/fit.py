"""`descenso fit`: a table in, a model and an honest account out."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from descenso import Stop, Streamed, losses, minimize
from descenso.checkpoint.keeper import Checkpoint
from descenso.cli.metrics import guessing, metrics
from descenso.cli.rows import Learnable, Request
from descenso.cli.saved import Saved, finite, save_model, save_run
from descenso.data.target import Classes, Target
from descenso.models import HIDDEN, Model, mean_loss
from descenso.result import Progress, Result

# Of 0, 1, 3 and 10 rows for the mlp, 3 gave the lowest log loss or RMSE in the mean over breast-cancer, digits,
# diabetes, adult and california, two seeds each: .41 .19 .13 .11, .19 .084 .081 .11, 69 67 60 55, .307 .304 .306 .308,
# 51,960 51,960 52,080 52,680.
_PENALTY_ROWS = {"linear": 1.0, "mlp": 3.0}
# Of the largest gradient: the loss of adult, hflights, digits and breast-cancer is that of 1e-6 to 4e-7 of it, in a
# quarter of the steps on hflights.
_GRADIENT = 1e-5
_MOST_CELLS = 200_000_000  # of the inputs, for a linear model to look at all rows at every step


@dataclass(frozen=True)
class Report:
    """How a fit ended.

    Attributes:
        request: what was asked for.
        learned: the rows.
        result: of the descent.
        metrics: on the held-out rows.
        guess: the same metrics of the best constant prediction.
        saved: whether the model was saved: it is if it is usable.
    """

    request: Request
    learned: Learnable
    result: Result
    metrics: dict[str, float | None]
    guess: dict[str, float | None]
    saved: bool

    def line(self) -> dict[str, Any]:
        """What `--json` prints."""
        r = self.result
        return finite(
            {
                "task": self.learned.target.task,
                "model": self.request.model,
                "rows": len(self.learned.train),
                "metrics": self.metrics,
                "reason": str(r.reason),
                "success": r.success,
                "message": r.message,
                "steps": r.steps,
                "gradients": r.gradients,
                "epochs": r.epochs,
                "seconds": r.seconds,
                "out": str(self.request.out) if self.saved else None,
            }
        )


def learn(request: Request, learned: Learnable, progress: Callable[[Progress], None] | None) -> Report:
    """Learn a model of the rows, measure it on those it has not seen, and save it if it is usable.

    Args:
        request: what was asked for.
        learned: the rows, from `read_rows(request)`.
        progress: as for `minimize`.

    Raises:
        ArgumentError: an argument is not what it must be.
        OSError: the model cannot be saved.
    """
    model = _model(request.model, learned)
    result = _descend(model, request, learned, progress)
    outputs = model.predict(result.params, learned.held.inputs, spread=learned.spread)
    truth = np.asarray(learned.held.targets)
    truth = truth.astype(np.int32) if isinstance(learned.target, Classes) else truth
    report = Report(
        request,
        learned,
        result,
        metrics(learned.target, outputs, truth),
        guessing(learned.target, learned.train.targets, truth),
        result.usable,
    )
    _save(model, report)
    return report


def _model(kind: str, learned: Learnable) -> Model:
    hidden = HIDDEN if kind == "mlp" else ()
    return Model((len(learned.encoding.inputs), *hidden, learned.target.outputs))


def _descend(model: Model, request: Request, learned: Learnable, progress: Callable[[Progress], None] | None) -> Result:
    per_example, batch_size = _loss(learned.target), request.batch_size
    # a normal prior of deviation 1 on each weight, as strong as so many rows
    penalty = _PENALTY_ROWS[request.model] * (1.0 if per_example is losses.squared else 0.5) / len(learned.train)
    if request.model == "linear" and batch_size == "auto" and _may_be_seen_whole(learned):
        batch_size = "all"
    return minimize(
        mean_loss(model, per_example, penalty, learned.spread),
        model.init(request.seed),
        Streamed(tuple(learned.train), learned.memory) if learned.spread else tuple(learned.train),
        batch_size=batch_size,
        budget=request.budget,
        stop=Stop(gradient=_GRADIENT) if request.model == "linear" else None,
        validate=None if learned.stop is None else tuple(map(np.asarray, learned.stop)),
        seed=request.seed,
        checkpoint=None if request.checkpoint is None else Checkpoint(request.checkpoint, request.every),
        progress=progress,
    )


def _may_be_seen_whole(learned: Learnable) -> bool:
    """Whether a linear model may look at all rows at every step."""
    rows, packed = len(learned.train), 4 * (len(learned.spread) + 1)
    fits = not learned.spread or rows * packed <= learned.memory // 2  # what `Streamed` reads whole
    return fits and rows * len(learned.encoding.inputs) <= _MOST_CELLS


def _loss(target: Target) -> losses.Loss:
    if not isinstance(target, Classes):
        return losses.squared
    return losses.logistic if target.outputs == 1 else losses.softmax


def _save(model: Model, report: Report) -> None:
    request, learned = report.request, report.learned
    if not report.saved:
        save_run(request.out, _record(report))
        return
    params = tuple({k: np.asarray(v) for k, v in layer.items()} for layer in report.result.params)
    saved = Saved(request.model, model.widths, params, learned.encoding, learned.target)
    save_model(request.out, saved, _record(report), _versions())


def _record(report: Report) -> dict[str, Any]:
    """The whole course of the run, for run.json."""
    result, learned = report.result, report.learned
    return {
        "format": 1,
        "arguments": _arguments(report.request),
        "versions": _versions(),
        "split": {
            "descended_on": len(learned.train),
            "chose_the_stop": 0 if learned.stop is None else len(learned.stop),
            "measured_on": len(learned.held),
            "measured_from": learned.held_from,
        },
        "notes": learned.notes,
        **report.line(),
        "guess": report.guess,
        "usable": result.usable,
        "loss": result.loss,
        "validation_loss": result.validation_loss,
        "findings": [f._asdict() for f in result.findings],
        "history": vars(result.history),
    }


def _arguments(request: Request) -> dict[str, Any]:
    return {name: str(v) if isinstance(v, Path) else v for name, v in asdict(request).items()}


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("descenso", "jax", "numpy", "pyarrow")}
    return {**packages, "python": platform.python_version()}

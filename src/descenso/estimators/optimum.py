"""Going to the optimum of a convex linear model, all rows at every step, and by how much it can be missed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from descenso.estimators.descend import Options, joined, left_of, precision, priced, run_once
from descenso.estimators.gap import NOTHING, Gap, Rows, duality_gap, rows_at
from descenso.estimators.newton import decoupled, newton
from descenso.estimators.objective import Penalised
from descenso.methods.projected import ProjectedLBFGS
from descenso.result import Finding, Reason, Result
from descenso.watch.limits import Budget, Stop

_CLOSE, _CLOSE_32 = 1e-6, 1e-5  # of the loss, in 64 and in 32 bits: a bound below this proves an optimum
_LOOSE = 1e-4  # above this no gradient is small enough to say that a loss without kinks has converged
_FINE, _FINE_32 = (1e-9, 1e-12), (1e-6, 1e-7)  # shares of the largest gradient, in 64 bits and above the rounding of 32
_MOST_STEPS = 20_000  # that nobody has given a budget for
_MOST_STAGES = 30
_WIDE_KINK, _NARROW_KINK = 1.0, 0.01  # of Newton's method


@dataclass(frozen=True)
class Stage:
    """One run towards the optimum.

    kink: the width over which kinks are rounded off, in units of z. gradient: the share of the largest gradient of the
    run that counts as none.
    """

    kink: float
    gradient: float


class Seen(NamedTuple):
    """What a run has come to: its rows, and the gap, None where nothing is penalised or rows are held out."""

    rows: Rows
    gap: Gap | None

    @property
    def bound(self) -> float:
        return self.rows.rounded if self.gap is None else self.gap.bound

    @property
    def relative(self) -> float:
        loss = float(self.rows.weights @ self.rows.sharp) if self.gap is None else self.gap.loss
        return self.bound / max(abs(loss), NOTHING)


def exact(
    loss: Penalised, params: Any, table: Any, data: dict, options: Options, validate: dict | None = None
) -> Result:
    """The run to the optimum; its last finding is the duality gap there, where it has one.

    A loss with kinks is rounded off, and each run is centred at the slopes in which the last one has ended: what the
    rounding takes from the loss then goes to nothing, though its width need not. Source: Rockafellar 1976, Math. Oper.
    Res. 1(2), the proximal method of multipliers.
    """
    data, validate = priced(data, validate)
    data = _uncentred(data, params, loss)
    validate = None if validate is None else _uncentred(validate, params, loss)
    limited = vars(options.budget) != vars(Budget())
    budget = options.budget if limited else Budget(steps=_MOST_STEPS)
    close, runs, seen = _CLOSE if options.wide else _CLOSE_32, [], []
    fine = _FINE if options.wide else _FINE_32
    direct = validate is None and decoupled(loss, params, table)
    stage: Stage | None = _first(loss, fine, provable=validate is None and _is_penalised(loss), direct=direct)
    if validate is None and not loss.family.rough and _begun(params):
        with precision(options.wide):
            there = duality_gap(loss, params, rows_at(loss, table.scores(params), data), table)
        if there is not None and there.relative <= close:
            # a gradient smaller by a share of the one at the optimum would be sought for ever
            budget = replace(budget, steps=1)
    while stage is not None and (left := left_of(budget, runs)) is not None:
        now = replace(loss, shape=loss.shape._replace(kink=stage.kink))
        # in 32 bits rounding can keep the gradient above that: then the run ends where its loss no longer falls
        run = newton(now, params, table, data, options, left, stage.gradient) if direct else None
        if run is None:
            stop = Stop(gradient=stage.gradient, floor=not options.wide)
            asked = {"method": _search(params), "batch_size": "all", "budget": left, "stop": stop, "validate": validate}
            run = run_once(now, params, data, options, **asked)
        runs.append(run)
        params = runs[-1].params
        if not (runs[-1].usable and loss.family.convex):
            return _of_budget(joined(runs), options.budget, limited=limited)
        with precision(options.wide):
            rows = rows_at(now, table.scores(params), data)
        seen.append(Seen(rows, duality_gap(now, params, rows, table) if validate is None else None))
        interrupted = runs[-1].reason is Reason.INTERRUPTED
        stage = None if interrupted else _next(stage, seen, close, fine, rough=loss.family.rough, direct=direct)
        data = _centred(data, rows)
    run = _judged(joined(runs), seen[-1].gap, close, close if loss.family.rough else _LOOSE)
    if run.reason is Reason.CONVERGED and seen[-1].gap is None and validate is None:
        with precision(options.wide):
            return _unless_endless(run, seen[-1], rows_at(loss, 2 * table.scores(params), data), close)
    return _of_budget(run, options.budget, limited=limited)


def _of_budget(run: Result, budget: Budget, *, limited: bool) -> Result:
    """The run, where it has used up its budget: one that nobody gave is no reason, one that was given is told whole.

    Its last part knows of what was left of it alone.
    """
    if run.reason is not Reason.BUDGET:
        return run
    if not limited:
        return replace(run, reason=Reason.PLATEAU, message=f"it has not arrived in {run.steps:,} epochs")
    at = f" at step {run.steps:,}"
    for name, told in (("steps", "made"), ("epochs", "made"), ("gradients", "spent" + at), ("seconds", "used up" + at)):
        limit = getattr(budget, name)
        if limit is not None and getattr(run, name) >= limit:
            return replace(run, message=f"the {limit:,g} {name} allowed were {told}")
    return run


def _search(params: Any) -> Any:
    if "plus" not in params:
        return "auto"
    return ProjectedLBFGS(tuple(name != "intercept" for name in sorted(params)))


def _begun(params: Any) -> bool:
    """Whether a fit begins where another has ended."""
    return any(np.any(leaf) for leaf in params.values())


def _is_penalised(loss: Penalised) -> bool:
    return bool(np.any(loss.ridge) or np.any(loss.lasso))


def _uncentred(data: dict, params: Any, loss: Penalised) -> dict:
    """The data, with the slopes that a loss with kinks is centred at: none yet."""
    if not loss.family.rough:
        return data
    outputs = params["plus" if "plus" in params else "coef"].shape[1:]
    return {**data, "pull": np.zeros(data["t"].shape + outputs, data["w"].dtype)}


def _centred(data: dict, rows: Rows) -> dict:
    if "pull" not in data:
        return data
    return {**data, "pull": rows.slopes.reshape(data["pull"].shape).astype(data["pull"].dtype)}


def _first(loss: Penalised, fine: tuple[float, float], *, provable: bool, direct: bool) -> Stage:
    """The first stage. Where the gap can be measured it judges how small a gradient is needed.

    direct: whether it is Newton's method, which needs rows near their kinks, so that these are wide at first.
    """
    if not loss.family.rough:
        return Stage(0.0, fine[0])
    if direct:
        return Stage(_WIDE_KINK, 1e-2 if provable else 1e-6)
    return Stage(0.1, 1e-3 if provable else 1e-6)


def _next(
    stage: Stage, seen: list[Seen], close: float, fine: tuple[float, float], *, rough: bool, direct: bool
) -> Stage | None:
    """The stage after these, None where the optimum is proven or no more can be had."""
    now = seen[-1]
    if now.relative <= close or len(seen) == _MOST_STAGES:
        return None
    if not rough:
        return Stage(0.0, fine[1]) if len(seen) == 1 else None
    if direct and stage.kink > _NARROW_KINK:
        narrower = stage.kink / 5
        return Stage(narrower, stage.gradient if narrower > _NARROW_KINK else 1e-6)
    if len(seen) == 1:
        return replace(stage, kink=0.01)
    if len(seen) > 3 and now.bound > seen[-3].bound / 2:
        return None
    slow = now.rows.rounded > max(now.bound / 2, seen[-2].rows.rounded / 10)
    return replace(stage, kink=stage.kink / 10) if slow else stage


def _judged(run: Result, gap: Gap | None, close: float, loose: float) -> Result:
    """The run with what the gap says of its end.

    Below `close` it is the optimum, whatever ended the run; above `loose` no gradient is small enough to say so.
    """
    if gap is None:
        return run
    said = f"no coefficients have a loss lower by more than {gap.bound:.2g} ({gap.relative:.2g} of it; duality gap)"
    found = [*run.findings, Finding("optimum", run.steps, said)]
    run = replace(run, findings=found, loss=gap.loss)
    if gap.relative <= close:
        return replace(run, reason=Reason.CONVERGED, message=said)
    if gap.relative > loose and run.reason is Reason.CONVERGED:
        known = said.replace("no coefficients", "only this is known: no coefficients")
        return replace(run, reason=Reason.PLATEAU, message=f"{run.message}; but {known}")
    return run


def _unless_endless(run: Result, seen: Seen, twice: Rows, close: float) -> Result:
    """The run, unless twice the coefficients have a lower loss: a convex one then has no minimum within that."""
    once, further = (float(rows.weights @ rows.sharp) for rows in (seen.rows, twice))
    if not once - further > close * max(abs(once), NOTHING):
        return run
    told = f"the loss is {once:.3g}, and {further:.3g} with coefficients twice as large: it may have no minimum"
    return replace(run, reason=Reason.PLATEAU, message=f"{told}, as where classes are separable and alpha is 0")

"""Newton's method for linear models of dense tables in which every score has a loss of its own."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from descenso.driver.interrupt import watching
from descenso.driver.spending import FORWARD, Spending
from descenso.estimators.descend import Options, precision
from descenso.estimators.gap import NOTHING
from descenso.estimators.objective import Linear, Penalised
from descenso.estimators.scored import Scored, search
from descenso.estimators.table import Dense
from descenso.estimators.told import Stopped
from descenso.result import Finding, History, Look, Progress, Reason, Result
from descenso.watch.limits import Budget
from descenso.watch.verdict import Stop as Ended

_MOST_COLUMNS = 1024  # beyond, a Hessian costs more than the gradients that L-BFGS takes
_ROUNDED = 16.0  # in roundings of the largest curvature: added to it, for columns that others are made of
_IDLE, _IDLE_32 = 6, 3  # steps that lower the loss by no more than its rounding, after which it has come to rest
_SHORT, _FULL = 0.1, 0.5  # a search that ends below the first asks for more damping, one above the second for less
_FINEST = 4 * float(np.finfo(np.float64).eps)  # in 32 bits the loss is known less well than the step to its minimum
_LEAST, _MOST = 1e-6, 1e9  # damping: below the first it is none


def decoupled(loss: Penalised, params: Any, table: Any) -> bool:
    """Whether `newton` can descend: a convex loss, one score or one for each class against the rest, no L1 penalty."""
    linear = isinstance(table, Dense) and isinstance(loss.model, Linear) and "coef" in params
    if not (linear and loss.family.convex and table.features <= _MOST_COLUMNS):
        return False
    return params["coef"].ndim == 1 or loss.family.name != "log_loss"


def newton(
    loss: Penalised, params: dict, table: Dense, data: dict, options: Options, budget: Budget, gradient: float
) -> Result | None:
    """One run, all rows at every step; None where a number is not finite, which the driver knows how to treat.

        u_{t+1} = u_t - a (H + m I)^-1 g     for each score by itself, a where the slope is a tenth or less

    m is 0 until a search ends short of the step: then it grows, and shrinks again with every one that goes half of it.
    The derivatives of a loss with kinks are those of what it is rounded off to (semismooth Newton), to which only the
    rows near a kink contribute. A step costs one gradient, a third for each point of its search, and for the Hessian
    what its products cost in gradients.

    Args:
        params: {"coef": (columns,) or (columns, outputs), "intercept"}. data: of `table`, "pull" too.
        gradient: the share of the largest gradient norm that counts as none.

    Source: Qi and Sun 1993, Math. Prog. 58; the damping after Marquardt 1963, J. SIAM 11(2).
    """
    coef = np.asarray(params["coef"], np.float64)
    shape, single = coef.shape, coef.ndim == 1
    U = coef[:, None] if single else coef
    intercept = "intercept" in params
    if intercept:
        U = np.concatenate([U, np.atleast_1d(np.asarray(params["intercept"], np.float64))[None]])
    t, w = data["t"].reshape(-1), data["w"].reshape(-1)
    each = t[:, None] if single else (t[:, None] == np.arange(coef.shape[1])).astype(t.dtype)
    pull = data["pull"].reshape(each.shape) if "pull" in data else None
    problem = Scored(loss, data["x"], each, w / w.dtype.type(w.size), pull, intercept)

    def made(U: np.ndarray) -> dict:
        kind = params["coef"].dtype
        out = {"coef": (U[:-1] if intercept else U).reshape(shape).astype(kind)}
        return out | ({"intercept": U[-1].reshape(shape[1:]).astype(kind)} if intercept else {})

    with watching() as interrupt, precision(options.wide):
        run = _run(problem, U, made, options, Spending(budget, _most(budget), interrupt), gradient)
    size = (table.features + intercept) * U.shape[1]
    told = f"Newton's method, for {size:,} params and the same loss at every step"
    return run and replace(run, findings=[Finding("method", 0, told)])


def _most(budget: Budget) -> int | None:
    most = [n for n in (budget.steps, budget.epochs) if n is not None]
    return int(np.ceil(min(most))) if most else None


def _run(
    problem: Scored, U: np.ndarray, made: Any, options: Options, spending: Spending, gradient: float
) -> Result | None:
    outputs = U.shape[1]
    z = problem.scores(U)
    eps, patience = float(np.finfo(problem.x.dtype).eps), _IDLE if options.wide else _IDLE_32
    largest, course, step, shown = 0.0, [], 0, perf_counter()
    moved, damping, lowest, idle = np.zeros(outputs), np.zeros(outputs), np.inf, 0
    while True:
        at = problem.slopes(z)
        g = problem.gradient(U, at.first)
        losses = at.loss + problem.penalty(U)
        value = float(losses.sum())
        norm = float(np.sqrt(np.sum(g * g)))
        spending.updates += 1
        if not (np.isfinite(value) and np.isfinite(norm) and np.isfinite(at.second).all()):
            return None
        largest = max(largest, norm)
        course.append((step, value, float(moved.mean()), norm, spending.seconds))
        if options.progress is not None and perf_counter() - shown > 0.1:
            shown = perf_counter()
            options.progress(_progress(course[-1], spending, len(z), step))
        idle = 0 if value < lowest - 4 * eps * abs(value) else idle + 1
        lowest = min(lowest, value)
        asked = _asked(options, Look(step, spending.gradients, value, lambda U=U: made(U)))
        ended = _ended(norm, largest, gradient) or spending.ended(step) or asked
        if ended is not None:
            break
        needed = np.sum(g * g, axis=0) * outputs > (gradient * largest) ** 2
        D, cost = _direction(problem, g, at.second, np.where(needed, damping, np.nan))
        if D is None:
            return None
        spending.probes += cost
        resting, damped = idle >= patience, bool(damping[needed].any())
        if resting or not damped:
            whole = D
            if damped:  # its own fall says nothing of the model's
                whole, cost = _direction(problem, g, at.second, np.where(needed, 0.0, np.nan))
                spending.probes += cost
            fall = np.inf if whole is None else -float(np.sum(g * whole))
            ended = _at_rest(fall, value, eps, idle=resting)
            if ended is not None:
                break
        dz = problem.scores(D)
        moved, tried = search(problem, U, D, z, dz, g, losses)
        damping = np.where(needed, _damped(damping, moved), damping)
        spending.probes += FORWARD * tried
        U, step = U + moved * D, step + 1
        z = z + moved.astype(z.dtype) * dz if step % 8 else problem.scores(U)
    return _result(made(U), course, ended, spending)


def _ended(norm: float, largest: float, gradient: float) -> Ended | None:
    if norm > gradient * largest:
        return None
    why = f"the gradient norm fell to {gradient:g} of the largest seen, {largest:.3g}, or below"
    return Ended(Reason.CONVERGED, why)


def _at_rest(fall: float, value: float, eps: float, *, idle: bool) -> Ended | None:
    """The end where no lower loss can be told, by the fall that the quadratic model promises."""
    told, size = f"the quadratic model promises {fall / 2:.2g} less", max(abs(value), NOTHING)
    if fall <= _FINEST * size or (idle and fall <= 4 * eps * size):
        return Ended(Reason.CONVERGED, f"{told}, which is below rounding")
    return Ended(Reason.PLATEAU, f"the loss no longer falls, though {told}") if idle else None


def _asked(options: Options, look: Look) -> Ended | None:
    """The end that a callback asks for."""
    try:
        if options.watch is not None and look.step:
            options.watch(look)
    except Stopped:
        return Ended(Reason.INTERRUPTED, f"a callback asked for the end at step {look.step:,}")
    return None


def _damped(damping: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The damping after searches that ended at `moved`, (outputs,)."""
    more = np.minimum(np.maximum(damping, _LEAST) * np.where(moved < _SHORT**3, 1000, 10), _MOST)
    less = np.where(damping > _LEAST, damping / 10, 0.0)
    return np.where(moved < _SHORT, more, np.where(moved > _FULL, less, damping))


@np.errstate(over="ignore", invalid="ignore")
def _direction(
    problem: Scored, g: np.ndarray, second: np.ndarray, damping: np.ndarray
) -> tuple[np.ndarray | None, float]:
    """-(H + m I)^-1 g of each output, 0 where its m is NaN, and what the Hessians cost in gradients."""
    D, products = np.zeros_like(g), 0.0
    eps = np.finfo(problem.x.dtype).eps
    for k in np.flatnonzero(~np.isnan(damping)):
        H = problem.hessian(second[:, k])
        products += np.count_nonzero(second[:, k] > 0) * problem.x.shape[1]
        if not np.isfinite(H).all():
            return None, 0.0
        H[np.diag_indices_from(H)] += damping[k] + _ROUNDED * eps * (H.diagonal().max() or 1.0)
        try:
            D[:, k] = cho_solve(cho_factor(H, lower=True, check_finite=False), -g[:, k], check_finite=False)
        except LinAlgError:
            return None, 0.0
    return D, products / (4 * len(second) * g.shape[1])


def _progress(last: tuple, spending: Spending, rows: int, step: int) -> Progress:
    fraction, seconds = spending.fraction(step), spending.seconds
    left = seconds / fraction - seconds if fraction else None
    return Progress(step, float(step), last[1], None, last[2], rows * step / seconds, "", seconds, fraction, left)


def _result(params: dict, course: list[tuple], ended: Ended, spending: Spending) -> Result:
    course = course[1:] or course  # a record stands for a step
    step, loss, sizes, norms, seconds = (np.array(column) for column in zip(*course, strict=True))
    history = History(step.astype(np.int64), loss, sizes, norms, seconds, np.full(len(step), np.nan))
    steps = int(step[-1])
    spent = (spending.gradients, float(steps), spending.seconds)
    return Result(params, float(loss[-1]), ended.reason, ended.why, history, steps, *spent)

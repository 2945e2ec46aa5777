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
from descenso.estimators.objective import Linear, Penalised
from descenso.estimators.scored import Scored, search
from descenso.estimators.table import Dense
from descenso.estimators.told import Stopped
from descenso.result import Finding, History, Look, Progress, Reason, Result
from descenso.watch.limits import Budget
from descenso.watch.verdict import Stop

_MOST_COLUMNS = 1024  # beyond, a Hessian costs more than the gradients that L-BFGS takes
_DAMPED = 16.0  # in roundings of the largest curvature: added to it, for columns that others are made of
_IDLE = 3  # steps that lower the loss by no more than its rounding, after which it has come to rest


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

        u_{t+1} = u_t - a H^-1 g     for each score by itself, with a at which the slope is a tenth of what it was

    The derivatives of a loss with kinks are those of what it is rounded off to (semismooth Newton), to which only the
    rows near a kink contribute. A step costs one gradient, and the Hessian what its products cost in gradients.

    Args:
        params: {"coef": (columns,) or (columns, outputs), "intercept"}. data: of `table`, "pull" too.
        gradient: the share of the largest gradient norm that counts as none.

    Source: Qi and Sun 1993, Math. Prog. 58; Nocedal and Wright 2006, chapter 3.
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

    with watching() as interrupt, precision(options.wide), np.errstate(over="ignore", invalid="ignore"):
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
    at = problem.slopes(z)
    g = problem.gradient(U, at.first)
    eps = float(np.finfo(problem.x.dtype).eps)
    largest, course, step, told = 0.0, [], 0, perf_counter()
    moved, lowest, idle = np.zeros(outputs), np.inf, 0
    while True:
        losses = at.loss + problem.penalty(U)
        value = float(losses.sum())
        norm = float(np.sqrt(np.sum(g * g)))
        spending.updates += 1
        if not (np.isfinite(value) and np.isfinite(norm)):
            return None
        largest = max(largest, norm)
        course.append((step, value, float(moved.mean()), norm, spending.seconds))
        if options.progress is not None and perf_counter() - told > 0.1:
            told = perf_counter()
            options.progress(_progress(course[-1], spending, len(z), step))
        idle = 0 if value < lowest - 4 * eps * abs(value) else idle + 1
        lowest = min(lowest, value)
        look = Look(step, spending.gradients, value, lambda U=U: made(U))
        ended = _ended(norm, largest, gradient, idle) or spending.ended(step) or _asked(options, look)
        if ended is not None:
            break
        needed = np.sum(g * g, axis=0) * outputs > (gradient * largest) ** 2
        D, cost = _direction(problem, g, at.second, needed)
        if D is None:
            return None
        fall = -float(np.sum(g * D))
        if fall <= 4 * eps * abs(value):
            ended = Stop(Reason.CONVERGED, f"the quadratic model promises {fall / 2:.2g} less, which is below rounding")
            break
        dz = problem.scores(D)
        moved, tried = search(problem, U, D, z, dz, g, losses)
        spending.probes += cost + FORWARD * tried
        U, step = U + moved * D, step + 1
        z = z + moved.astype(z.dtype) * dz if step % 8 else problem.scores(U)
        at = problem.slopes(z)
        g = problem.gradient(U, at.first)
    return _result(made(U), course, ended, spending)


def _ended(norm: float, largest: float, gradient: float, idle: int) -> Stop | None:
    if norm <= gradient * largest:
        why = f"the gradient norm fell to {gradient:g} of the largest seen, {largest:.3g}, or below"
        return Stop(Reason.CONVERGED, why)
    if idle == _IDLE:
        return Stop(
            Reason.PLATEAU, f"the loss no longer falls; the gradient norm is {norm:.3g}, at first {largest:.3g}"
        )
    return None


def _asked(options: Options, look: Look) -> Stop | None:
    """The end that a callback asks for."""
    try:
        if options.watch is not None and look.step:
            options.watch(look)
    except Stopped:
        return Stop(Reason.INTERRUPTED, f"a callback asked for the end at step {look.step:,}")
    return None


def _direction(
    problem: Scored, g: np.ndarray, second: np.ndarray, needed: np.ndarray
) -> tuple[np.ndarray | None, float]:
    """-H^-1 g of the outputs that need it, 0 of the others, and what the Hessians cost in gradients."""
    D, products = np.zeros_like(g), 0.0
    eps = np.finfo(problem.x.dtype).eps
    for k in np.flatnonzero(needed):
        H = problem.hessian(second[:, k])
        products += np.count_nonzero(second[:, k] > 0) * problem.x.shape[1]
        if not np.isfinite(H).all():
            return None, 0.0
        H[np.diag_indices_from(H)] += _DAMPED * eps * (H.diagonal().max() or 1.0)
        try:
            D[:, k] = cho_solve(cho_factor(H, lower=True, check_finite=False), -g[:, k], check_finite=False)
        except LinAlgError:
            return None, 0.0
    return D, products / (4 * len(second) * g.shape[1])


def _progress(last: tuple, spending: Spending, rows: int, step: int) -> Progress:
    fraction, seconds = spending.fraction(step), spending.seconds
    left = seconds / fraction - seconds if fraction else None
    return Progress(step, float(step), last[1], None, last[2], rows * step / seconds, "", seconds, fraction, left)


def _result(params: dict, course: list[tuple], ended: Stop, spending: Spending) -> Result:
    course = course[1:] or course  # a record stands for a step
    step, loss, sizes, norms, seconds = (np.array(column) for column in zip(*course, strict=True))
    history = History(step.astype(np.int64), loss, sizes, norms, seconds, np.full(len(step), np.nan))
    steps = int(step[-1])
    spent = (spending.gradients, float(steps), spending.seconds)
    return Result(params, float(loss[-1]), ended.reason, ended.why, history, steps, *spent)

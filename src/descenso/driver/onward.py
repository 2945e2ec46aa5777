"""What a run came to rest on, and going on from there: with another method, below a saddle, or to a finer end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from descenso._types import Leaves
from descenso.driver.endings import certified
from descenso.driver.pace import Pace
from descenso.driver.run import Run
from descenso.driver.spending import FORWARD
from descenso.driver.units import in_unit
from descenso.engine.tree import flatten
from descenso.result import Finding, Reason
from descenso.watch.verdict import Stop as Ended

if TYPE_CHECKING:
    from descenso.certificate import Certificate

_AT_REST = frozenset({Reason.CONVERGED, Reason.NOISE_FLOOR, Reason.PLATEAU})
_FALLING = frozenset({"saddle", "maximum", "degenerate"})  # verdicts on a point that can be left downhill
_DOUBTED = frozenset({"not stationary", "kink", "undecided"})  # those that no arrival can be said of
_FINER, _FINEST = 1e-3, 1e-11  # what the gradient that counts as zero is multiplied by, and down to where


def unless_climbed(run: Run, ended: Ended) -> Ended | None:
    """The end of a search that stalled on a plateau, unless another method goes on from there."""
    if run.ladder is None or ended.reason is not Reason.PLATEAU or run.spending.halted:
        return ended
    before, point = type(run.ladder.method()).__name__, run.engine.answer(run.state)
    method = run.ladder.climb(int(run.state.method.moves) > 1, run.engine, point)
    if method is None:
        return ended
    told = f"{type(method).__name__} goes on where {before} stalled: {ended.why}"
    run.findings.append(Finding("method", run.state.cursor, told))
    run.engine = replace(run.engine, method=in_unit(method, run.unit))
    _go_on_from(run, point)
    return None


def unless_left(run: Run, ended: Ended) -> Ended | None:
    """The end that the certificate bears out; none where the point is a saddle, or not at rest yet, and can be left."""
    if not _wanted(run, ended) or not run.engine.exact or run.validation is not None or run.spending.halted:
        return ended
    point = run.engine.answer(run.state)
    run.certificate = found = certified(run.engine, point, _effort(run))
    if found is None or ended.reason not in _AT_REST:
        return ended
    if run.ready.escape and found.verdict in _FALLING and _left(run, point, found):
        return None
    if ended.reason is not Reason.CONVERGED or run.stop.gradient is not None or found.verdict not in _DOUBTED:
        return ended
    finer = run.arrival.gradient * _FINER
    if found.verdict == "not stationary" and finer >= _FINEST and run.spending.ended(run.state.cursor) is None:
        run.arrival.gradient = finer
        return None
    return Ended(Reason.PLATEAU, f"{ended.why}; but {found.detail}")


def certificate_of(run: Run, ended: Ended, answer: Leaves) -> Certificate | None:
    """The certificate of the answer, made again where another point was certified."""
    if not _wanted(run, ended) or run.spending.halted:
        return None
    point = run.engine.answer(run.state)
    if run.certificate is not None and all(np.array_equal(a, b) for a, b in zip(point, answer, strict=True)):
        return run.certificate
    return certified(run.engine, answer, _effort(run))


def _wanted(run: Run, ended: Ended) -> bool:
    if run.ready.certify == "auto":
        return not run.engine.rows and ended.reason in _AT_REST
    return bool(run.ready.certify) and ended.reason not in (Reason.NONFINITE, Reason.UNBOUNDED)


def _effort(run: Run) -> str:
    return "thorough" if run.ready.certify == "thorough" else "quick"


def _left(run: Run, point: Leaves, found: Certificate) -> bool:
    """Whether the run goes on from a lower point beside a saddle."""
    way = None if found.descent is None else flatten(found.descent)[1]
    if way is None or run.ladder is None or run.spending.ended(run.state.cursor) is not None:
        return False
    lower, losses = run.ladder.leave(run.engine, point, way)
    run.spending.probes += FORWARD * losses
    if lower is None:
        return False
    run.spending.probes += found.cost
    run.findings.append(Finding("saddle", run.state.cursor, f"left a {found.verdict} point: {found.detail}"))
    _go_on_from(run, lower)
    return True


def _go_on_from(run: Run, point: Leaves) -> None:
    run.state = run.engine.start(point)._replace(cursor=run.state.cursor, scale=run.state.scale)
    run.earlier, run.pace = None, Pace()

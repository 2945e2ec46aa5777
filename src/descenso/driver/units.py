"""The loss in units in which squares of its gradient are floats."""

from __future__ import annotations

from dataclasses import replace
from math import frexp, ldexp

import numpy as np

from descenso._types import Method
from descenso.driver.run import Run
from descenso.methods.in_units import InUnits
from descenso.result import Finding

_PLAIN, _PLAIN_64 = 40, 400  # powers of two: numbers between are taken as they are, in 32 and in 64 bits
_MOST = 120  # the power of two by which it is multiplied at most: one that 32 bits hold


def choose_unit(run: Run, first: float) -> None:
    """Show the method the loss in a unit in which its gradient at the start is near 1, where squares of that are not.

    Looked at where the loss itself is that large or small, and only where the method was left to us or searches along
    lines: with a learning rate of the user's own it would be another run. Not within bounds: the projected gradient is
    measured in units of the params.
    """
    plain = _PLAIN_64 if run.state.scale.dtype == np.float64 else _PLAIN
    if _is_plain(first, plain) or run.engine.bounds is not None or not (run.pilot or run.search):
        return
    size = run.engine.steepest(run.state.params)
    run.spending.probes += 1
    if not np.isfinite(size) or _is_plain(size, plain):
        return
    power = max(-_MOST, min(_MOST, -frexp(size)[1]))
    told = f"the gradient at the start is as large as {size:.3g}: the method sees the loss times 2^{power}"
    run.findings.append(Finding("unit", 0, told))
    take_unit(run, ldexp(1.0, power))


def _is_plain(value: float, powers: int) -> bool:
    return value == 0 or abs(frexp(value)[1]) <= powers


def take_unit(run: Run, unit: float) -> None:
    """Go on with the loss in this unit."""
    run.unit = unit
    run.engine = replace(run.engine, method=in_unit(run.engine.method, unit))


def in_unit(method: Method, unit: float) -> Method:
    """The method, shown the loss in this unit."""
    return method if unit == 1 else InUnits(method, unit)

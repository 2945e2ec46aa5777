"""What turns a curve of the step count into a step size.

A curve is a frozen value with one method, `at(t, xp=xp)`: the step size at step t = 1, 2, ..., both 0-d float arrays.
With `init = start` and `choose = follow` in its class body it fills the slot of a step size.
"""

from __future__ import annotations

from typing import Protocol

from descenso._namespace import counter, increment, real
from descenso._types import Evaluation, Leaves, Namespace, Scalar, State


class Curve(Protocol):
    """A step size that depends on the step count only."""

    def at(self, t: Scalar, *, xp: Namespace) -> Scalar: ...


def start(self: Curve, params: Leaves, *, xp: Namespace) -> State:
    """The state of a curve: count () int32."""
    return counter(params, xp)


def follow(
    self: Curve, evaluation: Evaluation, direction: Leaves, params: Leaves, state: State, *, xp: Namespace
) -> tuple[Scalar, State]:
    """The value of the curve at the next step."""
    count = increment(state, xp)
    return self.at(real(count, params[0], xp), xp=xp), count

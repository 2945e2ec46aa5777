"""Trying another learning rate in mid-run: two short runs from the same state, on the same batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descenso.engine.chunk import RunState
from descenso.pilot.method import window_cleared, window_mean
from descenso.pilot.race import Bench, Lane, at_rate, better, mean_of_finite
from descenso.result import Finding


@dataclass(frozen=True)
class Forked:
    """What a fork gave: the lane that won, whether the new rate won, and what to say of it."""

    lane: Lane
    changed: bool
    finding: Finding


def fork(bench: Bench, state: RunState, steps: int, losses: np.ndarray) -> Forked:
    """Run on for `steps` steps at the present rate and at twice or half of it.

    `losses` are those of the last steps: if they still fall the rate is doubled, else halved.
    """
    z = trend(losses)
    factor, seen = (2.0, "still") if z < -2 else (0.5, "hardly")
    return tried(bench, state, steps, (factor,), f"the loss {seen} falls (z = {z:.1f})")


def tried(bench: Bench, state: RunState, steps: int, factors: tuple[float, ...], seen: str) -> Forked:
    """Run on for `steps` steps at the present rate and at others; `seen` is why, in words.

    Another rate must win by a standard error.
    """
    rate = float(state.scale)
    rates = [rate, *(rate * factor for factor in factors)]
    lanes = [_run(bench, state, steps, r) for r in rates]
    scores = bench.judge([window_mean(lane.state) for lane in lanes])
    losses = [mean_of_finite(s) for s in scores]
    ahead = [i for i in range(1, len(lanes)) if better(scores[i], scores[0], 1.0)]
    best = min(ahead, key=lambda i: losses[i], default=0)
    told = ", ".join(f"{loss:.5g} at {r:.3g}" for loss, r in zip(losses[1:], rates[1:], strict=True))
    message = f"{_verdict(rate, rates[best])}: {seen}, {losses[0]:.5g} at the present rate, {told}"
    return Forked(lanes[best], best > 0, Finding("rate", state.cursor, message))


def _verdict(rate: float, chosen: float) -> str:
    if chosen == rate:
        return f"rate {rate:.3g} kept"
    done = {2.0: "doubled", 0.5: "halved"}.get(chosen / rate, "raised" if chosen > rate else "lowered")
    return f"rate {done} to {chosen:.3g}"


def _run(bench: Bench, state: RunState, steps: int, rate: float) -> Lane:
    lane = Lane(rate, at_rate(state, rate), np.array([np.inf]), [])
    lane.run(bench, steps // 2)
    lane.state = window_cleared(lane.state)
    lane.run(bench, steps - steps // 2)
    return lane


def trend(losses: np.ndarray) -> float:
    """How many standard errors the second half of the losses lies above the first; below -2 it falls."""
    losses = losses[np.isfinite(losses)]
    half = len(losses) // 2
    if half < 4:
        return 0.0
    a, b = losses[:half], losses[half:]
    error = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    return float((b.mean() - a.mean()) / max(error, np.finfo(float).tiny))

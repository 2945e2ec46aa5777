"""Ours against the clock: when the answer of the moment was which, its losses taken after the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from time import perf_counter
from typing import Any

import jax
import numpy as np

from benchmarks.arena.workload import MARKS, Workload, judge, start
from descenso import Budget, minimize


@dataclass
class Clock:
    """Keeps every answer that `minimize` shows, and the seconds since the call at which it was there.

    What the looks take is taken out, but for the first one, which compiles what makes the answer.
    """

    every: int
    begun: float = field(default_factory=perf_counter)
    away: float = 0.0
    seen: list[tuple[int, float, Any]] = field(default_factory=list)

    def __call__(self, look) -> None:
        arrived = perf_counter()
        params = jax.block_until_ready(look.params())
        built = perf_counter()
        if not self.seen:
            arrived = built
        self.seen.append((look.step, built - self.begun - self.away, jax.tree.map(np.array, params)))
        self.away += perf_counter() - arrived

    @property
    def seconds(self) -> float:
        """Since the call."""
        return perf_counter() - self.begun - self.away


@dataclass(frozen=True)
class Watched:
    """One run: its answers with their steps and seconds, the last one the result's, and how it ended."""

    seen: list[tuple[int, float, Any]]
    ending: str

    @property
    def seconds(self) -> float:
        """Of the whole call."""
        return self.seen[-1][1]

    def losses(self, workload: Workload) -> list[float]:
        """The judged loss of every answer."""
        judged = _judge(workload)
        return [float(judged(params)) for _, _, params in self.seen]


@lru_cache(maxsize=2)
def _judge(workload: Workload):
    held = jax.device_put(workload.held)
    return jax.jit(lambda params: judge(workload, params, held))


@dataclass(frozen=True)
class Call:
    """How `minimize` is called: `minimize(loss, params, data, batch_size=..., budget=Budget(steps=times * N))`.

    Args:
        times: the steps of its budget as a multiple of N.
        auto: whether the rows of a batch are left to it; else they are the task's, which the peers have.
        restarts: as `minimize` takes it.
    """

    times: int = 2
    auto: bool = True
    restarts: int | None = None


def watched(workload: Workload, seed: int, call: Call) -> Watched:
    """One run of `minimize`, timed from the call."""
    params = jax.block_until_ready(start(workload, seed))
    clock = Clock(call.times * workload.steps // MARKS)
    result = minimize(
        workload.loss,
        params,
        workload.data,
        batch_size="auto" if call.auto else workload.batch_size,
        budget=Budget(steps=call.times * workload.steps),
        restarts=call.restarts,
        seed=seed,
        watch=clock,
    )
    last = (result.steps, clock.seconds, result.params)
    return Watched([*clock.seen, last], f"{result.reason}: {result.message}")


def reached(seen: list[tuple[int, float, Any]], losses: list[float], target: float) -> tuple[int, float] | None:
    """The step and the seconds at which the loss first was at or below the target; None if it never was."""
    for (step, seconds, _), loss in zip(seen, losses, strict=True):
        if loss <= target:
            return step, seconds
    return None

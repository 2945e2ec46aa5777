"""Ours: `descenso.minimize` on a workload, judged along the way as the peers are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from benchmarks.arena.lanes import curves
from benchmarks.arena.online import ONLINE
from benchmarks.arena.peers import Peer
from benchmarks.arena.score import Course, peer_course
from benchmarks.arena.workload import MARKS, Workload, judge, start
from descenso import Budget, averaging, minimize, rules, step_sizes
from descenso.methods import Descent


@dataclass(frozen=True)
class Contender:
    """A way of calling `minimize`.

    Args:
        name: how the tables call it.
        method: what is passed as `method`.
        horizon: whether N is told to it beforehand. If not, it is stopped when it has made N steps.
        peer: what runs in the peers' loop instead, one gradient a step, without `minimize`.
        run: what makes a run of a workload and a seed instead.
    """

    name: str
    method: Any = "auto"
    horizon: bool = True
    peer: Peer | None = None
    run: Callable[[Workload, int], tuple[Course, list[str]]] | None = None


def _forked(workload: Workload, seed: int) -> tuple[Course, list[str]]:
    from benchmarks.arena.forked import forked  # loads torch, which the others do without

    return forked(workload, seed)


CONTENDERS = {
    c.name: c
    for c in (
        Contender("auto"),
        Contender("auto_anytime", horizon=False),
        Contender(
            "control",
            Descent(rules.Adam(b2=0.99), step_sizes.Constant(0.01), averaging.Polynomial(8.0)),
        ),
        Contender("online", horizon=False, peer=ONLINE),
        Contender("online_forks", horizon=False, run=_forked),
    )
}
"""`control` is Adam and the average without a search, through the same driver: the peer `adam99_0.01_average`.
`online` is what torch users get as `descenso.torch.Descent`, `online_forks` what they get where they give a closure."""


class _Enough(Exception):
    """N steps have been made by a run that was not told to stop there."""


@dataclass
class _Watch:
    """Judges the answer at the first look at or after each mark."""

    workload: Workload
    judged: Callable[[Any], float]
    horizon: bool
    every: int = field(init=False)
    seen: list[tuple[float, float, float]] = field(default_factory=list)

    def __post_init__(self):
        self.every = self.workload.steps // MARKS

    def __call__(self, look) -> None:
        steps = self.workload.steps
        if not self.seen or _mark(look.step / steps) > _mark(self.seen[-1][0]):
            self.seen.append((look.step / steps, look.gradients / steps, self.judged(look.params())))
        if not self.horizon and look.step >= steps:
            raise _Enough


def _mark(fraction: float) -> int:
    return int(np.floor(fraction * MARKS + 1e-9))


def contend(workload: Workload, contender: Contender, seed: int) -> tuple[Course, list[str]]:
    """One run of ours: its course, and what it found on the way, a line each."""
    if contender.run is not None:
        return contender.run(workload, seed)
    if contender.peer is not None:
        return peer_course(curves(workload, contender.peer, [1.0], [seed])[0, 0]), []
    held = jax.device_put(workload.held)
    compiled = jax.jit(lambda params: judge(workload, params, held))
    watch = _Watch(workload, lambda params: _finite(compiled(params)), contender.horizon)
    params = start(workload, seed)
    try:
        result = minimize(
            workload.loss,
            params,
            workload.data,
            method=contender.method,
            batch_size=workload.batch_size,
            budget=Budget(steps=workload.steps) if contender.horizon else None,
            seed=seed,
            watch=watch,
        )
    except _Enough:
        return _course(watch.seen, watch.seen[-1][1]), []
    fraction, spent = min(result.steps / workload.steps, 1.0), result.gradients / workload.steps
    seen = [s for s in watch.seen if s[0] < fraction] + [(fraction, spent, _finite(compiled(result.params)))]
    ending = f"{result.reason}: {result.message}"
    return _course(seen, spent), [*(f"step {f.step}: {f.message}" for f in result.findings), ending]


def _course(seen: list[tuple[float, float, float]], cost: float) -> Course:
    fractions, spent, losses = np.array(seen).T
    return Course(np.maximum(fractions, 1e-9), losses, cost, spent)


def _finite(value) -> float:
    value = float(value)
    return value if np.isfinite(value) else np.inf

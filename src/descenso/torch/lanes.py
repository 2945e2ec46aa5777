"""Two lanes of a run on the same batches, one of which it goes on with."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite, sqrt
from typing import Any

import torch
from torch import Tensor

from descenso.torch.nested import Flat

FIRST = 1024
"""Steps before the first fork: its lanes can be 35 steps long then. Over nine, at step 512, the smaller steps looked
better where they were not (benchmarks/arena/LOG.md)."""
EVERY = 2
"""A fork is at so many times as many steps as the one before it."""
SHARE = 0.05
"""What all forks may spend, as a share of the steps until then."""
LESS = 0.25
"""The factor on the step size of the other lane."""
LOOKS = 8
"""Batches on which the lanes are compared."""


@dataclass
class Lane:
    """Where a lane stands: params, and the states of those that have one, by number."""

    params: list[Tensor]
    states: dict[int, Flat]

    def saved(self) -> dict[str, Any]:
        return {"params": list(self.params), "states": {i: dict(state) for i, state in self.states.items()}}

    @staticmethod
    def read(saved: dict[str, Any], params: list[Tensor]) -> Lane:
        """A copy on the devices of the params."""
        values = [v.to(p.device, copy=True) for v, p in zip(saved["params"], params, strict=True)]
        states = {
            i: {k: v.to(params[i].device, copy=True) for k, v in state.items()} for i, state in saved["states"].items()
        }
        return Lane(values, states)


@dataclass
class Trial:
    """A fork that is going on: `length` steps of both lanes, then LOOKS batches at the means of their points.

    other: the lane that is not in the params. means: of the points of the lane that is, and of the other one.
    losses: at those means, a number a batch.
    """

    length: int
    other: Lane
    means: list[list[Tensor]]
    made: int = 0
    losses: list[list[float]] = field(default_factory=lambda: [[], []])

    def follow(self, lane: int, params: list[Tensor]) -> None:
        """Take a point into the mean of a lane, the later the more weight."""
        mean = self.means[lane]
        torch._foreach_lerp_(mean, [p.to(m.dtype) for p, m in zip(params, mean, strict=True)], 3 / (self.made + 3))

    def saved(self) -> dict[str, Any]:
        return {**vars(self), "other": self.other.saved()}

    @staticmethod
    def read(saved: dict[str, Any], params: list[Tensor]) -> Trial:
        """A copy on the devices of the params."""
        means = [[m.to(p.device, copy=True) for m, p in zip(mean, params, strict=True)] for mean in saved["means"]]
        losses = [list(lane) for lane in saved["losses"]]
        return Trial(saved["length"], Lane.read(saved["other"], params), means, saved["made"], losses)

    @property
    def better(self) -> bool:
        """Whether the other lane's losses are lower on average, by more than the standard error of the difference."""
        if not all(map(isfinite, self.losses[0])):
            return all(map(isfinite, self.losses[1]))
        pairs = [other - here for here, other in zip(*self.losses, strict=True)]
        mean = sum(pairs) / len(pairs)
        if not isfinite(mean):
            return False
        error = sqrt(sum((d - mean) ** 2 for d in pairs) / (len(pairs) - 1) / len(pairs))
        return mean < -error


@dataclass
class Forks:
    """What the forks of a run have come to.

    steps: with a closure. spent: closures called beyond one a step. following: the step of the next fork. factor: on
    the step size. findings: what was decided, a line each.
    """

    steps: int = 0
    spent: int = 0
    following: int = field(default_factory=lambda: FIRST)
    factor: float = 1.0
    findings: list[str] = field(default_factory=list)
    trial: Trial | None = None

    def length(self) -> int:
        """Steps of the fork that is due now; 0 if none is, or none is worth it."""
        if self.steps < self.following:
            return 0
        self.following = EVERY * self.steps
        return max(0, int(SHARE * self.steps) - self.spent - 2 * LOOKS)

    def decide(self) -> bool:
        """End the trial; whether the run goes on with the other lane."""
        trial, self.trial = self.trial, None
        assert trial is not None
        here, other = (sum(losses) / len(losses) for losses in trial.losses)
        if trial.better:
            self.factor *= LESS
        did = f"multiplied by {LESS:g}" if trial.better else "kept"
        self.findings.append(
            f"step {self.steps}: step size {did}: loss {other:.4g} with {LESS:g} of it, {here:.4g} with all of it, "
            f"on the same {LOOKS} batches after {trial.length} steps"
        )
        return trial.better

    def saved(self) -> dict[str, Any]:
        """Plain values and tensors."""
        numbers = {k: v for k, v in vars(self).items() if k not in ("trial", "findings")}
        trial = None if self.trial is None else self.trial.saved()
        return {**numbers, "findings": list(self.findings), "trial": trial}

    @staticmethod
    def read(saved: dict[str, Any], params: list[Tensor]) -> Forks:
        """A copy of what was saved, on the devices of the params."""
        trial = None if saved["trial"] is None else Trial.read(saved["trial"], params)
        numbers = (saved[k] for k in ("steps", "spent", "following", "factor"))
        return Forks(*numbers, findings=list(saved["findings"]), trial=trial)

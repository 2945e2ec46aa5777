"""`descenso.torch.Descent` with a closure in the arena: the method alone, and its forks.

The loop of `online`, and at a fork two lanes on the same batches. When there is one, how long it is and which lane is
kept is asked of the code that torch runs; what fell between two marks is judged at the second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.arena.lanes import order
from benchmarks.arena.online import METHOD, moved
from benchmarks.arena.score import Course
from benchmarks.arena.workload import MARKS, Workload, judge, start
from descenso._types import Leaves, State
from descenso.torch.lanes import LESS, LOOKS, Forks, Lane, Trial


@dataclass
class _Programs:
    """What is compiled: steps of a lane, the loss at a mean on the next LOOKS batches, and the judged loss."""

    steps: Callable
    losses: Callable
    judged: Callable


@dataclass
class _Run:
    """A run under way: the lane that is shown, the steps it has made, and what was seen at the marks."""

    workload: Workload
    programs: _Programs
    given: tuple
    held: Any
    leaves: Leaves
    state: State
    made: int = 0
    forks: Forks = field(default_factory=Forks)
    spent: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def lane(self, leaves: Leaves, state: State, first: int, last: int, factor: float) -> tuple[Leaves, State, Leaves]:
        """A lane after the steps `first` to `last`, and the mean of its points."""
        return self.programs.steps(leaves, state, first, last, jnp.float32(factor), *self.given)

    def forward(self, last: int) -> None:
        """The shown lane up to step `last`, judged at the marks."""
        every = self.workload.steps // MARKS
        while self.made < last:
            until = min(last, (self.made // every + 1) * every)
            self.leaves, self.state, _ = self.lane(self.leaves, self.state, self.made, until, self.forks.factor)
            self.made = until
            if until % every == 0:
                self.spent.append((until + self.forks.spent) / self.workload.steps)
                self.losses.append(float(self.programs.judged(METHOD.eval_params(self.leaves, self.state), self.held)))

    def fork(self, length: int) -> None:
        """Both lanes for `length` steps, the comparison, and the lane that is kept."""
        first, last = self.made, self.made + length
        before = self.leaves, self.state
        *_, mean = self.lane(*before, first, last, self.forks.factor)
        *other, other_mean = self.lane(*before, first, last, LESS * self.forks.factor)
        losses = [self.programs.losses(m, last, *self.given).tolist() for m in (mean, other_mean)]
        self.forks.spent += length
        self.forward(last)
        self.forks.spent += 2 * LOOKS
        self.forward(last + LOOKS)
        self.forks.steps = self.made
        self.forks.trial = Trial(length, Lane([], {}), [], losses=losses)
        if self.forks.decide():
            self.leaves, self.state = other


def forked(workload: Workload, seed: int) -> tuple[Course, list[str]]:
    """One run: its course, and what its forks found. A fork that N leaves no room for is not begun."""
    leaves, tree = jax.tree.flatten(start(workload, seed))
    rows = jnp.asarray(order(workload, seed).reshape(workload.steps, -1))
    given = (jax.device_put(workload.data), rows, jax.random.key(seed))
    state = METHOD.init(tuple(leaves), xp=jnp)
    run = _Run(workload, _compiled(workload, tree), given, jax.device_put(workload.held), tuple(leaves), state)
    while run.made < workload.steps:
        run.forks.steps = run.made
        length = run.forks.length()
        if length and run.made + length + LOOKS <= workload.steps:
            run.fork(length)
        else:
            run.forward(min(workload.steps, max(run.forks.following, run.made + 1)))
    losses = np.where(np.isfinite(run.losses), run.losses, np.inf)
    course = Course(np.arange(1, MARKS + 1) / MARKS, losses, 1 + run.forks.spent / workload.steps, np.array(run.spent))
    return course, run.forks.findings


def _compiled(workload: Workload, tree) -> _Programs:
    loss_at = partial(_loss, workload, tree)

    def steps(leaves, state, first, last, scale, *given):
        def one(t, lane):
            leaves, state, mean = lane
            grads = jax.grad(loss_at)(leaves, t, *given)
            leaves, state = moved(grads, leaves, state, scale)
            weight = 3 / (t - first + 3.0)
            return leaves, state, tuple(m + weight * (x - m) for m, x in zip(mean, leaves, strict=True))

        return jax.lax.fori_loop(first, last, one, (leaves, state, leaves))

    def losses(leaves, first, *given):
        return jax.lax.map(lambda i: loss_at(leaves, first + i, *given), jnp.arange(LOOKS))

    def judged(leaves, held):
        return judge(workload, tree.unflatten(leaves), held)

    return _Programs(jax.jit(steps), jax.jit(losses), jax.jit(judged))


def _loss(workload: Workload, tree, leaves, t, data, rows, key):
    batch = data if workload.batch_size == "all" else jax.tree.map(lambda a: a[rows[t]], data)
    noise = {"key": jax.random.fold_in(key, t)} if workload.needs_key else {}
    return workload.loss(tree.unflatten(leaves), batch, **noise)

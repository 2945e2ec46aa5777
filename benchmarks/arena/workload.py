"""What a contender is given: a loss, where to start, data, a batch size and a number of steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

MARKS = 50
"""How often a run is looked at: every 2 % of its steps."""


@dataclass(frozen=True, eq=False)
class Workload:
    """One task of the arena.

    Args:
        name: how the command line and the tuned results call it.
        loss: `loss(params, batch)` or `loss(params, batch, key)`, the mean over the rows of the batch.
        init: `init(key)`, the params to start from.
        data: the training rows, a dict of arrays of equal length.
        held: the rows that a run is judged on, all at once: held-out rows where the model can generalise, the training
            rows (or a sample of them) where the loss itself is the question.
        batch_size: rows a batch, or "all".
        steps: N, a multiple of `MARKS`.
        lanes: how many rates the peers run side by side under `vmap`; 1 where the model is too large for that to pay.
        features: whether `data["x"]` can be rescaled and the task still makes sense (robustness runs).
        narrow: whether the peers' grids start narrow (five rates) because a run is expensive.
    """

    name: str
    loss: Callable[..., Any]
    init: Callable[[jax.Array], Any]
    data: dict[str, Any]
    held: dict[str, Any]
    batch_size: int | str
    steps: int
    lanes: int = 5
    features: bool = True
    narrow: bool = False

    def __post_init__(self):
        if self.steps % MARKS:
            raise ValueError(f"{self.name}: steps={self.steps} must be a multiple of {MARKS}.")

    @property
    def rows(self) -> int:
        """How many training rows there are."""
        return len(jax.tree.leaves(self.data)[0])

    @property
    def rows_per_batch(self) -> int:
        """The batch size as a number."""
        return self.rows if self.batch_size == "all" else int(self.batch_size)

    @property
    def needs_key(self) -> bool:
        """Whether the loss draws noise: it then has a third parameter, `key`."""
        return "key" in inspect.signature(self.loss).parameters

    @property
    def size(self) -> int:
        """The number of parameters."""
        shapes = jax.eval_shape(self.init, jax.random.key(0))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def judge(workload: Workload, params, held) -> jax.Array:
    """The loss that a run is scored by, at `params`: on all held rows, and with the same noise for everyone."""
    if workload.needs_key:
        return workload.loss(params, held, key=jax.random.key(20))
    return workload.loss(params, held)


def start(workload: Workload, seed: int):
    """The params a run of `seed` starts from; the same for every contender."""
    return workload.init(jax.random.key(seed))


def loss_times(workload: Workload, factor: float) -> Workload:
    """The same task in other units of the loss."""
    return replace(workload, name=f"{workload.name}@loss{factor:g}", loss=_scaled_loss(workload, factor))


def _scaled_loss(workload: Workload, factor: float):
    if workload.needs_key:
        return lambda params, batch, key: factor * workload.loss(params, batch, key=key)
    return lambda params, batch: factor * workload.loss(params, batch)


def features_times(workload: Workload, factor: float) -> Workload:
    """The same task in other units of the features."""

    def scale(rows):
        return {**rows, "x": rows["x"] * jnp.float32(factor)}

    return replace(
        workload,
        name=f"{workload.name}@features{factor:g}",
        data=scale(workload.data),
        held=scale(workload.held),
    )


def start_times(workload: Workload, factor: float) -> Workload:
    """The same task, started `factor` times as far from zero."""
    return replace(workload, name=f"{workload.name}@start{factor:g}", init=partial(_scaled_init, workload.init, factor))


def _scaled_init(init, factor, key):
    return jax.tree.map(lambda leaf: factor * leaf, init(key))

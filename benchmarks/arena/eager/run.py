"""AdamW in torch eager on a workload: the same start, batches, rate and schedule as the peer of the arena had."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from time import perf_counter

import jax
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.arena.eager import MODELS
from benchmarks.arena.eager.pieces import tensor
from benchmarks.arena.lanes import order
from benchmarks.arena.peers import Peer
from benchmarks.arena.workload import Workload, start

LONG = 60.0
"""A run that would take more seconds makes a tenth of its steps, and its time is multiplied by ten."""
_WARM_UP = 20  # steps


@dataclass(frozen=True)
class Trained:
    """One run.

    Attributes:
        seconds: from the making of the optimizer to the end of the last step.
        loss: the judged loss at the end; NaN where the run was not made to its end.
        whole: whether all steps were made, rather than a tenth.
    """

    seconds: float
    loss: float
    whole: bool


def batch_of(rows: dict) -> dict[str, Tensor]:
    """Rows of a workload as tensors."""
    return {name: tensor(array) for name, array in rows.items()}


def held_batch(workload: Workload) -> dict[str, Tensor]:
    """The rows that a run is judged on, with the noise that `judge` draws."""
    return _with_noise(workload, workload.held, jax.random.key(20))


def _with_noise(workload: Workload, rows: dict, key) -> dict[str, Tensor]:
    batch = batch_of(rows)
    if workload.needs_key:
        batch["noise"] = tensor(jax.random.normal(key, (len(rows["x"]), 4)))
    return batch


def disagreement(workload: Workload, seed: int) -> float:
    """The larger relative difference between torch's loss and JAX's on the first batch, at the start and beside it.

    The start alone would not do: where it is zero, the data plays no part in the loss.
    """
    first = order(workload, seed)[0, 0]
    rows = (
        workload.data if workload.batch_size == "all" else {k: np.asarray(v)[first] for k, v in workload.data.items()}
    )
    key = jax.random.key(seed)
    batch = _with_noise(workload, rows, key)
    at = start(workload, seed)
    rng = np.random.default_rng(0)
    beside = jax.tree.map(lambda a: a + rng.normal(0, 0.02, a.shape).astype(np.float32), at)
    loss, extra, worst = jax.jit(workload.loss), {"key": key} if workload.needs_key else {}, 0.0
    for params in (at, beside):
        theirs = float(loss(params, rows, **extra))
        worst = max(worst, abs(MODELS[workload.name](params)(batch).item() - theirs) / abs(theirs))
    return worst


def train(workload: Workload, peer: Peer, rate: float, seed: int, fused: bool = False) -> Trained:
    """A run of AdamW as `peer` was tuned: `rate` constant, or with its warm-up and cosine.

    Args:
        workload: the task; what it starts from and its batches are those of `seed`.
        peer: `adamw_constant` or `adamw_cosine`.
        rate: its rate.
        seed: one of the seeds that it was tuned on.
        fused: torch's own fused update instead of its default.
    """
    model = MODELS[workload.name](start(workload, seed))
    data, rows = batch_of(workload.data), None
    if workload.batch_size != "all":
        rows = tensor(order(workload, seed).reshape(workload.steps, -1))
    given = (workload.steps, data, rows, peer, rate, fused)
    steps = workload.steps
    _descend(deepcopy(model), _WARM_UP, *given)  # the first steps of a process load what torch needs
    whole = _descend(deepcopy(model), _WARM_UP, *given) / _WARM_UP * steps <= LONG
    seconds = _descend(model, steps if whole else steps // 10, *given)
    loss = model(held_batch(workload)).item() if whole else float("nan")
    return Trained(seconds if whole else 10 * seconds, loss, whole)


def _descend(model: nn.Module, count: int, steps: int, data, rows, peer: Peer, rate: float, fused: bool) -> float:
    """The loop, `count` steps of a plan for `steps`; returns its seconds."""
    begun = perf_counter()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=rate, betas=(0.9, peer.b2), weight_decay=1e-4, fused=fused or None
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _fade(steps)) if peer.cosine else None
    for step in range(count):
        batch = data if rows is None else {name: values[rows[step]] for name, values in data.items()}
        optimizer.zero_grad()
        model(batch).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return perf_counter() - begun


def _fade(steps: int):
    """`lanes._schedule` in torch's form: 5 % warm-up and a cosine to 0, as a factor of the rate."""
    warm = max(1, round(0.05 * steps))

    def factor(count: int) -> float:
        if count < warm:
            return (count + 1) / warm
        return 0.5 * (1 + float(np.cos(np.pi * (count + 1 - warm) / (steps - warm))))

    return factor

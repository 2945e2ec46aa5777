"""Other units of the loss and of the features, and a start ten times as far away: nothing may be lost by them."""

from __future__ import annotations

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.arena import catalogue, tuned
from benchmarks.arena.contend import Contender, contend
from benchmarks.arena.lanes import initial
from benchmarks.arena.peers import FAIR
from benchmarks.arena.score import reference, score
from benchmarks.arena.tune import draw_seeds, tune
from benchmarks.arena.workload import Workload, features_times, loss_times, start_times

FOLDER = tuned.FOLDER / "robust"
CHANGES = (
    partial(loss_times, factor=1e-3),
    partial(loss_times, factor=1e3),
    partial(features_times, factor=0.01),
    partial(features_times, factor=100.0),
    partial(start_times, factor=10.0),
)


def changed(workload: Workload) -> list[Workload]:
    """The workload in every other guise that it has, but those whose loss is not finite at the start."""
    guises = [c(workload) for c in CHANGES if _matters(c.func, workload)]
    return [guise for guise in guises if np.isfinite(initial(guise, seed=0))]


def _matters(change, workload: Workload) -> bool:
    if change is features_times:
        return workload.features
    if change is start_times:
        return any(jnp.any(leaf != 0) for leaf in jax.tree.leaves(workload.init(jax.random.key(0))))
    return True


def main(names: list[str], contender: Contender, seeds: list[int]) -> int:
    """Run ours on every change of the workloads named, and print the share of targets reached.

    The targets are those of AdamW tuned again on the changed workload (b2 = .99 with the average, or cosine, whichever
    ends lower), which is done where it has not been done before.
    """
    reached, asked, lost = 0, 0, []
    for name in names:
        for workload in changed(catalogue.make(name)):
            for seed in seeds:
                one = score(contend(workload, contender, seed)[0], reference(_retuned(workload)))
                missed = [t for t, r in (("T1", one.ratio1), ("T2", one.ratio2)) if r == float("inf")]
                asked, reached = asked + 2, reached + 2 - len(missed)
                lost += [f"{workload.name} {t} (log gap {one.log_gap:.3f})" for t in missed]
                print(
                    f"{workload.name}: {one.ratio1:.2f} {one.ratio2:.2f} {one.log_gap:.3f}", file=sys.stderr, flush=True
                )
    print(f"{reached} of {asked} targets of the re-tuned peer reached ({reached / asked:.1%})")
    for line in lost:
        print(f"lost: {line}")
    return 0


def _retuned(workload: Workload) -> tuned.Tuned:
    kept = tuned.load(workload.name, FOLDER)
    if kept is None:
        kept = tune(workload, draw_seeds(3), FAIR, say=lambda line: None)
        tuned.save(kept, FOLDER)
    return kept

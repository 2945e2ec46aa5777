"""Tuning the peers of a workload."""

from __future__ import annotations

import secrets
import time

import numpy as np

from benchmarks.arena import grid, lanes
from benchmarks.arena.peers import AS_THEY_COME, TUNED, Peer
from benchmarks.arena.tuned import PeerResult, Tuned, provenance
from benchmarks.arena.workload import Workload


def draw_seeds(count: int) -> list[int]:
    """Seeds that nobody chose."""
    return [secrets.randbelow(2**31) for _ in range(count)]


def tune(workload: Workload, seeds: list[int], peers: tuple[Peer, ...] = TUNED + AS_THEY_COME, say=print) -> Tuned:
    """Every peer on one workload, tuned where it has a rate to tune.

    Args:
        workload: the task.
        seeds: one run each at every rate.
        peers: who runs.
        say: told a line a peer.
    """
    results = {}
    for peer in peers:
        begun = time.monotonic()
        results[peer.name] = one = _one(workload, peer, seeds)
        seconds = time.monotonic() - begun
        say(f"  {peer.name:20s} rate {one.rate:8.2g}  final {one.final:10.4g}  {one.tried:3d} runs  {seconds:6.1f} s")
    return Tuned(
        workload=workload.name,
        steps=workload.steps,
        batch=workload.rows_per_batch,
        size=workload.size,
        seeds=seeds,
        initial=float(np.median([lanes.initial(workload, seed) for seed in seeds])),
        peers=results,
        made=provenance(),
    )


def _one(workload: Workload, peer: Peer, seeds: list[int]) -> PeerResult:
    if peer.rate is not None:
        curves = lanes.curves(workload, peer, [peer.rate], seeds)[0]
        return PeerResult(peer.rate, len(seeds), False, curves.tolist())
    reach, inside = (2, 1) if workload.narrow else (6, 2)
    found = grid.search(lambda rates: lanes.curves(workload, peer, rates, seeds), peer.middle, reach, inside)
    best = grid.best_exponent(found)
    finals = {f"{grid.rate(k):.4g}": float(f"{np.median(c[:, -1]):.6g}") for k, c in sorted(found.items())}
    return PeerResult(grid.rate(best), len(found) * len(seeds), True, found[best].tolist(), finals)

"""Seconds to the final loss of tuned AdamW, over those of that one run in torch eager.

`python -m benchmarks.arena.wall` prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import jax
import numpy as np
import torch

from benchmarks.arena import catalogue, tuned
from benchmarks.arena.eager.run import disagreement, train
from benchmarks.arena.peers import TUNED, Peer
from benchmarks.arena.wall_table import HEAD, line, row
from benchmarks.arena.watched import Call, Watched, reached, watched
from benchmarks.arena.workload import Workload
from benchmarks.timing import machine

LARGEST = 100_000
PLANNED = Call(times=1, auto=False)  # as many steps as torch makes, of as many rows
_AGREE = 1e-4
_NEAR = 0.03  # of the logarithmic range from the loss at the start to the kept final loss

_EPILOG = """
torch: AdamW (weight decay 1e-4) at the rate and schedule that were the best of its grid, one thread, without the
making of its batches' order; fused: the same with AdamW(fused=True). Ours: minimize(loss, params, data,
budget=Budget(steps=2 * N)) from the call until its answer first has a held loss at or below that run's final one; as
planned for torch: the same with the task's batch_size and Budget(steps=N). It has run before in this process; fresh is
a fresh process that finds the compilation cache of an earlier one, cold one that finds none. Imports count for none.
Short by: (ours at the end) / target - 1 where the target was not reached.
"""


def main(argv: list[str] | None = None) -> int:
    """Run it; the exit status is 2 where nothing could be run, 1 where a workload could not be timed."""
    args = _parser().parse_args(argv)
    call = Call(args.times, restarts=args.restarts)
    if args.child:
        again = args.target is not None
        try:
            found = once(args.child, call, args.target) if again else measure(args.child, args.seeds, call)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 1
        print(json.dumps(found))
        return 0
    try:
        names, left_out = catalogue.available(args.only.split(",") if args.only else None)
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    if left_out:
        print(f"left out, as DESCENSO_DATA is not set: {', '.join(left_out)}", file=sys.stderr)
    names = [name for name in names if (known := tuned.load(name)) and known.size < LARGEST]
    if not names:
        print("nothing to run.", file=sys.stderr)
        return 2
    print(f"{machine()}, jax {jax.__version__}, torch {torch.__version__}\n\n{line(HEAD)}\n|{'---|' * len(HEAD)}")
    found = []
    for name in names:
        try:
            found.append(_in_fresh_processes(name, args.seeds, call))
        except subprocess.CalledProcessError:
            print(f"{name}: not timed, for the reason above", file=sys.stderr, flush=True)
            continue
        print(line(row(found[-1])), flush=True)
        if args.json:
            Path(args.json).write_text(json.dumps({"made": machine(), "runs": found}, indent=1) + "\n")
    return 0 if len(found) == len(names) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.arena.wall",
        description="Seconds to the final loss of tuned AdamW, over the seconds of that one run in torch eager.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="NAMES", help="workloads, separated by commas")
    parser.add_argument("--seeds", type=int, default=3, help="how many of the seeds that AdamW was tuned on (3)")
    parser.add_argument("--times", type=int, default=2, help="steps of ours as a multiple of N (2)")
    parser.add_argument("--restarts", type=int, help="what minimize is given as restarts (nothing)")
    parser.add_argument("--json", metavar="FILE", help="write every run")
    parser.add_argument("--child", metavar="NAME", help=argparse.SUPPRESS)
    parser.add_argument("--target", type=float, help=argparse.SUPPRESS)
    return parser


def _in_fresh_processes(name: str, seeds: int, call: Call) -> dict:
    """What `measure` finds in a process whose compilation cache is empty, and `once` in one that finds it filled."""
    with tempfile.TemporaryDirectory() as cache:
        told = ["--child", name, "--times", str(call.times)]
        told += ["--restarts", str(call.restarts)] if call.restarts else []
        found = _child(cache, *told, "--seeds", str(seeds))
        return found | {"fresh": _child(cache, *told, "--target", repr(found["runs"][0]["target"]))}


def _child(cache: str, *arguments: str) -> dict:
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    command = [sys.executable, "-m", "benchmarks.arena.wall", *arguments]
    done = subprocess.run(
        command, env=environment | {"XDG_CACHE_HOME": cache}, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def once(name: str, call: Call, target: float) -> dict:
    """One run of ours from the first seed, in a process that has run nothing yet."""
    workload, known = catalogue.make(name), tuned.load(name)
    if known is None:
        raise ValueError(f"{name}: its peers are not tuned; see `python -m benchmarks.arena --tune`.")
    return _ours(workload, watched(workload, known.seeds[0], call), target)


def measure(name: str, seeds: int, call: Call) -> dict:
    """All runs of a workload, ours and torch's in turn; the first of ours is cold if the process is fresh.

    Raises:
        ValueError: torch's loss is not JAX's, or on half of the seeds torch ends above where the peer of the arena
            ended.
    """
    torch.set_num_threads(1)  # faster than two for models of this size
    workload, known = catalogue.make(name), tuned.load(name)
    if known is None:
        raise ValueError(f"{name}: its peers are not tuned; see `python -m benchmarks.arena --tune`.")
    peer = best_adamw(known)
    cold = watched(workload, known.seeds[0], call)
    watched(workload, known.seeds[0], PLANNED)  # other rows a batch: compiled anew
    if not (worst := disagreement(workload, known.seeds[0])) < _AGREE:
        raise ValueError(f"{name}: torch's loss is {worst:.1e} off JAX's.")
    runs = [_run(workload, known, peer, seed, call) for seed in known.seeds[:seeds]]
    if 2 * sum(run["near"] or run["lower"] for run in runs) <= len(runs):
        ends = ", ".join(f"{run['torch']['loss']:.4g} ({run['kept']:.4g})" for run in runs)
        raise ValueError(f"{name}: torch ends above where the peer of the arena (in brackets) ended: {ends}.")
    return {
        "name": name,
        "size": workload.size,
        "steps": workload.steps,
        "call": asdict(call),
        "peer": peer.name,
        "rate": known.peers[peer.name].rate,
        "disagreement": worst,
        "cold": _ours(workload, cold, runs[0]["target"]),
        "runs": runs,
    }


def best_adamw(known: tuned.Tuned) -> Peer:
    """AdamW, constant or cosine, whichever ended lower when it was tuned."""
    peers = [peer for peer in TUNED if peer.name in ("adamw_constant", "adamw_cosine")]
    return min(peers, key=lambda peer: known.peers[peer.name].final)


def _run(workload: Workload, known: tuned.Tuned, peer: Peer, seed: int, call: Call) -> dict:
    ours, planned = watched(workload, seed, call), watched(workload, seed, PLANNED)
    rate, kept = known.peers[peer.name].rate, known.peers[peer.name].curves[known.seeds.index(seed)][-1]
    theirs = train(workload, peer, rate, seed)
    fused = train(workload, peer, rate, seed, fused=True)
    ended = theirs.loss if theirs.whole else kept
    near = abs(np.log(ended / kept) / np.log(known.initial / kept)) < _NEAR
    # from the same start a chaotic descent can end in two minima: the lower one is then what ours must reach
    target = ended if near else min(ended, kept)
    return {
        "seed": seed,
        "target": target,
        "kept": kept,
        "near": bool(near),
        "lower": bool(ended < kept),
        "torch": asdict(theirs),
        "fused": asdict(fused),
        "ours": _ours(workload, ours, target),
        "planned": _ours(workload, planned, target),
    }


def _ours(workload: Workload, run: Watched, target: float) -> dict:
    losses = run.losses(workload)
    step, seconds = reached(run.seen, losses, target) or (None, None)
    return {"step": step, "seconds": seconds, "whole": run.seconds, "final": losses[-1], "ending": run.ending}


if __name__ == "__main__":
    sys.exit(main())

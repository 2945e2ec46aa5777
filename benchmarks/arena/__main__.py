"""The command line of the arena: `python -m benchmarks.arena`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

from benchmarks.arena import catalogue, robust, tuned
from benchmarks.arena.contend import CONTENDERS, contend
from benchmarks.arena.report import by_workload, table
from benchmarks.arena.score import Score, Summary, peer_course, reference, score, summarise
from benchmarks.arena.tune import draw_seeds, tune

_EPILOG = """
A line of the table: steps to the loose (T1) and tight (T2) target over those of the best tuned peer, geometric means
with a 95 % bootstrap interval; the same with every gradient counted (all1, all2); the share of runs that reach the
targets; the worst workload; ln(final/B)/ln(I/B); gradients spent / N. Set DESCENSO_DATA to the folder of data sets to
run the workloads that need them.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the arena; the exit status is 2 where nothing could be run."""
    args = _parser().parse_args(argv)
    only = args.only.split(",") if args.only else list(catalogue.QUICK) if args.quick else None
    try:
        names, left_out = catalogue.available(only, args.sealed)
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    if args.list:
        print("\n".join(names))
        return 0
    if left_out:
        print(f"left out, as DESCENSO_DATA is not set: {', '.join(left_out)}", file=sys.stderr)
    if args.tune:
        return _tune(names)
    if args.robust:
        return robust.main(names, CONTENDERS[args.contender], _seeds(args.seeds, 1))
    return _run(names, args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.arena",
        description="Is there really no learning rate to choose? Ours, once, against peers tuned by grid.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="five workloads, one seed, one JSON line; 3 minutes at most"
    )
    parser.add_argument("--only", metavar="NAMES", help="workloads, separated by commas")
    parser.add_argument("--contender", choices=list(CONTENDERS), default="auto", help="how ours is called")
    parser.add_argument("--seeds", default="", help='how many to draw ("5"), or which ("11,12,"); default 3')
    parser.add_argument("--json", metavar="FILE", help="write every run's scores and losses")
    parser.add_argument("--peers", action="store_true", help="the peers' table only; runs nothing")
    parser.add_argument("--robust", action="store_true", help="other units of loss and features, a start ten times off")
    parser.add_argument("--tune", action="store_true", help="tune the peers again and write tuned/*.json")
    parser.add_argument("--sealed", action="store_true", help="the workloads set aside; meant to be run once")
    parser.add_argument("--list", action="store_true", help="name the workloads and leave")
    return parser


def _seeds(given: str, default: int) -> list[int]:
    """Drawn afresh unless they are written out: a lucky phase is a known trap."""
    if "," in given:
        return [int(s) for s in given.split(",") if s]
    return draw_seeds(int(given or default))


def _tune(names: list[str]) -> int:
    for name in names:
        workload = catalogue.make(name)
        print(f"{name}: {workload.size:,} parameters, {workload.steps:,} steps", flush=True)
        tuned.save(tune(workload, draw_seeds(3), say=lambda line: print(line, flush=True)))
    return 0


def _run(names: list[str], args: argparse.Namespace) -> int:
    found = {name: result for name in names if (result := tuned.load(name)) is not None}
    if missing := [name for name in names if name not in found]:
        print(f"left out, as their peers are not tuned yet: {', '.join(missing)}", file=sys.stderr)
    if not found:
        print("nothing to run.", file=sys.stderr)
        return 2
    rows = {name: (summary, cost) for name, summary, cost in peers(found)}
    if not args.peers:
        seeds = _seeds(args.seeds, 1 if args.quick else 3)
        print(f"seeds {','.join(map(str, seeds))}", file=sys.stderr, flush=True)
        summary = _ours(found, args, seeds)
        rows = {f"**{args.contender}**": (summary, f"{summary.cost:.2f} N"), **rows}
    print(table(rows), file=sys.stderr if args.quick else sys.stdout)
    if args.quick and not args.peers:
        print(json.dumps(_line(summary)))
    return 0


def peers(found: dict[str, tuned.Tuned]) -> list[tuple[str, Summary, str]]:
    """The peers' own rows: name, summary, cost in words."""
    rows = []
    for name in next(iter(found.values())).peers:
        scores = {w: [score(peer_course(c), reference(t)) for c in t.peers[name].curves] for w, t in found.items()}
        runs = np.mean([t.peers[name].tried / len(t.seeds) for t in found.values()])
        rows.append((name, summarise(scores), f"{runs:.0f} N" if runs > 1 else "1 N"))
    return rows


def _ours(found: dict[str, tuned.Tuned], args: argparse.Namespace, seeds: list[int]) -> Summary:
    scores: dict[str, list[Score]] = {}
    record = {}
    for name, result in found.items():
        workload, ref = catalogue.make(name), reference(result)
        runs = [contend(workload, CONTENDERS[args.contender], seed) for seed in seeds]
        scores[name] = [score(course, ref) for course, _ in runs]
        record[name] = [
            {
                "seed": seed,
                **one._asdict(),
                "fractions": course.fractions.tolist(),
                "losses": course.losses.tolist(),
                "found": found_on_the_way,
            }
            for seed, one, (course, found_on_the_way) in zip(seeds, scores[name], runs, strict=True)
        ]
        finals = {name: [course.final for course, _ in runs]}
        print(by_workload({name: scores[name]}, {name: ref}, finals).splitlines()[-1], file=sys.stderr, flush=True)
    summary = summarise(scores)
    if args.json:
        seen = {"contender": args.contender, "made": tuned.provenance(), **summary._asdict(), "runs": record}
        Path(args.json).write_text(json.dumps(seen, indent=1) + "\n")
    return summary


def _line(summary: Summary) -> dict[str, float]:
    return {k: round(getattr(summary, k), 4) for k in ("gm1", "gm2", "hit1", "hit2", "log_gap", "cost")}


if __name__ == "__main__":
    # the peers' programs; minimize keeps its own
    jax.config.update("jax_compilation_cache_dir", str(Path(tempfile.gettempdir()) / "descenso-arena"))
    sys.exit(main())

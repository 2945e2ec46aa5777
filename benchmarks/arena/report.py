"""Tables of the arena, for a person and for docs/arena.md."""

from __future__ import annotations

from benchmarks.arena.score import Reference, Score, Summary

_HEAD = ("contender", "gm1 (T1)", "gm2 (T2)", "all1", "all2", "hit1", "hit2", "worst1", "worst2", "log gap", "cost")


def table(rows: dict[str, tuple[Summary, str]]) -> str:
    """A Markdown table of contenders, best log gap first; each with the words that tell its cost."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    for name, (s, cost) in sorted(rows.items(), key=lambda item: item[1][0].log_gap):
        cells = [
            name,
            f"{s.gm1:.2f} ({s.gm1_low:.2f}..{s.gm1_high:.2f})",
            f"{s.gm2:.2f} ({s.gm2_low:.2f}..{s.gm2_high:.2f})",
            f"{s.spent1:.2f}",
            f"{s.spent2:.2f}",
            f"{s.hit1:.2f}",
            f"{s.hit2:.2f}",
            f"{s.worst1:.1f}",
            f"{s.worst2:.1f} {s.worst}",
            f"{s.log_gap:.3f}",
            cost,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_workload(
    scores: dict[str, list[Score]], references: dict[str, Reference], finals: dict[str, list[float]]
) -> str:
    """A Markdown table of one contender's runs: a line a workload, a number a seed."""
    lines = ["| workload | start | best peer | final | to T1 | to T2 | log gap | cost |", "|" + "---|" * 8]
    for name, runs in scores.items():
        ref = references[name]
        cells = [
            name,
            f"{ref.initial:.4g}",
            f"{ref.best:.4g}",
            _list(finals[name], ".4g"),
            _list([r.ratio1 for r in runs], ".2f"),
            _list([r.ratio2 for r in runs], ".2f"),
            _list([r.log_gap for r in runs], ".3f"),
            _list([r.cost for r in runs], ".2f"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _list(values: list[float], form: str) -> str:
    return " ".join(format(v, form) if v != float("inf") else "miss" for v in values)

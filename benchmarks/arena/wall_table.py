"""The table of the wall times: a line a task."""

from __future__ import annotations

from statistics import median

HEAD = (
    "task",
    "params",
    "N",
    "torch, s",
    "fused, s",
    "ours, s",
    "times torch",
    "as planned for torch, times torch",
    "fresh, s (times)",
    "cold, s (times)",
    "short by",
)


def row(found: dict) -> tuple[str, ...]:
    """A line of the table: medians over the seeds, the ratio of every seed, "miss" where the target was not reached."""
    runs = found["runs"]
    eager = median(run["torch"]["seconds"] for run in runs)
    mark = "" if all(run["torch"]["whole"] for run in runs) else " (a tenth of the steps, times ten)"
    first = runs[0]["torch"]["seconds"]
    return (
        found["name"],
        f"{found['size']:,}",
        f"{found['steps']:,}",
        f"{eager:.2f}{mark}",
        f"{median(run['fused']['seconds'] for run in runs):.2f}",
        " ".join(_seconds(run["ours"]["seconds"]) for run in runs),
        *(" ".join(_times(run[k]["seconds"], run["torch"]["seconds"]) for run in runs) for k in ("ours", "planned")),
        *(f"{_seconds(found[k]['seconds'])} ({_times(found[k]['seconds'], first)})" for k in ("fresh", "cold")),
        " ".join(_short(run) for run in runs),
    )


def _short(run: dict) -> str:
    """How far above the target a run ended that missed it, relatively."""
    return "-" if run["ours"]["seconds"] is not None else f"{run['ours']['final'] / run['target'] - 1:.1g}"


def _seconds(value: float | None) -> str:
    return "miss" if value is None else f"{value:.2f}"


def _times(ours: float | None, theirs: float) -> str:
    return "miss" if ours is None else f"{ours / theirs:.2f}"


def line(cells: tuple[str, ...]) -> str:
    """Cells as a line of a table in Markdown."""
    return "| " + " | ".join(cells) + " |"

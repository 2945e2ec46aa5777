"""Timing that holds on a shared machine: the contestants in turn in one process, and the ratio of their medians."""

from __future__ import annotations

import datetime
import platform
import statistics
from collections.abc import Callable
from time import perf_counter

Timed = dict[str, list[float]]


def in_turn(contestants: dict[str, Callable[[], object]], repeats: int, warm_up: int = 1) -> Timed:
    """Seconds of each call, A B C A B C ...; each must block until its result is there."""
    for _ in range(warm_up):
        for run in contestants.values():
            run()
    seconds: Timed = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, run in contestants.items():
            start = perf_counter()
            run()
            seconds[name].append(perf_counter() - start)
    return seconds


def ratio(seconds: Timed, over: str, under: str) -> float:
    """The median of `over` divided by that of `under`."""
    return statistics.median(seconds[over]) / statistics.median(seconds[under])


def show(title: str, seconds: Timed, reference: str) -> None:
    """Print a table of medians, spreads and ratios to `reference`."""
    print(f"\n{title}")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(
            f"  {name:<28} {1e3 * median:10.2f} ms   (min {1e3 * min(values):.2f}, max {1e3 * max(values):.2f}, "
            f"n {len(values)})   {ratio(seconds, name, reference):8.2f} x {reference}"
        )


def machine() -> str:
    """The date and the machine, for the head of a table."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            model = next(
                (line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine()
            )
    except OSError:
        model = platform.processor()
    return f"{datetime.date.today().isoformat()}, Python {platform.python_version()}, {model}"

"""Checks of hyperparameters against the ranges that their docstrings state."""

from __future__ import annotations

from math import inf, isnan

from descenso._errors import ArgumentError


def check_ranges(owner: object, **ranges: str) -> None:
    """Raise ArgumentError unless each named attribute of `owner` lies in its interval, written as in "[0, 1)".

    Only Python numbers are checked: an array may be traced, and then it has no value to look at.
    """
    for name, interval in ranges.items():
        value = getattr(owner, name)
        if isinstance(value, (int, float)) and not _inside(value, interval):
            raise ArgumentError(f"{type(owner).__name__} got {name}={value!r}. It must lie in {interval}.")


def _inside(value: float, interval: str) -> bool:
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" or high == inf else value < high
    return above and below and not isnan(value)

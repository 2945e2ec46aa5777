"""States as flat dictionaries of tensors, the form that torch saves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from descenso._errors import ArgumentError
from descenso._types import State

Flat = dict[str, torch.Tensor]
"""The tensors of a state by their place in the nested tuples, as in "0.1.0"."""


def flat(state: State) -> Flat:
    """The tensors of a nested tuple by place."""
    return dict(_places(state, ""))


def _places(state: State, place: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(state, tuple):
        for i, part in enumerate(state):
            yield from _places(part, f"{place}.{i}" if place else str(i))
    else:
        yield place, state


def filled(template: State, tensors: Mapping[str, Any]) -> State:
    """The tensors in nested tuples like those of `template`.

    Raises:
        ArgumentError: the tensors are those of another kind of state.
    """
    if flat(template).keys() != tensors.keys():
        raise ArgumentError(
            "The state of a param was made by a method that remembers other things than the present one.",
            hint="start a new optimizer to change the method, or whether it has momentum or amsgrad, in a run",
        )
    return _fill(template, lambda place, _: tensors[place], "")


def _fill(template: State, take: Callable[[str, Any], Any], place: str) -> State:
    if not isinstance(template, tuple):
        return take(place, template)
    parts = [_fill(part, take, f"{place}.{i}" if place else str(i)) for i, part in enumerate(template)]
    return type(template)(*parts) if hasattr(template, "_fields") else tuple(parts)


def is_scalar(tensor: torch.Tensor) -> bool:
    """Whether it is a number of the whole state, such as a step count, and not one per entry."""
    return tensor.dim() == 0

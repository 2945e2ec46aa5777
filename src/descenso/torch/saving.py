"""Saved states of an optimizer: written as plain values, checked before they are taken over."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from torch import Tensor

from descenso._errors import ArgumentError
from descenso.torch.nested import Flat

Group = dict[str, Any]


def plain_groups(saved: list[Group], own: list[Group]) -> list[Group]:
    """The groups of a state dict with objects as their descriptions, and the shapes of the params beside them."""
    return [
        {**{k: _plain(v) for k, v in group.items()}, "shapes": [tuple(p.shape) for p in mine["params"]]}
        for group, mine in zip(saved, own, strict=True)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(v) for v in value)
    return value if value is None or isinstance(value, (bool, int, float, str, Tensor)) else repr(value)


def with_own_objects(saved: list[Group], own: list[Group]) -> list[Group]:
    """The groups of a state dict, with this optimizer's objects where they were saved as their descriptions."""
    return [
        {k: mine[k] if k in mine and _plain(mine[k]) != mine[k] else v for k, v in group.items() if k != "shapes"}
        for group, mine in zip(saved, own, strict=True)
    ]


def check_saved(saved: dict[str, Any], own: list[Group]) -> None:
    """Raise ArgumentError unless a state dict was made by the same methods for the same params."""
    if not {"state", "param_groups"} <= saved.keys():
        raise ArgumentError(f"The state has the keys {', '.join(saved)}. It needs state and param_groups.")
    groups = saved["param_groups"]
    if len(groups) != len(own):
        raise ArgumentError(f"The state has {len(groups)} param groups. The optimizer has {len(own)}.")
    for index, (group, mine) in enumerate(zip(groups, own, strict=True)):
        _check_group(f"param group {index}", group, mine)


def _check_group(where: str, saved: Group, own: Group) -> None:
    if saved.get("method") != _plain(own["method"]):
        raise ArgumentError(f"The state of {where} was made by {saved.get('method')!r}. It needs {own['method']!r}.")
    shapes, params = saved.get("shapes", []), own["params"]
    if len(shapes) != len(params):
        raise ArgumentError(f"The state of {where} is of {len(shapes)} params. The optimizer has {len(params)} there.")
    names, mine = saved.get("param_names"), own.get("param_names")
    for i, (shape, p) in enumerate(zip(shapes, params, strict=True)):
        here = f"param {i} of {where}" + (f", {mine[i]!r}," if mine else "")
        if names and mine and names[i] != mine[i]:
            raise ArgumentError(f"The state has {names[i]!r} in the place of {here}.")
        if tuple(shape) != tuple(p.shape):
            raise ArgumentError(f"The state has shape {tuple(shape)} for {here} which has shape {tuple(p.shape)}.")


def load_states(saved: dict[str, Any], own: list[Group], states: MutableMapping[Tensor, Flat]) -> None:
    """Copy the saved tensors, in their own dtypes, to the devices of the params."""
    for group, mine in zip(saved["param_groups"], own, strict=True):
        for key, p in zip(group["params"], mine["params"], strict=True):
            if saved["state"].get(key):
                states[p] = {k: v.to(p.device, copy=True) for k, v in saved["state"][key].items()}

"""All that a run is at one moment, as named arrays and plain numbers, and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NamedTuple

import jax
import numpy as np

from descenso._types import Leaves
from descenso.disk.canonical import Broken
from descenso.driver.stretch import Stretch
from descenso.engine.chunk import RunState


class Points(NamedTuple):
    """Points that a run keeps.

    start: where it began. best: of the lowest validation loss, or None. milestone: the answer at an earlier look, or
    None.
    """

    start: Leaves
    best: Leaves | None
    milestone: Leaves | None


class Snapshot(NamedTuple):
    """All that a run is.

    state: at the last look. earlier: at the look before, or None. stretch: what was made since, or None.
    course: the table of its records. marks: seconds and validation loss of each record, (records, 2).
    numbers: counters, findings and what the watchers remember: plain values.
    """

    state: RunState
    earlier: RunState | None
    stretch: Stretch | None
    points: Points
    course: np.ndarray
    marks: np.ndarray
    numbers: dict[str, Any]


def remembered(watcher: Any) -> dict[str, Any]:
    """The plain numbers in a dataclass: all that it remembers, since what else it holds was given to it."""
    values = {f.name: getattr(watcher, f.name) for f in fields(watcher)}
    return {name: v for name, v in values.items() if v is None or isinstance(v, (bool, int, float)) or _are_numbers(v)}


def remind(watcher: Any, numbers: dict[str, Any]) -> None:
    """Give a dataclass back what `remembered` found in it."""
    for name, value in numbers.items():
        setattr(watcher, name, value)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, (int, float)) for v in value)


def pack(snapshot: Snapshot) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays by name, and the plain values."""
    state, earlier, stretch, points, course, marks, numbers = snapshot
    arrays = {"course": course, "marks": marks} | _named("state", _arrays_of(state))
    if earlier is not None:
        arrays |= _named("earlier", _arrays_of(earlier))
    if stretch is not None:
        arrays |= {"sums": np.asarray(stretch.sums)} | _named("stretch", _arrays_of(stretch.state))
    for name, point in points._asdict().items():
        arrays |= _named(name, point or ())
    places = {
        "cursor": state.cursor,
        "earlier": None if earlier is None else earlier.cursor,
        "stretch": stretch and [stretch.state.cursor, stretch.start, stretch.end, stretch.arrived],
        "points": [name for name, point in points._asdict().items() if point is not None],
    }
    return arrays, {**numbers, **places}


def unpack(arrays: dict[str, np.ndarray], numbers: dict[str, Any], like: RunState) -> Snapshot:
    """The snapshot that was packed; `like` is the state at the start of the run, of the same shapes and dtypes.

    Raises:
        Broken: the arrays are not of a run like this.
    """
    earlier, stretch, kept = (numbers[name] for name in ("earlier", "stretch", "points"))

    def point(name: str) -> Leaves | None:
        return _tree(arrays, name, like.params) if name in kept else None

    return Snapshot(
        _state(arrays, "state", like, numbers["cursor"]),
        None if earlier is None else _state(arrays, "earlier", like, earlier),
        None if stretch is None else _stretch(arrays, like, stretch),
        Points(_tree(arrays, "start", like.params), *(point(name) for name in ("best", "milestone"))),
        arrays["course"],
        arrays["marks"],
        numbers,
    )


def _stretch(arrays: dict[str, np.ndarray], like: RunState, places: list[Any]) -> Stretch:
    cursor, start, end, arrived = places
    return Stretch(_state(arrays, "stretch", like, cursor), start, end, arrays["sums"], arrived)


def _arrays_of(state: RunState) -> tuple[Any, ...]:
    return state.params, state.method, state.scale, state.key


def _named(root: str, tree: Any) -> dict[str, np.ndarray]:
    # not ascontiguousarray: it would make a () array (1,)
    return {f"{root}.{i}": np.asarray(leaf, order="C") for i, leaf in enumerate(jax.tree.leaves(tree))}


def _state(arrays: dict[str, np.ndarray], root: str, like: RunState, cursor: int) -> RunState:
    params, method, scale, key = _tree(arrays, root, _arrays_of(like))
    return RunState(params, method, scale, cursor, key)


def _tree(arrays: dict[str, np.ndarray], root: str, like: Any) -> Any:
    leaves, structure = jax.tree.flatten(like)
    return jax.tree.unflatten(structure, [_placed(arrays, f"{root}.{i}", leaf) for i, leaf in enumerate(leaves)])


def _placed(arrays: dict[str, np.ndarray], name: str, like: Any) -> Any:
    found = arrays.get(name)
    if found is None or found.shape != like.shape or found.dtype != like.dtype:
        told = "missing" if found is None else f"{found.dtype} of shape {found.shape}"
        raise Broken(f"array {name} is {told}; the run needs {like.dtype} of shape {like.shape}")
    return jax.device_put(found, like.sharding) if isinstance(like, jax.Array) else found

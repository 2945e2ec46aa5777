"""Simple bounds of the params: read from the caller's argument, checked, and kept to."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from descenso._errors import ArgumentError
from descenso._types import Leaves
from descenso.engine.tree import Tree

_FORM = "It must be a pair (low, high): each a number, None for none, or a pytree like `params`."
_HINT = "e.g. bounds=(0, None) for params that may not be negative, or bounds=(0, [1.0, 2.0])"
_PAIRS = "of a pair for each param, as SciPy has them, make bounds=(list(lows), list(highs))"


class Bounds(NamedTuple):
    """The lowest and the highest values, NumPy leaves of the shapes and dtypes of the params; infinite for none."""

    low: Leaves
    high: Leaves

    def clip(self, leaves: Leaves) -> Leaves:
        """The point within the bounds that is nearest to `leaves`."""
        return tuple(jnp.clip(x, low, high) for x, low, high in zip(leaves, *self, strict=True))

    @property
    def sides(self) -> tuple[tuple, tuple]:
        """Both as plain numbers: for each leaf one, or where they differ one for each entry."""
        low, high = (tuple(_plain(leaf) for leaf in side) for side in self)
        return low, high

    @property
    def flat(self) -> tuple[np.ndarray, np.ndarray]:
        """Both as vectors (n,), in float64."""
        low, high = (np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in side]) for side in self)
        return low, high

    def outside(self, leaves: Leaves) -> int:
        """How many entries of `leaves` lie outside."""
        pairs = ((np.asarray(x), low, high) for x, low, high in zip(leaves, *self, strict=True))
        return sum(int(np.sum((x < low) | (x > high))) for x, low, high in pairs)


def bounds_of(given: Any, tree: Tree, leaves: Leaves) -> Bounds | None:
    """The bounds that the argument `bounds` asks for, None where nothing is bounded.

    Args:
        given: None; a pair (low, high), each None, a number, or a pytree like the params whose leaves are None, numbers
            or arrays that broadcast to the leaf; or an object with these as `lb` and `ub`, as SciPy's Bounds.

    Raises:
        ArgumentError: it is not of that form, holds NaN, or leaves no value between a lower and an upper bound.
    """
    if given is None:
        return None
    if hasattr(given, "lb") and hasattr(given, "ub"):
        given = (given.lb, given.ub)
    if not isinstance(given, tuple) or len(given) != 2:
        hint = _PAIRS if isinstance(given, list) else _HINT
        raise ArgumentError(f"`bounds` is {_short(given)}. {_FORM}", hint=hint)
    low = _side(given[0], "lower", -np.inf, tree, leaves)
    high = _side(given[1], "upper", np.inf, tree, leaves)
    for name, a, b in zip(tree.names, low, high, strict=True):
        check_order(name, a, b)
    found = Bounds(low, high)
    return found if any(np.isfinite(leaf).any() for side in found for leaf in side) else None


def _plain(leaf: np.ndarray) -> float | tuple[float, ...]:
    numbers = np.asarray(leaf, np.float64).ravel()
    if not numbers.size or (numbers == numbers[0]).all():
        return float(numbers[0]) if numbers.size else 0.0
    return tuple(numbers.tolist())


def _side(given: Any, which: str, none: float, tree: Tree, leaves: Leaves) -> Leaves:
    return tuple(
        bound_of(entry, which, none, name, leaf)
        for entry, name, leaf in zip(_entries(given, which, tree, leaves), tree.names, leaves, strict=True)
    )


def _entries(given: Any, which: str, tree: Tree, leaves: Leaves) -> list[Any]:
    """What is given for each leaf."""
    if given is None or _is_number(given):
        return [given] * len(leaves)
    params = tree.build(leaves)
    is_none = lambda x: x is None  # noqa: E731
    wanted, structure = jax.tree.flatten(params, is_leaf=is_none)
    if len(wanted) == 1 and wanted[0] is params:  # one array: a list of numbers is a vector of bounds
        if isinstance(given, tuple):  # with two params SciPy's pairs would pass for a lower and an upper side
            told = (
                f"The {which} side of `bounds` is the tuple {_short(given)}. For one array it must be a number, a list"
            )
            raise ArgumentError(f"{told}, an array or None.", hint=_PAIRS)
        return [given]
    if isinstance(given, (np.ndarray, jax.Array)) and given.shape == (len(leaves),) and not any(map(np.ndim, leaves)):
        return list(np.asarray(given))
    entries, found = jax.tree.flatten(given, is_leaf=is_none)
    if found != structure:
        raise ArgumentError(
            f"The {which} side of `bounds` has the form {found}. It must be a number, None or like `params`, "
            f"{structure}.",
            hint="None or an infinite number where there is no bound",
        )
    # a leaf of the tree that is kept, a function say, has no bound
    known = {path: i for i, path in enumerate(tree.names)}
    paths = ["params" + jax.tree_util.keystr(p) for p, _ in jax.tree.flatten_with_path(params, is_leaf=is_none)[0]]
    chosen = [None] * len(leaves)
    for path, entry in zip(paths, entries, strict=True):
        if path in known:
            chosen[known[path]] = entry
    return chosen


def _is_number(given: Any) -> bool:
    known = isinstance(given, (int, float, np.generic, np.ndarray, jax.Array))
    return known and np.ndim(given) == 0 and np.asarray(given).dtype.kind in "fiu"


def bound_of(entry: Any, which: str, none: float, name: str, leaf: Any) -> np.ndarray:
    """One side of the bounds of one array, in its shape and dtype; `none` stands for none, and for None.

    Raises:
        ArgumentError: it does not broadcast to the array, holds NaN, or leaves no value.
    """
    if isinstance(entry, (list, tuple)):
        entry = [none if e is None else e for e in entry]
    try:
        values = np.asarray(none if entry is None else entry, np.float64)
        full = np.broadcast_to(values, leaf.shape)
    except (TypeError, ValueError):
        shape = f"shape {np.shape(entry)}" if hasattr(entry, "shape") else _short(entry)
        raise ArgumentError(
            f"The {which} bound of {name} is {shape}. It must be a number, None, or numbers that broadcast to the "
            f"shape {leaf.shape}."
        ) from None
    if np.isnan(full).any():
        raise ArgumentError(f"The {which} bound of {name} holds NaN. It must be numbers; infinite ones are no bound.")
    with np.errstate(over="ignore"):
        held = full.astype(leaf.dtype)
    if (held == -none).any():
        raise ArgumentError(f"The {which} bound of {name} is {-none} in {leaf.dtype}: no value would be within.")
    return held


def check_order(name: str, low: np.ndarray, high: np.ndarray) -> None:
    """Raise ArgumentError where a lower bound lies above the upper one."""
    wrong = np.argwhere(low > high)
    if len(wrong):
        at = tuple(wrong[0].tolist())
        raise ArgumentError(
            f"`bounds` of {name}{list(at) if at else ''} are {low[at]} and {high[at]}. "
            "The lower one must not be above the upper one.",
            hint=f"{len(wrong):,} entries are the wrong way round" if len(wrong) > 1 else None,
        )


def _short(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 60 else text[:57] + "..."

"""From a pytree to a flat tuple of leaves and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from descenso._errors import ParamsError
from descenso._types import Leaves
from descenso.data.source import narrow
from descenso.engine.modules import in_equinox, instead_of, is_setting, refuse_variables


@dataclass(frozen=True, eq=False)
class Kept:
    """An array that is no param, equal to another with the same values."""

    array: Any

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Kept) or self.array.dtype != other.array.dtype:
            return False
        return np.array_equal(np.asarray(self.array), np.asarray(other.array))

    def __hash__(self) -> int:
        return hash((self.array.shape, str(self.array.dtype)))


@dataclass(frozen=True)
class Tree:
    """The shape of a pytree of params: where its float leaves stand, and what else it holds.

    Equal trees compare and hash alike, so that compiled code can be found again.

    Attributes:
        structure: the pytree's structure.
        fixed: one entry per leaf: None for a float leaf, else the object that is kept as it is, an array as `Kept`.
        names: the path of each float leaf.
    """

    structure: Any
    fixed: tuple
    names: tuple[str, ...]

    def build(self, leaves: Leaves) -> Any:
        """The pytree with these float leaves."""
        floats = iter(leaves)
        parts = [next(floats) if f is None else f.array if isinstance(f, Kept) else f for f in self.fixed]
        return jax.tree.unflatten(self.structure, parts)

    def bare(self) -> Any:
        """The pytree's structure without what is kept, in whose places None stands."""
        return jax.tree.structure(jax.tree.unflatten(self.structure, [0 if f is None else None for f in self.fixed]))


def flatten(params: Any) -> tuple[Tree, Leaves]:
    """The tree of `params` and its float leaves as jax arrays.

    Callables, strings and None are kept as they are (activation functions of a model, say), and in an Equinox module
    whatever is not an array of floats.

    Raises:
        ParamsError: no float leaf, or none with a number in it; an integer, boolean or complex leaf, one of 8 or more
            than 64 bits, or with masked values; a variable of Flax NNX that is not a Param.
        DataError: a float64 value that does not fit float32 where JAX computes in float32.
    """
    refuse_variables(params)
    found, structure = jax.tree.flatten_with_path(params)
    paths = ["params" + jax.tree_util.keystr(path) for path, _ in found]
    kinds = [_is_fixed(leaf, inside) for (_, leaf), inside in zip(found, in_equinox(params), strict=True)]
    fixed = tuple(_kept(leaf) if keep else None for (_, leaf), keep in zip(found, kinds, strict=True))
    names = tuple(p for p, keep in zip(paths, kinds, strict=True) if not keep)
    if not names:
        raise ParamsError(
            "`params` has no float leaf. It needs at least one array or number to descend on.", hint=instead_of(params)
        )
    leaves = tuple(_leaf(leaf, p) for (_, leaf), p, keep in zip(found, paths, kinds, strict=True) if not keep)
    if not any(leaf.size for leaf in leaves):
        raise ParamsError(f"`params` holds no number: {names[0]} has shape {leaves[0].shape}. It needs at least one.")
    return Tree(structure, fixed, names), leaves


def _is_fixed(leaf: Any, in_equinox: bool) -> bool:
    return callable(leaf) or isinstance(leaf, str) or (in_equinox and is_setting(leaf))


def _kept(leaf: Any) -> Any:
    return Kept(leaf) if isinstance(leaf, (jax.Array, np.ndarray, np.generic)) else leaf


def _leaf(leaf: Any, name: str) -> jax.Array:
    if isinstance(leaf, np.ma.MaskedArray) and np.ma.is_masked(leaf):
        raise ParamsError(f"{name} has masked values. Every param needs a value.", hint="fill them: a.filled(0.0)")
    if not isinstance(leaf, jax.Array):
        leaf = np.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        raise ParamsError(f"{name} is complex. Params must be real.", hint="split it into real and imaginary parts")
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        raise ParamsError(
            f"{name} has dtype {leaf.dtype}. A leaf of the params must be float to be descended on.",
            hint="write 1.0 for 1, or close over constants in the loss",
        )
    if leaf.dtype.itemsize not in (2, 4, 8):
        raise ParamsError(
            f"{name} has dtype {leaf.dtype}. It must have 16, 32 or 64 bits.", hint="a.astype(np.float32)"
        )
    if isinstance(leaf, np.ndarray) and leaf.dtype == np.float64 and not is_wide():
        leaf = narrow(leaf, name)
    return jnp.array(leaf)  # a copy: the caller's array is never donated or shared


def names_of(tree: Any, root: str) -> tuple[list, list[str]]:
    """The leaves of a pytree and their paths, `root` standing for the whole."""
    found, _ = jax.tree.flatten_with_path(tree)
    return [leaf for _, leaf in found], [root + jax.tree_util.keystr(path) for path, _ in found]


def is_wide() -> bool:
    """Whether JAX computes in 64 bits here and now: it can be switched on for a stretch of code."""
    return jnp.result_type(float) == jnp.float64


def map_leaves(f: Callable, state: Any) -> Any:
    """`f` over every array of a nested tuple."""
    return jax.tree.map(f, state)


def leaf_mask(params: Any, choose: Callable[[str, jax.Array], bool]) -> tuple[bool, ...]:
    """Which float leaves of `params` are chosen: the mask that `Freeze`, `WeightDecay`, `Muon` and others take.

    Args:
        params: the pytree that will be descended on.
        choose: is given the path of a leaf, such as "params['dense']['kernel']" or "params.layers[0].weight", and the
            leaf.

    Raises:
        ParamsError: as `flatten`.
    """
    tree, leaves = flatten(params)
    return tuple(bool(choose(path, leaf)) for path, leaf in zip(tree.names, leaves, strict=True))

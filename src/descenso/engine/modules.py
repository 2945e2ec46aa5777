"""What counts as a param in the models of Equinox and Flax, told from their classes without importing either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from descenso._errors import ParamsError


def is_setting(leaf: Any) -> bool:
    """Whether a leaf of an Equinox module is none of its params: what is not an array of floats."""
    return not (hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact))


def in_equinox(params: Any) -> list[bool]:
    """For each leaf of `params`, whether it stands in an Equinox module."""
    inside = _of("equinox", "Module")
    parts = jax.tree.leaves(params, is_leaf=inside)
    return [inside(part) for part in parts for _ in jax.tree.leaves(part)]


def refuse_variables(params: Any) -> None:
    """Raise ParamsError if `params` hold a variable of Flax NNX that is not a Param.

    A descent would neither keep a running mean up to date nor draw anew from a random stream, and would not be asked to
    by whoever hands over a whole model; so what becomes of them is to be said.
    """
    variable, param = _of("flax", "Variable"), _of("flax", "Param")
    for path, leaf in jax.tree.leaves_with_path(params, is_leaf=variable):
        if variable(leaf) and not param(leaf):
            raise ParamsError(
                f"params{jax.tree_util.keystr(path)} is a {type(leaf).__name__} of Flax NNX. Only a Param moves.",
                hint="graph, weights, rest = nnx.split(model, nnx.Param, ...); descend on the weights, and put the "
                "model together in the loss by nnx.merge(graph, weights, rest, copy=True)",
            )


def instead_of(params: Any) -> str | None:
    """A hint for who hands over a model that holds no float leaf."""
    if _of("flax", "Module")(params):
        return "a Linen module holds no params: hand over those that model.init(key, inputs) returns"
    if _of("torch", "Module")(params):
        return "the modules of torch have an optimizer of their own, descenso.torch.Optimizer"
    if any(in_equinox(params)):
        return "in an Equinox module only arrays are params: write jnp.asarray(1.0) for 1.0"
    return None


def _of(package: str, name: str) -> Callable[[Any], bool]:
    """Whether a value is of the class `name` of `package`, or one derived from it."""
    return lambda value: any(
        c.__name__ == name and c.__module__.split(".", maxsplit=1)[0] == package for c in type(value).__mro__
    )

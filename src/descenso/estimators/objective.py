"""What is descended on: the penalised loss of a model, as a function of params and a batch of rows.

It is a pytree: its arrays are arguments of the compiled code, so that another strength of the penalty, or another
table of the same shape, compiles nothing again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from descenso._types import Array
from descenso.estimators.families import Family, Shape


class Model(Protocol):
    """A model, without its params; two of the same form are equal."""

    def outputs(self, params: Any, batch: dict) -> Array:
        """The scores of the rows of a batch: (n,) or (n, outputs)."""
        ...

    def penalty(self, params: Any, ridge: Array, lasso: Array) -> Array:
        """What the params cost, ()."""
        ...


@partial(jax.tree_util.register_dataclass, data_fields=["ridge", "lasso", "shape"], meta_fields=["family", "model"])
@dataclass(frozen=True)
class Penalised:
    """mean_i w_i l(z_i, t_i) + penalty, with the mean of the weights w over all rows 1.

    Where a batch has "cost", the penalty is multiplied by its mean: 0 for rows to validate on. Where it has "pull", an
    array p shaped as z, the loss l with its kinks rounded off over k is centred there,

        max_s (s z - l*(s) - k (s - p)^2 / 2) = l_k(z + k p) - k p^2 / 2

    so that rows whose slope s is p are not rounded off at all.

    ridge, lasso: strengths of the squares and of the absolute values; (features,) for a linear model, else ().
    """

    family: Family
    model: Model
    ridge: Array
    lasso: Array
    shape: Shape

    def __call__(self, params: Any, batch: dict) -> Array:
        each = self.of_rows(self.model.outputs(params, batch), batch["t"].reshape(-1), batch.get("pull"))
        fit = jnp.mean(batch["w"].reshape(-1) * each)
        cost = self.model.penalty(params, self.ridge, self.lasso)
        return fit + (cost * jnp.mean(batch["cost"]) if "cost" in batch else cost)

    def of_rows(self, z: Array, t: Array, pull: Array | None) -> Array:
        """The loss of each row, (n,), from scores z and targets t."""
        if pull is None:
            return self.family.value(z, t, self.shape)
        p, k = pull.reshape(z.shape), self.shape.kink
        lost = k * p * p / 2
        return self.family.value(z + k * p, t, self.shape) - (lost if z.ndim == 1 else lost.sum(axis=1))


def times(batch: dict, weight: Array) -> Array:
    """x weight for the rows of a batch: (rows,) or (rows, outputs). Entries of packs are gathered and summed by row."""
    if "x" in batch:
        return batch["x"] @ weight
    packs, rows = batch["w"].shape
    first = rows * jnp.arange(packs, dtype=jnp.int32)
    row = (batch["row"].astype(jnp.int32) + first[:, None]).reshape(-1)
    taken = weight.at[batch["at"].reshape(-1)].get(mode="promise_in_bounds")
    value = batch["value"].reshape(-1)
    products = taken * (value if weight.ndim == 1 else value[:, None])
    out = jnp.zeros((packs * rows, *weight.shape[1:]), products.dtype)
    return out.at[row].add(products, indices_are_sorted=True, mode="promise_in_bounds")


@dataclass(frozen=True)
class Linear:
    """z = x.u + b.

    Params: {"coef": (features,) or (features, outputs), "intercept": () or (outputs,)}; where `parts`, the coefficients
    are the difference of "plus" and "minus", both >= 0, so that the sum of their absolute values has a gradient.

    Args:
        intercept: whether there is one.
        parts: whether the coefficients are in two parts.
    """

    intercept: bool = True
    parts: bool = False

    def outputs(self, params: Any, batch: dict) -> Array:
        z = times(batch, coefficients(params))
        return z + params["intercept"] if self.intercept else z

    def penalty(self, params: Any, ridge: Array, lasso: Array) -> Array:
        u = coefficients(params)
        cost = jnp.sum(_across(ridge, u) * u * u) / 2
        if self.parts:
            cost = cost + jnp.sum(_across(lasso, u) * (params["plus"] + params["minus"]))
        return cost


def coefficients(params: Any) -> Array:
    """u of the params of a linear model."""
    return params["plus"] - params["minus"] if "plus" in params else params["coef"]


def _across(strength: Array, u: Array) -> Array:
    return strength if u.ndim == 1 else strength[:, None]


ACTIVATIONS: dict[str, Callable] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "logistic": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "identity": lambda x: x,
}
"""Activations of a hidden layer by name."""


@dataclass(frozen=True)
class Network:
    """Layers of weights and biases with an activation between them.

    Params: a list of {"weight": (in, out), "bias": (out,)}.
    """

    activation: str = "relu"
    single: bool = True

    def outputs(self, params: Any, batch: dict) -> Array:
        act = ACTIVATIONS[self.activation]
        z = times(batch, params[0]["weight"]) + params[0]["bias"]
        for layer in params[1:]:
            z = act(z) @ layer["weight"] + layer["bias"]
        return z[:, 0] if self.single else z

    def penalty(self, params: Any, ridge: Array, lasso: Array) -> Array:
        squares = sum(jnp.sum(layer["weight"] ** 2) for layer in params)
        return ridge * squares / 2 + lasso * sum(jnp.sum(jnp.abs(layer["weight"])) for layer in params)


@dataclass(frozen=True)
class Given:
    """The user's own model: `apply(params, x)` gives (n, outputs), or (n,) for one output."""

    apply: Callable
    single: bool = True

    def outputs(self, params: Any, batch: dict) -> Array:
        z = self.apply(params, batch["x"])
        return z.reshape(-1) if self.single else z

    def penalty(self, params: Any, ridge: Array, lasso: Array) -> Array:
        floats = [p for p in jax.tree.leaves(params) if hasattr(p, "dtype") and jnp.issubdtype(p.dtype, jnp.floating)]
        return sum(ridge * jnp.sum(p * p) / 2 + lasso * jnp.sum(jnp.abs(p)) for p in floats if p.ndim > 1) + 0.0 * ridge

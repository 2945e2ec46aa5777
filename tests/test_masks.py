"""Masks made from the paths of a pytree, and what they do inside `minimize`."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from descenso import Budget, Descent, leaf_mask, minimize
from descenso.averaging import L1, Last
from descenso.methods import Freeze, named
from descenso.rules import Gradient
from descenso.step_sizes import Constant

PARAMS = {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}, "act": jnp.tanh, "scale": 2.0}


def loss(params):
    dense = params["dense"]
    return jnp.mean((params["act"](dense["kernel"]).sum(0) + dense["bias"]) ** 2) + params["scale"] ** 2


def test_a_mask_has_one_entry_per_float_leaf():
    assert leaf_mask(PARAMS, lambda path, leaf: "bias" in path) == (True, False, False)
    assert leaf_mask(PARAMS, lambda path, leaf: leaf.ndim == 2) == (False, True, False)


def test_frozen_paths_stay_in_a_run():
    mask = leaf_mask(PARAMS, lambda path, leaf: "dense" in path)
    result = minimize(loss, PARAMS, method=Freeze(named("sgd", lr=0.1), mask), budget=Budget(steps=60))
    assert result.params["dense"]["kernel"].tolist() == [[1.0, 1.0]] * 3
    assert result.params["dense"]["bias"].tolist() == [1.0, 1.0]
    assert abs(result.params["scale"]) < 1e-3


def test_only_the_chosen_leaves_are_penalised():
    mask = leaf_mask(PARAMS, lambda path, leaf: "bias" in path)
    method = Descent(Gradient(), Constant(0.05), Last(L1(100.0, mask)))
    result = minimize(loss, PARAMS, method=method, budget=Budget(steps=5))
    assert result.params["dense"]["bias"].tolist() == [0.0, 0.0]
    assert np.all(result.params["dense"]["kernel"] != 0)

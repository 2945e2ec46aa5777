"""Losses so large or so small that squares of their gradients are no 32-bit floats."""

from __future__ import annotations

import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from descenso import Budget, certify, minimize
from descenso.checkpoint.keeper import Checkpoint
from descenso.checkpoint.store import Store
from descenso.driver.units import in_unit
from descenso.methods import BFGS, NewtonCG

X = np.random.default_rng(0).normal(size=(600, 3)).astype(np.float32)
Y = X @ np.array([1.0, -2.0, 0.5], np.float32)


@pytest.mark.parametrize("size", [1e20, 1.38e-23])
@pytest.mark.parametrize("method", ["auto", NewtonCG()])
def test_without_data_it_arrives(size, method):
    result = minimize(lambda x: size * jnp.sum((x - 1) ** 2 * jnp.array([1, 10])), jnp.zeros(2), method=method)
    np.testing.assert_allclose(result.params, 1, rtol=1e-5)
    assert result.reason == "converged"
    np.testing.assert_allclose(result.history.loss[0], 11 * size, rtol=1e-5)
    np.testing.assert_allclose(result.history.grad_norm[0], size * np.hypot(2, 20), rtol=1e-5)
    assert [f.kind for f in result.findings].count("unit") == 1


@pytest.mark.parametrize("size", [1e20, 1e-20])
def test_with_batches_it_learns_and_goes_on_bit_for_bit(size, tmp_path):
    def loss(w, batch):
        return size * jnp.mean((batch[0] @ w - batch[1]) ** 2)

    def run(**more):
        return minimize(loss, np.zeros(3), (X, Y), batch_size=16, budget=Budget(steps=300), **more)

    whole = run(checkpoint=Checkpoint(tmp_path, steps=100, keep=99))
    np.testing.assert_allclose(whole.params, [1, -2, 0.5], atol=0.05)
    for last in Store(tmp_path).names()[1:]:
        shutil.rmtree(tmp_path / last.name)
    rest = run(checkpoint=tmp_path, resume="must")
    np.testing.assert_array_equal(rest.params, whole.params)
    np.testing.assert_array_equal(rest.history.loss, whole.history.loss)


def test_a_loss_that_is_near_zero_by_chance_is_left_as_it_is():
    result = minimize(lambda x: jnp.sum(x) + jnp.sum(x**2), jnp.full(3, 1e-20))
    assert result.reason == "converged"
    np.testing.assert_allclose(result.params, -0.5, rtol=1e-5)
    assert "unit" not in [f.kind for f in result.findings]


def test_a_power_of_two_changes_no_bit():
    def rosenbrock(x):
        return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

    plain, shown = (
        minimize(rosenbrock, jnp.array([-1.2, 1.0]), method=m, certify=False) for m in (BFGS(), in_unit(BFGS(), 2.0**9))
    )
    np.testing.assert_array_equal(plain.params, shown.params)
    np.testing.assert_array_equal(plain.history.loss, shown.history.loss)


@pytest.mark.parametrize("ulps", range(5))
def test_as_near_to_a_minimum_as_rounding_lets_it_is_at_one(ulps):
    found = certify(lambda x: jnp.sum((x - 1) ** 2 * jnp.array([1, 10, 100])), jnp.array([1, 1, 1 + ulps * 2.0**-23]))
    assert found.verdict == "strict minimum"

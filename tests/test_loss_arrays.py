"""A loss that is a pytree: its arrays are arguments of the compiled code."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import descenso
from descenso.engine import engine


def _ridge(strength, params, batch):
    x, y = batch
    return jnp.mean((x @ params - y) ** 2) / 2 + strength / 2 * jnp.sum(params**2)


def _data(rows):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    return x, (x @ np.array([1.0, -2.0, 3.0]) + rng.normal(size=rows)).astype(np.float32)


@pytest.mark.parametrize("rows", [50, 70_000])  # in one block, and in several
def test_each_value_has_its_own_optimum(rows):
    x, y = _data(rows)
    for strength in (0.1, 10.0):
        run = descenso.minimize(Partial(_ridge, strength), np.zeros(3, np.float32), (x, y), batch_size="all")
        exact = np.linalg.solve(x.T @ x / rows + strength * np.eye(3), x.T @ y / rows)
        np.testing.assert_allclose(run.params, exact, rtol=2e-3, atol=1e-4)


def test_another_value_compiles_nothing():
    data = _data(64)
    runs = [
        descenso.minimize(Partial(_ridge, a), np.zeros(3, np.float32), data, batch_size=8, validate=data, seed=1)
        for a in (0.1, 0.3)
    ]
    program = next(reversed(engine._remembered._found.values()))[1].chunk
    assert program._cache_size() == 1
    assert not np.allclose(runs[0].params, runs[1].params)
    assert runs[0].validation_loss != runs[1].validation_loss


def test_without_data():
    run = descenso.minimize(Partial(lambda a, p: jnp.sum((p - a) ** 2), np.array([1.0, 2.0])), np.zeros(2, np.float32))
    np.testing.assert_allclose(run.params, [1, 2], atol=1e-4)


def test_a_plain_function_has_none():
    run = descenso.minimize(lambda p: jnp.sum(p**2), np.ones(2, np.float32))
    assert run.success

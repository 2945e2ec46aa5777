"""L-BFGS for params that may not be negative, against active-set methods and the conditions of a minimum."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy.optimize import nnls
from sklearn.linear_model import Lasso

import descenso
from descenso._errors import ArgumentError
from descenso.methods.projected import ProjectedLBFGS


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def _squares(params, batch):
    a, b = batch
    return jnp.mean((a @ params - b) ** 2) / 2


def _minimum(loss, params, data, mask=None):
    stop = descenso.Stop(gradient=1e-10, floor=False)
    budget = descenso.Budget(steps=3000)
    rows = "auto" if data is None else "all"
    return descenso.minimize(loss, params, data, method=ProjectedLBFGS(mask), batch_size=rows, stop=stop, budget=budget)


@pytest.mark.parametrize("shape", [(40, 8), (60, 25)])
def test_least_squares_agree_with_the_active_set_method(shape):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=shape), rng.normal(size=shape[0])
    run = _minimum(_squares, np.ones(shape[1]), (a, b))
    x, residual = nnls(a, b)
    assert run.success, run
    assert float(run.loss) == pytest.approx(residual**2 / 2 / shape[0], rel=1e-9)
    assert (np.asarray(run.params) == 0).sum() >= (x == 0).sum() > 0
    assert (np.asarray(run.params) >= 0).all()


def test_an_l1_penalty_in_two_parts_gives_the_lasso_and_its_zeros():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(80, 30)) * np.logspace(0, -2, 30)
    b = a[:, :4].sum(1) + 0.1 * rng.normal(size=80)

    def loss(strength, params, batch):
        penalty = strength * jnp.sum(params["plus"] + params["minus"])
        return _squares(params["plus"] - params["minus"], batch) + penalty

    start = {"plus": np.zeros(30), "minus": np.zeros(30)}
    for strength in (0.1, 1e-3, 1e-4):
        run = _minimum(Partial(loss, strength), start, (a, b))
        ours = np.asarray(run.params["plus"] - run.params["minus"])
        theirs = Lasso(strength, fit_intercept=False, tol=1e-14, max_iter=1_000_000).fit(a, b).coef_
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
        np.testing.assert_array_equal(ours == 0, theirs == 0)


def test_only_the_named_leaves_are_bound():
    run = _minimum(lambda p: jnp.sum((p["a"] + 1) ** 2) + jnp.sum((p["b"] + 1) ** 2), _ones(), None, (True, False))
    np.testing.assert_allclose(run.params["a"], [0, 0])
    np.testing.assert_allclose(run.params["b"], [-1, -1, -1])


def test_it_backs_off_from_where_the_loss_is_infinite():
    run = _minimum(lambda x: jnp.sum(10 * x - jnp.log(1 - x)) + jnp.sum(-jnp.log(x + 1e-3)), np.array([0.9, 0.2]), None)
    assert run.success
    x = np.linspace(0, 0.999, 400_001)
    best = x[np.argmin(10 * x - np.log(1 - x) - np.log(x + 1e-3))]
    np.testing.assert_allclose(run.params, [best, best], atol=3e-6)


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(ArgumentError, match="mask of 3 entries"):
        _minimum(lambda p: jnp.sum(p["a"]) + jnp.sum(p["b"]), _ones(), None, (True, False, True))


def _ones():
    return {"a": np.ones(2), "b": np.ones(3)}

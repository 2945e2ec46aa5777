"""The models of a table: their start, their outputs, their loss."""

from __future__ import annotations

from itertools import pairwise

import jax
import numpy as np
import pytest

from descenso import losses
from descenso.models import Model, mean_loss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 6)).astype(np.float32)


def test_without_hidden_layers_it_is_an_affine_map():
    model = Model((6, 2))
    params = ({"weight": RNG.normal(size=(6, 2)).astype(np.float32), "bias": np.float32([1, -1])},)
    np.testing.assert_allclose(
        model.predict(params, X), X @ params[0]["weight"] + params[0]["bias"], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("widths", [(6, 1), (6, 40, 3), (6, 64, 32, 2)])
def test_it_starts_as_a_constant_whose_hidden_layers_keep_the_scale(widths):
    params = Model(widths).init(3)
    assert [layer["weight"].shape for layer in params] == list(pairwise(widths))
    assert not Model(widths).predict(params, X).any()
    for layer in params[:-1]:
        assert layer["weight"].std() == pytest.approx((2 / layer["weight"].shape[0]) ** 0.5, rel=0.25)


def test_the_start_is_a_function_of_the_seed():
    a, b, c, d = (Model((6, 4, 1)).init(seed)[0]["weight"] for seed in (1, 1, 2, -1))
    assert (a == b).all()
    assert (a != c).any()
    assert (a != d).any()


def test_blocks_of_rows_give_what_all_rows_give(monkeypatch):
    model = Model((6, 5, 2))
    params = jax.tree.map(lambda a: RNG.normal(size=a.shape).astype(np.float32), model.init(0))
    whole = model.predict(params, X)
    monkeypatch.setattr("descenso.models._BLOCK_BYTES", 7 * 4 * 6)
    np.testing.assert_allclose(model.predict(params, X), whole, rtol=1e-5, atol=1e-6)


def test_the_loss_is_the_mean_and_the_penalty_leaves_the_bias_alone():
    model, y = Model((6, 1)), RNG.normal(size=50).astype(np.float32)
    w, b = RNG.normal(size=(6, 1)).astype(np.float32), np.float32([2.0])
    value = mean_loss(model, losses.squared, penalty=0.1)(({"weight": w, "bias": b},), (X, y))
    assert value == pytest.approx(np.mean((y - (X @ w + b)[:, 0]) ** 2) + 0.1 * np.sum(w**2), rel=1e-5)


def test_many_outputs_go_to_the_loss_as_they_are():
    model, y = Model((6, 3)), RNG.integers(0, 3, 50)
    assert mean_loss(model, losses.softmax)(model.init(0), (X, y)) == pytest.approx(np.log(3), rel=1e-6)

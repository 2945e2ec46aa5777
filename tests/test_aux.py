"""What a loss returns beside its value is not descended on, and is that of the answer at the end."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descenso import Budget, Streamed, minimize
from descenso._errors import LossShapeError

X = np.random.default_rng(0).normal(2.0, 1.0, (5000, 3)).astype(np.float32)
DATA = (X, X @ np.array([1.0, -2.0, 3.0], np.float32))


def square(w, batch):
    x, y = batch
    return jnp.mean((x @ w - y) ** 2)


def with_statistics(w, batch):
    return square(w, batch), {"mean": batch[0].mean(0), "twice": 2 * w}


@pytest.mark.parametrize("rows", [32, "all"])
def test_it_is_of_all_rows_at_the_answer(rows):
    asked = {"batch_size": rows, "budget": Budget(steps=200), "seed": 3}
    result = minimize(with_statistics, np.zeros(3, np.float32), DATA, has_aux=True, **asked)
    np.testing.assert_allclose(result.aux["mean"], X.mean(0), rtol=1e-5)
    np.testing.assert_allclose(result.aux["twice"], 2 * np.asarray(result.params), rtol=1e-6)
    plain = minimize(square, np.zeros(3, np.float32), DATA, **asked)
    assert plain.aux is None
    np.testing.assert_allclose(result.params, plain.params, rtol=1e-5, atol=1e-6)


def test_it_is_of_all_streamed_rows():
    data = Streamed(DATA, memory=30_000)
    result = minimize(
        with_statistics, np.zeros(3, np.float32), data, has_aux=True, batch_size=32, budget=Budget(steps=50)
    )
    np.testing.assert_allclose(result.aux["mean"], X.mean(0), rtol=1e-4)


def test_it_needs_no_data():
    result = minimize(lambda x: (jnp.sum((x - 1) ** 2), {"x": 3 * x}), np.zeros(2), has_aux=True)
    np.testing.assert_allclose(result.aux["x"], [3, 3], rtol=1e-5)
    assert result.certificate.is_minimum


def test_a_pair_that_was_not_announced_is_refused():
    with pytest.raises(LossShapeError, match=r"returned a tuple\. It must return one number\.\s+hint: .*has_aux=True"):
        minimize(with_statistics, np.zeros(3, np.float32), DATA)


def test_a_loss_that_returns_no_pair_is_refused():
    with pytest.raises(
        LossShapeError, match=r"returned one array of shape \(\). With has_aux=True it must return a pair"
    ):
        minimize(square, np.zeros(3, np.float32), DATA, has_aux=True)


def test_the_first_of_the_pair_must_be_one_number():
    with pytest.raises(LossShapeError, match=r"returned shape \(3,\)"):
        minimize(lambda w: (w, w), np.zeros(3), has_aux=True)


def test_an_aux_for_each_row_is_refused_before_the_first_step():
    with pytest.raises(LossShapeError, match=r"`aux\['rows'\]` has shape \(32,\) on 32 rows and \(64,\) on 64"):
        minimize(lambda w, b: (square(w, b), {"rows": b[1]}), np.zeros(3), DATA, has_aux=True, batch_size=32)


def test_a_loss_with_a_key_may_have_one():
    def loss(w, batch, key):
        kept = jax.random.bernoulli(key, 0.5, batch[0].shape)
        return square(w, (batch[0] * kept, batch[1])), {"mean": batch[0].mean(0)}

    budget = Budget(steps=2)
    result = minimize(loss, np.zeros(3, np.float32), DATA, has_aux=True, batch_size=32, budget=budget, method="adam")
    np.testing.assert_allclose(result.aux["mean"], X.mean(0), rtol=1e-4)


def test_an_aux_that_holds_no_array_is_refused():
    with pytest.raises(LossShapeError, match=r"`aux\['name'\]` is a str\. It must hold arrays or numbers\."):
        minimize(lambda w: (jnp.sum(w**2), {"name": "w"}), np.zeros(3), has_aux=True)

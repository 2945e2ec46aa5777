"""Networks, models and losses of the user's own, and losses without an optimum to prove."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, make_circles
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from descenso import Budget, DescentClassifier, DescentRegressor
from descenso._errors import ArgumentError
from descenso.estimators.columns import measure
from descenso.estimators.descend import Options
from descenso.estimators.families import CLASSES
from descenso.estimators.rows import others, table_of
from descenso.estimators.settings import settings
from descenso.estimators.target import classes
from descenso.estimators.units import units_of

X, Y = load_breast_cancer(return_X_y=True)
RINGS, SIDE = make_circles(400, noise=0.05, factor=0.5, random_state=0)
OPTIONS = Options("auto", 8, Budget(), 0, wide=False)
RAW = RINGS * [1e3, 1e-4] + [5e3, 7.0]


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
def test_a_network_learns_rings_on_raw_columns(activation):
    model = DescentClassifier(model="mlp", hidden=(16,), activation=activation, random_state=0).fit(RAW, SIDE)
    assert model.score(RAW, SIDE) > 0.98
    assert DescentClassifier().fit(RAW, SIDE).score(RAW, SIDE) < 0.7


def test_its_layers_are_in_units_of_the_columns():
    model = DescentClassifier(model="mlp", hidden=(8, 4), random_state=0).fit(RAW, SIDE)
    theirs = MLPClassifier((8, 4))
    hidden = RAW
    for weight, bias in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        hidden = np.maximum(hidden @ weight + bias, 0)
    score = (hidden @ model.coefs_[-1] + model.intercepts_[-1])[:, 0]
    np.testing.assert_allclose(model.decision_function(RAW), score, rtol=1e-10)
    assert theirs.hidden_layer_sizes == (8, 4)


def test_the_same_seed_gives_the_same_network():
    a, b, c = (DescentRegressor(model="mlp", hidden=(5,), random_state=s).fit(RAW, RINGS[:, 0]) for s in (0, 0, 1))
    np.testing.assert_array_equal(a.predict(RAW), b.predict(RAW))
    assert not np.array_equal(a.predict(RAW), c.predict(RAW))


def test_rows_held_out_decide_which_params_are_kept():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(150, 20)), rng.normal(size=150)
    held = DescentRegressor(model="mlp", hidden=(64,), random_state=0, validation_fraction=0.3).fit(x, y)
    assert held.reason_ == "validation"
    assert held.result_.validation_loss is not None
    assert held.score(x, y) < 0.9  # noise was not learned by heart


def test_a_warm_network_starts_from_its_layers():
    with pytest.warns(ConvergenceWarning):
        model = DescentClassifier(model="mlp", hidden=(8,), budget=30, warm_start=True, random_state=0).fit(RAW, SIDE)
    before = model.decision_function(RAW)
    with pytest.warns(ConvergenceWarning):
        model.set_params(budget=1).fit(RAW, SIDE)
    assert np.corrcoef(before, model.decision_function(RAW))[0, 1] > 0.9
    with pytest.raises(ArgumentError, match=r"(?s)shapes \(8,\) .*needs \(5,\) .*hint: .*warm_start=False"):
        model.set_params(hidden=(5,)).fit(RAW, SIDE)
    with pytest.raises(ArgumentError, match=r"The last fit was of a network, and this one, .* is of a linear model"):
        model.set_params(model="linear").fit(RAW, SIDE)


def test_a_sparse_table_feeds_a_network():
    rare = [sparse.random(200, 300, share, random_state=0) for share in (0.01, 0.3)]  # short rows and long ones
    x = sparse.hstack([np.where(RINGS > 0, RINGS, 0), sparse.vstack(rare)], format="csr")
    model = DescentClassifier(model="mlp", hidden=(16,), random_state=0).fit(x, SIDE)
    np.testing.assert_allclose(model.decision_function(x), model.decision_function(x.toarray()), rtol=1e-6, atol=1e-9)


def test_an_entry_of_a_rare_column_is_no_larger_for_that():
    """Over the deviation of its column a word of one text in 400 would be 20, and so learned by heart."""
    x = sparse.csr_matrix(np.array([[3.0, 0.0, 5.0]] * 399 + [[1.0, 2.0, 5.0]]))
    s, weights = settings(DescentClassifier(model="mlp"), CLASSES), np.linspace(1, 2, 400)
    scale = units_of(measure(x, weights), s, classes(SIDE, 1)).scale
    np.testing.assert_allclose(scale, [np.average([3.0] * 399 + [1.0], weights=weights), 2, 5], rtol=2e-3)
    dense = units_of(measure(x.toarray(), weights), s, classes(SIDE, 1)).scale
    np.testing.assert_allclose(dense[1:], [2, 1], rtol=1e-2)  # a pixel seldom lit, and a constant
    both = measure(x[:100], weights[:100]).merged(measure(x[100:], weights[100:]))
    np.testing.assert_allclose(units_of(both, s, classes(SIDE, 1)).scale, scale, rtol=1e-9)


@pytest.mark.parametrize("short", [0, 1])
def test_rows_held_out_are_packed_like_the_others(short):
    """Whichever of the two has the longest row; for else no batch of them has the shape that was compiled."""
    tables = [sparse.random(90, 400, 0.02 if k == short else 0.9, random_state=k, format="csr") for k in (0, 1)]
    ones = np.ones(400)
    table = table_of(tables[0], 0 * ones, 2 * ones, np.float32, OPTIONS, (tables[1], np.ones(90), np.ones(90)))
    held = others(table, (tables[1], np.arange(90.0), np.ones(90)), 0 * ones, 2 * ones)
    assert {k: v.shape[1:] for k, v in held.items()} == {
        k: v.shape[1:] for k, v in table.data(np.ones(90), np.ones(90)).items()
    }
    seen = np.zeros((len(held["t"]), held["t"].shape[1]))
    for pack, (row, value) in enumerate(zip(held["row"], held["value"], strict=True)):
        np.add.at(seen[pack], row, value)
    order = np.argsort(held["t"][held["w"] > 0])
    np.testing.assert_allclose(seen[held["w"] > 0][order], np.ravel(tables[1].sum(axis=1)) / 2, rtol=1e-5)


def quartic(y, prediction):
    return (y - prediction) ** 4


def test_a_loss_of_ones_own_is_in_the_users_units():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)) * [1, 100, 1e-3]
    y = 50 * (x @ [1, 0.01, 1000]) + 1000 + rng.uniform(-1, 1, size=200)
    model = DescentRegressor(quartic, penalty=None).fit(x, y)

    def loss(coef, intercept):
        return np.mean((y - x @ coef - intercept) ** 4)

    best = loss(model.coef_, model.intercept_)
    assert model.result_.loss == pytest.approx(best, rel=1e-3)
    for size in (1e-3, 1e-2):
        moved = loss(model.coef_ + size * rng.normal(size=3) / [1, 100, 1e-3], model.intercept_)
        assert moved >= best * (1 - 1e-3)


def init(key, features, outputs):
    a, b = jax.random.split(key)
    # a function among the params, as modules of Equinox have
    return {"in": jax.random.normal(a, (features, 12)), "out": jax.random.normal(b, (12, outputs)) / 4, "bell": bell}


def bell(z):
    return jnp.exp(-(z**2))


def apply(params, x):
    return params["bell"](x @ params["in"]) @ params["out"]


def test_a_model_of_ones_own():
    model = DescentClassifier(model=(init, apply), random_state=0).fit(RAW, SIDE)
    assert model.score(RAW, SIDE) > 0.95
    three = DescentClassifier(model=(init, apply), random_state=0).fit(RAW, SIDE + (RINGS[:, 0] > 0))
    assert three.decision_function(RAW).shape == (400, 3)
    with pytest.raises(ValueError, match=r"gave shape \(3, 7\)"):
        DescentClassifier(model=(init, lambda p, x: jnp.zeros((len(x), 7)))).fit(RAW, SIDE)


def test_a_perceptron_arrives_where_a_plane_parts_the_classes():
    apart = X[:, 0] > np.median(X[:, 0])
    far = X + 50 * apart[:, None] * (np.arange(30) == 0)
    model = DescentClassifier("perceptron", random_state=0).fit(far, apart)
    assert model.reason_ == "converged"
    assert model.score(far, apart) == 1.0
    with pytest.warns(ConvergenceWarning, match="the 5 epochs allowed"):
        model = DescentClassifier("perceptron", budget=5, random_state=0).fit(X, Y)
    assert model.score(X, Y) > 0.95

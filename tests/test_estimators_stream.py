"""Rows as they come: `partial_fit`, and the `fit` that is the same to the last bit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning

from descenso import DescentClassifier, DescentRegressor
from descenso._errors import ArgumentError

X, Y = load_breast_cancer(return_X_y=True)
W, V = load_wine(return_X_y=True)
D, T = load_diabetes(return_X_y=True)


@pytest.mark.parametrize("table", [X, sparse.csr_matrix(X)], ids=["dense", "sparse"])
@pytest.mark.parametrize(
    "changes", [{}, {"penalty": "l1", "alpha": 0.01}, {"model": "mlp", "hidden": (4,)}], ids=["l2", "l1", "mlp"]
)
def test_fit_is_as_many_calls_of_partial_fit(table, changes):
    with pytest.warns(ConvergenceWarning, match="the 3 epochs allowed"):
        fit = DescentClassifier(method="stream", budget=3, random_state=1, **changes).fit(table, Y)
    stream = DescentClassifier(random_state=1, **changes)
    for call in range(3):
        stream.partial_fit(table, Y, classes=[0, 1])
        if call == 0:
            stream = pickle.loads(pickle.dumps(stream))
    np.testing.assert_array_equal(fit.decision_function(table), stream.decision_function(table))
    np.testing.assert_array_equal(fit.loss_curve_, stream.loss_curve_)
    assert fit.n_iter_ == stream.n_iter_ == 3
    assert not hasattr(stream, "reason_")  # a stream does not end
    if "penalty" in changes:
        assert (stream.coef_ == 0).any()


def test_lots_of_fewer_rows_than_find_a_step_size():
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(1200, 10))
    y = rows @ chance.normal(size=10) * 50 + 10 * chance.normal(size=1200)
    scores = []
    for lot in (16, 128):
        model = DescentRegressor(random_state=0)
        for start in range(0, 1000, lot):
            model.partial_fit(rows[start : min(start + lot, 1000)], y[start : min(start + lot, 1000)])
        scores.append(model.score(rows[1000:], y[1000:]))
    assert min(scores) > 0.99


@pytest.mark.filterwarnings("ignore:budget")
def test_the_steps_through_a_small_table_are_counted():
    model = DescentRegressor(method="stream", budget=3, random_state=0).fit(D[:40], T[:40])
    run = model.result_
    assert model.n_iter_ == run.epochs == 3
    assert run.steps == 64 + 64 + 2 == run.history.step[-1]  # with 80 rows it began anew
    assert run.gradients == 4 * 64 + 4 * 64 + 2  # at four rates


@pytest.mark.parametrize("lot", [3, 40])
def test_raw_columns_in_small_lots(lot):
    order = np.random.default_rng(0).permutation(len(V))
    model = DescentClassifier(random_state=0)
    for _ in range(6):
        for start in range(0, len(V), lot):
            rows = order[start : start + lot]
            model.partial_fit(W[rows], V[rows], classes=[0, 1, 2])
    assert model.score(W, V) > 0.97


@pytest.mark.parametrize("loss", ["squared_error", "huber", "poisson"])
def test_numbers_whose_units_are_learned_on_the_way(loss):
    y = T if loss == "poisson" else 1e6 * T + 1e9
    model = DescentRegressor(loss, random_state=0)
    model.partial_fit(D[:1], y[:1])
    for _ in range(6):
        model.partial_fit(D[:221], y[:221]).partial_fit(D[221:], y[221:])
    assert model.score(D, y) > 0.4


def test_rows_that_come_one_by_one():
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(150, 3))
    labels = np.where(rows @ [1.0, -2.0, 0.5] + 0.1 * chance.normal(size=150) > 0, "pos", "neg")
    stream = DescentClassifier(random_state=0)
    for i in range(150):
        stream.partial_fit(rows[i : i + 1], labels[i : i + 1], classes=["neg", "pos"])
        if i == 20:
            other = pickle.loads(pickle.dumps(stream))
        elif 20 < i < 66:
            other.partial_fit(rows[i : i + 1], labels[i : i + 1])
        if i == 65:
            np.testing.assert_array_equal(stream.coef_, other.coef_)
    assert stream.score(rows, labels) > 0.92
    assert stream.n_iter_ == 150
    assert stream.loss_curve_[-50:].mean() > 0.1  # of a row, not of a batch with one row in it
    assert stream._stream.early.rows == 150


def test_an_array_may_be_filled_again_for_the_next_lot():
    rows = np.random.default_rng(0).normal(size=(40, 3))
    targets, buffer, lots = rows @ [1.0, 2.0, 3.0], np.empty((8, 3)), np.empty(8)
    fresh, filled = DescentRegressor(random_state=0), DescentRegressor(random_state=0)
    for start in range(0, 40, 8):
        buffer[:], lots[:] = rows[start : start + 8], targets[start : start + 8]
        fresh.partial_fit(buffer.copy(), lots.copy())
        filled.partial_fit(buffer, lots)
    np.testing.assert_array_equal(fresh.coef_, filled.coef_)


def test_a_large_lot_after_single_rows_is_learned_to_its_last_row():
    rows = np.random.default_rng(0).normal(size=(1240, 3))
    ends = []
    for sign in (1.0, -1.0):
        targets = rows @ [1.0, 2.0, 3.0]
        targets[-100:] *= sign
        stream = DescentRegressor(random_state=0)
        for i in range(40):
            stream.partial_fit(rows[i : i + 1], targets[i : i + 1])
        ends.append(stream.partial_fit(rows[40:], targets[40:]).coef_)
        assert stream._stream.early is None
    assert np.abs(ends[0] - ends[1]).max() > 0.01


def test_sparse_rows_that_come_a_few_at_a_time():
    stream, table = DescentClassifier(random_state=0), sparse.csr_matrix(X)
    for start in range(0, 96, 8):
        stream.partial_fit(table[start : start + 8], Y[start : start + 8], classes=[0, 1])
    assert stream.score(table, Y) > 0.85


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_numbers_that_come_in_small_lots(loss):
    y = T if loss == "poisson" else 1e6 * T + 1e9
    model = DescentRegressor(loss, random_state=0)
    for start in range(0, 400, 20):
        model.partial_fit(D[start : start + 20], y[start : start + 20])
    assert model.score(D, y) > 0.35


def test_a_fit_can_be_gone_on_with():
    model = DescentClassifier(random_state=0).fit(X[:400], Y[:400])
    before = model.score(X, Y)
    model.partial_fit(X[400:], Y[400:])
    assert model.score(X, Y) > before - 0.02


def test_what_a_stream_cannot_do_is_said():
    with pytest.raises(ValueError, match="`classes` must be given"):
        DescentClassifier().partial_fit(X, Y)
    with pytest.raises(ValueError, match="not one of the classes"):
        DescentClassifier().partial_fit(W, V, classes=[0, 1])
    with pytest.raises(ValueError, match="balanced"):
        DescentClassifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1])
    model = DescentClassifier().partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match="at an earlier call"):
        model.partial_fit(X, Y, classes=[0, 2])
    with pytest.raises(ValueError, match="validation_fraction"):
        DescentClassifier(validation_fraction=0.1).partial_fit(X, Y, classes=[0, 1])


def test_a_stream_goes_on_only_with_the_same_model_and_columns():
    model = DescentClassifier(random_state=0).partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ArgumentError, match=r"was of a linear model, and this one, .* of a network"):
        model.set_params(model="mlp").partial_fit(X, Y)
    streamed = {"method": "stream", "budget": 1, "warm_start": True, "model": "linear"}
    with pytest.raises(ArgumentError, match=r"shapes \(1, 30\) \(1,\), .* needs \(1, 3\)"):
        model.set_params(**streamed).fit(X[:, :3], Y)
    net = DescentClassifier(model="mlp", hidden=(4,), random_state=0).partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ArgumentError, match=r"needs \(5,\)"):
        net.set_params(**streamed | {"model": "mlp", "hidden": (5,)}).fit(X, Y)


@pytest.mark.filterwarnings("ignore:budget")
def test_the_first_lot_is_not_gone_through_more_often_than_it_takes():
    rows = np.random.default_rng(0).normal(size=(2100, 3))
    few, many = (
        DescentRegressor(method="stream", budget=1, batch_size=500).fit(rows[:n], rows[:n] @ [1.0, 2.0, 3.0])
        for n in (1000, 2100)
    )
    assert (few.result_.steps, many.result_.steps) == (64, 8)

"""Newton's method for the linear models of dense tables."""

import os
import signal
import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning

from descenso import Budget, DescentClassifier, DescentRegressor
from descenso.estimators import scored

X, Y = load_breast_cancer(return_X_y=True)
D, T = load_diabetes(return_X_y=True)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "modified_huber"])
def test_classes_against_the_rest_are_descended_at_once(loss):
    W, V = load_wine(return_X_y=True)
    model = DescentClassifier(loss).fit(W, V)
    assert model.reason_ == "converged"
    assert model.n_iter_ < 60
    assert "Newton's method, for 42 params" in str(model.result_)
    one = DescentClassifier(loss).fit(W, V == 1)  # the class alone
    np.testing.assert_allclose(model.coef_[1], one.coef_[0], rtol=2e-2, atol=2e-3)


def test_one_step_solves_squares():
    model = DescentRegressor(alpha=0).fit(D, T)
    assert model.n_iter_ == 1
    assert model.reason_ == "converged"
    exact = np.linalg.lstsq(np.c_[D, np.ones(len(D))], T, rcond=None)[0]
    np.testing.assert_allclose(np.r_[model.coef_, model.intercept_], exact, rtol=1e-6)


def test_columns_that_others_are_made_of():
    twice = np.c_[D, D[:, :3] + D[:, 3:6], np.full(len(D), 7.0)]
    model = DescentRegressor(alpha=0).fit(twice, T)
    assert model.reason_ == "converged"
    assert model.score(twice, T) == pytest.approx(DescentRegressor(alpha=0).fit(D, T).score(D, T), abs=1e-8)


def test_rates_that_span_ten_decades():
    chance = np.random.default_rng(0)
    x = chance.normal(size=(300, 2)) * [3, 3]
    y = chance.poisson(np.exp(x @ [1.0, -1.0]))
    model = DescentRegressor("poisson", alpha=0).fit(x, y)
    assert model.reason_ == "converged"

    def loss(u):
        return np.mean(np.exp(u[0] + x @ u[1:]) - y * (u[0] + x @ u[1:]))

    def slope(u):
        rest = np.exp(u[0] + x @ u[1:]) - y
        return np.r_[rest.mean(), rest @ x / len(x)]

    found = minimize(loss, np.r_[model.intercept_, model.coef_], jac=slope, method="BFGS", options={"gtol": 1e-10})
    assert loss(np.r_[model.intercept_, model.coef_]) <= found.fun + 1e-9 * abs(found.fun)


def test_thirty_two_bits_come_to_rest(monkeypatch):
    wide = DescentClassifier("hinge").fit(X, Y)
    monkeypatch.setattr("descenso.estimators.linear._WIDE", 0)
    model = DescentClassifier("hinge").fit(X, Y)
    assert model.reason_ == "converged"
    assert model.n_iter_ < 100
    assert model.result_.loss == pytest.approx(wide.result_.loss, rel=1e-4)


@pytest.mark.parametrize(
    ("budget", "told"),
    [(2, "the 2 epochs allowed"), (Budget(steps=3), "the 3 steps allowed"), (Budget(gradients=5), "the 5 gradients")],
)
def test_a_budget_ends_it(budget, told):
    with pytest.warns(ConvergenceWarning, match=told):
        model = DescentClassifier(budget=budget).fit(X, Y)
    assert model.reason_ == "budget"
    assert len(model.loss_curve_) == model.n_iter_ <= 3


def test_ctrl_c_leaves_the_best_so_far(monkeypatch):
    calls = []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return scored.search(*args)

    monkeypatch.setattr("descenso.estimators.newton.search", interrupted)
    with pytest.warns(ConvergenceWarning, match="stopped by the user at step 3"):
        model = DescentClassifier("hinge").fit(X, Y)
    assert model.reason_ == "interrupted"
    assert model.score(X, Y) > 0.9


def test_a_loss_that_is_not_finite_is_left_to_the_driver():
    model = DescentRegressor("poisson", warm_start=True, alpha=0)
    x, y = np.linspace(0, 1, 50)[:, None], np.arange(50.0)
    model.fit(x, y)
    model._coef = model._coef + 1e6  # exp overflows at the start
    with pytest.raises(ValueError, match="no finite loss"):
        model.fit(x, y)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "huber", "epsilon_insensitive", "quantile", "gamma"])
def test_tables_of_any_kind_are_descended_to_their_optimum(loss):
    for seed in range(5):
        chance = np.random.default_rng(seed)
        rows, columns = chance.integers(4, 80), chance.integers(1, 9)
        table = chance.normal(size=(rows, columns)) * 10.0 ** chance.integers(-3, 4, size=columns)
        table[:, 0] = 3.0 if seed % 2 else table[:, 0]
        table[:, -1] = 2 * table[:, 0]
        alpha = [0.0, 1e-6, "auto", 1.0, 100.0][seed]
        if "hinge" in loss:
            model = DescentClassifier(loss, alpha=alpha or "auto", fit_intercept=seed > 1)
            model.fit(table, np.r_[0, 1, chance.integers(0, 3, size=rows - 2)])
        else:
            model = DescentRegressor(loss, alpha=alpha, standardize=seed > 2, fit_intercept=seed > 1)
            model.fit(table, 0.01 + chance.exponential(size=rows) * 10.0 ** chance.integers(-2, 3))
        assert model.reason_ == "converged", (seed, model.result_)


def test_a_loss_of_nothing_is_an_optimum():
    x = np.random.default_rng(0).normal(size=(60, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = DescentRegressor(alpha=0, warm_start=True).fit(x, x @ [1.0, -2.0, 0.5])
        assert model.fit(x, x @ [1.0, -2.0, 0.5]).reason_ == "converged"
        assert len(model.loss_curve_) == 1
        assert DescentRegressor("quantile", alpha=0).fit(x, x @ [1.0, -2.0, 0.5]).reason_ == "converged"
        for loss in ("squared_hinge", "modified_huber"):  # the least loss, 0, is attained where classes are separable
            assert DescentClassifier(loss, alpha=0).fit(x, x[:, 0] > 0).reason_ == "converged"


def test_a_budget_is_told_whole():
    with pytest.warns(ConvergenceWarning, match="the 9 epochs allowed were made"):
        DescentClassifier("hinge", budget=9).fit(X, Y)

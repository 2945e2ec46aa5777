"""Convex linear models at their optimum: as scikit-learn's at tight tolerance, on raw columns, with a proof of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    Lasso,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.svm import SVC, LinearSVC

from descenso import DescentClassifier, DescentRegressor
from descenso._errors import DataError
from descenso.estimators import linear, optimum

X, Y = load_breast_cancer(return_X_y=True)
N = len(Y)
D, T = load_diabetes(return_X_y=True)
COUNTS = np.round(T / 20)


def margins(model, x=X, y=Y) -> np.ndarray:
    return (2 * y - 1) * (x @ model.coef_[0] + model.intercept_)


def within(ours: float, theirs: float, relative: float = 1e-6) -> None:
    """Ours is not above theirs by more than this share of it."""
    assert ours - theirs <= relative * abs(theirs), (ours, theirs)


def proven(model) -> None:
    assert model.reason_ == "converged"
    message = model.result_.findings[-1].message
    assert "duality gap" in message
    assert float(message.split("more than ")[1].split()[0]) <= 2e-6 * abs(model.result_.loss)


@pytest.mark.parametrize("strength", [1e2, 1.0, 1e-3])
def test_logistic_regression(strength):
    alpha = 1 / strength / N
    ours = DescentClassifier(alpha=alpha, standardize=False).fit(X, Y)
    theirs = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(X, Y)
    objective = [np.logaddexp(0, -margins(m)).mean() + alpha / 2 * np.sum(m.coef_**2) for m in (ours, theirs)]
    within(*objective)
    assert ours.result_.loss == pytest.approx(objective[0], rel=1e-9)
    proven(ours)


def test_multinomial_logistic_regression():
    x, y = load_wine(return_X_y=True)
    ours = DescentClassifier(alpha=1 / len(y), standardize=False).fit(x, y)
    theirs = LogisticRegression(solver="newton-cholesky", tol=1e-12).fit(x, y)
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-5)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    proven(ours)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_support_vectors(loss):
    x = (X - X.mean(0)) / X.std(0)
    alpha, power = 10 / N, 1 if loss == "hinge" else 2
    ours = DescentClassifier(loss, alpha=alpha, standardize=False, fit_intercept=False).fit(x, Y)
    theirs = LinearSVC(loss=loss, C=0.1, fit_intercept=False, tol=1e-10, max_iter=200_000, dual=True).fit(x, Y)
    objective = [
        np.mean(np.maximum(1 - margins(m, x), 0) ** power) + alpha / 2 * np.sum(m.coef_**2) for m in (ours, theirs)
    ]
    within(*objective)
    proven(ours)


def test_support_vectors_with_an_intercept_that_is_not_penalised():
    x = (X - X.mean(0)) / X.std(0)
    ours = DescentClassifier("hinge", alpha=10 / N, standardize=False).fit(x, Y)
    theirs = SVC(kernel="linear", C=0.1, tol=1e-8).fit(x, Y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-4)


@pytest.mark.parametrize(("penalty", "ratio"), [("l2", 0.0), ("l1", 1.0), ("elasticnet", 0.4)])
@pytest.mark.parametrize("alpha", [1.0, 1e-2])
def test_least_squares(penalty, ratio, alpha):
    ours = DescentRegressor(penalty=penalty, l1_ratio=0.4, alpha=alpha, standardize=False).fit(D, T)
    exact = {
        "l2": Ridge(alpha=alpha * len(T), tol=1e-12),
        "l1": Lasso(alpha=alpha, tol=1e-14, max_iter=1_000_000),
        "elasticnet": ElasticNet(alpha=alpha, l1_ratio=0.4, tol=1e-14, max_iter=1_000_000),
    }[penalty].fit(D, T)
    objective = [
        np.mean((T - m.predict(D)) ** 2) / 2
        + alpha * (ratio * np.abs(m.coef_).sum() + (1 - ratio) / 2 * np.sum(m.coef_**2))
        for m in (ours, exact)
    ]
    within(*objective)
    np.testing.assert_array_equal(ours.coef_ == 0, exact.coef_ == 0)
    proven(ours)


def test_l1_logistic_regression_gives_exact_zeros():
    x = (X - X.mean(0)) / X.std(0)
    ours = DescentClassifier(penalty="l1", alpha=0.01).fit(x, Y)
    theirs = LogisticRegression(l1_ratio=1, solver="saga", C=1 / 0.01 / N, tol=1e-10, max_iter=20_000).fit(x, Y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_array_equal(ours.coef_ == 0, theirs.coef_ == 0)
    assert 0 < (ours.coef_ == 0).sum() < 30


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (DescentRegressor("poisson"), PoissonRegressor(tol=1e-12)),
        (DescentRegressor("gamma"), GammaRegressor(tol=1e-12)),
        (DescentRegressor("tweedie", power=1.3), TweedieRegressor(power=1.3, link="log", tol=1e-12)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_rates(ours, theirs):
    y = COUNTS + (ours.loss == "gamma")
    weights = np.linspace(0.5, 2, len(y))
    theirs.set_params(alpha=1e-3, max_iter=10_000, solver="newton-cholesky").fit(D, y, weights)
    ours.set_params(alpha=1e-3, standardize=False).fit(D, y, weights)
    np.testing.assert_allclose(ours.predict(D), theirs.predict(D), rtol=1e-5)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    assert ours.reason_ == "converged"


def test_quantiles():
    ours = DescentRegressor("quantile", quantile=0.8, penalty="l1", alpha=0.05, standardize=False).fit(D, T)
    theirs = QuantileRegressor(quantile=0.8, alpha=0.05).fit(D, T)

    def objective(m):
        r = T - m.predict(D)
        return np.mean(np.maximum(0.8 * r, -0.2 * r)) + 0.05 * np.abs(m.coef_).sum()

    within(objective(ours), objective(theirs))
    proven(ours)


def test_robust_losses_are_at_their_minimum():
    """No other minimiser at hand has the same objective: a small move in any direction must not go lower."""
    rng = np.random.default_rng(0)
    for loss, epsilon in (("huber", 20.0), ("epsilon_insensitive", 10.0)):
        model = DescentRegressor(loss, epsilon=epsilon, alpha=1e-2, standardize=False).fit(D, T)

        def objective(coef, intercept, loss=loss, epsilon=epsilon):
            r = np.abs(T - D @ coef - intercept)
            each = (
                np.where(r <= epsilon, r * r / 2, epsilon * (r - epsilon / 2))
                if loss == "huber"
                else np.maximum(r - epsilon, 0)
            )
            return each.mean() + 1e-2 / 2 * np.sum(coef**2)

        best = objective(model.coef_, model.intercept_)
        assert best == pytest.approx(model.result_.loss, rel=1e-6)
        for size in (1e-3, 1e-1, 10.0):
            moved = objective(model.coef_ + size * rng.normal(size=10), model.intercept_ + size * rng.normal())
            assert moved >= best * (1 - 1e-7)
        proven(model)


@pytest.mark.parametrize("penalty", ["l2", "l1"])
def test_a_sparse_table_gives_what_the_dense_one_gives(penalty):
    x = sparse.random(300, 40, 0.1, random_state=0, format="csr")
    y = (x @ np.linspace(-3, 3, 40) + np.random.default_rng(0).logistic(size=300) > 0).astype(int)
    a, b = (DescentClassifier(penalty=penalty, alpha=3e-3, standardize=False).fit(t, y) for t in (x, x.toarray()))
    np.testing.assert_allclose(a.coef_, b.coef_, atol=1e-5)
    np.testing.assert_array_equal(a.coef_ == 0, b.coef_ == 0)
    proven(a)


@pytest.mark.parametrize("fine", [optimum._FINE_32, (1e-12, 1e-13)], ids=["reachable", "below the rounding"])
def test_in_32_bits_it_ends_where_the_rounding_lets_it(monkeypatch, fine):
    """No budget: what ends the run is its gradient or, where rounding keeps that up, its loss; not 20,000 steps."""
    x = sparse.random(400, 60, 0.1, random_state=0, format="csr")
    y = (x @ np.linspace(-3, 3, 60) + np.random.default_rng(0).logistic(size=400) > 0).astype(int)
    wide = DescentClassifier().fit(x, y)
    monkeypatch.setattr(linear, "_WIDE_SPARSE", 0)
    monkeypatch.setattr(optimum, "_FINE_32", fine)
    narrow = DescentClassifier().fit(x, y)
    assert narrow.reason_ == "converged"
    assert narrow.result_.steps < 5_000
    within(narrow.result_.loss, wide.result_.loss, 1e-5)
    np.testing.assert_allclose(narrow.coef_, wide.coef_, atol=1e-3)
    bare = DescentClassifier(penalty=None).fit(x, y)  # nothing to measure a gap by
    assert bare.reason_ in ("converged", "plateau")
    assert bare.result_.steps < 5_000


def test_units_of_the_columns_change_nothing():
    units = np.logspace(-9, 9, 30)
    a, b = DescentClassifier().fit(X, Y), DescentClassifier().fit(X * units + 1e3 * units, Y)
    np.testing.assert_allclose(a.coef_, b.coef_ * units, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X * units + 1e3 * units), atol=1e-7)


def test_a_descent_that_was_cut_short_warns_and_says_so():
    with pytest.warns(ConvergenceWarning, match="budget: the 3 epochs allowed were made. Raise `budget`"):
        model = DescentClassifier(budget=3).fit(X, Y)
    assert model.reason_ == "budget"
    assert model.n_iter_ == 3


@pytest.mark.parametrize("labels", [("no", "yes"), ("a", "b", "c")])
def test_separable_classes_without_a_penalty_are_no_arrival(labels):
    X = np.random.default_rng(0).normal(size=(60, 2))
    cuts = np.linspace(-0.5, 0.5, len(labels) - 1)
    y = np.array(labels)[np.digitize(X[:, 0], cuts)]
    with pytest.warns(ConvergenceWarning, match="with coefficients twice as large: it may have no minimum"):
        model = DescentClassifier(alpha=0).fit(X, y)
    assert model.reason_ == "plateau"
    assert DescentClassifier(alpha=0).fit(X, np.roll(y, 1)).reason_ == "converged"


@pytest.mark.parametrize("unit", [1e200, 1e-200])
@pytest.mark.parametrize("what", ["Column 0 of X", "y"])
def test_values_that_cannot_be_squared_are_refused(unit, what):
    X = np.arange(1.0, 21.0)[:, None]
    y = 3 * X[:, 0]
    with pytest.raises(DataError, match=f"{what} has the mean"):
        DescentRegressor().fit(X * unit if what != "y" else X, y * unit if what == "y" else y)

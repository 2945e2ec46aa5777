"""The metrics of the command line against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics as theirs
from sklearn.dummy import DummyClassifier, DummyRegressor

from descenso.cli.metrics import guessing, log_probabilities, metrics
from descenso.data.target import Classes, Regression

RNG = np.random.default_rng(0)


def test_two_classes():
    truth, z = RNG.integers(0, 2, 300), np.round(RNG.normal(size=(300, 1)), 1)  # rounded: ties
    ours, p = metrics(Classes("y", ("a", "b")), z, truth), expit(z[:, 0])
    assert ours["accuracy"] == pytest.approx(theirs.accuracy_score(truth, p > 0.5))
    assert ours["log_loss"] == pytest.approx(theirs.log_loss(truth, p))
    assert ours["auc"] == pytest.approx(theirs.roc_auc_score(truth, p))


def test_many_classes():
    truth, z = RNG.integers(0, 4, 300), RNG.normal(size=(300, 4))
    ours, p = metrics(Classes("y", tuple("abcd")), z, truth), softmax(z, axis=1)
    assert ours["accuracy"] == pytest.approx(theirs.accuracy_score(truth, p.argmax(axis=1)))
    assert ours["log_loss"] == pytest.approx(theirs.log_loss(truth, p))
    logs = np.log(p)
    assert ours["auc"] == pytest.approx(np.mean([theirs.roc_auc_score(truth == k, logs[:, k]) for k in range(4)]))


def test_numbers_in_units_of_the_target():
    target = Regression("y", mean=50.0, scale=7.0)
    truth, z = RNG.normal(size=200), RNG.normal(size=(200, 1))
    ours, y, p = metrics(target, z, truth), target.decode(truth), target.decode(z[:, 0])
    assert ours["rmse"] == pytest.approx(theirs.root_mean_squared_error(y, p))
    assert ours["mae"] == pytest.approx(theirs.mean_absolute_error(y, p))
    assert ours["r2"] == pytest.approx(theirs.r2_score(y, p))


def test_squares_of_huge_numbers_do_not_overflow():
    ours = metrics(Regression("y", mean=0.0, scale=1e300), np.array([[2.0], [5.0]]), np.array([1.0, 3.0]))
    assert ours["rmse"] == pytest.approx(np.sqrt(2.5) * 1e300)
    assert ours["r2"] == pytest.approx(-1.5)


def test_what_is_not_defined_is_none():
    assert metrics(Classes("y", ("a", "b")), np.zeros((3, 1)), np.zeros(3, int))["auc"] is None
    assert metrics(Regression("y", 0.0, 1.0), np.zeros((3, 1)), np.ones(3))["r2"] is None


def test_a_class_that_does_not_occur_has_no_part_in_the_mean():
    truth, z = np.array([0, 1, 0, 1]), RNG.normal(size=(4, 3))
    logs = log_probabilities(z)
    expected = np.mean([theirs.roc_auc_score(truth == k, logs[:, k]) for k in range(2)])
    assert metrics(Classes("y", tuple("abc")), z, truth)["auc"] == pytest.approx(expected)


def test_log_probabilities_do_not_overflow():
    assert np.isfinite(log_probabilities(np.array([[1e4], [-1e4]]))).all()
    assert np.isfinite(log_probabilities(np.array([[1e4, -1e4, 0.0]]))).all()


def test_guessing_is_the_best_constant():
    trained, truth = np.array([0, 0, 0, 1]), np.array([0, 1, 1, 0, 0])
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((4, 1)), trained)
    p = dummy.predict_proba(np.zeros((5, 1)))
    ours = guessing(Classes("y", ("a", "b")), trained, truth)
    assert ours["log_loss"] == pytest.approx(theirs.log_loss(truth, p))
    assert ours["accuracy"] == pytest.approx(0.6)
    assert ours["auc"] == pytest.approx(0.5)
    numbers, y = np.array([1.0, 2.0, 6.0]), np.array([0.0, 4.0])
    mean = DummyRegressor().fit(np.zeros((3, 1)), numbers).predict(np.zeros((2, 1)))
    assert guessing(Regression("y", 0.0, 1.0), numbers, y)["mae"] == pytest.approx(theirs.mean_absolute_error(y, mean))

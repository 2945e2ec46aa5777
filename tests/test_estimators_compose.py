"""The estimators inside what scikit-learn builds of estimators, and how they are told and read."""

from __future__ import annotations

import pickle

import numpy as np
import pandas
import pytest
import sklearn
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer, recall_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from descenso import DescentClassifier, DescentRegressor
from descenso.engine import engine
from descenso.result import Reason

X, Y = load_breast_cancer(return_X_y=True)
W, V = load_wine(return_X_y=True)
D, T = load_diabetes(return_X_y=True)


def test_raw_columns_need_no_pipeline():
    """SGDClassifier reaches .45 to .75 here, and SGDRegressor an R2 of -3.8e30."""
    assert DescentClassifier().fit(W, V).score(W, V) == 1.0
    assert cross_val_score(DescentClassifier(), W, V).mean() > 0.96
    assert DescentRegressor().fit(X, Y).score(X, Y) > 0.75


def test_pipeline_and_search():
    search = GridSearchCV(make_pipeline(StandardScaler(), DescentClassifier()), _grid(), cv=3).fit(X, Y)
    assert search.best_score_ > 0.96
    assert search.best_params_["descentclassifier__alpha"] in (1e-3, 1e-1)


def _grid() -> dict:
    return {"descentclassifier__alpha": [1e-3, 1e-1], "descentclassifier__penalty": ["l2", "l1"]}


def test_two_processes_give_what_one_gives():
    one, two = (cross_val_score(DescentClassifier(), X, Y, cv=4, n_jobs=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)
    models = Parallel(n_jobs=2)(delayed(_fit)(a) for a in (1e-3, 1e-1))
    for alpha, model in zip((1e-3, 1e-1), models, strict=True):
        np.testing.assert_allclose(model.coef_, _fit(alpha).coef_, rtol=1e-6, atol=1e-9)


def _fit(alpha: float) -> DescentClassifier:
    return DescentClassifier(alpha=alpha).fit(X, Y)


def test_calibration_one_against_rest_and_selection():
    calibrated = CalibratedClassifierCV(DescentClassifier("squared_hinge"), cv=3).fit(X, Y)
    assert calibrated.score(X, Y) > 0.97
    apart = OneVsRestClassifier(DescentClassifier()).fit(W, V)
    theirs = OneVsRestClassifier(make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10))).fit(W, V)
    np.testing.assert_allclose(apart.predict_proba(W), theirs.predict_proba(W), atol=1e-4)
    kept = SelectFromModel(DescentClassifier(penalty="l1", alpha=0.05)).fit(X, Y).get_support()
    assert 0 < kept.sum() < 10
    logged = TransformedTargetRegressor(DescentRegressor(), func=np.log, inverse_func=np.exp).fit(D, T)
    assert logged.score(D, T) > 0.4


def test_clone_and_pickle():
    model = DescentClassifier(alpha=0.1, class_weight={0: 2.0, 1: 1.0}).fit(X, Y)
    assert clone(model).get_params() == model.get_params()
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.reason_ is Reason.CONVERGED
    assert again.result_.steps == model.result_.steps


def test_another_strength_and_another_fold_compile_nothing():
    DescentClassifier(alpha=0.3).fit(X[:300], Y[:300])
    found = len(engine._remembered._found)
    program = next(reversed(engine._remembered._found.values()))[1].chunk
    sizes = program._cache_size()
    for rows, alpha in ((290, 0.1), (310, 3.0)):
        DescentClassifier(alpha=alpha).fit(X[:rows], Y[:rows])
    assert program._cache_size() == sizes
    assert len(engine._remembered._found) == found


def test_weights_of_rows_are_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        model = DescentClassifier().set_fit_request(sample_weight=True)
        weights = np.where(Y == 0, 5.0, 1.0)
        scorer = make_scorer(recall_score).set_score_request(sample_weight=False)
        routed = GridSearchCV(model, {"alpha": [0.1]}, cv=3, scoring=scorer).fit(X, Y, sample_weight=weights)
    direct = DescentClassifier(alpha=0.1).fit(X, Y, weights)
    np.testing.assert_allclose(routed.best_estimator_.coef_, direct.coef_, rtol=1e-5, atol=1e-8)


def test_columns_keep_their_names():
    frame = pandas.DataFrame(D, columns=[f"c{i}" for i in range(10)])
    model = DescentRegressor().fit(frame, T)
    assert list(model.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[frame.columns[::-1]])


def test_words_in_a_table_are_refused():
    with pytest.raises(ValueError, match="could not convert"):
        DescentClassifier().fit(np.array([["a", 1], ["b", 2]], dtype=object), [0, 1])


def test_balanced_classes_weigh_the_same():
    rare = np.r_[np.flatnonzero(Y == 0)[:20], np.flatnonzero(Y == 1)]
    plain, even = (DescentClassifier(class_weight=w).fit(X[rare], Y[rare]) for w in (None, "balanced"))
    assert even.predict(X[Y == 0]).sum() < plain.predict(X[Y == 0]).sum()
    weights = np.where(Y[rare] == 0, len(rare) / 40, len(rare) / 2 / (len(rare) - 20))
    same = DescentClassifier(alpha=1 / len(rare)).fit(X[rare], Y[rare], weights)
    np.testing.assert_allclose(even.coef_, same.coef_, rtol=1e-5, atol=1e-8)


def test_a_warm_start_begins_where_the_last_fit_ended():
    with pytest.warns(ConvergenceWarning):
        model = DescentClassifier(budget=2, warm_start=True).fit(X, Y)
    first = model.result_.loss
    assert model.set_params(budget=None).fit(X, Y).n_iter_ > 2
    assert model.result_.loss < first
    assert model.fit(X, Y).n_iter_ <= 1  # it is at the optimum already
    assert model.reason_ == "converged"
    with pytest.raises(
        ValueError,
        match=r"last fit has arrays of shapes \(1, 30\) \(1,\), and this one, which goes on from it, needs \(1, 9\)",
    ):
        model.fit(X[:, :9], Y)
    with pytest.raises(ValueError, match=r"needs \(3, 30\) \(3,\): columns, classes or `hidden`"):
        model.fit(X, np.arange(len(Y)) % 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": "logloss"}, "`loss` is 'logloss'"),
        ({"penalty": "l3"}, "`penalty` is 'l3'"),
        ({"alpha": -1.0}, "`alpha` is -1.0"),
        ({"budget": 0}, "`budget` is 0"),
        ({"model": "tree"}, "`model` is 'tree'"),
        ({"model": "mlp", "hidden": (0,)}, "`hidden` is"),
        ({"validation_fraction": 1.5}, "`validation_fraction` is 1.5"),
        ({"class_weight": {0: -1.0}}, "`class_weight` is"),
        ({"class_weight": {"zero": 2.0}}, "`class_weight` names"),
        ({"penalty": "l1", "batch_size": 16}, "L1 penalty"),
        ({"method": "stream"}, "whole number of epochs"),
        ({"loss": lambda y, z: ((y - z) ** 2).mean()}, r"returned shape \(\).*for each row, shaped as `y`"),
        ({"standardize": "always"}, "`standardize` is 'always'.*True or False or \"auto\""),
        ({"fit_intercept": "no"}, "`fit_intercept` is 'no'.*True or False"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named(changes, said):
    with pytest.raises(ValueError, match=said):
        DescentClassifier(**changes).fit(X, Y)


def test_losses_without_probabilities_have_no_method_for_them():
    assert not hasattr(DescentClassifier("hinge"), "predict_proba")
    smooth = DescentClassifier("modified_huber").fit(W, V).predict_proba(W)
    np.testing.assert_allclose(smooth.sum(axis=1), 1)
    both = DescentClassifier().fit(W, V)
    np.testing.assert_allclose(np.exp(both.predict_log_proba(W)), both.predict_proba(W))


@pytest.mark.skipif(not hasattr(DescentClassifier, "set_callbacks"), reason="scikit-learn before 1.9 has no callbacks")
def test_callbacks_see_the_fit_and_can_end_it():
    class Watcher:
        def __init__(self, stop):
            self.stop, self.scores, self.over = stop, [], False

        def setup(self, estimator, context): ...

        def teardown(self, estimator, context):
            self.over = True

        def on_fit_task_begin(self, estimator, context): ...

        def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
            if context.parent is not None:
                self.scores.append(fitted_estimator.score(X, y))
            return self.stop

    # classes that overlap, so that there is an optimum without a penalty
    labels = np.where(np.arange(len(Y)) % 7 == 0, Y[0], Y)
    watcher = Watcher(False)
    model = DescentClassifier(penalty=None).set_callbacks(watcher).fit(X, labels)
    assert watcher.scores
    assert watcher.over
    assert model.reason_ == "converged"
    with pytest.warns(ConvergenceWarning, match="a callback asked for the end"):
        ended = DescentClassifier(penalty=None).set_callbacks(Watcher(True)).fit(X, Y)
    assert ended.reason_ == "interrupted"

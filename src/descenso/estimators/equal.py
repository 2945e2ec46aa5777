"""The scikit-learn estimator that predicts the same, for tools that know only those."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, SGDClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import LabelBinarizer
from sklearn.svm import LinearSVC

from descenso._errors import ModelError
from descenso.estimators.families import NUMBERS

_ACTIVATIONS = ("relu", "tanh", "logistic", "identity")


def as_sklearn(e: Any) -> Any:
    """A fitted scikit-learn estimator that predicts what `e` predicts.

    Linear models become LogisticRegression, LinearSVC, SGDClassifier, LinearRegression or PoissonRegressor; an mlp an
    MLPClassifier or MLPRegressor.

    Raises:
        ModelError: there is none: a loss, an activation or a model that scikit-learn does not have.
    """
    if not hasattr(e, "n_features_in_"):
        raise ModelError(f"This {type(e).__name__} is not fitted.", hint="call `fit` first")
    classes = hasattr(e, "classes_")
    if e.model == "linear":
        model = _linear_classifier(e) if classes else _linear_regressor(e)
        model.coef_, model.intercept_ = e.coef_, e.intercept_ if classes else float(np.ravel(e.intercept_)[0])
    elif e.model == "mlp" and e.activation in _ACTIVATIONS:
        model = _network(e, _network_classifier(e) if classes else _network_regressor(e))
    else:
        raise _none(e)
    for name in ("classes_", "n_features_in_", "feature_names_in_", "n_iter_"):
        if hasattr(e, name):
            setattr(model, name, getattr(e, name))
    return model


def _none(e: Any) -> ModelError:
    return ModelError(
        f"No estimator of scikit-learn predicts as this one does: loss={e.loss!r}, model={e.model!r}, "
        f"activation={e.activation!r}."
    )


def _linear_classifier(e: Any) -> Any:
    if e.loss == "log_loss":
        return LogisticRegression()
    return SGDClassifier(loss="modified_huber") if e.loss == "modified_huber" else LinearSVC()


def _linear_regressor(e: Any) -> Any:
    if not (e.loss in NUMBERS and NUMBERS[e.loss].log):
        return LinearRegression()
    model = PoissonRegressor()
    model._base_loss = model._get_loss()
    return model


def _network_classifier(e: Any) -> Any:
    if e.loss != "log_loss":
        raise _none(e)
    model = MLPClassifier(e.hidden, activation=e.activation)
    model._label_binarizer = LabelBinarizer().fit(e.classes_)
    model.out_activation_ = "logistic" if len(e.classes_) == 2 else "softmax"
    return model


def _network_regressor(e: Any) -> Any:
    if e.loss in NUMBERS and NUMBERS[e.loss].log:
        raise _none(e)
    model = MLPRegressor(e.hidden, activation=e.activation)
    model.out_activation_ = "identity"
    return model


def _network(e: Any, model: Any) -> Any:
    model.coefs_, model.intercepts_ = e.coefs_, e.intercepts_
    model.n_layers_, model.n_outputs_ = len(e.coefs_) + 1, e.coefs_[-1].shape[1]
    model._random_state, model.t_, model.loss_ = None, 0, float(e.loss_curve_[-1])
    return model

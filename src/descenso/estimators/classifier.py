"""Classification."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data  # pyrefly: ignore

from descenso.estimators.families import CLASSES
from descenso.estimators.fit import counted, decision, learn, options, row_weights
from descenso.estimators.labels import (
    all_classes,
    class_weights,
    clipped,
    found_in,
    labels_among,
    log_probabilities,
    probabilities,
)
from descenso.estimators.lots import learn_lot, learn_stream
from descenso.estimators.settings import settings
from descenso.estimators.target import classes as numbered
from descenso.estimators.told import Heard, begin, heard

_PROBABLE = ("log_loss", "modified_huber")


def _gives_probabilities(e: Any) -> bool:
    if e.loss not in _PROBABLE:
        raise AttributeError(f"The loss {e.loss!r} gives no probabilities; {' and '.join(_PROBABLE)} do.")
    return True


class DescentClassifier(Heard, ClassifierMixin, BaseEstimator):
    """A linear classifier or a network, found by gradient descent that needs no learning rate and no scaling.

    It minimises the mean loss plus `alpha` times the penalty,

        sum_i w_i l(y_i, f(x_i)) / sum_i w_i + alpha (l1_ratio |c|_1 + (1 - l1_ratio) |c|_2^2 / 2),

    over the coefficients c, and says in `reason_` how that ended. A convex linear model goes to its optimum.

    Args:
        loss: "log_loss", "hinge", "squared_hinge", "modified_huber", "perceptron" (which arrives only where every row
            is on its side), or a function of (y, prediction), arrays of the classes as 0, 1, ... (n,) and of scores,
            (n,) for two classes, else (n, classes), that returns the loss of each row, (n,), written in jax.numpy.
        model: "linear", "mlp", or a pair of functions: `init(key, features, outputs)` makes params,
            `apply(params, x)` gives (rows, outputs).
        hidden: sizes of the hidden layers of an mlp.
        activation: of an mlp: "relu", "tanh", "logistic", "silu", "identity".
        penalty: "l2", "l1", "elasticnet" or None.
        alpha: strength of the penalty, >= 0. "auto" is one over the sum of the weights, LogisticRegression's C = 1.
        l1_ratio: share of the absolute values in "elasticnet", in [0, 1].
        fit_intercept: whether a linear model has an intercept.
        standardize: whether the penalty is on the coefficients of columns over their deviation, so that units of
            columns change nothing, or on those of the columns as they are, as scikit-learn has it. "auto": True for a
            dense X, False for a sparse one. Either way the descent needs no scaling, and `coef_` is in units of X.
        method, batch_size: as in `descenso.minimize`; the method "stream" makes `budget` epochs of `partial_fit`.
        budget: a number of epochs, a `descenso.Budget`, or None to go on until it has arrived.
        validation_fraction: share of the rows to hold out; the params that are best there are kept. None: no rows.
            "auto": none for a linear model, a tenth for a network with at least 100 rows.
        class_weight: "balanced", a dict of class and weight, or None.
        warm_start: whether `fit` starts from the last fit.
        random_state: of the order of the rows and of the first params of a network.
        verbose: above 0, prints how it goes.

    Attributes:
        coef_, intercept_: of a linear model, in units of X: (1 or classes, features) and (1 or classes,).
        coefs_, intercepts_: of an mlp, layer by layer, in units of X.
        classes_: the classes.
        reason_: why the descent ended, a `descenso.Reason`: "converged", "noise_floor", "target" and "validation" have
            arrived, and a network with "plateau"; with any other `fit` gives a ConvergenceWarning.
        result_: the whole `descenso.Result`.
        n_iter_, loss_curve_: epochs made, and the penalised loss along the way.
        n_features_in_, feature_names_in_: of X.
    """

    def __init__(
        self,
        loss="log_loss",
        *,
        model="linear",
        hidden=(100,),
        activation="relu",
        penalty="l2",
        alpha="auto",
        l1_ratio=0.15,
        fit_intercept=True,
        standardize="auto",
        method="auto",
        batch_size="auto",
        budget=None,
        validation_fraction="auto",
        class_weight=None,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.loss = loss
        self.model = model
        self.hidden = hidden
        self.activation = activation
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.method = method
        self.batch_size = batch_size
        self.budget = budget
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @heard
    def fit(self, X, y, sample_weight=None):
        """Fit the model; X (rows, features) dense or sparse, y (rows,) of any labels, weights (rows,) or None.

        Raises:
            ArgumentError: an argument of the estimator is not what it must be.
            DataError, ValueError: the data cannot be learned from.
        """
        s = settings(self, CLASSES)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=(np.float64, np.float32))
        y = np.asarray(column_or_1d(y, warn=True))
        check_classification_targets(y)  # pyrefly: ignore
        told = begin(self, X, y, sample_weight)
        X, y, weights = counted(X, y, row_weights(sample_weight, len(y)))
        self.classes_, labels = found_in(y)
        weights = weights * class_weights(self.class_weight, self.classes_, labels, weights)
        outputs = 1 if len(self.classes_) == 2 else len(self.classes_)
        target, o = numbered(labels, outputs), options(self, s, told)
        if s.method == "stream" or (s.method == "auto" and s.model == "linear" and s.family.name == "perceptron"):
            learn_stream(self, X, target, None, weights, outputs, s, o.seed)
        else:
            learn(self, X, target, weights, outputs, s, o)
        if told is not None:
            told.end()
        return self

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """One pass over some rows, going on from those before; `classes`, all there will be, at the first call.

        Raises:
            ArgumentError: `classes` is missing at the first call, or another at a later one; class_weight "balanced".
            DataError, ValueError: the data cannot be learned from.
        """
        s = settings(self, CLASSES)
        first = not hasattr(self, "classes_")
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=(np.float64, np.float32), reset=first or classes is not None
        )
        y = np.asarray(column_or_1d(y, warn=True))
        self.classes_ = all_classes(getattr(self, "classes_", None), classes)
        X, y, weights = counted(X, y, row_weights(sample_weight, len(y)))
        labels = labels_among(self.classes_, y)
        weights = weights * class_weights(self.class_weight, self.classes_, labels, None)
        outputs = 1 if len(self.classes_) == 2 else len(self.classes_)
        learn_lot(self, X, numbered(labels, outputs), None, weights, outputs, s, options(self, s).seed)
        return self

    def decision_function(self, X):
        """The scores of the rows: (rows,) for two classes, positive for the second, else (rows, classes)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        z = decision(self, X)
        return z[:, 0] if z.shape[1] == 1 else z

    def predict(self, X):
        """The likeliest class of each row, (rows,)."""
        z = self.decision_function(X)
        return self.classes_[(z > 0).astype(int) if z.ndim == 1 else z.argmax(axis=1)]

    @available_if(_gives_probabilities)
    def predict_proba(self, X):
        """The probability of each class, (rows, classes). With "modified_huber" an estimate."""
        z = self.decision_function(X)
        return probabilities(z) if self.loss == "log_loss" else clipped(z)

    @available_if(_gives_probabilities)
    def predict_log_proba(self, X):
        """The logarithm of `predict_proba`."""
        if self.loss == "log_loss":
            return log_probabilities(self.decision_function(X))
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self):
        tags = ClassifierMixin.__sklearn_tags__(self)  # pyrefly: ignore
        tags.input_tags.sparse = True
        return tags

"""Regression."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data  # pyrefly: ignore

from descenso.estimators.columns import measure
from descenso.estimators.families import NUMBERS
from descenso.estimators.fit import counted, decision, learn, options, row_weights
from descenso.estimators.lots import learn_lot, learn_stream
from descenso.estimators.settings import settings
from descenso.estimators.target import numbers
from descenso.estimators.told import Heard, begin, heard


class DescentRegressor(Heard, RegressorMixin, BaseEstimator):
    """A linear regression or a network, found by gradient descent that needs no learning rate and no scaling.

    It minimises the mean loss plus `alpha` times the penalty,

        sum_i w_i l(y_i, f(x_i)) / sum_i w_i + alpha (l1_ratio |c|_1 + (1 - l1_ratio) |c|_2^2 / 2),

    over the coefficients c, and says in `reason_` how that ended. A convex linear model goes to its optimum.

    Args:
        loss: "squared_error" (half the square), "huber", "epsilon_insensitive", "quantile"; or with the prediction
            exp(f(x)) half the deviance of "poisson", "gamma" or "tweedie"; or a function of (y, prediction), arrays
            (n,), that returns the loss of each row, (n,), written in jax.numpy.
        epsilon: where "huber" turns straight and what "epsilon_insensitive" lets pass, in units of y. None: 1.35 and
            .1 times the median absolute deviation of y, times 1.4826; in a stream times the deviation.
        quantile: of "quantile", in (0, 1).
        power: of "tweedie", in (1, 2).
        model, hidden, activation, penalty, alpha, l1_ratio, fit_intercept, standardize, method, batch_size, budget,
            validation_fraction, warm_start, random_state, verbose: as in `DescentClassifier`. alpha "auto" is one over
            the sum of the weights for y in units of its deviation: Ridge's alpha = 1.

    Attributes:
        coef_, intercept_: of a linear model, in units of X and y: (features,) and (1,).
        coefs_, intercepts_: of an mlp, layer by layer, in units of X and y.
        reason_, result_, n_iter_, loss_curve_, n_features_in_, feature_names_in_: as in `DescentClassifier`.
    """

    def __init__(
        self,
        loss="squared_error",
        *,
        epsilon=None,
        quantile=0.5,
        power=1.5,
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
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.loss = loss
        self.epsilon = epsilon
        self.quantile = quantile
        self.power = power
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
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @heard
    def fit(self, X, y, sample_weight=None):
        """Fit the model; X (rows, features) dense or sparse, y (rows,) of numbers, weights (rows,) or None.

        Raises:
            ArgumentError: an argument of the estimator is not what it must be.
            DataError, ValueError: the data cannot be learned from.
        """
        s = settings(self, NUMBERS)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=(np.float64, np.float32), y_numeric=True)
        y = np.asarray(column_or_1d(y, warn=True))
        told = begin(self, X, y, sample_weight)
        X, y, weights = counted(X, y, row_weights(sample_weight, len(y)))
        moments = measure(y[:, None], weights, "y")
        offset = s.intercept or s.model != "linear"
        target = numbers(y, moments, s.family, self, offset=offset, stream=s.method == "stream")
        o = options(self, s, told)
        if s.method == "stream":
            learn_stream(self, X, target, moments, weights, 1, s, o.seed)
        else:
            learn(self, X, target, weights, 1, s, o)
        if told is not None:
            told.end()
        return self

    def partial_fit(self, X, y, sample_weight=None):
        """One pass over some rows, going on from those before.

        Raises:
            ArgumentError: an argument of the estimator is not what it must be.
            DataError, ValueError: the data cannot be learned from.
        """
        s = settings(self, NUMBERS)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=(np.float64, np.float32),
            y_numeric=True,
            reset=not hasattr(self, "n_features_in_"),
        )
        y = np.asarray(column_or_1d(y, warn=True))
        X, y, weights = counted(X, y, row_weights(sample_weight, len(y)))
        moments = measure(y[:, None], weights, "y")
        if (before := self.__dict__.get("_stream")) is not None:
            moments = before.targets.merged(moments)
        offset = s.intercept or s.model != "linear"
        target = numbers(y, moments, s.family, self, offset=offset, stream=True)
        learn_lot(self, X, target, moments, weights, 1, s, options(self, s).seed)
        return self

    def predict(self, X):
        """The prediction for each row, (rows,), in units of y."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        z = decision(self, X)[:, 0]
        return np.exp(z) if self.loss in NUMBERS and NUMBERS[self.loss].log else z

    def __sklearn_tags__(self):
        tags = RegressorMixin.__sklearn_tags__(self)  # pyrefly: ignore
        tags.input_tags.sparse = True
        tags.target_tags.positive_only = self.loss in ("poisson", "gamma", "tweedie")
        return tags

"""Random small tables: a fitted model that predicts numbers, or one clear error; no warning from the inside."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from descenso import DescensoError, DescentClassifier, DescentRegressor

_FEW = settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@st.composite
def tables(draw):
    """X, y and weights of 1 to 200 rows: constant columns, duplicate rows, wild units, any dtype, dense or sparse."""
    rows, features = draw(st.sampled_from([1, 2, 3, 7, 20, 60, 200])), draw(st.sampled_from([1, 2, 4]))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    units = 10.0 ** rng.integers(-6, 7, size=features)
    X = rng.normal(size=(rows, features)) * units + draw(st.sampled_from([0.0, 1e3])) * units
    if draw(st.booleans()):
        X[:, 0] = draw(st.sampled_from([0.0, 3.0, 1e9]))
    if draw(st.booleans()):
        X[rows // 2 :] = X[: rows - rows // 2]
    form = draw(st.sampled_from(["float64", "float32", "int64", "object", "sparse"]))
    if form == "sparse":  # noqa: SIM108
        X = sparse.csr_matrix(np.where(rng.random(X.shape) < 0.5, X, 0))
    else:
        X = X.astype(form)
    kind = draw(st.sampled_from(["numbers", "same", "huge", "counts", "two", "three", "words", "one"]))
    y = {
        "numbers": rng.normal(size=rows),
        "same": np.full(rows, 5.0),
        "huge": 1e12 * rng.normal(size=rows) + 1e13,
        "counts": rng.poisson(2.0, size=rows),
        "two": rng.integers(0, 2, size=rows),
        "three": rng.integers(0, 3, size=rows),
        "words": np.array(["no", "yes", "other"])[rng.integers(0, 3, size=rows)],
        "one": np.zeros(rows, int),
    }[kind]
    weights = draw(st.sampled_from([None, "zeros", "wide"]))
    if weights == "zeros":
        weights = rng.integers(0, 2, size=rows).astype(float)
    elif weights == "wide":
        weights = 10.0 ** rng.integers(-3, 4, size=rows)
    return X, y, weights, kind


def fitted_or_clear(model, X, y, weights):
    """Fit under errors for warnings; None where it was refused with a message that says what was given."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            model.fit(X, y, weights)
        except (DescensoError, ValueError) as error:
            said = str(error)
        else:
            said = ""
    if said:
        assert len(said) > 20, said
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.predict(X)
    assert len(found) == X.shape[0]
    return found


@_FEW
@given(tables(), st.sampled_from([("log_loss", "l2"), ("log_loss", "l1"), ("hinge", "l2"), ("hinge", None)]))
def test_classes(table, asked):
    X, y, weights, kind = table
    loss, penalty = asked
    if kind in ("numbers", "huge"):
        y = np.digitize(y, [np.median(y)])
    model = DescentClassifier(loss, penalty=penalty, budget=300)
    found = fitted_or_clear(model, X, y, weights)
    if found is None:
        counted = np.asarray(y)[np.ones(len(y), bool) if weights is None else weights > 0]
        assert len(np.unique(counted)) < 2, "refused without a reason"
        return
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.decision_function(X)).all()
    assert set(found) <= set(model.classes_)


@_FEW
@given(
    tables(), st.sampled_from([("squared_error", "l2"), ("squared_error", None), ("poisson", "l2"), ("quantile", "l1")])
)
def test_numbers(table, asked):
    X, y, weights, kind = table
    loss, penalty = asked
    if kind == "words":
        y = np.arange(len(y), dtype=float)
    model = DescentRegressor(loss, penalty=penalty, budget=300)
    found = fitted_or_clear(model, X, y, weights)
    if found is None:
        counted = np.asarray(y, float)[np.ones(len(y), bool) if weights is None else weights > 0]
        refused = not len(counted) or (loss == "poisson" and ((counted < 0).any() or not (counted > 0).any()))
        assert refused, "refused without a reason"
        return
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(found).all()

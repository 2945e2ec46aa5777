"""Estimators on disk, as other estimators, and as ONNX."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from descenso import Budget, DescentClassifier, DescentRegressor
from descenso._errors import ArgumentError, ModelError
from descenso.estimators import as_sklearn, load_model, save_model
from descenso.estimators.onnx import register, to_onnx

X, Y = load_breast_cancer(return_X_y=True)
W, V = load_wine(return_X_y=True)
D, T = load_diabetes(return_X_y=True)
NAMES = np.array(["barbera", "grignolino", "barolo"])

MODELS = [
    (DescentClassifier(), X, Y),
    (DescentClassifier("hinge", class_weight={"barolo": 2.0}, budget=Budget(seconds=60)), W, NAMES[V]),
    (DescentClassifier("modified_huber"), W, V),
    (DescentClassifier(model="mlp", hidden=(5,), random_state=0), X, Y),
    (DescentClassifier(model="mlp", hidden=(5, 3), activation="tanh", random_state=0), W, V),
    (DescentRegressor("quantile", quantile=0.3, penalty="l1"), D, T),
    (DescentRegressor("poisson"), D, T),
    (DescentRegressor(model="mlp", hidden=[4], random_state=0), D, T),
]
IDS = [f"{type(m).__name__}-{m.loss}-{m.model}" for m, _, _ in MODELS]


@cache
def fitted(at: int):
    """The fitted model of that number; no test changes it."""
    model, x, y = MODELS[at]
    return clone(model).fit(x, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("at", range(len(MODELS)), ids=IDS)
def test_what_is_saved_is_what_is_loaded(at, tmp_path):
    model, x = fitted(at), MODELS[at][1]
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    if hasattr(model, "classes_"):
        np.testing.assert_array_equal(loaded.classes_, model.classes_)
    assert loaded.reason_ == model.reason_
    assert str(loaded.result_) == str(model.result_)
    np.testing.assert_array_equal(loaded.loss_curve_, model.loss_curve_)
    for name, value in model.get_params().items():
        got = loaded.get_params()[name]
        assert got == (tuple(value) if isinstance(value, list) else value), name


def test_a_model_is_replaced_and_anything_else_is_not(tmp_path):
    place = tmp_path / "model"
    first, second = DescentRegressor(alpha=1.0).fit(D, T), DescentRegressor(alpha=1e-3).fit(D, T)
    save_model(first, place)
    save_model(second, place)
    np.testing.assert_array_equal(load_model(place).coef_, second.coef_)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(ArgumentError, match="something else is there"):
        save_model(first, tmp_path / "notes")


def test_damage_is_noticed(tmp_path):
    with pytest.raises(ModelError, match="no saved estimator"):
        load_model(tmp_path / "none")
    place = tmp_path / "model"
    save_model(DescentRegressor().fit(D, T), place)
    for name in ("estimator.json", "estimator.safetensors"):
        whole = (place / name).read_bytes()
        (place / name).write_bytes(whole[:-9] + b"x" + whole[-8:])
        with pytest.raises(ModelError, match="damaged"):
            load_model(place)
        (place / name).write_bytes(whole)
    assert load_model(place).reason_ == "converged"


def _absolute(y, prediction):
    return abs(y - prediction)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_a_file_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ModelError, match="not fitted"):
        save_model(DescentRegressor(), tmp_path / "a")
    with pytest.raises(ModelError, match="`loss` is"):
        save_model(DescentRegressor(_absolute, budget=5).fit(D, T), tmp_path / "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("at", range(len(MODELS)), ids=IDS)
def test_scikit_learn_has_an_estimator_that_predicts_the_same(at):
    model, x = fitted(at), MODELS[at][1]
    same = as_sklearn(model)
    predicted, theirs = model.predict(x), same.predict(x)
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(same.predict_proba(x), model.predict_proba(x), atol=1e-12)
    if hasattr(model, "classes_"):
        np.testing.assert_array_equal(theirs, predicted)
    else:
        np.testing.assert_allclose(theirs, predicted, rtol=1e-10)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("at", range(len(MODELS)), ids=IDS)
def test_onnx_predicts_the_same(at):
    same_as_onnx(fitted(at), MODELS[at][1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("at", [0, 6], ids=["classes", "numbers"])
def test_onnx_predicts_the_same_in_a_pipeline(at):
    model, x, y = MODELS[at]
    same_as_onnx(make_pipeline(StandardScaler(), clone(model)).fit(x, y), x)


def same_as_onnx(whole, x):
    register()
    plain = {"zipmap": False} if hasattr(whole, "predict_proba") else {}
    made = to_onnx(whole, x[:1].astype(np.float32), options={id(whole): plain} if plain else None)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x.astype(np.float32)})
    if hasattr(whole, "classes_"):
        assert np.mean(found[0].ravel() == whole.predict(x)) > 0.99
    else:
        np.testing.assert_allclose(found[0].ravel(), whole.predict(x), rtol=1e-3)
    if plain:
        np.testing.assert_allclose(found[1], whole.predict_proba(x), atol=1e-4)


def test_what_scikit_learn_does_not_have_is_said():
    with pytest.raises(ModelError, match="No estimator of scikit-learn"):
        as_sklearn(DescentRegressor("poisson", model="mlp", hidden=(2,), random_state=0).fit(D, T))

"""Estimators in the manner of scikit-learn: no learning rate, no scaling needed, the truth in `reason_`."""

try:
    import sklearn  # noqa: F401
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "The estimators need scikit-learn, which is not installed.\n\nhint: pip install 'descenso[sklearn]'"
    ) from missing

from descenso.estimators.classifier import DescentClassifier
from descenso.estimators.equal import as_sklearn
from descenso.estimators.regressor import DescentRegressor
from descenso.estimators.storage import load_model, save_model

__all__ = ["DescentClassifier", "DescentRegressor", "as_sklearn", "load_model", "save_model"]

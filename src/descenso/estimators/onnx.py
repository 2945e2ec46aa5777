"""ONNX: skl2onnx learns to convert the estimators, by way of those of scikit-learn that predict the same.

After `register()` its `to_onnx` takes them alone or inside a Pipeline.
"""

from __future__ import annotations

from typing import Any

from skl2onnx import to_onnx, update_registered_converter  # pyrefly: ignore
from skl2onnx.algebra.onnx_operator import OnnxSubEstimator  # pyrefly: ignore
from skl2onnx.algebra.onnx_ops import OnnxIdentity  # pyrefly: ignore
from skl2onnx.common.shape_calculator import (  # pyrefly: ignore
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)

from descenso.estimators.classifier import DescentClassifier
from descenso.estimators.equal import as_sklearn
from descenso.estimators.regressor import DescentRegressor


def register() -> None:
    """Tell skl2onnx how to convert both estimators; may be called again."""
    update_registered_converter(
        DescentClassifier,
        "DescensoDescentClassifier",
        calculate_linear_classifier_output_shapes,
        _convert,
        options={"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]},
    )
    update_registered_converter(
        DescentRegressor, "DescensoDescentRegressor", calculate_linear_regressor_output_shapes, _convert
    )


def _convert(scope: Any, operator: Any, container: Any) -> None:
    version, outputs = container.target_opset, operator.outputs
    model = as_sklearn(operator.raw_operator)
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    equal = OnnxSubEstimator(model, operator.inputs[0], op_version=version, options=options)
    for k, out in enumerate(outputs):
        part = equal[k] if len(outputs) > 1 else equal
        OnnxIdentity(part, op_version=version, output_names=[out.full_name]).add_to(scope, container)


__all__ = ["register", "to_onnx"]

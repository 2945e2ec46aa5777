"""descenso: gradient descent that needs no tuning and says how it ended.

Names are imported on first use, so that `import descenso` costs nothing and `import descenso.torch` loads no JAX.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from descenso import averaging, losses, methods, rules, step_sizes
    from descenso._errors import DescensoError
    from descenso.certificate import Certificate, certify
    from descenso.checkpoint.keeper import Checkpoint
    from descenso.data.streamed import Streamed
    from descenso.driver.loop import minimize
    from descenso.engine.tree import leaf_mask
    from descenso.estimators import DescentClassifier, DescentRegressor
    from descenso.implicit import argmin
    from descenso.interop.scipy import scipy_method
    from descenso.methods import Descent
    from descenso.result import Reason, Result
    from descenso.watch.limits import Budget, Stop

__version__ = "0.1.0"

_HOME = {
    "minimize": "descenso.driver.loop",
    "Result": "descenso.result",
    "Reason": "descenso.result",
    "Budget": "descenso.watch.limits",
    "Stop": "descenso.watch.limits",
    "Descent": "descenso.methods",
    "DescensoError": "descenso._errors",
    "Certificate": "descenso.certificate",
    "Checkpoint": "descenso.checkpoint.keeper",
    "certify": "descenso.certificate",
    "Streamed": "descenso.data.streamed",
    "leaf_mask": "descenso.engine.tree",
    "argmin": "descenso.implicit",
    "scipy_method": "descenso.interop.scipy",
    "DescentClassifier": "descenso.estimators",
    "DescentRegressor": "descenso.estimators",
}
_ROOMS = ("averaging", "losses", "methods", "rules", "step_sizes")

__all__ = [
    "Budget",
    "Certificate",
    "Checkpoint",
    "DescensoError",
    "Descent",
    "DescentClassifier",
    "DescentRegressor",
    "Reason",
    "Result",
    "Stop",
    "Streamed",
    "__version__",
    "argmin",
    "averaging",
    "certify",
    "leaf_mask",
    "losses",
    "methods",
    "minimize",
    "rules",
    "scipy_method",
    "step_sizes",
]


def __getattr__(name: str):
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in _ROOMS:
        value = import_module(f"descenso.{name}")
    else:
        raise AttributeError(f"module 'descenso' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

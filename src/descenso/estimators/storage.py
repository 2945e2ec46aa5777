"""Fitted estimators on disk: a folder with numbers in safetensors and the rest in JSON; nothing in it is ever run."""

from __future__ import annotations

from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from descenso._errors import ArgumentError, ModelError
from descenso.disk.canonical import Broken, sealed, unsealed
from descenso.disk.files import hidden, publish, remove, write_file
from descenso.estimators.classifier import DescentClassifier
from descenso.estimators.families import CLASSES, NUMBERS
from descenso.estimators.fit import keep
from descenso.estimators.network import Fitted
from descenso.estimators.objective import Network
from descenso.estimators.regressor import DescentRegressor
from descenso.estimators.settings import settings
from descenso.result import Finding, History, Reason, Result
from descenso.watch.limits import Budget

FORMAT = 1
_WEIGHTS, _MODEL = "estimator.safetensors", "estimator.json"
_KINDS = {"DescentClassifier": (DescentClassifier, CLASSES), "DescentRegressor": (DescentRegressor, NUMBERS)}
_RESULT = ("loss", "message", "steps", "gradients", "epochs", "seconds", "validation_loss")


def save_model(e: Any, folder: str | Path) -> None:
    """Save a fitted estimator, replacing one that is there; the folder appears as a whole.

    Not kept are `result_.params` and `result_.certificate`, a `RandomState`, and where a stream stands: a loaded model
    predicts, and a further `fit` or `partial_fit` can start from it.

    Raises:
        ModelError: it is not fitted, or holds a function or a method, which only a pickle can keep.
        ArgumentError: something else is in the place.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not (folder.is_dir() and {p.name for p in folder.iterdir()} <= {_WEIGHTS, _MODEL}):
        raise ArgumentError(f"{folder}: something else is there already.", hint="choose another folder")
    arrays = _arrays(e)
    weights = save({name: np.ascontiguousarray(a) for name, a in arrays.items()})
    description = _description(e) | {"sha256": sha256(weights).hexdigest()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    prepared = hidden(folder.parent)
    prepared.mkdir()
    write_file(prepared / _WEIGHTS, [weights])
    write_file(prepared / _MODEL, [sealed(description)])
    if folder.exists():
        remove(folder)
    publish(prepared, folder)


def load_model(folder: str | Path) -> Any:
    """The estimator saved in a folder.

    Raises:
        ModelError: there is none, it is damaged, or of another format.
    """
    folder = Path(folder)
    try:
        text, weights = ((folder / name).read_bytes() for name in (_MODEL, _WEIGHTS))
    except OSError as error:
        raise ModelError(f"{folder}: there is no saved estimator here ({error}).") from error
    try:
        found = unsealed(text)
    except Broken as error:
        raise ModelError(f"{folder / _MODEL}: this is damaged ({error}).") from error
    if found.get("format") != FORMAT or found.get("class") not in _KINDS:
        raise ModelError(
            f"{folder}: format {found.get('format')!r} of {found.get('class')!r} is not known.",
            hint="update descenso: pip install -U descenso",
        )
    if sha256(weights).hexdigest() != found["sha256"]:
        raise ModelError(f"{folder / _WEIGHTS}: this is damaged: it is not what was written.")
    kind, known = _KINDS[found["class"]]
    return _rebuilt(kind(**{k: _from_json(v) for k, v in found["params"].items()}), found, load(weights), known)


def _arrays(e: Any) -> dict[str, np.ndarray]:
    if hasattr(e, "_net"):
        if e._net.units is not None:
            raise ModelError("`model` is a pair of functions, which a file cannot hold.", hint="use pickle")
        layers = e._net.params
        arrays = {f"{k}.{name}": layer[name] for k, layer in enumerate(layers) for name in ("weight", "bias")}
    elif hasattr(e, "_coef"):
        arrays = {"coef": e._coef, "intercept": e._intercept}
    else:
        raise ModelError(f"This {type(e).__name__} is not fitted.", hint="call `fit` first")
    classes = getattr(e, "classes_", np.array([""]))
    if classes.dtype.kind in "biuf":
        arrays["classes"] = classes
    if hasattr(e, "result_"):
        arrays |= {f"history.{f.name}": getattr(e.result_.history, f.name) for f in fields(History)}
    return arrays | {"loss_curve": np.asarray(e.loss_curve_)}


def _description(e: Any) -> dict[str, Any]:
    params = {name: _to_json(name, value) for name, value in e.get_params(deep=False).items()}
    out: dict[str, Any] = {"format": FORMAT, "class": type(e).__name__, "params": params}
    out |= {"n_features_in": int(e.n_features_in_), "n_iter": int(e.n_iter_)}
    if hasattr(e, "feature_names_in_"):
        out["feature_names"] = [str(name) for name in e.feature_names_in_]
    if hasattr(e, "classes_") and e.classes_.dtype.kind not in "biuf":
        out["classes"] = [str(c) for c in e.classes_]
    if hasattr(e, "result_"):
        result = {name: _plain(getattr(e.result_, name)) for name in _RESULT}
        found = [[f.kind, int(f.step), f.message] for f in e.result_.findings]
        out["result"] = result | {"reason": str(e.result_.reason), "findings": found}
    return out


def _rebuilt(e: Any, found: dict, arrays: dict[str, np.ndarray], known: dict) -> Any:
    s = settings(e, known)
    if "classes" in found:
        e.classes_ = np.array(found["classes"])
    elif "classes" in arrays:
        e.classes_ = arrays["classes"]
    if s.model == "linear":
        keep(e, (arrays["coef"], arrays["intercept"]), s)
    else:
        count = sum(name.endswith(".weight") for name in arrays)
        layers = [{name: arrays[f"{k}.{name}"] for name in ("weight", "bias")} for k in range(count)]
        keep(e, Fitted(layers, Network(s.activation, layers[-1]["bias"].size == 1)), s)
    e.n_features_in_, e.n_iter_, e.loss_curve_ = found["n_features_in"], found["n_iter"], arrays["loss_curve"]
    if "feature_names" in found:
        e.feature_names_in_ = np.array(found["feature_names"], dtype=object)
    if "result" in found:
        history = History(*(arrays[f"history.{f.name}"] for f in fields(History)))
        r = found["result"]
        reason, said = Reason(r["reason"]), [Finding(*f) for f in r["findings"]]
        e.result_ = Result(None, reason=reason, history=history, findings=said, **{k: r[k] for k in _RESULT})
        e.reason_ = reason
    return e


def _to_json(name: str, value: Any) -> Any:
    if isinstance(value, Budget):
        return {"budget": {k: _plain(v) for k, v in vars(value).items()}}
    if isinstance(value, dict):
        return {"pairs": [[_plain(k), _plain(v)] for k, v in value.items()]}
    if isinstance(value, np.random.RandomState):
        return None
    if isinstance(value, (tuple, list)) and not any(callable(v) for v in value):
        return {"tuple": [_plain(v) for v in value]}
    value = _plain(value)
    if value is not None and not isinstance(value, (str, bool, int, float)):
        raise ModelError(f"`{name}` is {value!r}, which a file cannot hold.", hint="use pickle")
    return value


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "budget" in value:
        return Budget(**value["budget"])
    return dict(value["pairs"]) if "pairs" in value else tuple(value["tuple"])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value

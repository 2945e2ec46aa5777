"""A model on disk: a folder with model.safetensors, model.json and run.json, complete or not there at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from safetensors.numpy import load, save

from descenso._errors import ArgumentError, ModelError
from descenso.data.encode import Encoding, encoding_from_json
from descenso.data.target import Target, target_from_json
from descenso.disk.files import named_if_full

FORMAT = 1
_MOST_JSON_BYTES = 1 << 26
_WEIGHTS, _MODEL, _RUN = "model.safetensors", "model.json", "run.json"


@dataclass(frozen=True)
class Saved:
    """All that a prediction needs.

    Attributes:
        kind: "linear" or "mlp".
        widths: of `descenso.models.Model`.
        params: of it, as numpy arrays.
        encoding: from a table to inputs.
        target: from outputs to predictions.
    """

    kind: str
    widths: tuple[int, ...]
    params: tuple[dict[str, np.ndarray], ...]
    encoding: Encoding
    target: Target


def check_place(folder: Path) -> None:
    """Refuse, before a run, a place where a model cannot be saved.

    Raises:
        ArgumentError: something else than a model is there, or the place cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"{folder}: this is a file. A model is saved as a folder.", hint="choose another --out")
    if folder.is_dir() and any(folder.iterdir()) and not _is_ours(folder):
        raise ArgumentError(
            f"{folder}: this folder holds other things than a model, and saving would replace it.",
            hint="choose another --out, or empty the folder",
        )
    above = folder.absolute().parent
    while not above.exists():
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ArgumentError(f"{folder}: {above} cannot be written to.", hint="choose another --out")


def save_model(folder: Path, model: Saved, run: dict[str, Any], versions: dict[str, str]) -> None:
    """Save a model, replacing one that is there.

    The folder is written beside its place under a hidden name, then renamed: it is never seen incomplete. A model that
    was there is moved aside for the moment of the renaming.
    """
    tensors = {
        f"{i}.{name}": np.ascontiguousarray(a) for i, layer in enumerate(model.params) for name, a in layer.items()
    }
    weights = save(tensors)
    description = {
        "format": FORMAT,
        "model": {"kind": model.kind, "widths": list(model.widths)},
        "target": model.target.to_json(),
        "encoding": model.encoding.to_json(),
        "inputs": model.encoding.inputs,
        "versions": versions,
        "sha256": {_WEIGHTS: sha256(weights).hexdigest()},
    }
    with _in_place_of(folder) as hidden:
        _write(hidden / _WEIGHTS, weights)
        _write(hidden / _MODEL, to_json(description))
        _write(hidden / _RUN, to_json(run))


def save_run(folder: Path, run: dict[str, Any]) -> bool:
    """Keep the record of a run that gave no model; False, and nothing done, where a model is in the place."""
    if (folder / _MODEL).exists():
        return False
    with _in_place_of(folder) as hidden:
        _write(hidden / _RUN, to_json(run))
    return True


def load_model(folder: Path) -> Saved:
    """Read a model back. Only numbers and text are read: nothing in the folder is ever run.

    Raises:
        ModelError: it is none, is damaged, or was written by a newer version.
    """
    description = _read_description(folder)
    try:
        widths = tuple(int(w) for w in description["model"]["widths"])
        kind, digest = str(description["model"]["kind"]), str(description["sha256"][_WEIGHTS])
        target, encoding = target_from_json(description["target"]), encoding_from_json(description["encoding"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder}: {_MODEL} is not readable ({error!r}).") from error
    if len(widths) < 2 or widths[0] != len(encoding.inputs) or widths[-1] != target.outputs:
        raise ModelError(
            f"{folder}: {_MODEL} contradicts itself: the widths {widths} do not fit the columns and target."
        )
    return Saved(kind, widths, _read_weights(folder, digest, widths), encoding, target)


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / _MODEL
    if not path.is_file():
        what = "is no folder of a model" if folder.is_dir() else "does not exist"
        raise ModelError(f"{folder}: this {what}: there is no {_MODEL}.", hint="give the folder that `fit` wrote")
    if path.stat().st_size > _MOST_JSON_BYTES:
        raise ModelError(f"{path}: this is larger than any model's description.")
    try:
        description = json.loads(path.read_bytes(), object_pairs_hook=_no_twins)
        version = description["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{path}: this is not readable ({error}).", hint="the file is damaged") from error
    if version != FORMAT:
        raise ModelError(
            f"{path}: the format is {version!r}. This version of descenso reads format {FORMAT}.",
            hint="update descenso: pip install -U descenso",
        )
    return description


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _read_weights(folder: Path, digest: str, widths: tuple[int, ...]) -> tuple[dict[str, np.ndarray], ...]:
    shapes = {}
    for i, (a, b) in enumerate(pairwise(widths)):
        shapes |= {f"{i}.weight": (a, b), f"{i}.bias": (b,)}
    size = 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    path = folder / _WEIGHTS
    try:
        if path.stat().st_size > size + _MOST_JSON_BYTES:
            raise ModelError(f"{path}: this is larger than {_MODEL} says.", hint="the file is damaged")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: it cannot be read ({error}).") from error
    if sha256(data).hexdigest() != digest:
        raise ModelError(f"{path}: the contents are not those that `fit` wrote.", hint="the file is damaged: fit again")
    tensors = load(data)
    if {k: (v.shape, str(v.dtype)) for k, v in tensors.items()} != {k: (s, "float32") for k, s in shapes.items()}:
        raise ModelError(f"{path}: the arrays do not fit the widths {widths}.")
    return tuple({"weight": tensors[f"{i}.weight"], "bias": tensors[f"{i}.bias"]} for i in range(len(widths) - 1))


def to_json(value: Any) -> bytes:
    """Strict JSON: what is not finite is null."""
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False, indent=1).encode()


def finite(value: Any) -> Any:
    """The value with None in place of every float that JSON cannot hold."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return finite(value.tolist())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _is_ours(folder: Path) -> bool:
    return {p.name for p in folder.iterdir()} <= {_WEIGHTS, _MODEL, _RUN}


@contextmanager
def _in_place_of(folder: Path) -> Iterator[Path]:
    """A hidden folder to fill, which then takes the place of `folder`; it is removed where the filling fails."""
    check_place(folder)
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    hidden, aside = (folder.with_name(f".{folder.name}.{what}-{uuid4().hex[:8]}") for what in ("new", "old"))
    try:
        hidden.mkdir()
        with named_if_full(folder):
            yield hidden
        _sync(hidden)
        if folder.exists():
            folder.rename(aside)
        hidden.rename(folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        if aside.exists() and not folder.exists():
            aside.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    with open(path, "xb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

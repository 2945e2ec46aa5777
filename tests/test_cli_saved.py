"""A saved model: whole or not there, read back bit for bit, refused when anything in it was changed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from descenso._errors import ArgumentError, ModelError
from descenso.cli import saved as room
from descenso.cli.saved import Saved, check_place, load_model, save_model, save_run, to_json
from descenso.data.encode import Encoding
from descenso.data.features import Category, Number
from descenso.data.target import Classes
from descenso.models import Model

ENCODING = Encoding(
    (Number("x", "number", 1.0, 2.0, True), Category("t", "text", ("a", "ü"), True, False)), (("k", "why"),)
)
MODEL = Model((5, 3, 1))
SAVED = Saved("mlp", MODEL.widths, MODEL.init(0), ENCODING, Classes("y", ("no", "yes")))


@pytest.fixture
def folder(tmp_path) -> Path:
    save_model(tmp_path / "m", SAVED, {"loss": float("nan")}, {"descenso": "0"})
    return tmp_path / "m"


def test_a_model_comes_back_bit_for_bit(folder):
    back = load_model(folder)
    assert replace(back, params=()) == replace(SAVED, params=())
    for ours, theirs in zip(back.params, SAVED.params, strict=True):
        assert all((ours[name] == theirs[name]).all() and ours[name].dtype == np.float32 for name in ("weight", "bias"))


def test_what_json_cannot_hold_is_null(folder):
    assert json.loads((folder / "run.json").read_text()) == {"loss": None}
    assert json.loads(to_json({"a": (np.float32("inf"), np.arange(2), 1.5, True, "ü")}))["a"] == [
        None,
        [0, 1],
        1.5,
        True,
        "ü",
    ]


def test_every_flipped_bit_of_the_weights_is_seen(folder):
    data = (folder / "model.safetensors").read_bytes()
    for at in range(0, len(data), 7):
        (folder / "model.safetensors").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(ModelError, match="not those that `fit` wrote"):
            load_model(folder)
    (folder / "model.safetensors").write_bytes(data)
    assert load_model(folder).kind == "mlp"


def change(folder: Path, **changes) -> None:
    description = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(description | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "the format is 2"),
        ({"model": {"kind": "mlp", "widths": [5, 3, 2]}}, "contradicts itself"),
        ({"model": {"kind": "mlp", "widths": [4, 3, 1]}}, "contradicts itself"),
        ({"model": {"kind": "mlp", "widths": [5, 4, 1]}}, "do not fit the widths"),
        ({"model": {"kind": "mlp", "widths": "abc"}}, "not readable"),
        ({"model": None}, "not readable"),
        ({"encoding": {"features": [{"kind": "code"}], "dropped": []}}, "not readable"),
        ({"target": {"task": "other"}}, "not readable"),
        ({"sha256": {}}, "not readable"),
    ],
)
def test_a_changed_description_is_refused(folder, changes, message):
    change(folder, **changes)
    with pytest.raises(ModelError, match=message):
        load_model(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1, "format": 1}', "3", "[" * 100_000, "\xff"])
def test_a_description_that_is_no_json_object_is_refused(folder, text):
    (folder / "model.json").write_bytes(text.encode("latin1"))
    with pytest.raises(ModelError, match="not readable"):
        load_model(folder)


def test_other_arrays_under_a_right_digest_are_refused(folder):
    data = save({"0.weight": np.zeros((5, 3), np.float64)})
    (folder / "model.safetensors").write_bytes(data)
    change(folder, sha256={"model.safetensors": room.sha256(data).hexdigest()})
    with pytest.raises(ModelError, match="do not fit the widths"):
        load_model(folder)


def test_missing_files_are_named(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors: it cannot be read"):
        load_model(folder)
    with pytest.raises(ModelError, match="does not exist"):
        load_model(tmp_path / "none")


def test_a_model_is_replaced_and_nothing_else_is_left(folder):
    save_model(folder, replace(SAVED, kind="linear"), {}, {})
    assert load_model(folder).kind == "linear"
    assert os.listdir(folder.parent) == ["m"]


def test_a_failing_save_leaves_the_old_model_and_nothing_else(folder, monkeypatch):
    def full(path: Path, data: bytes) -> None:
        if path.name == "run.json":
            raise OSError(28, "No space left on device", str(path))
        path.write_bytes(data)

    monkeypatch.setattr(room, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(folder, replace(SAVED, kind="linear"), {}, {})
    assert load_model(folder).kind == "mlp"
    assert os.listdir(folder.parent) == ["m"]


def test_a_failed_run_never_replaces_a_model(folder):
    assert not save_run(folder, {"reason": "diverged"})
    assert load_model(folder).kind == "mlp"
    assert save_run(folder.parent / "new" / "deep", {"reason": "diverged"})
    assert os.listdir(folder.parent / "new" / "deep") == ["run.json"]
    assert save_run(folder.parent / "new" / "deep", {"reason": "unbounded"})


@pytest.mark.parametrize("what", ["file", "other folder", "under a file"])
def test_a_place_that_cannot_be_taken_is_refused(tmp_path, what):
    place = tmp_path / "place"
    if what == "other folder":
        place.mkdir()
        (place / "thesis.txt").write_text("years of work")
    else:
        place.write_text("years of work")
    with pytest.raises(ArgumentError):
        check_place(place / "m" if what == "under a file" else place)
    with pytest.raises((ArgumentError, OSError)):
        save_model(place / "m" if what == "under a file" else place, SAVED, {}, {})
    assert (place / "thesis.txt" if what == "other folder" else place).read_text() == "years of work"


def test_an_empty_folder_is_a_place(tmp_path):
    (tmp_path / "m").mkdir()
    save_model(tmp_path / "m", SAVED, {}, {})
    assert load_model(tmp_path / "m").widths == (5, 3, 1)

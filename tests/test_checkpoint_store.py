"""What was saved is read back to the bit, or refused with what is wrong."""

from __future__ import annotations

import contextlib
import json
import pickle
import random
import shutil
import tracemalloc
from hashlib import sha256
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from descenso._errors import CheckpointError
from descenso.checkpoint.arrays import pieces, read_arrays
from descenso.checkpoint.store import Store, load
from descenso.disk.canonical import Broken, canonical, parse

_DTYPES = [np.dtype(d) for d in "?bBhHiIlLefd"] + [np.dtype(ml_dtypes.bfloat16), np.dtype(ml_dtypes.float8_e4m3fn)]
_SHAPES = arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def some_array(draw):
    dtype, shape = draw(st.sampled_from(_DTYPES)), draw(_SHAPES)
    if dtype == np.bool_:
        return draw(arrays_of.arrays(dtype, shape))
    count = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(draw(st.binary(min_size=count, max_size=count)), dtype).reshape(shape)  # NaNs of all kinds


some_arrays = st.dictionaries(st.text(max_size=8), some_array(), max_size=6)


def blob_of(arrays: dict[str, np.ndarray]) -> bytes:
    return b"".join(pieces(arrays))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@given(some_arrays)
@settings(deadline=None)
def test_arrays_come_back_as_they_were(arrays):
    back = read_arrays(blob_of(arrays))
    assert back.keys() == arrays.keys()
    assert all(same(back[name], arrays[name]) for name in arrays)


@given(some_arrays)
@settings(deadline=None, max_examples=50)
def test_other_readers_of_the_format_agree(arrays):
    arrays.pop("__metadata__", None)  # a name that the format keeps for itself
    read = dict(safetensors.deserialize(blob_of(arrays)))
    assert read.keys() == arrays.keys()
    for name, a in arrays.items():
        assert list(read[name]["shape"]) == list(a.shape)
        assert bytes(read[name]["data"]) == a.tobytes()


@given(st.data(), some_arrays)
@settings(deadline=None, max_examples=300)
def test_no_bytes_do_more_than_be_refused(data, arrays):
    blob = bytearray(blob_of(arrays))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(blob) - 1))
        blob[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not blob:
            break
    try:
        read = read_arrays(bytes(blob))
    except Broken:
        return
    assert sum(a.nbytes for a in read.values()) <= len(blob)


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(_plain.filter(lambda value: "'float'" not in repr(value)))
def test_plain_values_come_back_as_they_were(value):
    back = parse(canonical(value))
    assert back == value
    assert canonical(back) == canonical(value)


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_only_the_one_spelling_is_read(text):
    with contextlib.suppress(Broken):
        assert canonical(parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1}',
        b'{"a":1}\n\n',
        b'{"a":1}\nx',
        b'{"a": 1}\n',
        b'{"a":1,"a":1}\n',
        b'{"b":1,"a":1}\n',
        b'{"a":NaN}\n',
        b'{"a":{"float":"1.0"}}\n',
        b'{"a":{"float":"no"}}\n',
        b'{"a":1e0}\n',
        b'{"a":"\xff"}\n',
        b"[" * 100_000,
        b"1" * 100_000 + b"\n",
        b"",
    ],
)
def test_text_that_is_not_ours_is_refused(text):
    with pytest.raises(Broken):
        parse(text)


# a folder of them


def content(number: int) -> tuple[dict[str, np.ndarray], dict]:
    return {"x": np.arange(50, dtype=np.float32) + number, "n": np.asarray(number)}, {"number": number}


@pytest.fixture
def made(tmp_path) -> Store:
    store = Store(tmp_path / "run")
    store.folder.mkdir()
    for number in range(2):
        store.save(*content(number))
    return store


def reject(path: Path) -> str:
    with pytest.raises(Broken) as caught:
        load(path)
    return str(caught.value)


def damage(chance: random.Random, path: Path) -> None:
    """Flip a bit, cut off, append, delete or blank a run of a file."""
    kind = chance.choice(["flip", "cut", "append", "delete", "blank"])
    blob = bytearray(path.read_bytes())
    at = chance.randrange(len(blob))
    if kind == "delete":
        path.unlink()
        return
    if kind == "flip":
        blob[at] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del blob[at:]
    elif kind == "append":
        blob += chance.choice([b"\n", b"\0", b" ", bytes(chance.randrange(1, 40))])
    else:
        end = at + chance.randrange(1, 30)
        blob[at:end] = bytes(b ^ 0xFF if b == 0 else 0 for b in blob[at:end])
    path.write_bytes(bytes(blob))


@pytest.mark.parametrize("file", ["arrays.safetensors", "manifest.json"])
def test_every_damage_is_seen_and_named_and_the_one_before_taken(made, tmp_path, file):
    chance = random.Random(f"damage {file}")
    for i in range(120):
        copy = Store(tmp_path / f"copy-{i}")
        shutil.copytree(made.folder, copy.folder)
        damage(chance, copy.folder / "checkpoint-00000001" / file)
        saved, rejected = copy.newest()
        assert saved.body == {"number": 0}
        assert len(rejected) == 1
        assert rejected[0].startswith("checkpoint-00000001: ")
        assert file in rejected[0] or "JSON" in rejected[0]


def test_where_all_are_damaged_nothing_is_loaded(made):
    for path in made.names():
        damage(random.Random(path.name), path / "arrays.safetensors")
    with pytest.raises(CheckpointError) as caught:
        made.newest()
    for name in ("checkpoint-00000000: arrays", "checkpoint-00000001: arrays"):
        assert name in str(caught.value)


def test_an_empty_folder_holds_nothing(tmp_path):
    assert Store(tmp_path).newest() == (None, [])
    assert Store(tmp_path / "none").newest() == (None, [])


def test_a_damaged_one_is_not_written_over(made):
    (made.names()[-1] / "manifest.json").unlink()
    made.save(*content(2))
    assert [path.name for path in made.names()] == [f"checkpoint-{i:08d}" for i in range(3)]
    assert made.newest()[0].body == {"number": 2}


def test_the_last_few_and_the_best_are_kept(tmp_path):
    store = Store(tmp_path, keep=2)
    for number, score in enumerate([5.0, 1.0, 3.0, None, float("nan"), 1.0, 4.0, 4.0]):
        store.save({}, {"number": number, "score": score})
    assert [load(path).body["number"] for path in store.names()] == [5, 6, 7]
    for _ in range(3):
        store.save({}, {"score": 9.0})
    assert [path.name[-2:] for path in store.names()] == ["05", "09", "10"]


# what nobody but an attacker would write, with digests that are right


def forge(path: Path, blob: bytes | None = None, **changes) -> None:
    """Replace parts of a checkpoint and make its digests right again."""
    manifest = json.loads((path / "manifest.json").read_bytes())["manifest"]
    if blob is not None:
        (path / "arrays.safetensors").write_bytes(blob)
        manifest["files"]["arrays.safetensors"] = {"bytes": len(blob), "sha256": sha256(blob).hexdigest()}
    manifest |= changes
    sealed = {"manifest": manifest, "sha256": sha256(canonical(manifest)).hexdigest()}
    (path / "manifest.json").write_bytes(canonical(sealed))


def header(text: str, values: bytes = b"", length: int | None = None) -> bytes:
    encoded = text.encode()
    return (len(encoded) if length is None else length).to_bytes(8, "little") + encoded + values


def entry(dtype: str = "F32", shape: str = "[1]", offsets: str = "[0,4]") -> str:
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


_X = header(f'{{"a":{entry()}}}', bytes(4))


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (header("", length=1 << 60), "header of the arrays claims 1,152,921,504,606,846,976 bytes"),
        (header("{}", length=(1 << 64) - 1), "claims"),
        (b"abc", "claims"),
        (header(f'{{"a":{entry()},"a":{entry()}}}', bytes(4)), "a key appears twice"),
        (
            header('{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
            "a key appears twice",
        ),
        (header(f'{{"a":{entry(shape="[4611686018427387903,4611686018427387903]")}}}', bytes(4)), "does not lie"),
        (header(f'{{"a":{entry(shape="[-1]")}}}', bytes(4)), "does not describe arrays"),
        (header(f'{{"a":{entry(shape="[true]")}}}', bytes(4)), "does not describe arrays"),
        (header(f'{{"a":{entry(offsets="[0,8]", shape="[2]")}}}', bytes(4)), "cannot be had"),
        (header(f'{{"a":{entry(shape="[0,4611686018427387903]", offsets="[0,0]")}}}'), "cannot be had"),
        (header(f'{{"a":{entry(shape=str([1] * 100))}}}', bytes(4)), "cannot be had"),
        (header(f'{{"a":{entry()},"b":{entry()}}}', bytes(4)), "array 'b' does not lie"),
        (header(f'{{"a":{entry(offsets="[4,8]")}}}', bytes(8)), "array 'a' does not lie"),
        (header(f'{{"a":{entry(dtype="O")}}}', bytes(4)), "does not describe arrays"),
        (header("[" * 100_000), "no JSON"),
        (header("[]"), "does not describe arrays"),
        (_X + b"\0", "1 bytes follow the last array"),
        (pickle.dumps({"a": 1}), "claims"),
    ],
)
def test_hostile_arrays_are_refused(made, blob, words):
    path = made.names()[-1]
    forge(path, blob)
    tracemalloc.start()
    why = reject(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert words in why
    assert peak < 20 * len(blob) + 2_000_000


def test_names_are_keys_and_never_paths(made):
    path = made.names()[-1]
    blob = header(f'{{"../../outside":{entry()}}}', bytes(4))
    forge(path, blob)
    assert list(load(path).arrays) == ["../../outside"]
    assert not (made.folder.parent / "outside").exists()
    for name in ("../../outside", "/etc/passwd", "manifest.json"):
        forge(path, files={name: {"bytes": 1, "sha256": ""}})
        assert "does not say what it must" in reject(path)


def test_a_pickle_in_place_of_the_manifest_is_not_run(made, tmp_path):
    class Loaded:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    path = made.names()[-1]
    (path / "manifest.json").write_bytes(pickle.dumps(Loaded()))
    assert "JSON" in reject(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "changes", [{"format": 0}, {"format": True}, {"format": "1"}, {"files": []}, {"body": 3}, {"more": 1}]
)
def test_a_manifest_of_another_form_is_refused(made, changes):
    path = made.names()[-1]
    forge(path, **changes)
    assert "manifest.json" in reject(path)


def test_a_manifest_too_long_to_be_one_is_not_read(made):
    path = made.names()[-1] / "manifest.json"
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # sparse: it takes no room
    tracemalloc.start()
    assert "1,099,511,627,776 bytes" in reject(path.parent)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_later_format_is_refused_and_not_passed_over(made):
    forge(made.names()[-1], format=2)
    with pytest.raises(CheckpointError, match="format 2 by a later version"):
        made.newest()


def test_links_out_of_the_folder_are_read_as_what_they_hold(made):
    path = made.names()[-1]
    (path / "arrays.safetensors").unlink()
    (path / "arrays.safetensors").symlink_to("/dev/zero")
    assert "bytes in place of" in reject(path)

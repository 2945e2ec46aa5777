"""Rows that are sorted by their target and too many to hold: seen in random order all the same."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

import descenso
from descenso import Budget, Checkpoint, Streamed
from descenso.data import mending
from descenso.data import stream as stream_module
from descenso.data.mending import Permuted, mended
from descenso.data.stream import Stream
from descenso.driver.inputs import stream_of

_ROWS = 20_000
_MEMORY = 400_000


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(stream_module, "BLOCK_BYTES", 18 * 500)


@pytest.fixture(scope="module")
def table() -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers of one byte, and a target that they say, in its order."""
    chance = np.random.default_rng(0)
    x = chance.integers(-100, 100, (_ROWS, 10)).astype(np.int8)
    y = x.astype(np.float64) @ np.arange(10) + chance.normal(size=_ROWS)
    order = np.argsort(y)
    return x[order], y[order]


def mapped(arrays, folder: Path) -> tuple[np.ndarray, ...]:
    for i, array in enumerate(arrays):
        np.save(folder / f"{i}.npy", array)
    return tuple(np.load(folder / f"{i}.npy", mmap_mode="r") for i in range(len(arrays)))


def loss(p, batch):
    x, y = batch
    return jnp.mean((x.astype(jnp.float32) / 100 @ p - y / 100) ** 2)


def run(data, **more):
    return descenso.minimize(
        loss, np.zeros(10, np.float32), data, method="adam", batch_size=64, budget=Budget(epochs=2), **more
    )


def told(result) -> list[str]:
    return [f.message for f in result.findings if f.kind == "data"]


def together(x, y) -> np.ndarray:
    """All rows, sorted: the same rows in any order give the same."""
    rows = np.column_stack([np.asarray(x, np.float64), np.asarray(y, np.float64)])
    return rows[np.lexsort(rows.T)]


def test_maps_are_shuffled_into_the_cache_once(table, tmp_path, monkeypatch):
    maps, cache = mapped(table, tmp_path), tmp_path / "cache"
    data = Streamed(maps, memory=_MEMORY, cache=cache)
    first = run(data)
    assert told(first) == [f"the rows are in an order that follows data[1]: they were shuffled into {cache}"]
    stream = stream_of(data)[0]
    assert [a.dtype for a in stream.arrays] == [np.int8, np.float64]
    assert abs(np.corrcoef(np.asarray(stream.arrays[1]), np.arange(_ROWS))[0, 1]) < 0.05
    assert (together(*stream.arrays) == together(*table)).all()
    kept = os.listdir(cache)
    assert len(kept) == 1
    assert sorted(os.listdir(cache / kept[0])) == ["array0.i8", "array1.f64", "manifest.json"]

    with monkeypatch.context() as patch:
        patch.setattr(mending, "keep", lambda *_: pytest.fail("they were shuffled again"))
        assert (run(data).params == first.params).all()
    for less in (slice(0, 18_000), slice(2000, _ROWS)):
        part = stream_of(Streamed([a[less] for a in maps], memory=200_000, cache=cache))[0]
        assert (together(*part.arrays) == together(*(a[less] for a in table))).all()
    assert len(os.listdir(cache)) == 3


def test_the_answer_is_that_of_rows_without_an_order(table, tmp_path):
    order = np.random.default_rng(1).permutation(_ROWS)
    usual = run(Streamed(mapped([a[order] for a in table], tmp_path), memory=_MEMORY, cache=tmp_path / "none"))
    # the same files are written to below: what would still read them would be killed
    assert told(usual) == []
    assert not (tmp_path / "none").exists()
    mended_run = run(Streamed(mapped(table, tmp_path), memory=_MEMORY, cache=tmp_path / "cache"))
    np.testing.assert_allclose(mended_run.params, usual.params, atol=0.1)


def test_arrays_in_memory_are_permuted_there(table, tmp_path):
    found = run(Streamed(table, memory=_MEMORY, cache=tmp_path / "none"))
    assert told(found) == ["the rows are in an order that follows data[1]: they are read in a random one"]
    assert not (tmp_path / "none").exists()
    stream = stream_of(Streamed(table, memory=_MEMORY))[0]
    assert all(isinstance(a, Permuted) for a in stream.arrays)
    assert (together(*(a[:] for a in stream.arrays)) == together(*table)).all()
    rows = stream.judged(0, 0, 50, "judge")
    assert set(rows[1].astype(np.float32)) <= set(table[1].astype(np.float32))


def test_what_can_only_be_sliced_is_shuffled_too(table, tmp_path):
    class Sliced:
        def __init__(self, array):
            self.array, self.shape, self.dtype = array, array.shape, array.dtype

        def __len__(self):
            return len(self.array)

        def __getitem__(self, rows):
            assert rows.stop - rows.start <= 1024
            return self.array[rows]

    for _ in range(2):
        arrays, note = mended(Stream([Sliced(a) for a in table], ("x", "y"), _MEMORY), tmp_path)
        assert note == f"the rows are in an order that follows y: they were shuffled into {tmp_path}"
        assert (together(*arrays) == together(*table)).all()
    assert len(os.listdir(tmp_path)) == 1


def test_a_stopped_run_goes_on_with_the_same_rows(table, tmp_path):
    data = Streamed(mapped(table, tmp_path), memory=_MEMORY, cache=tmp_path / "cache")

    class KilledError(BaseException):
        pass

    def kill(look):
        if look.step > 200:
            raise KilledError

    with pytest.raises(KilledError):
        run(data, checkpoint=Checkpoint(tmp_path / "run", steps=50), watch=kill)
    assert (run(data, checkpoint=tmp_path / "run", resume="must").params == run(data).params).all()


def test_without_room_it_is_said(table, tmp_path, monkeypatch):
    maps = mapped(table, tmp_path)
    monkeypatch.setattr(mending, "disk_usage", lambda folder: SimpleNamespace(free=700_000))
    assert (
        "are seen unevenly, for they could not be shuffled on disk"
        in told(run(Streamed(maps, memory=_MEMORY, cache=tmp_path / "cache")))[0]
    )
    assert os.listdir(tmp_path / "cache") == []
    (tmp_path / "file").write_text("")
    assert "(File exists): give a `cache`" in told(run(Streamed(maps, memory=_MEMORY, cache=tmp_path / "file")))[0]


def test_what_says_nothing_of_an_order_is_left_alone(table, tmp_path):
    x, y = table
    constant, wild = np.zeros(_ROWS), np.where(np.arange(_ROWS) == 3000, np.nan, y)
    for arrays in ((x, constant), (x, wild), (x,), (x[:9000], y[:9000])):
        names = ("x", "y")[: len(arrays)]
        assert mended(Stream(arrays, names, 100_000), tmp_path)[1] == ""
    assert mended(Stream(table, ("x", "y"), 10_000_000), tmp_path)[1] == ""  # one window holds all

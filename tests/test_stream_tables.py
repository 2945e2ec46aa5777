"""Tables of any length as batches: what they are read from, what is refused, what is kept on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, ipc, parquet

import descenso
from descenso import Budget, Streamed
from descenso._errors import ArgumentError, DataError, SchemaError, TableError
from descenso.data import numbers as numbers_module
from descenso.data import shuffle as shuffle_module
from descenso.data import stream as stream_module
from descenso.data.blocks import Blocks

_ROWS = 3000


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache folder of this test alone, and blocks small enough for a small table to have many."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(numbers_module, "BLOCK_BYTES", 16 * 256)
    monkeypatch.setattr(stream_module, "BLOCK_BYTES", 16 * 256)
    return tmp_path / "cache" / "descenso" / "rows"


@pytest.fixture(scope="module")
def table() -> pa.Table:
    chance = np.random.default_rng(1)
    a, b = chance.normal(size=_ROWS).astype(np.float32), chance.integers(-5, 5, _ROWS).astype(np.int32)
    y = (3 * a - b + 0.1 * chance.normal(size=_ROWS)).astype(np.float32)
    return pa.table({"a": a, "b": b, "flag": a > 0, "y": y})


def rows_of(data: Streamed) -> np.ndarray:
    return np.column_stack([np.asarray(part) for part in data.data])


def expected(table: pa.Table) -> np.ndarray:
    return np.column_stack([table[name].to_numpy().astype(np.float32) for name in table.schema.names])


def write(table: pa.Table, path: Path) -> Path:
    if path.name.endswith(".parquet"):
        parquet.write_table(table, path, row_group_size=700)
    elif path.name.endswith(".arrow"):
        with ipc.new_file(path, table.schema) as sink:
            sink.write_table(table, max_chunksize=500)
    elif path.name.endswith(".arrows"):
        with ipc.new_stream(path, table.schema) as sink:
            sink.write_table(table, max_chunksize=500)
    else:
        with pa.output_stream(path, compression="gzip" if path.suffix == ".gz" else None) as sink:
            csv.write_csv(table, sink)
    return path


@pytest.mark.parametrize("ending", ["parquet", "arrow", "arrows", "csv", "csv.gz"])
def test_every_format_gives_the_same_rows(table, tmp_path, ending):
    path = write(table, tmp_path / f"t.{ending}")
    data = Streamed.table(path, target="y")
    assert data.columns == ("a", "b", "flag")
    assert np.allclose(rows_of(data), expected(table), rtol=1e-6)


def test_parts_give_the_rows_one_after_another(table, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for i, ending in enumerate(["parquet", "arrow", "parquet"]):
        write(table.slice(1000 * i, 1000), folder / f"part-{i}.{ending}")
    (folder / "_SUCCESS").write_text("")
    (folder / ".hidden").write_text("x")
    shuffled = table.select(["y", "flag", "b", "a"]).slice(2000)
    write(shuffled, folder / "part-2.parquet")  # columns go by name
    for source in (folder, str(folder / "part-*"), sorted(folder.glob("part-*"))):
        assert (rows_of(Streamed.table(source, target="y")) == expected(table)).all()


def test_arrow_streams_and_iterators_give_the_same_rows(table):
    for source in (table, table.to_reader(max_chunksize=400), iter(table.to_batches(max_chunksize=300))):
        assert (rows_of(Streamed.table(source, target="y")) == expected(table)).all()


def test_columns_can_be_named_and_the_target_left_out(table, tmp_path):
    path = write(table, tmp_path / "t.parquet")
    data = Streamed.table(path, target="y", columns=["b", "a"])
    assert (np.asarray(data.data[0]) == expected(table)[:, [1, 0]]).all()
    assert np.asarray(Streamed.table(path, columns=["a"]).data).shape == (_ROWS, 1)


def loss(p, batch):
    x, y = batch
    return jnp.mean((x @ p - y) ** 2)


def run(data, **more):
    given = {"method": "adam", "batch_size": 32, "budget": Budget(steps=150)} | more
    return descenso.minimize(loss, np.zeros(3, np.float32), data, **given)


def test_a_streamed_table_gives_the_run_of_the_same_arrays(table, tmp_path):
    streamed = run(Streamed.table(write(table, tmp_path / "t.parquet"), target="y", memory=20_000))
    assert [f.message for f in streamed.findings if f.kind == "stream"]
    x, y = expected(table)[:, :3], expected(table)[:, 3]
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    mapped = tuple(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy")
    assert (streamed.params == run(Streamed(mapped, memory=20_000)).params).all()
    by_csv = run(Streamed.table(write(table, tmp_path / "t.csv"), target="y", memory=20_000))
    assert np.allclose(streamed.params, by_csv.params, rtol=1e-5)


# the cache


def test_the_cache_is_used_again_until_the_files_change(table, tmp_path, cache, monkeypatch):
    path = write(table, tmp_path / "t.parquet")
    first = Streamed.table(path, target="y")
    with monkeypatch.context() as patch:
        patch.setattr(numbers_module, "shards", lambda source: pytest.fail("it was read again"))
        assert Streamed.table(path, target="y").data[0].path == first.data[0].path
    write(table.slice(0, 500), path)
    assert len(Streamed.table(path, target="y").data[0]) == 500
    assert len(list(cache.iterdir())) == 2
    assert cache.stat().st_mode & 0o777 == 0o700


def test_a_cache_folder_can_be_named(table, tmp_path):
    made = Streamed.table(write(table, tmp_path / "t.parquet"), target="y", cache=tmp_path / "here")
    assert made.data[0].path.is_relative_to(tmp_path / "here")


def test_a_cache_that_was_cut_or_hurt_is_made_anew(table, tmp_path):
    path = write(table, tmp_path / "t.parquet")
    for harm in (lambda f: os.truncate(f / "inputs.f32", 100), lambda f: (f / "manifest.json").write_bytes(b"{}")):
        harm(Streamed.table(path, target="y").data[0].path.parent)
        assert (rows_of(Streamed.table(path, target="y")) == expected(table)).all()


def test_a_block_that_differs_from_its_checksum_is_never_used(table, tmp_path):
    data = Streamed.table(write(table, tmp_path / "t.parquet"), target="y", memory=20_000)
    file = data.data[0].path
    blob = bytearray(file.read_bytes())
    blob[20_000] ^= 1
    file.write_bytes(bytes(blob))
    with pytest.raises(DataError, match=r"block \d+ differs from its checksum") as caught:
        run(data, budget=Budget(epochs=1))
    assert caught.value.file == str(file)


def test_a_cache_that_vanishes_is_said(table, tmp_path):
    data = Streamed.table(write(table, tmp_path / "t.parquet"), target="y", memory=20_000)
    data.data[0].path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        run(data)


def test_old_caches_are_forgotten(table, tmp_path, cache):
    old = Streamed.table(write(table, tmp_path / "old.parquet"), target="y").data[0].path.parent
    month = time.time() - 40 * 86_400
    os.utime(old, (month, month))
    Streamed.table(write(table, tmp_path / "new.parquet"), target="y")
    assert not old.exists()
    assert len(list(cache.iterdir())) == 1


def test_nothing_is_left_of_a_cache_that_failed(table, tmp_path, cache):
    bad = table.set_column(0, "a", pa.array([None] * _ROWS, pa.float32()))
    with pytest.raises(DataError):
        Streamed.table(write(bad, tmp_path / "t.parquet"), target="y")
    assert list(cache.iterdir()) == []


def test_blocks_of_any_cut_are_the_rows(tmp_path):
    a = np.arange(70, dtype=np.float32).reshape(35, 2)
    with numbers_module.Writer(tmp_path / "a", 8) as writer:
        for first in range(0, 35, 5):
            writer.add(a[first : first + 5])
        blocks = writer.finish()
    assert isinstance(blocks, Blocks)
    assert len(blocks.checksums) == 5
    for first in range(36):
        for last in range(first, 36):
            assert (blocks[first:last] == a[first:last]).all()


def test_memory_does_not_grow_with_the_table(tmp_path):
    script = Path(__file__).with_name("stream_memory.py")

    def peak(rows: int) -> float:
        command = [sys.executable, str(script), str(rows), str(tmp_path / str(rows))]
        return float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)

    small, large = peak(600_000), peak(5_000_000)
    assert large - small < 150  # MB, of the 352 that it is larger by


# rows in an order that misleads


@pytest.fixture(scope="module")
def long_table() -> pa.Table:
    chance = np.random.default_rng(2)
    a = chance.normal(size=30_000).astype(np.float32)
    return pa.table({"a": a, "b": np.arange(30_000, dtype=np.float32), "y": (a + 2).astype(np.float32)})


def test_rows_sorted_by_their_target_are_shuffled_once(long_table, tmp_path, monkeypatch):
    monkeypatch.setattr(shuffle_module, "_BUCKET", 50_000)
    by_target = long_table.sort_by("y")
    data = Streamed.table(write(by_target, tmp_path / "t.parquet"), target="y")
    assert data.notes == ("the rows are in an order that follows 'y': they were shuffled into the cache",)
    found, wanted = rows_of(data), expected(by_target)
    assert (found[np.argsort(found[:, 1])] == wanted[np.argsort(wanted[:, 1])]).all()  # each row whole, and once
    places = np.argsort(np.argsort(wanted[:, 1]))[found[:, 1].astype(int)]
    assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.03
    means = found[:, 2][:29_696].reshape(-1, 1024).mean(axis=1)
    assert means.std() < 3 / np.sqrt(1024)
    again = Streamed.table(write(by_target, tmp_path / "u.parquet"), target="y")
    assert (rows_of(again) == found).all()
    assert sorted(p.name for p in data.data[0].path.parent.iterdir()) == ["inputs.f32", "manifest.json", "target.f32"]


def test_rows_in_no_order_are_left_as_they_are(long_table, tmp_path):
    data = Streamed.table(write(long_table, tmp_path / "t.parquet"), target="y")
    assert data.notes == ()
    assert (rows_of(data) == expected(long_table)).all()


# what is refused, before the first step


def mended(table: pa.Table, **changes) -> pa.Table:
    for name, values in changes.items():
        table = table.set_column(table.schema.names.index(name), name, values)
    return table


def with_value(table: pa.Table, row: int, value) -> pa.Table:
    values = table["a"].to_pylist()
    values[row] = value
    return mended(table, a=pa.array(values, pa.float64()))


@pytest.mark.parametrize("ending", ["parquet", "arrow", "csv"])
@pytest.mark.parametrize(
    ("value", "words"), [(None, "has no value"), (float("inf"), "holds inf"), (1e300, "holds 1e"), (-1e39, "holds -1e")]
)
def test_a_value_that_cannot_be_learned_from_is_named(table, tmp_path, ending, value, words):
    path = write(with_value(table, 2345, value), tmp_path / f"t.{ending}")
    with pytest.raises(DataError, match=words) as caught:
        Streamed.table(path, target="y")
    error = caught.value
    assert (error.file, error.column, error.row, error.count) == (str(path), "a", 2346, 1)


def test_text_is_named_with_its_row(table, tmp_path):
    text = mended(table, a=pa.array(["red"] * _ROWS))
    for ending in ("parquet", "csv"):
        with pytest.raises(DataError, match="'red' at data row 1") as caught:
            Streamed.table(write(text, tmp_path / f"t.{ending}"), target="y")
        assert caught.value.column == "a"
    assert Streamed.table(tmp_path / "t.csv", target="y", columns=["b", "flag"]).columns == ("b", "flag")


def test_text_far_down_a_csv_file_is_named(tmp_path):
    lines = ["a,y", *(f"{i}.5,{i}" for i in range(700_000)), "foo,1"]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(TableError, match="column 'a' holds numbers, but 'foo' at data row 700,001") as caught:
        Streamed.table(path, target="y")
    assert (caught.value.file, caught.value.column, caught.value.example) == (str(path), "a", "foo")


@pytest.mark.parametrize(
    ("second", "words", "column"),
    [
        (lambda t: t.drop_columns(["b"]), "lacks 'b'", "b"),
        (lambda t: t.append_column("z", t["a"]), "has 'z' more", "z"),
        (lambda t: t.rename_columns(["a", "B", "flag", "y"]), "lacks 'b' and has 'B' more", "b"),
        (lambda t: mended(t, b=pa.array(["7"] * len(t))), "holds text, but numbers", "b"),
    ],
)
def test_parts_that_differ_are_named(table, tmp_path, second, words, column):
    first = write(table, tmp_path / "p-0.parquet")
    other = write(second(table), tmp_path / "p-1.parquet")
    with pytest.raises(SchemaError, match=words) as caught:
        Streamed.table([first, other], target="y")
    assert (caught.value.file, caught.value.column) == (str(other), column)


@pytest.mark.parametrize("columns", ["a", ["a", "b", "a"]])
def test_columns_are_a_list_of_different_names(table, columns):
    with pytest.raises(ArgumentError, match=r"`columns` is .*a list of names, each of them once"):
        Streamed.table(table, target="y", columns=columns)


def test_an_integer_part_and_a_float_part_are_both_numbers(table, tmp_path):
    parts = [write(table, tmp_path / "p-0.csv"), write(mended(table, b=table["a"]), tmp_path / "p-1.csv")]
    found = rows_of(Streamed.table(parts, target="y"))
    assert np.allclose(found[_ROWS:, 1], table["a"].to_numpy(), rtol=1e-6)


def test_files_that_hold_no_table_are_named(table, tmp_path):
    cut = write(table, tmp_path / "cut.parquet")
    cut.write_bytes(cut.read_bytes()[:-100])
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("a,y\n")
    (tmp_path / "none").mkdir()
    write(table.slice(0, 0), tmp_path / "rows.parquet")
    for name in ("cut.parquet", "empty.csv", "header.csv", "none", "rows.parquet", "away.csv", "x-*.csv"):
        with pytest.raises(DataError) as caught:
            Streamed.table(tmp_path / name, target="y")
        assert name in str(caught.value)


def test_a_column_twice_or_not_at_all_is_named(table, tmp_path):
    twice = pa.Table.from_arrays([table["a"], table["a"], table["y"]], names=["a", "a", "y"])
    with pytest.raises(TableError, match="2 columns are called 'a'"):
        Streamed.table(write(twice, tmp_path / "t.parquet"), target="y")
    with pytest.raises(SchemaError, match="no column 'price'"):
        Streamed.table(write(table, tmp_path / "u.parquet"), target="price")
    with pytest.raises(SchemaError, match="no column but the target"):
        Streamed.table(write(table.select(["y"]), tmp_path / "v.parquet"), target="y")
    for source in (3, iter([]), iter([1])):
        with pytest.raises(ArgumentError, match="must be files"):
            Streamed.table(source, target="y")


def test_large_whole_numbers_are_noted(table, tmp_path):
    big = mended(table, b=pa.array([2**40 + i for i in range(_ROWS)], pa.int64()))
    data = Streamed.table(write(big, tmp_path / "t.parquet"), target="y")
    assert data.notes[0].startswith("column 'b' holds 3,000 whole numbers beyond 2^24")
    told = [f.message for f in run(data, budget=Budget(steps=1)).findings if f.kind == "data"]
    assert told == list(data.notes)

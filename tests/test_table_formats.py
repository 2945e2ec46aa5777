"""Where a table can lie and how it can be written: formats, folders, patterns, addresses, file systems."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, fs, ipc, orc, parquet
from sklearn.datasets import dump_svmlight_file

from descenso import Streamed
from descenso._errors import ArgumentError, SchemaError, TableError
from descenso.data import svmlight
from descenso.data.shards import ONCE
from descenso.data.table import read_table

TABLE = pa.table({"a": np.arange(500.0), "b": np.arange(500)[::-1] % 7, "y": np.arange(500.0) ** 2})
WHOLE = np.column_stack([TABLE[name].to_numpy() for name in TABLE.column_names])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(table: pa.Table, path: Path | str, system: fs.FileSystem | None = None) -> Path | str:
    with (system or fs.LocalFileSystem()).open_output_stream(str(path), compression=None) as sink:
        if str(path).endswith(".parquet"):
            parquet.write_table(table, sink, row_group_size=200)
        elif str(path).endswith(".orc"):
            orc.write_table(table, sink)
        elif str(path).endswith(".arrow"):
            with ipc.new_file(sink, table.schema) as file:
                file.write_table(table, max_chunksize=150)
        elif str(path).endswith(".zst"):
            with pa.CompressedOutputStream(sink, "zstd") as packed:
                csv.write_csv(table, packed)
        else:
            csv.write_csv(table, sink)
    return path


def in_memory(source, **more) -> np.ndarray:
    return np.column_stack([c.values for c in read_table(source, **more).columns.values()])


def streamed(source, **more) -> np.ndarray:
    data = Streamed.table(source, target="y", **more)
    assert data.columns == ("a", "b")
    return np.column_stack([np.asarray(part) for part in data.data])


def both(source) -> None:
    np.testing.assert_allclose(in_memory(source), WHOLE)
    np.testing.assert_allclose(streamed(source), WHOLE, rtol=1e-6)


@pytest.mark.parametrize("ending", ["parquet", "orc", "arrow", "csv", "csv.zst"])
def test_every_format_is_read_whole_and_in_parts(tmp_path, ending):
    both(str(write(TABLE, tmp_path / f"t.{ending}")))


def test_a_table_may_lie_in_many_files(tmp_path):
    (tmp_path / "parts" / "deep").mkdir(parents=True)
    for i, ending in enumerate(["parquet", "csv", "orc", "arrow", "csv.zst"]):
        write(TABLE.slice(100 * i, 100), tmp_path / "parts" / f"part-{i}.{ending}")
    (tmp_path / "parts" / "_SUCCESS").touch()
    (tmp_path / "parts" / ".hidden").touch()
    both(str(tmp_path / "parts"))
    both(f"{tmp_path}/parts/part-?.*")
    both([f"{tmp_path}/parts/part-[0-2].*", f"{tmp_path}/parts/part-3.arrow", f"{tmp_path}/parts/*4*"])
    (tmp_path / "parts" / "part-0.parquet").rename(tmp_path / "parts" / "deep" / "part-0.parquet")
    both([f"{tmp_path}/**/part-0.*", f"{tmp_path}/parts/part-*"])
    with pytest.raises(TableError, match="no file here"):
        read_table(f"{tmp_path}/part-*")


def test_files_that_differ_are_named_with_their_columns(tmp_path):
    write(TABLE, tmp_path / "p-0.csv")
    write(TABLE.drop_columns(["b"]).append_column("c", TABLE["a"]), tmp_path / "p-1.csv")
    with pytest.raises(SchemaError, match=r"unlike .* it lacks 'b' and has 'c' more.") as caught:
        read_table(f"{tmp_path}/p-*")
    assert (caught.value.file, caught.value.column) == (str(tmp_path / "p-1.csv"), "b")
    assert in_memory([str(tmp_path / "p-0.csv"), str(tmp_path / "p-1.csv")], only=["a", "y"]).shape == (1000, 2)


def test_files_of_integers_fractions_and_nothing_are_one_column(tmp_path):
    (tmp_path / "p-0.csv").write_text("a,t\n1,\n2,\n")
    (tmp_path / "p-1.csv").write_text("a,t\n1.5,x\n,y\n")
    found = read_table(f"{tmp_path}/p-*")
    assert found.file == f"{tmp_path}/p-*"
    np.testing.assert_array_equal(found.columns["a"].values, [1, 2, 1.5, np.nan])
    assert [found.columns["t"].example(i) for i in range(4)] == [None, None, "x", "y"]


def test_a_sound_quote_in_each_of_many_files_is_no_open_one(tmp_path):
    for i in range(2):
        (tmp_path / f"p-{i}.csv").write_text('a,b\n1,"two\nlines"\n')
    assert read_table(f"{tmp_path}/p-*").rows == 2
    (tmp_path / "p-1.csv").write_text('a,b\n1,x\n2,"y\n3,z\n')
    with pytest.raises(TableError, match="a quote is not closed: column 'b' has a value of 2 lines at data row 2"):
        read_table(f"{tmp_path}/p-*")


# addresses


def test_an_address_names_a_file_or_many(tmp_path):
    for i in range(2):
        write(TABLE.slice(250 * i, 250), tmp_path / f"part-{i}.parquet")
    both(f"file://{tmp_path}/part-*.parquet")
    both(f"file://{tmp_path}/")
    with pytest.raises(ArgumentError, match="no such file system"):
        read_table("ftq://somewhere/x.csv")


def test_files_of_any_file_system_are_read(tmp_path):
    inside = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    for i, ending in enumerate(["parquet", "orc", "arrow", "csv", "csv.zst"]):
        write(TABLE.slice(100 * i, 100), f"part-{i}.{ending}", inside)
    np.testing.assert_allclose(streamed("part-*", filesystem=inside), WHOLE, rtol=1e-6)
    memory = fsspec.filesystem("memory")
    write(TABLE, "/rows/t.parquet", fs.PyFileSystem(fs.FSSpecHandler(memory)))
    np.testing.assert_allclose(streamed("/rows", filesystem=memory), WHOLE, rtol=1e-6)
    with pytest.raises(TableError, match="no such file"):
        streamed("away.csv", filesystem=inside)


def test_a_changed_file_of_a_file_system_is_read_again(tmp_path):
    inside = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    write(TABLE, "t.csv", inside)
    assert len(streamed("t.csv", filesystem=inside)) == 500
    write(TABLE.slice(0, 99), "t.csv", inside)
    assert len(streamed("t.csv", filesystem=inside)) == 99


# svmlight


@pytest.mark.parametrize("zero_based", [True, False])
def test_svmlight_is_a_table_of_its_columns(tmp_path, monkeypatch, zero_based):
    monkeypatch.setattr(svmlight, "_PIECE", 500)
    x = np.random.default_rng(0).normal(size=(300, 5)).round(3) * (np.arange(1500).reshape(300, 5) % 3 > 0)
    x[:, 0] += 1
    y = np.arange(300) % 2
    path = str(tmp_path / "t.svm")
    dump_svmlight_file(x, y, path, zero_based=zero_based, comment="made here")
    data = Streamed.table(path, target="target")
    assert data.columns == tuple(f"x{i + (not zero_based)}" for i in range(5))
    np.testing.assert_allclose(np.asarray(data.data[0]), x, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(data.data[1]), y)
    np.testing.assert_allclose(in_memory(path), np.column_stack([y, x]))


def test_svmlight_that_is_no_table_is_refused(tmp_path):
    path = tmp_path / "t.svm"
    for text, words in [("1 0:1 9000:2\n", "9,001 columns"), ("1 0:1\n1 0:x\n", "no readable svmlight")]:
        path.write_text(text)
        with pytest.raises(TableError, match=words) as caught:
            read_table(str(path))
        assert caught.value.file == str(path)


# what can be read once


def test_what_can_be_read_once_says_so():
    def batches():
        yield from TABLE.to_batches(max_chunksize=100)

    assert ONCE in Streamed.table(batches(), target="y").notes
    reader = pa.RecordBatchReader.from_batches(TABLE.schema, batches())
    assert ONCE in Streamed.table(reader, target="y").notes
    assert Streamed.table(TABLE, target="y").notes == ()
    np.testing.assert_allclose(streamed(TABLE), WHOLE, rtol=1e-6)

    class Frame:
        __arrow_c_stream__ = TABLE.__arrow_c_stream__

    np.testing.assert_allclose(streamed(Frame()), WHOLE, rtol=1e-6)

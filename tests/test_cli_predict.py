"""`descenso predict` on a table that does not fit into memory: the file of one that does, or an error and no file."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, ipc, orc, parquet
from typer.testing import CliRunner

from descenso._errors import ArgumentError, DataError, SchemaError, TableError
from descenso.cli import app as app_module
from descenso.cli import predict as predict_module
from descenso.cli import predictions as predictions_module
from descenso.cli.app import app
from descenso.cli.predict import predict
from descenso.cli.predictions import in_place_of
from descenso.cli.saved import Saved, save_model
from descenso.data import csv as csv_module
from descenso.data import readers as readers_module
from descenso.data.encode import Encoding, fit_encoding
from descenso.data.table import read_table
from descenso.data.task import fit_target
from descenso.disk.owner import Owner
from descenso.models import Model

_ROWS, _PIECE, _LITTLE = 3000, 400, 1000


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(readers_module, "BATCH_ROWS", _PIECE)
    monkeypatch.setattr(csv_module, "_BLOCK", 1 << 14)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    chance = np.random.default_rng(0)
    size = chance.lognormal(size=_ROWS)
    days = np.datetime64("2024-01-01") + chance.integers(0, 400, _ROWS).astype("timedelta64[D]")
    return pa.table(
        {
            "size": pa.array(size, mask=chance.random(_ROWS) < 0.05),
            "count": pa.array(chance.integers(-5, 100, _ROWS), pa.int32()),
            "town": pa.array([f"t{i}" for i in chance.integers(0, 30, _ROWS)], mask=chance.random(_ROWS) < 0.02),
            "day": pa.array(days).cast(pa.timestamp("s")),
            "price": size + chance.normal(size=_ROWS),
            "class": np.where(size > 2, "dear", np.where(size > 1, "fair", "cheap")),
        }
    )


@pytest.fixture(scope="module")
def models(table, tmp_path_factory) -> Path:
    """A model for each of the two targets, with random weights: what is predicted is not asked here."""
    folder = tmp_path_factory.mktemp("models")
    parquet.write_table(table, folder / "t.parquet")
    rows = read_table(str(folder / "t.parquet"))
    encoding = fit_encoding(rows.without(["price", "class"]))
    for name, task, kind, hidden in (("price", "regression", "linear", ()), ("class", "classification", "mlp", (8,))):
        target = fit_target(rows.file, rows.column(name), task)
        model = Model((len(encoding.inputs), *hidden, target.outputs))
        chance = np.random.default_rng(1)
        params = tuple(
            {k: chance.normal(size=v.shape).astype(np.float32) for k, v in layer.items()} for layer in model.init(0)
        )
        save_model(folder / name, Saved(kind, model.widths, params, encoding, target), {}, {})
    return folder


def write(table: pa.Table, folder: Path, ending: str, parts: int = 3) -> str:
    folder.mkdir()
    writers = {"parquet": parquet.write_table, "csv": csv.write_csv, "orc": orc.write_table}
    each = -(-len(table) // parts)
    for i in range(parts):
        writers[ending](table.slice(i * each, each), str(folder / f"part-{i}.{ending}"))
    return f"{folder}/part-*.{ending}"


def read(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return parquet.read_table(path)
    return ipc.open_file(path).read_all() if path.suffix == ".arrow" else csv.read_csv(path)


def same(one: pa.Table, other: pa.Table) -> None:
    assert one.schema.equals(other.schema)
    for a, b in zip(one.columns, other.columns, strict=True):
        if pa.types.is_floating(a.type):
            np.testing.assert_allclose(a.to_numpy(), b.to_numpy(), rtol=1e-4, atol=1e-5)
        else:
            assert np.mean(a.to_numpy() == b.to_numpy()) > 0.999  # but for ties within rounding


@pytest.mark.parametrize(
    ("given", "made"), [("parquet", "parquet"), ("csv", "csv"), ("csv", "arrow"), ("orc", "csv.gz")]
)
@pytest.mark.parametrize("target", ["price", "class"])
def test_read_as_it_goes_it_gives_the_same(table, models, tmp_path, monkeypatch, given, made, target):
    source = write(table.drop_columns(["price", "class"]), tmp_path / "t", given)
    assert predict(models / target, [source], tmp_path / f"held.{made}") == _ROWS
    pieces, pack = [], Encoding.pack
    monkeypatch.setattr(predict_module, "read_table", lambda *_, **__: pytest.fail("it was read whole"))
    monkeypatch.setattr(Encoding, "pack", lambda *a: (pieces.append(a[1].rows), pack(*a))[1])
    assert predict(models / target, [source], tmp_path / f"kept.{made}", _LITTLE) == _ROWS
    assert len(pieces) >= 9
    assert max(pieces) <= _PIECE
    same(read(tmp_path / f"held.{made}"), read(tmp_path / f"kept.{made}"))
    assert sorted(os.listdir(tmp_path)) == [f"held.{made}", f"kept.{made}", "t"]


def test_what_is_read_is_written_before_more_is_read(table, models, tmp_path, monkeypatch):
    seen, writer = [], predictions_module._WRITERS[".csv"]
    pack = Encoding.pack

    class Noted(writer):
        def write_table(self, piece):
            seen.append("written")
            super().write_table(piece)

    monkeypatch.setitem(predictions_module._WRITERS, ".csv", Noted)
    monkeypatch.setattr(Encoding, "pack", lambda *a: (seen.append("read"), pack(*a))[1])
    predict(models / "price", [write(table, tmp_path / "t", "parquet")], tmp_path / "p.csv", _LITTLE)
    assert seen == ["read", "written"] * 9


def bad(table: pa.Table, column: str, rows: list[int], value) -> pa.Table:
    values = table[column].to_pylist()
    for row in rows:
        values[row] = value
    if isinstance(value, str):
        values = [None if v is None else str(v) for v in values]
    kind = pa.string() if isinstance(value, str) else table[column].type
    return table.set_column(table.column_names.index(column), column, pa.array(values, kind))


@pytest.mark.parametrize(
    ("change", "error", "words", "part", "row", "count"),
    [
        (lambda t: bad(t, "size", [1999, 2900], np.inf), DataError, r"holds inf at .* 1,000 \(2 such", 1, 1000, 2),
        (lambda t: bad(t, "size", [1999, 2900], 1e300), DataError, r"1e\+300 at .* 1,000 \(2 such", 1, 1000, 2),
        (lambda t: bad(t, "count", [1500, 2999], "many"), DataError, "'many' at .* 501|parts must agree", 1, 501, 2),
        (lambda t: t.set_column(1, "count", t["class"]), SchemaError, "'count' is text", 0, 1, _ROWS),
        (lambda t: t.drop_columns(["town"]), SchemaError, "there is no column 'town'", 0, None, 1),
        (lambda t: t.set_column(3, "day", t["price"]), SchemaError, "learned from a time", 0, 1, _ROWS),
    ],
)
@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_bad_table_is_named_and_nothing_is_left(
    table, models, tmp_path, change, error, words, part, row, count, ending
):
    source = write(change(table), tmp_path / "t", ending)
    (tmp_path / "p.csv").write_text("of before")
    with pytest.raises(error, match=words) as caught:
        predict(models / "price", [source], tmp_path / "p.csv", _LITTLE)
    assert caught.value.file == str(tmp_path / "t" / f"part-{part}.{ending}")
    if "parts must agree" not in str(caught.value):
        assert (caught.value.row, caught.value.count) == (row, count)
    assert sorted(os.listdir(tmp_path)) == ["p.csv", "t"]
    assert (tmp_path / "p.csv").read_text() == "of before"


@pytest.mark.parametrize("source", ["a.csv", "folder", "link.csv", "a.csv b.csv"])
def test_an_input_is_not_written_over(table, models, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("a.csv", "b.csv", "folder/a.csv"):
        csv.write_csv(table.slice(0, 20), tmp_path / name)
    (tmp_path / "link.csv").symlink_to("b.csv")
    out = tmp_path / {"folder": "folder/a.csv", "a.csv": "a.csv"}.get(source, "b.csv")
    before = out.read_bytes()
    with pytest.raises(ArgumentError, match="is one of the files to predict"):
        predict(models / "price", source.split(), out)
    assert out.read_bytes() == before
    predict(models / "price", source.split(), tmp_path / "p.csv")
    predict(models / "price", source.split(), tmp_path / "p.csv")


def test_no_rows_are_refused(table, models, tmp_path):
    source = write(table.slice(0, 0), tmp_path / "t", "parquet", 1)
    for memory in (1, None):
        with pytest.raises(TableError, match="no rows"):
            predict(models / "price", [source], tmp_path / "p.csv", memory)


def test_a_part_that_was_cut_is_named(table, models, tmp_path):
    source = write(table, tmp_path / "t", "csv")
    with open(tmp_path / "t" / "part-2.csv", "a") as file:
        file.write("1,2\n")
    with pytest.raises(TableError, match=r"part-2\.csv"):
        predict(models / "price", [source], tmp_path / "p.csv", _LITTLE)
    assert os.listdir(tmp_path) == ["t"]


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".arrow"])
def test_a_full_disk_leaves_what_was_there(table, models, tmp_path, monkeypatch, ending):
    made = predictions_module._WRITERS[ending]

    def full(sink, schema):
        writer, left = made(sink, schema), 3

        class Full:
            __enter__ = lambda self: self  # noqa: E731
            __exit__ = lambda self, *_: writer.close()  # noqa: E731

            def write_table(self, piece):
                nonlocal left
                left -= 1
                if not left:
                    raise OSError(errno.ENOSPC, "No space left on device", "p")
                writer.write_table(piece)

        return Full()

    monkeypatch.setitem(predictions_module._WRITERS, ending, full)
    out = tmp_path / f"p{ending}"
    out.write_text("of before")
    source = write(table, tmp_path / "t", "parquet")
    done = CliRunner().invoke(app, ["predict", str(models / "price"), source, "--out", str(out), "--memory", "1KB"])
    assert (done.exit_code, done.stderr) == (1, "error: p: No space left on device.\n")
    assert out.read_text() == "of before"
    assert sorted(os.listdir(tmp_path)) == [out.name, "t"]


def test_what_a_killed_process_left_is_removed(table, models, tmp_path):
    gone = Owner(Owner.this().host, 2**22 + 7, 1)  # no process has such a number
    (tmp_path / f".tmp-{gone}~0").mkdir()
    (tmp_path / f".tmp-{gone}~0" / "p.csv").write_text("half")
    files = [str(p) for p in sorted(Path(write(table, tmp_path / "t", "csv")).parent.iterdir())]
    done = CliRunner().invoke(app, ["predict", str(models / "class"), *files, "--out", str(tmp_path / "p.csv")])
    assert (done.exit_code, done.stdout.split()[0]) == (0, "3,000")
    assert sorted(os.listdir(tmp_path)) == ["p.csv", "t"]


def test_the_file_that_no_room_is_left_for_is_named(tmp_path):
    out = tmp_path / "p.csv"
    with pytest.raises(OSError, match="No space left") as caught, in_place_of(out):
        raise OSError(errno.ENOSPC, "Error writing bytes to file")
    assert caught.value.filename == str(out)
    assert not any(tmp_path.iterdir())


def test_a_terminal_that_lacks_a_letter_shows_the_rest(monkeypatch):
    narrow = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    monkeypatch.setattr(app_module, "app", lambda: print("R\u00b2 0.99"))
    app_module.run()
    narrow.flush()
    assert narrow.buffer.getvalue() == b"R? 0.99\n"

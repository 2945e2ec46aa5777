"""`descenso fit` on a table that does not fit into memory: the rows, the encoding and the model of one that does."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, orc, parquet
from typer.testing import CliRunner

from descenso._errors import DataError, SchemaError, TableError
from descenso.cli import large as large_module
from descenso.cli.app import app
from descenso.cli.large import rows_on_disk
from descenso.cli.resume import recall
from descenso.cli.rows import Learnable, Request, fits, rows_in_memory
from descenso.cli.saved import load_model
from descenso.data import csv as csv_module
from descenso.data import shuffle as shuffle_module
from descenso.data import stream as stream_module
from descenso.data import summary as summary_module
from descenso.data.cache import tidied
from descenso.data.column import TEXT, Column
from descenso.data.summary import Summary
from descenso.models import spread_out

_ROWS = 3000


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache folder of this test alone, and blocks small enough for a small table to have many."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for module in (large_module, stream_module):
        monkeypatch.setattr(module, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(csv_module, "_BLOCK", 1 << 14)
    return tmp_path / "cache" / "descenso" / "rows"


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """Every kind of column: gaps, rare levels, identifiers, constants, times; a number and a text to predict."""
    chance = np.random.default_rng(0)
    size = chance.lognormal(size=_ROWS)
    frequent = 1 / np.arange(1, 61)
    days = np.datetime64("2024-01-01") + chance.integers(0, 400, _ROWS).astype("timedelta64[D]")
    count = chance.integers(-5, 100, _ROWS)
    price = np.log(size) + 0.1 * count + chance.normal(size=_ROWS)
    return pa.table(
        {
            "size": pa.array(size, mask=chance.random(_ROWS) < 0.05),
            "count": pa.array(count, pa.int32()),
            "flag": chance.random(_ROWS) < 0.3,
            "town": pa.array(
                chance.choice([f"t{i}" for i in range(60)], _ROWS, p=frequent / frequent.sum()),
                mask=chance.random(_ROWS) < 0.02,
            ),
            "name": [f"u{i}" for i in range(_ROWS)],
            "day": pa.array(days).cast(pa.timestamp("s")),
            "country": ["here"] * _ROWS,
            "price": pa.array(price, mask=np.arange(_ROWS) % 997 == 3),
            "class": np.where(price > 6, "dear", np.where(price > 3, "fair", "cheap")),
        }
    )


def write(table: pa.Table, folder: Path, ending: str, parts: int = 3) -> str:
    """The table in so many files; the pattern that names them."""
    writers = {"parquet": parquet.write_table, "csv": csv.write_csv, "orc": orc.write_table}
    each = -(-len(table) // parts)
    for i in range(parts):
        writers[ending](table.slice(i * each, each), str(folder / f"part-{i}.{ending}"))
    return f"{folder}/part-*.{ending}"


def request(source: str, **more) -> Request:
    given = {"target": "price", "drop": ("class",), "memory": 200_000} | more
    return Request((source,), **given)


def test_what_fits_is_told_from_what_does_not(table, tmp_path):
    for ending in ("parquet", "csv", "orc"):
        asked = request(write(table, tmp_path, ending))
        assert [fits(asked, memory) for memory in (1 << 20, 1 << 30)] == [False, True]
    wide = table.append_column("fixed", pa.array(["x"] * len(table)))
    assert fits(request(write(wide, tmp_path, "parquet")), 1 << 22)
    assert fits(Request(("example:diabetes",), "target"), 1)


# the same rows


def close(a, b) -> bool:
    """Whether two pieces of JSON agree: numbers to 1e-6, all else exactly."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(close, a, b))
    return a == pytest.approx(b, rel=1e-6, abs=1e-12) if isinstance(a, float) else a == b


def same(held: Learnable, kept: Learnable) -> None:
    """Encoding, target, sets of rows and notes agree: numbers to 1e-6, all else exactly."""
    assert close(held.encoding.to_json(), kept.encoding.to_json())
    assert close(held.target.to_json(), kept.target.to_json())
    assert (held.notes, held.held_from) == (kept.notes, kept.held_from)
    for one, other in ((held.train, kept.train), (held.held, kept.held), (held.stop, kept.stop)):
        if one is None:
            assert other is None
            continue
        found = np.asarray(spread_out(np.asarray(other.inputs), kept.spread))
        np.testing.assert_allclose(found, one.inputs, atol=1e-6)
        np.testing.assert_allclose(np.asarray(other.targets), one.targets, atol=1e-6)


@pytest.mark.parametrize("ending", ["parquet", "csv", "orc"])
@pytest.mark.parametrize("model", ["linear", "mlp"])
@pytest.mark.parametrize("target", ["price", "class"])
def test_the_rows_are_those_in_memory(table, tmp_path, ending, model, target):
    drop = ("class",) if target == "price" else ("price",)
    asked = request(write(table, tmp_path, ending), target=target, drop=drop, model=model)
    kept = rows_on_disk(asked, 200_000)
    same(rows_in_memory(asked), kept)
    assert len(kept.encoding.inputs) > 2 * len(kept.spread)  # a category is one number


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_task_can_be_asked_for(table, tmp_path, task):
    asked = request(write(table, tmp_path, "parquet"), target="count", task=task)
    same(rows_in_memory(asked), rows_on_disk(asked, 200_000))


def test_a_table_to_measure_on_is_encoded_by_the_other(table, tmp_path):
    (tmp_path / "v").mkdir()
    other = write(table.slice(100, 901).drop_columns(["name"]), tmp_path / "v", "csv")
    asked = request(write(table, tmp_path, "parquet"), drop=("class", "name"), valid=other)
    kept = rows_on_disk(asked, 200_000)
    same(rows_in_memory(asked), kept)
    assert len(kept.held) == 900


def test_types_that_show_late_in_a_text_file_are_those_of_the_whole(tmp_path):
    rows = 4000
    lines = {
        "whole": [str(i) for i in range(rows - 1)] + ["0.5"],
        "code": [str(i % 7) for i in range(rows - 9)] + ["x"] * 9,
        "late": [""] * (rows - 30) + ["2024-01-01"] * 30,
        "moment": ["2024-01-01"] * (rows - 2) + ["2024-01-01 10:00:00", "2024-01-02 11:00:00.5"],
        "truth": ["true"] * 2000 + ["false"] * 2000,
        "y": [str(i % 13 + 0.25) for i in range(rows)],
    }
    path = tmp_path / "t.csv"
    path.write_text(",".join(lines) + "\n" + "\n".join(map(",".join, zip(*lines.values(), strict=True))))
    asked = request(str(path), target="y", drop=())
    kept = rows_on_disk(asked, 100_000)
    same(rows_in_memory(asked), kept)
    assert {f.name: f.column for f in kept.encoding.features}["code"] == TEXT


def test_texts_beyond_what_is_counted_leave_the_frequent(monkeypatch):
    monkeypatch.setattr(summary_module, "MOST_COUNTED", 100)
    chance = np.random.default_rng(0)
    seen = Summary("t", TEXT)
    for _ in range(20):
        texts = [f"once {i}" for i in chance.integers(0, 1 << 40, 300)] + ["often"] * 50 + ["oftener"] * 60
        levels = tuple(dict.fromkeys(texts))
        place = {level: i for i, level in enumerate(levels)}
        seen.add(Column("t", TEXT, np.array([place[t] for t in texts]), levels))
    counts, lost = seen.levels.counts, seen.levels.lost
    assert 0 < lost <= 20 * 410 / 100
    assert len(counts) <= 200
    assert 1000 - lost <= counts["often"] <= 1000
    assert 1200 - lost <= counts["oftener"] <= 1200


def test_rows_sorted_by_their_target_are_shuffled(table, tmp_path, monkeypatch):
    monkeypatch.setattr(shuffle_module, "_GROUP", 64)
    ordered = table.sort_by("price")
    asked = request(write(ordered, tmp_path, "parquet"), memory=60_000)
    kept = rows_on_disk(asked, 60_000)
    assert kept.notes[-1] == "the rows are in an order that follows 'price': they were shuffled on disk"
    targets = np.asarray(kept.train.targets)
    assert abs(np.corrcoef(targets, np.arange(len(targets)))[0, 1]) < 0.1
    held = rows_in_memory(asked)
    np.testing.assert_allclose(np.sort(targets), np.sort(held.train.targets), atol=1e-6)


# what is kept


def test_the_same_command_finds_the_rows_again(table, tmp_path, cache, monkeypatch):
    asked = request(write(table, tmp_path, "csv"))
    first = rows_on_disk(asked, 200_000)
    with monkeypatch.context() as patch:
        patch.setattr(large_module, "parts_of", lambda *_: pytest.fail("it was read again"))
        assert rows_on_disk(asked, 400_000).train.inputs.path == first.train.inputs.path
    rows_on_disk(request(write(table, tmp_path, "csv"), seed=1), 200_000)
    assert len(os.listdir(cache)) == 2
    assert sorted(os.listdir(first.train.inputs.path.parent)) == [
        *(f"{name}.f32" for name in ("held.inputs", "held.targets")),
        "manifest.json",
        *(f"{name}.f32" for name in ("train.inputs", "train.targets")),
    ]


def test_only_rows_that_were_kept_are_forgotten(table, tmp_path):
    folder, old = tmp_path / "cache-of-mine", time.time() - 40 * 86_400
    rows_on_disk(request(write(table.slice(0, 300), tmp_path, "parquet"), cache=folder), 200_000)
    (kept,) = folder.iterdir()
    (folder / "tables").mkdir()
    for path in (kept, folder / "tables"):
        os.utime(path, (old, old))
    tidied(folder)
    assert [p.name for p in folder.iterdir()] == ["tables"]


def bad(table: pa.Table, column: str, row: int, value) -> pa.Table:
    values = table[column].to_pylist()
    values[row] = value
    kind = pa.string() if isinstance(value, str) else table[column].type
    values = [None if v is None else str(v) for v in values] if isinstance(value, str) else values
    return table.set_column(table.column_names.index(column), column, pa.array(values, kind))


@pytest.mark.parametrize(
    ("change", "words", "row"),
    [
        (lambda t: bad(t, "size", 2500, np.inf), "'size' holds inf at data row 501 ", 501),
        (lambda t: bad(t, "size", 2020, 1e300), "'size' holds 1e.300 at data row 21 ", 21),  # a row that is held out
        (lambda t: bad(t, "price", 1026, -1e300), "'price' holds -1e.300 at data row 27 ", 27),
        (lambda t: bad(t, "price", 1999, -np.inf), "'price' holds -inf at data row 1,000 ", 1000),
        (lambda t: bad(t, "count", 1500, "many"), "'count' holds (text, but numbers in|.* text in 1; the first)", None),
        (lambda t: t.append_column("again", t["price"]), "'again' equals the target", 1),
        (lambda t: t.set_column(0, "size", pa.nulls(len(t), pa.float64())), "'size' has no value in any", 1),
    ],
)
@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_what_cannot_be_learned_from_is_named_with_its_part(table, tmp_path, cache, change, words, row, ending):
    asked = request(write(change(table), tmp_path, ending))
    with pytest.raises(DataError, match=words) as caught:
        rows_on_disk(asked, 200_000)
    if "count" not in words:
        assert caught.value.row == row
    if "row" in words:
        assert caught.value.file.endswith((f"part-{2 if 'size' in words else 1}.{ending}",))
    assert os.listdir(cache) == []


def test_targets_that_cannot_be_learned_are_named(table, tmp_path):
    source = write(table.append_column("one", pa.array([1.0] * _ROWS)), tmp_path, "parquet")
    for target, words in [("one", "is 1 in all"), ("name", "Classes must repeat"), ("prize", "no column 'prize'")]:
        with pytest.raises(DataError, match=words):
            rows_on_disk(request(source, target=target, drop=()), 200_000)
    with pytest.raises(DataError, match="A regression needs numbers"):
        rows_on_disk(request(source, target="town", drop=(), task="regression"), 200_000)


def test_parts_that_differ_are_named(table, tmp_path):
    write(table, tmp_path, "parquet", 2)
    csv.write_csv(table.drop_columns(["town"]), tmp_path / "part-2.csv")
    with pytest.raises(SchemaError, match="lacks 'town'") as caught:
        rows_on_disk(request(f"{tmp_path}/part-*"), 200_000)
    assert caught.value.file == str(tmp_path / "part-2.csv")
    (tmp_path / "part-2.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(TableError, match="CSV"):
        rows_on_disk(Request((str(tmp_path / "part-2.csv"),), "b"), 200_000)


# the same model


def fit(*arguments: object) -> dict:
    result = CliRunner().invoke(app, ["fit", *map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def params(folder: Path) -> np.ndarray:
    return np.concatenate([a.ravel() for layer in load_model(folder).params for a in layer.values()])


def test_read_from_disk_it_is_the_same_run_and_in_windows_as_good(table, tmp_path):
    """At 1 MB the rows in short fit into half of the memory, and every step sees all of them; at 100 KB they do not."""
    files = sorted(Path(write(table, tmp_path, "csv")).parent.glob("part-*"))
    more = (*files, "--target", "class", "--drop", "price", "--cache", tmp_path / "here")
    held, kept = (
        fit(*more, "--budget-epochs", 100, "--out", tmp_path / name, *memory)
        for name, memory in (("held", ()), ("kept", ("--memory", "1MB")))
    )
    assert (held["steps"], held["rows"]) == (kept["steps"], kept["rows"])
    np.testing.assert_allclose(params(tmp_path / "kept"), params(tmp_path / "held"), rtol=1e-4, atol=1e-4)
    assert kept["metrics"] == pytest.approx(held["metrics"], abs=1e-5)
    records = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("held", "kept")]
    assert records[0]["split"] == records[1]["split"]

    run = ("--budget-epochs", 8, "--batch-size", 32, "--checkpoint", tmp_path / "run", "--out", tmp_path / "w")
    streamed = fit(*more, *run, "--memory", "100KB")
    assert streamed["metrics"]["log_loss"] == pytest.approx(held["metrics"]["log_loss"], abs=0.05)
    again = fit(*more, *run)  # goes on from the end, with the memory of then
    assert again["metrics"] == streamed["metrics"]
    told = recall(tmp_path / "run")
    assert (told.memory, told.table, told.cache) == (100_000, tuple(map(str, files)), tmp_path / "here")
    assert len(os.listdir(tmp_path / "here")) == 1


def test_streamed_through_one_window_it_is_the_same_run(table, tmp_path, monkeypatch):
    monkeypatch.setattr(stream_module, "_PARTS", 1)
    more = ("--target", "price", "--drop", "class", "--batch-size", 50, "--budget-epochs", 2)
    held = fit(write(table, tmp_path, "parquet"), *more, "--out", tmp_path / "held")
    kept = fit(f"{tmp_path}/part-*", *more, "--out", tmp_path / "kept", "--memory", 150_000)
    told = [f["message"] for f in json.loads((tmp_path / "kept" / "run.json").read_text())["findings"]]
    assert [t for t in told if "windows of 2,397 rows" in t]
    assert (held["steps"], held["rows"]) == (kept["steps"], kept["rows"])
    np.testing.assert_allclose(params(tmp_path / "kept"), params(tmp_path / "held"), rtol=1e-6, atol=1e-6)

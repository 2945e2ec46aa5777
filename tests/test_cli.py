"""The command line, run as a process on real files: what it prints, what it leaves, how it exits."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from typer.testing import CliRunner

from descenso.cli.app import app

KEYS = [
    "task",
    "model",
    "rows",
    "metrics",
    "reason",
    "success",
    "message",
    "steps",
    "gradients",
    "epochs",
    "seconds",
    "out",
]
PROCESS = [sys.executable, "-c", "from descenso.cli import main; main()"]


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object) -> Done:
    """The command in this process: only a few tests need one of their own, and JAX takes seconds to load."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return Done(result.exit_code, result.stdout, result.stderr)


def process(*arguments: object, cwd: Path, code: str | None = None) -> Done:
    """The command in a process of its own, or other code in place of it."""
    command = PROCESS if code is None else [sys.executable, "-c", code]
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )
    return Done(done.returncode, done.stdout, done.stderr)


def line(done: Done) -> dict:
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def houses(folder) -> Path:
    """A table with a number to predict, gaps, a category, a constant and rows without a target."""
    rng = np.random.default_rng(0)
    size, town = rng.uniform(30, 200, 400), rng.choice(["Ulm", "Bern", "Graz"], 400)
    price = 1000 * size + 50_000 * (town == "Bern") + rng.normal(0, 5000, 400)
    table = pa.table(
        {
            "size": pa.array(size, mask=rng.random(400) < 0.05),
            "town": town,
            "country": ["here"] * 400,
            "price": pa.array(price, mask=np.arange(400) % 100 == 7),
        }
    )
    csv.write_csv(table, folder / "houses.csv")
    parquet.write_table(table.slice(0, 50), folder / "few.parquet")
    return folder / "houses.csv"


@pytest.fixture(scope="module")
def fitted(houses, folder) -> tuple[dict, Path]:
    done = process("fit", houses, "--target", "price", "--json", "--out", folder / "house", cwd=folder)
    return line(done), folder / "house"


def test_the_line_has_the_keys_that_were_promised(fitted):
    found, out = fitted
    assert list(found) == KEYS
    assert (found["task"], found["model"], found["out"]) == ("regression", "linear", str(out))
    assert list(found["metrics"]) == ["rmse", "mae", "r2"]
    assert found["rows"] == 396 - round(0.2 * 396)
    assert found["success"] is True


def test_the_metrics_are_those_of_least_squares_on_the_held_out_rows(fitted):
    assert 3500 < fitted[0]["metrics"]["rmse"] < 20_000
    assert fitted[0]["metrics"]["r2"] > 0.85


def test_the_folder_holds_three_files_of_numbers_and_text(fitted):
    found, out = fitted
    assert sorted(os.listdir(out)) == ["model.json", "model.safetensors", "run.json"]
    record = json.loads((out / "run.json").read_text())
    assert {k: record[k] for k in ("reason", "message", "steps")} == {
        k: found[k] for k in ("reason", "message", "steps")
    }
    assert record["arguments"]["target"] == "price"
    assert record["split"] == {
        "descended_on": 317,
        "chose_the_stop": 0,
        "measured_on": 79,
        "measured_from": "79 of 396 rows, chosen by seed 0",
    }
    assert len(record["history"]["loss"]) == len(record["history"]["step"]) > 0
    assert any("4 of 400 rows" in note for note in record["notes"])
    assert any("'country' is left out: it is 'here'" in note for note in record["notes"])
    model = json.loads((out / "model.json").read_text())
    assert model["target"]["name"] == "price"
    assert {"descenso", "jax", "numpy", "pyarrow", "python"} <= set(model["versions"])


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet", "arrow"])
def test_predict_writes_a_row_for_every_row(fitted, houses, folder, ending):
    out = folder / f"prediction.{ending}"
    done = run("predict", fitted[1], houses, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert "400 predictions written" in done.stdout
    readers = {"parquet": parquet.read_table, "arrow": lambda p: pa.ipc.open_file(p).read_all()}
    predicted = readers.get(ending, csv.read_csv)(out)["prediction"].to_numpy()
    truth = csv.read_csv(houses)["price"].to_numpy(zero_copy_only=False)
    known = ~np.isnan(truth)
    assert len(predicted) == 400
    assert np.corrcoef(predicted[known], truth[known])[0, 1] > 0.95
    assert not [name for name in os.listdir(folder) if name.startswith(".")]


def test_predict_works_on_another_format_without_the_target(fitted, folder):
    table = parquet.read_table(folder / "few.parquet").drop_columns(["price", "country"])
    parquet.write_table(table, folder / "new.parquet")
    done = run("predict", fitted[1], folder / "new.parquet", "--out", folder / "p.csv")
    assert (done.returncode, "50 predictions" in done.stdout) == (0, True)


def test_predict_names_the_columns_that_do_not_fit(fitted, folder):
    table = parquet.read_table(folder / "few.parquet").rename_columns(["Size", "town", "country", "price"])
    parquet.write_table(table, folder / "renamed.parquet")
    done = run("predict", fitted[1], folder / "renamed.parquet", "--out", folder / "q.csv")
    assert done.returncode == 2
    assert "there is no column 'size'" in done.stderr
    assert "did you mean 'Size'" in done.stderr
    (folder / "text.csv").write_text("size,town\n12,Ulm\nbig,Ulm\n")
    done = run("predict", fitted[1], folder / "text.csv", "--out", folder / "q.csv")
    assert done.returncode == 2
    assert "column 'size' is text" in done.stderr
    assert not (folder / "q.csv").exists()


def test_classes_get_their_labels_and_probabilities(folder):
    rng = np.random.default_rng(1)
    x = rng.normal(size=300)
    kind = np.where(x > 0.5, "high", np.where(x < -0.5, "low", "mid"))
    csv.write_csv(pa.table({"x": x, "kind": kind}), folder / "kinds.csv")
    found = line(
        run(
            "fit",
            folder / "kinds.csv",
            "--target",
            "kind",
            "--model",
            "mlp",
            "--budget-epochs",
            40,
            "--json",
            "--out",
            folder / "kind",
        )
    )
    assert found["task"] == "classification"
    assert found["metrics"]["accuracy"] > 0.9
    assert list(found["metrics"]) == ["accuracy", "log_loss", "auc"]
    run("predict", folder / "kind", folder / "kinds.csv", "--out", folder / "kind.csv")
    predicted = csv.read_csv(folder / "kind.csv")
    assert predicted.column_names == ["prediction", "probability high", "probability low", "probability mid"]
    assert np.mean(predicted["prediction"].to_numpy() == kind) > 0.9
    sums = sum(predicted[name].to_numpy() for name in predicted.column_names[1:])
    np.testing.assert_allclose(sums, 1, rtol=1e-6)


def test_a_file_to_measure_on_is_measured_on_whole(houses, folder, fitted):
    arguments = ["fit", houses, "--target", "price", "--drop", "size", "--json", "--out", folder / "v"]
    found = line(run(*arguments, "--valid", folder / "few.parquet"))
    record = json.loads((folder / "v" / "run.json").read_text())
    assert (found["rows"], record["split"]["measured_on"]) == (396, 49)
    assert record["split"]["measured_from"].endswith("few.parquet")
    assert found["metrics"]["r2"] < 0.6  # without the size


def test_the_same_seed_is_the_same_run_and_another_is_not(houses, folder):
    def metrics(seed: int) -> dict:
        return line(run("fit", houses, "--target", "price", "--seed", seed, "--json", "--out", folder / "s"))["metrics"]

    assert metrics(1) == metrics(1)
    assert metrics(1) != metrics(2)


def test_the_ending_says_what_was_measured_on_what(houses, folder):
    done = run(
        "fit",
        houses,
        "--target",
        "price",
        "--task",
        "regression",
        "--out",
        folder / "t",
        "--model",
        "mlp",
        "--budget-epochs",
        "3",
    )
    assert done.returncode == 0
    for part in ("RMSE", "guessing", "79 of 396 rows", "more chose where to stop", "budget", str(folder / "t")):
        assert part in re.sub(r"\s+", " ", done.stdout)
    assert "note: " in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
    quiet = run("fit", houses, "--target", "price", "--out", folder / "t", "--quiet")
    assert "note: " not in quiet.stdout
    assert "RMSE" in quiet.stdout


MISTAKES = {
    "no file": (["fit", "none.csv", "--target", "y"], "none.csv: there is no such file"),
    "no target": (["fit", "houses.csv", "--target", "prize"], "no column 'prize'(?s:.*)did you mean 'price'"),
    "no column to drop": (["fit", "houses.csv", "--target", "price", "--drop", "x"], "no column 'x'"),
    "only constants": (
        ["fit", "houses.csv", "--target", "price", "--drop", "size", "--drop", "town"],
        "no column is left",
    ),
    "two ways to measure": (
        ["fit", "houses.csv", "--target", "price", "--valid", "x", "--valid-fraction", ".1"],
        "both given",
    ),
    "fraction": (["fit", "houses.csv", "--target", "price", "--valid-fraction", "1"], "between 0 and 1"),
    "batch size": (["fit", "houses.csv", "--target", "price", "--batch-size", "many"], "must be auto, all or a number"),
    "batch too large": (["fit", "houses.csv", "--target", "price", "--batch-size", "5000"], "5,000"),
    "budget": (["fit", "houses.csv", "--target", "price", "--budget-seconds", "0"], "must be a number above 0"),
    "task": (["fit", "houses.csv", "--target", "town", "--task", "regression"], "town' is text"),
    "a folder in the way": (
        ["fit", "houses.csv", "--target", "price", "--out", "."],
        "holds other things than a model",
    ),
    "a file in the way": (["fit", "houses.csv", "--target", "price", "--out", "houses.csv"], "this is a file"),
    "no model": (["predict", "nowhere", "houses.csv", "--out", "p.csv"], "nowhere: this does not exist"),
    "not a model": (["predict", ".", "houses.csv", "--out", "p.csv"], "there is no model.json"),
    "an ending": (["predict", "house", "houses.csv", "--out", "p.xlsx"], "must end in one of"),
    "a folder for the predictions": (
        ["predict", "house", "houses.csv", "--out", "a/b/p.csv"],
        "folder that is not there",
    ),
    "an unknown option": (["fit", "houses.csv", "--target", "price", "--model", "forest"], "forest"),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.usefixtures("fitted")
def test_a_mistake_is_one_message_and_status_2(name, folder, monkeypatch):
    arguments, message = MISTAKES[name]
    monkeypatch.chdir(folder)
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") or name == "an unknown option"


def test_the_model_is_named_after_the_table_and_replaced(houses, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "two.v2.csv"
    table.write_text(houses.read_text())
    for seed in ("1", "2"):
        done = run("fit", "two.v2.csv", "--target", "price", "--seed", seed, "--json")
        assert line(done)["out"] == "two.model"
    assert json.loads((tmp_path / "two.model" / "run.json").read_text())["arguments"]["seed"] == 2
    assert sorted(os.listdir(tmp_path)) == ["two.model", "two.v2.csv"]


def test_a_run_that_ends_unusable_is_status_1_and_leaves_no_model(tmp_path):
    rng = np.random.default_rng(0)
    csv.write_csv(pa.table({"x": rng.normal(size=50), "y": rng.normal(size=50)}), tmp_path / "t.csv")
    code = (
        "import descenso.cli.fit as f; from descenso.cli import main\n"
        "f.losses = type('L', (), {'squared': staticmethod(lambda p, t: (p - t) * float('nan')), 'Loss': object})\n"
        "main()"
    )
    done = process("fit", "t.csv", "--target", "y", "--json", cwd=tmp_path, code=code)
    found = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert found["reason"] == "nonfinite"
    assert found["out"] is None
    assert found["success"] is False
    assert os.listdir(tmp_path / "t.model") == ["run.json"]


def test_version_and_help_load_no_jax(tmp_path):
    code = (
        "import sys; from descenso.cli import main\ntry: main()\nfinally: print('jax' in sys.modules, file=sys.stderr)"
    )
    for argument in ("--version", "--help"):
        done = process(argument, cwd=tmp_path, code=code)
        assert (done.returncode, done.stderr.strip()) == (0, "False")
    assert process("--version", cwd=tmp_path).stdout.startswith("descenso 0.")


def terminal(*arguments: str, cwd: Path, interrupt_at: str) -> tuple[int, str]:
    """Run on a pseudo-terminal; Ctrl-C is pressed once the given text has been seen."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    child = subprocess.Popen([*PROCESS, *arguments], cwd=cwd, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen, pressed = "", False
    while block := read_terminal(ours):
        seen += block
        if interrupt_at in seen and not pressed:
            child.send_signal(signal.SIGINT)
            pressed = True
    os.close(ours)
    return child.wait(timeout=60), seen


def read_terminal(handle: int) -> str:
    """What is written next, or nothing once the other end is closed."""
    try:
        return os.read(handle, 1 << 16).decode(errors="replace")
    except OSError:  # that is how Linux says it
        return ""


def test_a_bar_lives_on_a_terminal_and_ctrl_c_keeps_the_model(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 20))
    columns = {f"x{i}": x[:, i] for i in range(20)} | {"y": np.sin(3 * x[:, 0]) * x[:, 1]}
    csv.write_csv(pa.table(columns), tmp_path / "t.csv")
    status, seen = terminal(
        "fit", "t.csv", "--target", "y", "--model", "mlp", cwd=tmp_path, interrupt_at="learning rate"
    )
    assert status == 0, seen
    assert "rows/s" in seen
    assert "interrupted" in seen
    assert sorted(os.listdir(tmp_path / "t.model")) == ["model.json", "model.safetensors", "run.json"]

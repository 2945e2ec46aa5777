"""`descenso fit` with no option but the target, beside scikit-learn on the same rows: `python -m benchmarks.tables`.

Both are whole processes: start-up, reading, encoding, fitting and measuring count. scikit-learn gets what its guide
tells a user to write: imputation with an indicator, StandardScaler, OneHotEncoder, then the estimator at its defaults.
On hflights ridge is also given the encoder that keeps the 200 most frequent levels of at least 10 rows, as descenso
does.

Data: DESCENSO_DATA names a folder that holds, under these names,
    adult/train.csv.gz, adult/test.csv.gz   UCI adult (Kohavi and Becker), with a header; github.com/jbrownlee/Datasets
    california_housing/housing.csv.gz       1990 census (Pace and Barry); github.com/ageron/handson-ml
    hflights/hflights.csv.xz                flights from Houston 2011; github.com/hadley/hflights
breast-cancer, diabetes and digits come with scikit-learn; without DESCENSO_DATA they alone are run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from descenso.data.column import TEXT, Table
from descenso.data.split import hold_out
from descenso.data.table import read_table
from descenso.data.target import CLASSIFICATION
from descenso.data.task import fit_target, infer_task

# known only when the flight has left or landed, or whether it was cancelled
LEAKS = ("DepTime", "ArrTime", "ActualElapsedTime", "AirTime", "DepDelay", "TaxiIn", "TaxiOut", "Cancelled")
LEAKS += ("CancellationCode", "Diverted")


@dataclass(frozen=True)
class Job:
    """A table, its target, and what is to be reached: `metric` at most (at least, for accuracy) `goal`.

    A goal "1 %" is within 1 % of the first of scikit-learn's.
    """

    name: str
    table: str
    target: str
    model: str
    metric: str
    goal: float | str | None = None
    valid: str | None = None
    drop: tuple[str, ...] = ()
    peers: tuple[str, ...] = ("default",)


HOUSING, FLIGHTS = "california_housing/housing.csv.gz", "hflights/hflights.csv.xz"
ADULT = {"table": "adult/train.csv.gz", "target": "income", "metric": "log_loss", "valid": "adult/test.csv.gz"}
JOBS = (
    Job("breast-cancer", "example:breast-cancer", "target", "linear", "accuracy", 0.95),
    Job("breast-cancer", "example:breast-cancer", "target", "mlp", "accuracy"),
    Job("digits", "example:digits", "target", "linear", "log_loss"),
    Job("digits", "example:digits", "target", "mlp", "log_loss"),
    Job("diabetes", "example:diabetes", "target", "linear", "rmse"),
    Job("diabetes", "example:diabetes", "target", "mlp", "rmse"),
    Job("adult", model="linear", goal=0.319, **ADULT),
    Job("adult", model="mlp", goal=0.316, **ADULT),
    Job("california", HOUSING, "median_house_value", "linear", "rmse", "1 %"),
    Job("california", HOUSING, "median_house_value", "mlp", "rmse", 55_000.0),
    Job("hflights", FLIGHTS, "ArrDelay", "linear", "rmse", "1 %", drop=LEAKS, peers=("default", "capped")),
    Job("hflights", FLIGHTS, "ArrDelay", "mlp", "rmse", drop=LEAKS, peers=()),
)


def ours(job: Job, seed: int) -> dict[str, Any]:
    """Run the command line; its line of JSON, and the seconds of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "from descenso.cli import main; main()", "fit", job.table, "--json"]
        command += ["--target", job.target, "--model", job.model, "--out", f"{folder}/model", "--seed", str(seed)]
        command += ["--valid", job.valid] if job.valid else []
        for name in job.drop:
            command += ["--drop", name]
        start = perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{job.name}, {job.model}: exit status {done.returncode}\n{done.stderr}{done.stdout}")
    return json.loads(done.stdout) | {"process": seconds}


def theirs(number: int, seed: int, peer: str) -> dict[str, Any]:
    """Run `peer_here` in a process of its own; its metrics, and the seconds of the whole process."""
    command = [sys.executable, "-m", "benchmarks.tables", "--peer", str(number), peer, str(seed)]
    start = perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    return json.loads(done.stdout) | {"process": perf_counter() - start}


def peer_here(job: Job, peer: str, seed: int) -> dict[str, Any]:
    """scikit-learn on the rows that `descenso fit` learns from and measures on."""
    train, held = same_rows(job, seed)
    kinds = [c.kind for n, c in train.columns.items() if n != job.target]
    y, y_held = (_target(t, job.target) for t in (train, held))
    x, x_held = (_features(t, job.target) for t in (train, held))
    start = perf_counter()
    pipeline = _pipeline(kinds, job, peer, classes=y.dtype == object or job.metric != "rmse")
    pipeline.fit(x, y)
    return _measure(pipeline, x_held, y_held, job) | {"fit": perf_counter() - start}


def same_rows(job: Job, seed: int) -> tuple[Table, Table]:
    """The rows that are not held out, and those that are, as the command line splits them."""
    table = read_table(job.table, drop=job.drop)
    table = table.take(~table.column(job.target).missing)
    if job.valid:
        return table, read_table(job.valid)
    column = table.column(job.target)
    target = fit_target(table.file, column, infer_task(column)[0])
    groups = target.encode(table.file, column) if target.task == CLASSIFICATION else None
    mask = hold_out(table.rows, 0.2, seed, groups=groups, purpose="held out")
    return table.take(~mask), table.take(mask)


def _features(table: Table, target: str) -> np.ndarray:
    columns = [c for n, c in table.columns.items() if n != target]
    out = np.empty((table.rows, len(columns)), object)
    for i, c in enumerate(columns):
        out[:, i] = np.array([*c.levels, "missing"], object)[c.values] if c.kind == TEXT else c.values
    return out


def _target(table: Table, name: str) -> np.ndarray:
    column = table.column(name)
    return np.array(column.levels, object)[column.values] if column.kind == TEXT else column.values


def _pipeline(kinds: list[str], job: Job, peer: str, *, classes: bool):
    from sklearn import linear_model, neural_network
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    capped = {"min_frequency": 10, "max_categories": 201} if peer == "capped" else {}
    words = [i for i, kind in enumerate(kinds) if kind == TEXT]
    numbers = [i for i, kind in enumerate(kinds) if kind != TEXT]
    encode = make_column_transformer(
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="infrequent_if_exist" if capped else "ignore", **capped), words),
    )
    if job.model == "linear":
        model = linear_model.LogisticRegression(max_iter=10_000) if classes else linear_model.Ridge()
    elif classes:
        model = neural_network.MLPClassifier(early_stopping=True, max_iter=1000, random_state=0)
    else:
        model = neural_network.MLPRegressor(early_stopping=True, max_iter=1000, random_state=0)
    if job.model == "mlp" and not classes:
        from sklearn.compose import TransformedTargetRegressor

        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    return make_pipeline(encode, model)


def _measure(pipeline, x: np.ndarray, y: np.ndarray, job: Job) -> dict[str, float]:
    from sklearn import metrics

    if job.metric == "rmse":
        return {"rmse": float(metrics.root_mean_squared_error(y, pipeline.predict(x)))}
    p = pipeline.predict_proba(x)
    labels = pipeline.classes_
    return {
        "accuracy": float(metrics.accuracy_score(y, labels[p.argmax(axis=1)])),
        "log_loss": float(metrics.log_loss(y, p, labels=labels)),
    }


def report(job: Job, number: int, seed: int) -> bool:
    """Run a job and its peers, print one line, and say whether the goal was reached."""
    mine = ours(job, seed)
    others = {peer: theirs(number, seed, peer) for peer in job.peers}
    value = mine["metrics"][job.metric]
    first = next(iter(others.values()))[job.metric] if others else None
    goal = 1.01 * first if job.goal == "1 %" and first is not None else job.goal
    reached = goal is None or (value >= goal if job.metric == "accuracy" else value <= goal)
    verdict = "" if goal is None else f"goal {goal:,.6g}: {'reached' if reached else 'MISSED'}"
    peers = "  ".join(
        f"sklearn {p} {o[job.metric]:,.6g} ({o['process']:.1f} s, fit {o['fit']:.1f})" for p, o in others.items()
    )
    print(
        f"{job.name:<14} {job.model:<7} {job.metric:<9} {value:>10,.6g} ({mine['process']:.1f} s, descent "
        f"{mine['seconds']:.1f}; {mine['reason']}, {mine['steps']:,} steps)  {peers}  {verdict}",
        flush=True,
    )
    return reached


def main(argv: list[str] | None = None) -> int:
    """Run the jobs whose data is there; the exit status is 1 where a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of jobs, separated by commas")
    parser.add_argument("--model", default="", help="linear or mlp")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer", nargs=3, metavar=("NUMBER", "PEER", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    jobs = [_found(job) for job in JOBS]
    if args.peer:
        number, peer, seed = args.peer
        print(json.dumps(peer_here(jobs[int(number)], peer, int(seed))))
        return 0
    chosen = [
        (i, job)
        for i, job in enumerate(jobs)
        if (not args.only or job.name in args.only.split(",")) and args.model in ("", job.model) and _is_there(job)
    ]
    reached = [report(job, i, args.seed) for i, job in chosen]
    return int(not all(reached))


def _found(job: Job) -> Job:
    folder = Path(os.environ.get("DESCENSO_DATA", "."))
    paths = {k: str(folder / v) for k in ("table", "valid") if (v := getattr(job, k)) and not v.startswith("example:")}
    return Job(**{**vars(job), **paths})


def _is_there(job: Job) -> bool:
    return job.table.startswith("example:") or Path(job.table).is_file()


if __name__ == "__main__":
    sys.exit(main())

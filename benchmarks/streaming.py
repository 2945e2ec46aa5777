"""Rows read as they are needed, against other ways to read them; and an epoch over a large table in little memory.

    python -m benchmarks.streaming ratios [FOLDER]             rows per second, and ratios to descenso
    python -m benchmarks.streaming curve [FOLDER]              the cost of a row from 1e5 to 5e7 rows
    python -m benchmarks.streaming large [FOLDER] [GIGABYTES] [LIMIT]
        `descenso fit` for one epoch on a table with categories and missing values, and `descenso predict` of all of
        it, each under a hard limit on the data segment of LIMIT gigabytes, by default 1

Tables are made on the spot and deleted after. Columns are float32 without structure that would compress.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.timing import in_turn, machine, show

COLUMNS, BATCH = 30, 256
CATEGORIES, LEVELS, MISSING = 4, 40, 0.05  # of a large table: further columns, texts of each, share of the numbers


def chunks(rows: int, size: int = 1 << 17) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets, uniform and linear with noise."""
    slope = np.linspace(-1, 1, COLUMNS, dtype=np.float32)
    for first in range(0, rows, size):
        chance = np.random.default_rng(first)
        x = chance.random((min(size, rows - first), COLUMNS), dtype=np.float32)
        yield x, x @ slope + 0.1 * chance.random(len(x), dtype=np.float32)


def mixed(x: np.ndarray, y: np.ndarray) -> Any:
    """The same with gaps, and columns of text that move the target."""
    import pyarrow as pa

    chance = np.random.default_rng(len(x))
    columns = [pa.array(v, mask=chance.random(len(v)) < MISSING) for v in x.T]
    texts = pa.array([f"level {i}" for i in range(LEVELS)])
    for _ in range(CATEGORIES):
        codes = chance.integers(0, LEVELS, len(x)).astype(np.int8)
        columns.append(pa.DictionaryArray.from_arrays(codes, texts).cast(pa.string()))
        y = y + codes / np.float32(LEVELS)
    names = [*(f"x{i}" for i in range(COLUMNS)), *(f"c{i}" for i in range(CATEGORIES)), "y"]
    return pa.table([*columns, pa.array(y)], names=names)


def plain(x: np.ndarray, y: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.table([*map(pa.array, x.T), pa.array(y)], names=[*(f"x{i}" for i in range(COLUMNS)), "y"])


def write_parquet(folder: Path, rows: int, shards: int, form: Any = plain) -> Path:
    from pyarrow import parquet

    folder.mkdir()
    per_shard = -(-rows // shards)
    writer = None
    done = 0
    for x, y in chunks(rows):
        batch = form(x, y)
        if writer is None:
            path = folder / f"part-{done // per_shard:04d}.parquet"
            writer = parquet.ParquetWriter(
                path, batch.schema, compression="none", use_dictionary=[f"c{i}" for i in range(CATEGORIES)]
            )
        writer.write_table(batch)
        done += len(x)
        if done % per_shard < len(x) or done == rows:
            writer.close()
            writer = None
    return folder


def write_csv(path: Path, rows: int) -> Path:
    import pyarrow as pa
    from pyarrow import csv

    parts = [plain(x, y) for x, y in chunks(rows)]
    csv.write_csv(pa.concat_tables(parts), path)
    return path


def loss(p: Any, batch: Any) -> Any:
    import jax.numpy as jnp

    x, y = batch
    return jnp.mean((x @ p - y) ** 2)


def descend(data: Any, columns: int = COLUMNS, **budget: float) -> Any:
    import descenso

    start = np.zeros(columns, np.float32)
    budget, stop = descenso.Budget(**(budget or {"epochs": 1})), descenso.Stop(floor=False)
    return descenso.minimize(loss, start, data, method="adam", batch_size=BATCH, budget=budget, stop=stop)


def ratios(folder: Path, rows: int = 1_000_000, repeats: int = 5) -> None:
    """One epoch of a linear model with Adam (SGD in scikit-learn) over the same rows."""
    import jax
    import torch
    from sklearn.linear_model import SGDRegressor

    import descenso
    from descenso.methods.named import named

    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (rows, COLUMNS))
    y = np.lib.format.open_memmap(folder / "y.npy", "w+", np.float32, (rows,))
    done = 0
    for part, target in chunks(rows):
        x[done : done + len(part)], y[done : done + len(part)] = part, target
        done += len(part)
    parquet, table = write_parquet(folder / "parquet", rows, 4), write_csv(folder / "t.csv", rows // 5)
    started = perf_counter()
    cached = descenso.Streamed.table(parquet, target="y", memory="60MB", cache=folder / "cache")
    read_parquet = rows / (perf_counter() - started)
    started = perf_counter()
    descenso.Streamed.table(table, target="y", memory="60MB", cache=folder / "cache")
    read_csv = rows / 5 / (perf_counter() - started)
    print(f"into the cache: {read_parquet / 1e6:.2f} M rows/s from Parquet, {read_csv / 1e6:.2f} M rows/s from CSV")

    method = named("adam")
    step = jax.jit(lambda p, s, x, y: _step(method, p, s, x, y))
    order = np.random.default_rng(0).permutation(rows)

    def loop(pick: Any, epochs: int = 1) -> None:
        import jax.numpy as jnp

        params = (jnp.zeros(COLUMNS),)
        state = method.init(params, xp=jnp)
        for _ in range(epochs):
            for at in range(0, rows - BATCH + 1, BATCH):
                params, state = step(params, state, *pick(at))
        jax.block_until_ready(params)

    def scikit() -> None:
        model = SGDRegressor()
        for at in range(0, rows - BATCH + 1, BATCH):
            model.partial_fit(x[at : at + BATCH], y[at : at + BATCH])

    def loader() -> None:
        data = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
        weights = torch.zeros(COLUMNS, requires_grad=True)
        adam = torch.optim.Adam([weights])
        for a, b in torch.utils.data.DataLoader(data, BATCH, shuffle=True, drop_last=True):
            adam.zero_grad()
            ((a @ weights - b) ** 2).mean().backward()
            adam.step()

    in_order = lambda at: (x[at : at + BATCH], y[at : at + BATCH])  # noqa: E731
    by_chance = lambda at: (x[order[at : at + BATCH]], y[order[at : at + BATCH]])  # noqa: E731
    seconds = in_turn(
        {
            "descenso, cache": lambda: descend(cached),
            "descenso, memory maps": lambda: descend(descenso.Streamed((x, y), memory="60MB")),
            "descenso, in memory": lambda: descend((np.asarray(x), np.asarray(y))),
            "memmap loop, in file order": lambda: loop(in_order),
            "memmap loop, shuffled": lambda: loop(by_chance),
        },
        repeats,
    )
    longer = {
        "descenso, cache": lambda: descend(cached, epochs=5),
        "memmap loop, in file order": lambda: loop(in_order, 5),
        "memmap loop, shuffled": lambda: loop(by_chance, 5),
    }
    seconds_of_five = in_turn(longer, 3)
    seconds |= in_turn({"scikit-learn partial_fit": scikit, "torch DataLoader": loader}, 1, warm_up=0)
    print(machine())
    show(f"one epoch of {rows:,} rows, {COLUMNS} columns, batches of {BATCH}", seconds, "descenso, cache")
    show("five epochs of the same", seconds_of_five, "descenso, cache")


def curve(folder: Path, columns: int = 7) -> None:
    """Nanoseconds a row of an epoch over memory maps, what a run of one step costs taken off."""
    import descenso

    print(machine())
    for rows in (100_000, 1_000_000, 10_000_000, 50_000_000):
        x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (rows, columns))
        y = np.lib.format.open_memmap(folder / "y.npy", "w+", np.float32, (rows,))
        for first in range(0, rows, 1 << 18):
            part = np.random.default_rng(first).random((min(1 << 18, rows - first), columns), dtype=np.float32)
            x[first : first + len(part)], y[first : first + len(part)] = part, part.sum(axis=1)
        data = descenso.Streamed((x, y), memory=min(60_000_000, rows * 4 * (columns + 1)))
        least = {}
        for budget in ({"steps": 1}, {"epochs": 1}):
            descend(data, columns, steps=1)
            taken = []
            for _ in range(3 if rows < 50_000_000 else 1):
                started = perf_counter()
                descend(data, columns, **budget)
                taken.append(perf_counter() - started)
            least[next(iter(budget))] = min(taken)
        each = 1e9 * (least["epochs"] - least["steps"]) / rows
        print(f"{rows:>11,} rows: {each:6.1f} ns a row, {least['steps']:.2f} s for a run of one step", flush=True)
        del x, y, data


def _step(method: Any, params: Any, state: Any, x: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp

    from descenso._types import Evaluation

    value, grads = jax.value_and_grad(lambda p: loss(p[0], (x, y)))(params)
    params, state, _ = method.step(Evaluation(value, grads), params, state, scale=jnp.float32(1), xp=jnp)
    return params, state


def large(folder: Path, gigabytes: float, limit: float) -> None:
    """Make the table here, train in a process that may not have more memory, and say what it took."""
    rows = int(gigabytes * 1e9 / (4 * (COLUMNS + 1) + 8 * CATEGORIES))
    started = perf_counter()
    parquet = write_parquet(folder / "parquet", rows, max(2, int(gigabytes)), mixed)
    size = sum(f.stat().st_size for f in parquet.iterdir()) / 1e9
    print(f"{machine()}\n{rows:,} rows, {gigabytes:g} GB, {size:.2f} GB as Parquet", flush=True)
    print(f"made in {perf_counter() - started:.0f} s, {process_time():.0f} s of the processor", flush=True)
    for what in ("limited", "predicted"):
        command = [sys.executable, "-m", "benchmarks.streaming", what, str(parquet), str(limit)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        print(json.loads(done.stdout), flush=True)


def limited(parquet: Path, limit: float) -> None:
    """An epoch under the limit; prints rows per second and the peak."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 1e9), int(limit * 1e9)))
    import descenso
    from descenso.cli.fit import learn
    from descenso.cli.rows import Request, read_rows

    request = Request(
        (str(parquet),),
        "y",
        out=parquet.parent / "model",
        budget=descenso.Budget(epochs=1),
        batch_size=BATCH,
        memory=int(limit * 1e8),
        cache=parquet.parent / "cache",
    )
    started, busy = perf_counter(), process_time()
    learned = read_rows(request)
    encoded, busy_encoded = perf_counter(), process_time()
    report = learn(request, learned, None)
    ended, busy_ended = perf_counter(), process_time()
    rows = len(learned.train) + len(learned.held)
    told = {
        "rows": rows,
        "rows/s checked and encoded": round(rows / (encoded - started)),
        "seconds of the processor, checked and encoded": round(busy_encoded - busy),
        "rows/s of the epoch": round(len(learned.train) / (ended - encoded)),
        "seconds of the processor, the epoch": round(busy_ended - busy_encoded),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "reason": str(report.result.reason),
        "metrics": report.metrics,
        "findings": [f.message for f in report.result.findings],
    }
    print(json.dumps(told))


def predicted(parquet: Path, limit: float) -> None:
    """The predictions for all rows, under the limit."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 1e9), int(limit * 1e9)))
    from descenso.cli.predict import predict

    started, busy = perf_counter(), process_time()
    rows = predict(parquet.parent / "model", [str(parquet)], parquet.parent / "predictions.parquet", int(limit * 1e8))
    told = {
        "rows/s predicted": round(rows / (perf_counter() - started)),
        "seconds of the processor": round(process_time() - busy),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(told))


def main(what: str, where: str | None = None, gigabytes: str = "8", limit: str = "1") -> None:
    if what in ("limited", "predicted"):
        {"limited": limited, "predicted": predicted}[what](Path(where or "."), float(gigabytes))
        return
    folder = Path(tempfile.mkdtemp(dir=where))
    try:
        if what == "large":
            large(folder, float(gigabytes), float(limit))
        else:
            {"ratios": ratios, "curve": curve}[what](folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What the rows of the first batches do to `descenso fit`.

    python -m benchmarks.noise TABLE MODEL [SEED] [EPOCHS] [ROWS]        EPOCHS 0: no budget

Prints the metric on rows held out and what was spent, with the size that `auto` takes or with ROWS at first. Nothing
else differs: the batches grow as those of `auto` do. TABLE and MODEL are those of `benchmarks.tables`, whose data it
needs.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

import descenso
from benchmarks.tables import JOBS
from descenso.cli.fit import learn
from descenso.cli.rows import Request, read_rows
from descenso.driver import inputs, loop


def main(table: str, model: str, seed: str = "0", epochs: str = "0", rows: str = "0") -> None:
    """Learn one table once."""
    job = next(j for j in JOBS if (j.name, j.model) == (table, model))
    data = Path(os.environ.get("DESCENSO_DATA", ""))
    budget = descenso.Budget(epochs=float(epochs)) if float(epochs) else descenso.Budget()
    source = job.table if ":" in job.table else str(data / job.table)
    valid = str(data / job.valid) if job.valid else None
    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            (source,), job.target, model, Path(folder) / "model", valid, drop=job.drop, seed=int(seed), budget=budget
        )
        learned = read_rows(request)
        if not int(rows):
            report = learn(request, learned, None)
        else:
            given = lambda count, *_: (int(rows), f"batches of {rows} of {count:,} rows")  # noqa: E731
            with mock.patch.object(inputs, "_auto_batch", given), mock.patch.object(loop, "choose_first"):
                report = learn(request, learned, None)
    result = report.result
    sizes = "; ".join(f"step {f.step:,}: {f.message[:90]}" for f in result.findings if f.kind == "batch_size")
    print(
        f"{table} {model}, seed {seed}: {job.metric} {report.metrics[job.metric]:.6g}, {result.epochs:.1f} epochs, "
        f"{result.steps:,} steps, {result.gradients:,.0f} gradients, {result.reason}; {sizes}",
        flush=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

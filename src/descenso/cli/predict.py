"""`descenso predict`: a saved model and a table in, a file of predictions out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from descenso._errors import ArgumentError, DataError, TableError
from descenso.cli.metrics import log_probabilities
from descenso.cli.predictions import ending_of, in_place_of, write
from descenso.cli.saved import Saved, load_model
from descenso.data.encode import Encoding
from descenso.data.memory import share_of_free
from descenso.data.parts import Parts, fits, parts_of
from descenso.data.shards import locations
from descenso.data.table import Wanted, example_of, read_table
from descenso.data.target import Classes
from descenso.models import Model


def predict(folder: Path, table: Sequence[str], out: Path, memory: int | None = None) -> int:
    """Write the predictions for every row of a table.

    The file has the column `prediction`, in the order of the rows; for classes then `probability LABEL` for each. A
    table that does not fit is read, predicted and written some rows at a time.

    Args:
        folder: where `fit` saved the model.
        table: what to read, as for `fit`.
        out: what to write; the ending of its name says how. A file that is there is replaced when all is written.
        memory: the bytes that the rows may take; None for a quarter of what is free.

    Returns:
        How many rows were written.

    Raises:
        DescensoError: the model, the table or the name of `out` is not what it must be.
        OSError: `out` cannot be written.
    """
    ending = ending_of(out)
    saved = load_model(folder)
    _keep_inputs(table, out)
    wanted = Wanted(only=saved.encoding.columns, text=saved.encoding.text_columns)
    with in_place_of(out) as (made, aside):
        if fits([tuple(table)], wanted, memory or share_of_free(), inputs=len(saved.encoding.spread)):
            whole = read_table(table, only=wanted.only, text=wanted.text)
            pieces = iter([saved.encoding.pack(whole)])
        else:
            pieces = _packed(parts_of(table, aside, wanted), saved.encoding)
        return write(made, ending, _answered(saved, pieces))


def _keep_inputs(table: Sequence[str], out: Path) -> None:
    """Refuse to write over what is read."""
    if example_of(table) or not out.exists():
        return
    for where in locations(table) or []:
        if where.system is None and where.is_file and out.samefile(where.name):
            raise ArgumentError(
                f"--out is {out}, which is one of the files to predict: it would be replaced by the predictions.",
                hint="choose another --out",
            )


def _packed(parts: Parts, encoding: Encoding) -> Iterator[np.ndarray]:
    """The rows in short, some at a time; errors as if they were there as a whole."""
    rows = 0
    for table, _ in parts.tables():
        try:
            yield encoding.pack(table)
        except DataError as error:
            parts.refuse({f.name: f.expected for f in encoding.features}, error)
            raise
        rows += table.rows
    if not rows:
        raise TableError(f"{parts.name}: the table has no rows. At least one is needed.", file=parts.name, count=0)


def _answered(saved: Saved, pieces: Iterator[np.ndarray]) -> Iterator[pa.Table]:
    run = Model(saved.widths).predictor(saved.params, spread=saved.encoding.spread)
    for packed in pieces:
        yield pa.table(_answers(saved, run(packed)))


def _answers(saved: Saved, outputs: np.ndarray) -> dict[str, pa.Array]:
    target = saved.target
    if not isinstance(target, Classes):
        return {"prediction": pa.array(target.decode(outputs[:, 0]))}
    log_p = log_probabilities(outputs)
    labels = pa.array(list(target.labels)).take(pa.array(log_p.argmax(axis=1)))
    probabilities = {f"probability {label}": pa.array(np.exp(log_p[:, k])) for k, label in enumerate(target.labels)}
    return {"prediction": labels, **probabilities}

"""`descenso predict`: a saved model and a table in, a file of predictions out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, ipc, parquet

from descenso._errors import ArgumentError
from descenso.cli.metrics import log_probabilities
from descenso.cli.saved import Saved, load_model
from descenso.data.table import read_table
from descenso.data.target import Classes
from descenso.models import Model

_WRITERS = (".csv", ".csv.gz", ".parquet", ".arrow")


def predict(folder: Path, table: str, out: Path) -> int:
    """Write the predictions for every row of a table.

    The file has the column `prediction`, in the order of the rows; for classes then `probability LABEL` for each.

    Args:
        folder: where `fit` saved the model.
        table: what to read, as for `fit`.
        out: what to write; the ending of its name says how. A file that is there is replaced.

    Returns:
        How many rows were written.

    Raises:
        DescensoError: the model, the table or the name of `out` is not what it must be.
        OSError: `out` cannot be written.
    """
    ending = next((e for e in _WRITERS if out.name.endswith(e)), None)
    if ending is None:
        raise ArgumentError(f"{out}: the name must end in one of {', '.join(_WRITERS)}.")
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise ArgumentError(f"{out}: this is {'a folder' if out.is_dir() else 'in a folder that is not there'}.")
    saved = load_model(folder)
    rows = read_table(table, only=saved.encoding.columns, text=saved.encoding.text_columns)
    outputs = Model(saved.widths).predict(saved.params, saved.encoding.apply(rows))
    answers = pa.table(_answers(saved, outputs))
    hidden = out.with_name(f".{out.name}.new")
    try:
        _write(answers, hidden, ending)
        hidden.replace(out)
    finally:
        hidden.unlink(missing_ok=True)
    return rows.rows


def _answers(saved: Saved, outputs: np.ndarray) -> dict[str, pa.Array]:
    target = saved.target
    if not isinstance(target, Classes):
        return {"prediction": pa.array(target.decode(outputs[:, 0]))}
    log_p = log_probabilities(outputs)
    labels = pa.array(list(target.labels)).take(pa.array(log_p.argmax(axis=1)))
    probabilities = {f"probability {label}": pa.array(np.exp(log_p[:, k])) for k, label in enumerate(target.labels)}
    return {"prediction": labels, **probabilities}


def _write(table: pa.Table, path: Path, ending: str) -> None:
    if ending == ".parquet":
        parquet.write_table(table, path, write_page_checksum=True)
    elif ending == ".arrow":
        with ipc.new_file(path, table.schema) as sink:
            sink.write_table(table)
    else:
        with pa.output_stream(path, compression="gzip" if ending == ".csv.gz" else None) as sink:
            csv.write_csv(table, sink)

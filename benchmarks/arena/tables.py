"""Reading the data sets of the folder that DESCENSO_DATA names."""

from __future__ import annotations

import gzip
import lzma
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv


def folder() -> Path | None:
    """The folder of data sets, or None where DESCENSO_DATA is not set."""
    name = os.environ.get("DESCENSO_DATA")
    return Path(name) if name else None


def read(path: str) -> bytes:
    """A file of the folder, unpacked."""
    root = folder()
    if root is None:
        raise FileNotFoundError(f"{path}: DESCENSO_DATA is not set. It must name the folder of data sets.")
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(Path(path).suffix, open)
    with opener(root / path, "rb") as file:
        return file.read()


def table(path: str, names: list[str] | None = None) -> pa.Table:
    """A CSV file of the folder; its first row names the columns unless `names` does."""
    options = pyarrow.csv.ReadOptions(column_names=names)
    return pyarrow.csv.read_csv(pa.BufferReader(read(path)), read_options=options)


def encode(columns: pa.Table, standard: bool = True, most: int = 50) -> np.ndarray:
    """Numbers (standardised, the median where missing) beside indicators of the `most` commonest words."""
    return np.concatenate([_encode(column, standard, most) for column in columns.columns], 1).astype(np.float32)


def _encode(column: pa.ChunkedArray, standard: bool, most: int) -> np.ndarray:
    if pa.types.is_string(column.type):
        words, counts = np.unique(np.asarray(column.fill_null("")).astype(str), return_counts=True)
        common = words[np.argsort(-counts, kind="stable")][:most]
        return (np.asarray(column.fill_null("")).astype(str)[:, None] == common).astype(np.float64)
    values = column.cast(pa.float64()).to_numpy()
    values = np.where(np.isnan(values), np.nanmedian(values), values)[:, None]
    return (values - values.mean(0)) / (values.std(0) + 1e-12) if standard else values


def shuffle(*arrays: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """The same random order of the rows of all arrays."""
    order = np.random.default_rng(seed).permutation(len(arrays[0]))
    return [a[order] for a in arrays]


def split(x: np.ndarray, y: np.ndarray, held: int) -> tuple[dict, dict]:
    """The last rows as training data, the first `held` rows as held-out data."""
    return {"x": x[held:], "y": y[held:]}, {"x": x[:held], "y": y[:held]}

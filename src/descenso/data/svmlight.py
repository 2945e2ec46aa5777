"""Record batches from a file of `target place:value place:value ...` lines, through scikit-learn's reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from descenso._errors import TableError
from descenso.data.files import Opened
from descenso.data.location import Location, reading

_PIECE = 1 << 23  # bytes read at once
_ANY = 2**31 - 1  # columns, before it is known how many there are
_MOST_COLUMNS = 4096  # every value is kept, the zeros too


def of_svmlight(
    where: Location, opened: Opened
) -> tuple[dict[str, pa.DataType], Callable[[list[str]], Iterator[pa.RecordBatch]], int]:
    """The columns (`target`, then `x0` or `x1` on), how to read them, and about how many rows there are.

    Raises:
        TableError: scikit-learn is not installed; the file is compressed, damaged, or has more than 4,096 columns.
    """
    path = where.name
    if opened.compression:
        raise TableError(f"{path}: this is svmlight inside {opened.compression}.", hint="unpack it first", file=path)
    size = where.status()[1]
    width, from_one = 0, True
    for x, _ in _pieces(where, size, _ANY):
        width = max(width, int(x.indices.max(initial=-1)) + 1)
        from_one = from_one and bool((x.indices > 0).all())
    if width > _MOST_COLUMNS:
        raise TableError(
            f"{path}: there are {width:,} columns. A table has {_MOST_COLUMNS:,} at most, for its zeros are kept too.",
            hint="read it with sklearn.datasets.load_svmlight_file and fit an estimator to the sparse matrix",
            file=path,
            count=width,
        )
    names = [f"x{i}" for i in range(from_one, width)]

    def read(wanted: list[str]) -> Iterator[pa.RecordBatch]:
        for x, y in _pieces(where, size, width):
            dense = np.asfortranarray(x.toarray())
            columns = {"target": y} | {name: dense[:, int(name[1:])] for name in names}
            yield pa.RecordBatch.from_arrays([pa.array(columns[n]) for n in wanted], names=wanted)

    lines = max(opened.head.count(b"\n"), 1)
    types = {name: pa.float64() for name in ["target", *names]}
    return types, read, size * lines // len(opened.head)


def _pieces(where: Location, size: int, width: int) -> Iterator[Any]:
    path = where.name
    try:
        from sklearn.datasets import load_svmlight_file
    except ImportError as error:
        raise TableError(
            f"{path}: svmlight is read by scikit-learn, which is not installed.",
            hint="pip install 'descenso[sklearn]'",
            file=path,
        ) from error
    with reading(path):
        for first in range(0, size, _PIECE):
            with where.open() as file:
                try:
                    x, y = load_svmlight_file(file, n_features=width, offset=first, length=_PIECE, zero_based=True)
                except ValueError as error:
                    raise TableError(
                        f"{path}: this is no readable svmlight ({error}).", hint="mend the line", file=path
                    ) from None
            if x.shape[0]:
                yield x, y

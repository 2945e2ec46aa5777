"""Tables that come with scikit-learn, to try things on: `example:NAME`."""

from __future__ import annotations

from typing import Any

import numpy as np

from descenso._errors import TableError
from descenso.data.column import NUMBER, Column, Table

_PREFIX = "example:"
# name -> (loader in sklearn.datasets, its arguments); the columns are raw, as they were measured
_LOADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "breast-cancer": ("load_breast_cancer", {}),
    "diabetes": ("load_diabetes", {"scaled": False}),
    "digits": ("load_digits", {}),
}


def is_example(path: str) -> bool:
    """Whether a path names an example and no file."""
    return path.startswith(_PREFIX)


def read_example(path: str) -> Table:
    """One of the examples, with the column `target` last.

    Raises:
        TableError: no example of that name, or scikit-learn is not installed.
    """
    name = path.removeprefix(_PREFIX)
    if name not in _LOADERS:
        raise TableError(f"{path}: there is no such example. There are: {', '.join(_LOADERS)}.", file=path)
    try:
        from sklearn import datasets
    except ImportError as error:
        raise TableError(
            f"{path}: the examples come with scikit-learn, which is not installed.",
            hint="pip install 'descenso[sklearn]'",
            file=path,
        ) from error
    loader, arguments = _LOADERS[name]
    data = getattr(datasets, loader)(**arguments)
    columns = {
        str(n): Column(str(n), NUMBER, np.ascontiguousarray(data.data[:, i])) for i, n in enumerate(data.feature_names)
    }
    columns["target"] = Column("target", NUMBER, np.asarray(data.target, np.float64))
    return Table(path, columns)

"""The tables of `benchmarks.estimators`, as a user meets them: raw columns, a split into train and test.

Data: DESCENSO_DATA names a folder that holds, under these names,
    adult/train.csv.gz, adult/test.csv.gz       UCI adult (Kohavi and Becker), with a header
    a9a/a9a.gz, a9a/a9a.t.gz                    the same people as sparse indicators (LIBSVM page)
    hflights/hflights.csv.xz                    flights from Houston 2011; github.com/hadley/hflights
    california_housing/housing.csv.gz           1990 census (Pace and Barry); github.com/ageron/handson-ml
    protein/data.txt.gz, index_test_0.txt.gz    UCI protein tertiary structure, with a published split
    uci_keggundirected/data.csv.gz, test_mask.csv.gz   UCI KEGG undirected; github.com/treforevans/uci_datasets
    mammography/mammography.csv.gz              Woods et al. 1993
    mnist/*-ubyte.gz                            MNIST
    rt_polarity/rt-polarity.pos.gz, .neg.gz     sentences (Pang and Lee 2005), as TF-IDF
wine, breast_cancer, diabetes and digits come with scikit-learn; without DESCENSO_DATA they alone are run.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split

from benchmarks.arena.tables import encode, read, table

LEAKS = ("DepTime", "ArrTime", "ActualElapsedTime", "AirTime", "DepDelay", "TaxiIn", "TaxiOut", "Cancelled")
LEAKS += ("CancellationCode", "Diverted", "ArrDelay", "Year")


@dataclass(frozen=True)
class Split:
    """A table: rows to learn from and to test on; `classes` says what is predicted."""

    X: Any
    y: np.ndarray
    X_test: Any
    y_test: np.ndarray
    classes: bool


def own(load: Callable, classes: bool) -> Callable[[], Split]:
    """One of scikit-learn's own tables, a quarter of it to test on."""

    def make() -> Split:
        X, y = load(return_X_y=True)
        return _cut(X, y, classes)

    return make


def _cut(X: Any, y: np.ndarray, classes: bool) -> Split:
    a, b, c, d = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y if classes else None)
    return Split(a, c, b, d, classes)


def adult() -> Split:
    parts = [table(f"adult/{part}.csv.gz") for part in ("train", "test")]
    rows = len(parts[0])
    both = [np.concatenate([p[name].to_numpy(zero_copy_only=False) for p in parts]) for name in parts[0].column_names]
    import pyarrow as pa

    whole = pa.table(dict(zip(parts[0].column_names, both, strict=True)))
    X = encode(whole.drop_columns(["income"]), standard=False).astype(np.float64)
    y = (np.asarray(whole["income"]).astype(str) == ">50K").astype(int)
    return Split(X[:rows], y[:rows], X[rows:], y[rows:], True)


def a9a() -> Split:
    X, y = datasets.load_svmlight_file(io.BytesIO(read("a9a/a9a.gz")), n_features=123)
    A, b = datasets.load_svmlight_file(io.BytesIO(read("a9a/a9a.t.gz")), n_features=123)
    for part in (X, A):  # the reader gives 64-bit column numbers, which SGDClassifier and LinearSVC do not take
        part.indices, part.indptr = part.indices.astype(np.int32), part.indptr.astype(np.int32)
    return Split(X, y, A, b, True)


def hflights() -> Split:
    whole = table("hflights/hflights.csv.xz")
    delay = whole["ArrDelay"].to_numpy(zero_copy_only=False).astype(float)
    known = ~np.isnan(delay)
    names = [n for n in whole.column_names if n not in LEAKS]
    X = encode(whole.select(names), standard=False).astype(np.float64)
    return _cut(X[known], (delay[known] > 15).astype(int), True)


def california_housing() -> Split:
    whole = table("california_housing/housing.csv.gz")
    X = encode(whole.drop_columns(["median_house_value"]), standard=False).astype(np.float64)
    return _cut(X, whole["median_house_value"].to_numpy().astype(float), False)


def protein() -> Split:
    rows = np.loadtxt(io.BytesIO(read("protein/data.txt.gz")))
    test = np.loadtxt(io.BytesIO(read("protein/index_test_0.txt.gz"))).astype(int)
    held = np.zeros(len(rows), bool)
    held[test] = True
    return Split(rows[~held, :9], rows[~held, 9], rows[held, :9], rows[held, 9], False)


def uci_keggundirected() -> Split:
    rows = np.loadtxt(io.BytesIO(read("uci_keggundirected/data.csv.gz")), delimiter=",")
    held = np.loadtxt(io.BytesIO(read("uci_keggundirected/test_mask.csv.gz")), delimiter=",")[:, 0] > 0
    return Split(rows[~held, :-1], rows[~held, -1], rows[held, :-1], rows[held, -1], False)


def mammography() -> Split:
    text = read("mammography/mammography.csv.gz").replace(b"'", b"")
    rows = np.loadtxt(io.BytesIO(text), delimiter=",")
    return _cut(rows[:, :-1], rows[:, -1].astype(int), True)


def mnist() -> Split:
    def images(name: str) -> np.ndarray:
        return np.frombuffer(read(f"mnist/{name}"), np.uint8, offset=16).reshape(-1, 784).astype(np.float32)

    def labels(name: str) -> np.ndarray:
        return np.frombuffer(read(f"mnist/{name}"), np.uint8, offset=8).astype(int)

    train, test = "train-{}-idx{}-ubyte.gz", "t10k-{}-idx{}-ubyte.gz"
    X, A = (images(name.format("images", 3)) for name in (train, test))
    y, b = (labels(name.format("labels", 1)) for name in (train, test))
    return Split(X, y, A, b, True)


def rt_polarity() -> Split:
    parts = [
        read(f"rt_polarity/rt-polarity.{side}.gz").decode("latin-1").strip().split("\n") for side in ("neg", "pos")
    ]
    y = np.repeat([0, 1], [len(p) for p in parts])
    a, b, c, d = train_test_split(parts[0] + parts[1], y, test_size=0.25, random_state=0, stratify=y)
    words = TfidfVectorizer().fit(a)
    return Split(words.transform(a), c, words.transform(b), d, True)


TABLES: dict[str, Callable[[], Split]] = {
    "wine": own(datasets.load_wine, True),
    "breast_cancer": own(datasets.load_breast_cancer, True),
    "digits": own(datasets.load_digits, True),
    "diabetes": own(datasets.load_diabetes, False),
    "breast_cancer as a number": own(datasets.load_breast_cancer, False),
    "wine as a number": own(datasets.load_wine, False),
    "mammography": mammography,
    "adult": adult,
    "a9a": a9a,
    "rt_polarity": rt_polarity,
    "california_housing": california_housing,
    "protein": protein,
    "uci_keggundirected": uci_keggundirected,
    "hflights": hflights,
    "mnist": mnist,
}
"""The tables by name, the small ones first."""

"""The estimators beside scikit-learn's at their defaults: `python -m benchmarks.estimators [TABLE ...]`.

Every estimator is fitted on the columns as they are and, ours excepted, behind a StandardScaler too (MaxAbsScaler for
a sparse table). Shown are the test metric, accuracy or R2, and the seconds of a first fit, compiling included, and of a
second one, by the clock and of the processor: the latter where other work runs. A miss is a table where the best of
ours is below the best of theirs by more than .005.

    --only ours, --only theirs    one side of it
    --without NAME                leave out an estimator, e.g. LinearSVC
    --optimum   the penalised objective of convex linear models, ours over theirs at tight tolerance
    --sparse    200,000 x 100,000 with 50 entries a row: seconds to SGDClassifier's final loss, and memory
Tables: `benchmarks.estimator_tables`.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import warnings
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import (
    ElasticNet,
    HuberRegressor,
    Lasso,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.svm import LinearSVC

from benchmarks.estimator_tables import TABLES, Split
from benchmarks.timing import machine
from descenso import DescentClassifier, DescentRegressor

OURS = {
    True: [DescentClassifier(), DescentClassifier("hinge"), DescentClassifier(model="mlp", random_state=0)],
    False: [DescentRegressor(), DescentRegressor("huber"), DescentRegressor(model="mlp", random_state=0)],
}
THEIRS = {
    True: [SGDClassifier(random_state=0), LogisticRegression(), LinearSVC(), MLPClassifier(random_state=0)],
    False: [SGDRegressor(random_state=0), HuberRegressor(), MLPRegressor(random_state=0)],
}
MARGIN = 0.005


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="of " + ", ".join(TABLES))
    parser.add_argument("--only", choices=["ours", "theirs"])
    parser.add_argument("--without", action="append", default=[], metavar="NAME")
    parser.add_argument("--optimum", action="store_true")
    parser.add_argument("--sparse", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine())
    if args.optimum:
        optimum()
    if args.sparse:
        large_sparse()
    if args.optimum or args.sparse:
        return 0
    names = args.tables or list(TABLES)[: None if "DESCENSO_DATA" in os.environ else 6]
    missed = [name for name in names if not compare(name, TABLES[name](), args.only, args.without)]
    if args.only is None:
        print(f"\nmissed: {', '.join(missed) or 'none'}")
    return 0


class Shown(NamedTuple):
    """One fit: the test metric, seconds by the clock and of the processor."""

    score: float
    clock: float
    processor: float


def compare(name: str, t: Split, only: str | None, without: list[str]) -> bool:
    """Print the metrics and seconds on one table; whether ours is not below theirs by more than the margin."""
    print(f"\n{name}: {t.X.shape[0]:,} x {t.X.shape[1]:,}{' sparse' if sparse.issparse(t.X) else ''}", flush=True)
    scaler = MaxAbsScaler() if sparse.issparse(t.X) else StandardScaler()
    sides: dict[str, list[Shown]] = {}
    if only != "ours":
        models = [m for m in THEIRS[t.classes] if type(m).__name__ not in without]
        sides["theirs"] = [show(make, m, t) for m in models for make in (m, make_pipeline(scaler, m))]
    if only != "theirs":
        sides["ours"] = [show(m, m, t, again=True) for m in OURS[t.classes]]
    for side, fits in sides.items():
        clock, processor = sum(f.clock for f in fits), sum(f.processor for f in fits)
        best = max(f.score for f in fits)
        print(f"  best of {side} {best:.4f}; in all {clock:.1f} s, {processor:.1f} s of the processor", flush=True)
    bests = {side: max(f.score for f in fits) for side, fits in sides.items()}
    return len(bests) < 2 or bests["ours"] >= bests["theirs"] - MARGIN


def show(whole: Any, model: Any, t: Split, *, again: bool = False) -> Shown:
    """Fit, and print what is returned."""
    label = f"{type(model).__name__} {getattr(model, 'loss', '')} {getattr(model, 'model', '')}".rstrip()
    label += "" if whole is model else ", scaled"
    start, used = perf_counter(), process_time()
    try:
        fitted = clone(whole).fit(t.X, t.y)
        score = float(fitted.score(t.X_test, t.y_test))
    except ValueError as error:
        print(f"  {label:<44} {str(error)[:70]}", flush=True)
        return Shown(-np.inf, perf_counter() - start, process_time() - used)
    shown = Shown(score, perf_counter() - start, process_time() - used)
    extra = ""
    if again:
        start = perf_counter()
        clone(whole).fit(t.X, t.y)
        extra = f"   again {perf_counter() - start:8.2f} s   {fitted.reason_} after {fitted.n_iter_} epochs"
    print(f"  {label:<44} {score:12.4f} {shown.clock:9.2f} s {shown.processor:9.2f} s{extra}", flush=True)
    return shown


def optimum() -> None:
    """Print ours over theirs, less 1, of the penalised objective; below 1e-6 is asked for."""
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    D, t = load_diabetes(return_X_y=True)
    c, sign = np.round(t / 20), 2 * y - 1
    margin = {
        "log_loss": lambda m: np.logaddexp(0, -m),
        "hinge": lambda m: np.maximum(1 - m, 0),
        "squared_hinge": lambda m: np.maximum(1 - m, 0) ** 2,
    }
    print("\nobjective, ours / theirs - 1")
    for C in (100.0, 1.0, 0.01):
        alpha = 1 / C / len(y)
        for loss, value in margin.items():
            ours = DescentClassifier(loss, alpha=alpha, fit_intercept=False, standardize=False).fit(X, y)
            if loss == "log_loss":
                theirs = LogisticRegression(C=C, tol=1e-12, max_iter=10_000, fit_intercept=False)
            else:
                theirs = LinearSVC(loss=loss, C=C, tol=1e-10, max_iter=1_000_000, fit_intercept=False)
            both = (ours, theirs.fit(X, y))
            a, b = (value(sign * (X @ m.coef_[0])).mean() + alpha / 2 * np.sum(m.coef_**2) for m in both)
            print(f"  {loss:<16} C {C:<8g} {a / b - 1:12.2e}   {ours.result_.findings[-1].message}")
    for alpha in (1.0, 1e-2, 1e-4):
        for ratio, theirs in (
            (0.0, Ridge(alpha * len(t), tol=1e-12)),
            (0.5, ElasticNet(alpha, l1_ratio=0.5, tol=1e-14, max_iter=10**6)),
            (1.0, Lasso(alpha, tol=1e-14, max_iter=10**6)),
        ):
            ours = DescentRegressor(penalty="elasticnet", l1_ratio=ratio, alpha=alpha, standardize=False).fit(D, t)
            both = (ours, theirs.fit(D, t))
            sizes = [(np.abs(m.coef_).sum(), np.sum(m.coef_**2)) for m in both]
            misses = [np.mean((t - m.predict(D)) ** 2) / 2 for m in both]
            a, b = (f + alpha * (ratio * p + (1 - ratio) / 2 * q) for f, (p, q) in zip(misses, sizes, strict=True))
            print(f"  squared l1 {ratio:<5g} alpha {alpha:<8g} {a / b - 1:12.2e}   {ours.result_.findings[-1].message}")
        ours = DescentRegressor("poisson", alpha=alpha, standardize=False).fit(D, c)
        both = (ours, PoissonRegressor(alpha=alpha, tol=1e-12, max_iter=10_000).fit(D, c))
        a, b = (np.mean(m.predict(D) - c * np.log(m.predict(D))) + alpha / 2 * np.sum(m.coef_**2) for m in both)
        print(f"  poisson          alpha {alpha:<8g} {(a - b) / abs(b):12.2e}   {ours.result_.findings[-1].message}")


def large_sparse() -> None:
    """Print seconds to SGDClassifier's final loss and memory, on 10 million entries."""
    rows, features, entries = 200_000, 100_000, 50
    rng = np.random.default_rng(0)
    at = np.sort(rng.integers(0, features, size=(rows, entries)), axis=1).astype(np.int32).ravel()
    X = sparse.csr_matrix((rng.normal(size=len(at)), at, np.arange(rows + 1) * entries), shape=(rows, features))
    X.sum_duplicates()
    true = rng.normal(size=features) * (rng.random(features) < 0.1)
    y = (X @ true + rng.logistic(size=rows) > 0).astype(int)
    size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    alpha = 1e-5
    sgd, theirs = timed(SGDClassifier("log_loss", alpha=alpha, random_state=0), X, y)
    level = log_loss(y, sgd.predict_proba(X)) + alpha / 2 * np.sum(sgd.coef_**2)
    model = DescentClassifier(alpha=alpha, standardize=False)
    timed(model, X[:1000], y[:1000])  # the memory that JAX itself takes is not the table's
    before = memory_anew()
    model, ours = timed(model, X, y)
    more = memory("VmHWM") - before
    past = int(np.argmax(model.result_.history.loss <= level))
    reached, until = timed(clone(model).set_params(budget=int(model.result_.history.step[past])), X, y)
    print(f"\nsparse {rows:,} x {features:,}, {X.nnz:,} entries, CSR {size / 1e6:.0f} MB")
    print(f"  SGDClassifier {theirs} to its final loss {level:.5f} after {sgd.n_iter_} epochs")
    print(f"  DescentClassifier {until} to {reached.result_.loss:.5f}, {reached.n_iter_} epochs, compiled before")
    print(f"  DescentClassifier {ours}, compiling included, to {model.result_.loss:.5f}, {model.n_iter_} epochs")
    print(f"  {model.reason_}: {model.result_.message}")
    print(f"  {more / 1e6:.0f} MB more at the peak, {more / size:.2f} CSR")


def timed(model: Any, X: Any, y: np.ndarray) -> tuple[Any, str]:
    """A fit, and its seconds in words."""
    start, used = perf_counter(), process_time()
    fitted = clone(model).fit(X, y)
    return fitted, f"{perf_counter() - start:.2f} s ({process_time() - used:.2f} of the processor)"


def memory_anew() -> int:
    """The bytes that this process has now, from which on its peak is measured anew; Linux alone can do that."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return memory("VmRSS")


def memory(name: str) -> int:
    """Bytes: "VmRSS" those that this process has now, "VmHWM" the most it has had."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


if __name__ == "__main__":
    sys.exit(main())

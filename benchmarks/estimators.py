"""The estimators beside scikit-learn's at their defaults: `python -m benchmarks.estimators [TABLE ...]`.

Every estimator is fitted on the columns as they are and, ours excepted, behind a StandardScaler too (MaxAbsScaler for
a sparse table). Shown are the test metric, accuracy or R2, and the seconds of a first fit, compiling included, and of a
second one. A miss is a table where the best of ours is below the best of theirs by more than .005.

    --optimum   the penalised objective of convex linear models, ours over theirs at tight tolerance
    --sparse    200,000 x 100,000 with 50 entries a row: seconds to SGDClassifier's final loss, and memory
Tables: `benchmarks.estimator_tables`.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import warnings
from time import perf_counter
from typing import Any

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
    missed = [name for name in names if not compare(name, TABLES[name]())]
    print(f"\nmissed: {', '.join(missed) or 'none'}")
    return 0


def compare(name: str, t: Split) -> bool:
    """Print the metrics and seconds on one table; whether ours is not below theirs by more than the margin."""
    print(f"\n{name}: {t.X.shape[0]:,} x {t.X.shape[1]:,}{' sparse' if sparse.issparse(t.X) else ''}", flush=True)
    scaler = MaxAbsScaler() if sparse.issparse(t.X) else StandardScaler()
    theirs = [show(make, m, t) for m in THEIRS[t.classes] for make in (m, make_pipeline(scaler, m))]
    ours = [show(m, m, t, again=True) for m in OURS[t.classes]]
    best, ours_best = max(s for s, _ in theirs), max(s for s, _ in ours)
    print(
        f"  best of ours {ours_best:.4f}, of theirs {best:.4f}; seconds in all {sum(s for _, s in ours):.1f} and "
        f"{sum(s for _, s in theirs):.1f}",
        flush=True,
    )
    return ours_best >= best - MARGIN


def show(whole: Any, model: Any, t: Split, *, again: bool = False) -> tuple[float, float]:
    """Fit, print and return the test metric and seconds."""
    label = f"{type(model).__name__} {getattr(model, 'loss', '')} {getattr(model, 'model', '')}".rstrip()
    label += "" if whole is model else ", scaled"
    start = perf_counter()
    try:
        fitted = clone(whole).fit(t.X, t.y)
        score = float(fitted.score(t.X_test, t.y_test))
    except ValueError as error:
        print(f"  {label:<44} {str(error)[:70]}", flush=True)
        return -np.inf, perf_counter() - start
    seconds = perf_counter() - start
    extra = ""
    if again:
        start = perf_counter()
        clone(whole).fit(t.X, t.y)
        extra = f"   again {perf_counter() - start:8.2f} s   {fitted.reason_} after {fitted.n_iter_} epochs"
    print(f"  {label:<44} {score:12.4f} {seconds:9.2f} s{extra}", flush=True)
    return score, seconds


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
    alpha, start = 1e-5, perf_counter()
    sgd = SGDClassifier("log_loss", alpha=alpha, random_state=0).fit(X, y)
    sgd_seconds = perf_counter() - start
    level = log_loss(y, sgd.predict_proba(X)) + alpha / 2 * np.sum(sgd.coef_**2)
    model = DescentClassifier(alpha=alpha, standardize=False)
    clone(model).fit(X[:1000], y[:1000])  # what JAX itself takes is not the table's
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = perf_counter()
    model.fit(X, y)
    seconds = perf_counter() - start
    more = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    epochs = int(np.argmax(model.result_.history.loss <= level)) + 1
    start = perf_counter()
    reached = clone(model).set_params(budget=epochs).fit(X, y)
    when = perf_counter() - start
    print(f"\nsparse {rows:,} x {features:,}, {X.nnz:,} entries, CSR {size / 1e6:.0f} MB")
    print(f"  SGDClassifier {sgd_seconds:.2f} s to its final loss {level:.5f} after {sgd.n_iter_} epochs")
    print(f"  DescentClassifier {when:.2f} s to {reached.result_.loss:.5f}, {epochs} epochs, compiled before")
    print(f"  DescentClassifier {seconds:.2f} s, compiling included, to its optimum {model.result_.loss:.5f}")
    print(
        f"  {model.reason_} after {model.n_iter_} epochs; {more / 1e6:.0f} MB more at the peak, {more / size:.2f} CSR"
    )


if __name__ == "__main__":
    sys.exit(main())

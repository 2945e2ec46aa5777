"""MNIST through `descenso.minimize`: an MLP, no learning rate, beside scikit-learn's MLPClassifier of the same shape.

    DESCENSO_DATA=/where/the/data/sets/are python -m benchmarks.mnist [--without-peer]

Reads the four idx files of MNIST (LeCun, Cortes, Burges; 60,000 + 10,000 images of 28 x 28), gzipped, under `mnist/`.
The last 5,000 training rows choose the stop; the test rows are looked at once, at the end.
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
from pathlib import Path
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np

import descenso
from benchmarks.timing import machine

HIDDEN = 256


def read(name: str) -> np.ndarray:
    """An idx file: big-endian magic number and sizes, then bytes."""
    folder = os.environ.get("DESCENSO_DATA")
    if not folder:
        sys.exit("DESCENSO_DATA is not set. It must name the folder that holds mnist/*.gz.")
    raw = gzip.decompress((Path(folder) / "mnist" / name).read_bytes())
    dimensions = raw[3]
    shape = np.frombuffer(raw, ">u4", dimensions, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def images(kind: str) -> tuple[np.ndarray, np.ndarray]:
    X = read(f"{kind}-images-idx3-ubyte.gz").reshape(-1, 784)
    return X.astype(np.float32) / 255, read(f"{kind}-labels-idx1-ubyte.gz").astype(np.int32)


def forward(params, X):
    (w1, b1), (w2, b2) = params
    return jax.nn.relu(X @ w1 + b1) @ w2 + b2


def loss(params, batch):
    X, y = batch
    z = forward(params, X)
    return jnp.mean(jax.nn.logsumexp(z, -1) - jnp.take_along_axis(z, y[:, None], -1)[:, 0])


def start(seed: int):
    rng = np.random.default_rng(seed)
    layers = [(784, HIDDEN), (HIDDEN, 10)]
    return [((rng.normal(size=s) * (2 / s[0]) ** 0.5).astype(np.float32), np.zeros(s[1], np.float32)) for s in layers]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--without-peer", action="store_true")
    asked = parser.parse_args()
    print(machine())
    (X, y), (X_test, y_test) = images("train"), images("t10k")
    held = slice(-5000, None)
    clock = perf_counter()
    result = descenso.minimize(loss, start(0), (X[:-5000], y[:-5000]), validate=(X[held], y[held]))
    seconds = perf_counter() - clock
    print(result)
    right = np.mean(np.argmax(forward(result.params, X_test), -1) == y_test)
    print(f"descenso: test accuracy {right:.4f} in {seconds:.1f} s (target >= 0.978)")
    if not asked.without_peer:
        from sklearn.neural_network import MLPClassifier

        clock = perf_counter()
        peer = MLPClassifier(HIDDEN, early_stopping=True, validation_fraction=5000 / 60000, random_state=0).fit(X, y)
        seconds = perf_counter() - clock
        right = peer.score(X_test, y_test)
        print(f"scikit-learn MLPClassifier({HIDDEN}): test accuracy {right:.4f} in {seconds:.1f} s")


if __name__ == "__main__":
    main()

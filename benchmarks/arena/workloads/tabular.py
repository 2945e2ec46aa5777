"""Perceptrons on tables and on MNIST; the data sets of DESCENSO_DATA."""

from __future__ import annotations

import numpy as np

from benchmarks.arena.layers import bernoulli, categorical, perceptron, squared, stack
from benchmarks.arena.tables import encode, read, shuffle, split, table
from benchmarks.arena.workload import Workload


def adult() -> Workload:
    """Income above 50,000 dollars or not, from a census."""
    rows = table("adult/train.csv.gz")
    y = np.array(rows["income"]).astype(str) == ">50K"
    x, y = shuffle(encode(rows.drop_columns("income")), y.astype(np.float32))
    data, held = split(x, y, 2000)

    def loss(params, batch):
        return bernoulli(perceptron(params, batch["x"])[:, 0], batch["y"])

    return Workload("adult", loss, lambda key: stack(key, [x.shape[1], 32, 1]), data, held, 64, 3000)


def _housing(name: str, standard: bool) -> Workload:
    rows = table("california_housing/housing.csv.gz")
    y = rows["median_house_value"].to_numpy() / 1e5
    x, y = shuffle(encode(rows.drop_columns("median_house_value"), standard), y.astype(np.float32))
    data, held = split(x, y, 2000)

    def loss(params, batch):
        return squared(perceptron(params, batch["x"])[:, 0], batch["y"])

    return Workload(name, loss, lambda key: stack(key, [x.shape[1], 32, 32, 1]), data, held, 64, 2000)


def california() -> Workload:
    """House prices in units of 100,000 dollars, columns standardised."""
    return _housing("california", True)


def california_raw() -> Workload:
    """The same with columns as they come, from 1 to 10,000: the loss at the start is enormous."""
    return _housing("california_raw", False)


def protein() -> Workload:
    """How far a protein's model is off, from nine properties."""
    table_text = read("protein/data.txt.gz").decode()
    rows = np.array([line.split() for line in table_text.splitlines() if line.strip()], float)
    rows = (rows - rows.mean(0)) / rows.std(0)
    x, y = shuffle(rows[:, :9].astype(np.float32), rows[:, 9].astype(np.float32))
    data, held = split(x, y, 2000)

    def loss(params, batch):
        return squared(perceptron(params, batch["x"])[:, 0], batch["y"])

    return Workload("protein", loss, lambda key: stack(key, [9, 48, 48, 1]), data, held, 64, 5000)


def _mnist(name: str, sizes: list[int], batch_size: int, steps: int, **kwargs) -> Workload:
    pixels = np.frombuffer(read("mnist/train-images-idx3-ubyte.gz"), np.uint8, offset=16).reshape(-1, 784)[:31000]
    labels = np.frombuffer(read("mnist/train-labels-idx1-ubyte.gz"), np.uint8, offset=8)[:31000]
    x, y = shuffle((pixels / 255).astype(np.float32), labels.astype(np.int32))
    data, held = split(x, y, 1000)

    def loss(params, batch):
        return categorical(perceptron(params, batch["x"]), batch["y"])

    return Workload(name, loss, lambda key: stack(key, sizes), data, held, batch_size, steps, narrow=True, **kwargs)


def mnist() -> Workload:
    """A hidden layer of 32 on 30,000 images."""
    return _mnist("mnist", [784, 32, 10], 64, 1500, lanes=1)


def mnist_million() -> Workload:
    """A million parameters, 500 steps of 32 images."""
    return _mnist("mnist_million", [784, 900, 300, 10], 32, 500, lanes=1)


WORKLOADS = {f.__name__: f for f in (adult, california, california_raw, protein, mnist, mnist_million)}

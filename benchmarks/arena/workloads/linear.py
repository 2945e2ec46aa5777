"""One layer, or none: generalised linear models on columns as they come. The good rates lie far apart."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy
from sklearn import datasets

from benchmarks.arena.layers import affine, bernoulli, categorical, dense, penalty, squared
from benchmarks.arena.workload import Workload


def _zeros(inputs: int):
    return lambda key: {"w": jnp.zeros(inputs), "b": jnp.zeros(())}


def logistic_raw() -> Workload:
    """Breast cancer: 30 raw columns, full batch, nearly deterministic."""
    x, y = datasets.load_breast_cancer(return_X_y=True)
    data = {"x": x.astype(np.float32), "y": y.astype(np.float32)}

    def loss(params, batch):
        return bernoulli(affine(params, batch["x"]), batch["y"])

    return Workload("logistic_raw", loss, _zeros(30), data, data, "all", 2000)


def logistic_dollars() -> Workload:
    """A yes or no from eight amounts of money about their means, some 1e4 each: the good rate is tiny."""
    rng = np.random.default_rng(31)
    x = np.exp(rng.normal(10.3, 0.6, (4000, 8)))
    x -= x.mean(0)
    logit = x / x.std(0) @ rng.normal(0, 1.2, 8)
    data = {"x": x.astype(np.float32), "y": (rng.random(4000) < 1 / (1 + np.exp(-logit))).astype(np.float32)}

    def loss(params, batch):
        return bernoulli(affine(params, batch["x"]), batch["y"])

    return Workload("logistic_dollars", loss, _zeros(8), data, data, 64, 3000)


def softmax_raw() -> Workload:
    """Digits as they come, 0 to 16 a pixel, with a penalty."""
    x, y = datasets.load_digits(return_X_y=True)
    data = {"x": x.astype(np.float32), "y": y.astype(np.int32)}

    def init(key):
        return {"out": dense(key, 64, 10, 1e-4)}

    def loss(params, batch):
        return penalty(params) + categorical(affine(params["out"], batch["x"]), batch["y"])

    return Workload("softmax_raw", loss, init, data, data, 64, 1000)


def linear_raw() -> Workload:
    """Diabetes progression from ten raw columns."""
    x, y = datasets.load_diabetes(return_X_y=True, scaled=False)
    return _linear("linear_raw", x, y, 32, 3000)


def linear_small() -> Workload:
    """The same in columns of norm 1: the good rate is far above 1."""
    x, y = datasets.load_diabetes(return_X_y=True)
    return _linear("linear_small", x, y, "all", 1000)


def _linear(name: str, x, y, batch_size, steps: int) -> Workload:
    data = {"x": x.astype(np.float32), "y": y.astype(np.float32)}

    def loss(params, batch):
        return squared(affine(params, batch["x"]), batch["y"])

    return Workload(name, loss, _zeros(10), data, data, batch_size, steps)


def poisson() -> Workload:
    """Counts with 1 % gross outliers, columns a hundredfold apart; the deviance, so that a perfect fit has loss 0."""
    rng = np.random.default_rng(8)
    scale = np.logspace(-1.5, 0.5, 20)
    x = rng.normal(size=(3000, 20)) * scale
    y = rng.poisson(np.exp(np.clip(x @ (rng.normal(size=20) / scale * 0.25) + 0.5, -6, 4)))
    y = np.where(rng.random(3000) < 0.01, y * 20 + 50, y)
    data = {"x": x.astype(np.float32), "y": y.astype(np.float32)}

    def loss(params, batch):
        rate, count = affine(params, batch["x"]), batch["y"]
        return jnp.mean(jnp.exp(jnp.minimum(rate, 30.0)) - count * rate + xlogy(count, count) - count)

    return Workload("poisson", loss, _zeros(20), data, data, 64, 1500)


WORKLOADS = {f.__name__: f for f in (logistic_raw, logistic_dollars, softmax_raw, linear_raw, linear_small, poisson)}

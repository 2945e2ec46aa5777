"""Small tasks with a known make: a noisy quadratic, a mixture, factors of a matrix, ten parameters for a long time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.arena.layers import perceptron, squared, stack
from benchmarks.arena.workload import Workload


def noisy_quadratic() -> Workload:
    """A quadratic of condition 1e4 in 100 dimensions whose gradient is noisy at the minimum too.

    f(x) = (x - c)' A (x - c) / 2; a row z adds the noise (L z)' (x - c), with L L' = .09 A.
    """
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(100, 100)))[0]
    curvature = np.logspace(-4, 0, 100)
    matrix = jnp.asarray(basis * curvature @ basis.T, jnp.float32)
    root = jnp.asarray(0.3 * basis * np.sqrt(curvature), jnp.float32)
    centre = jnp.asarray(rng.normal(0, 3, 100), jnp.float32)
    z = rng.normal(size=(4000, 100))
    data = {"z": (z - z.mean(0)).astype(np.float32)}

    def loss(params, batch):
        away = params["x"] - centre
        return 0.5 * away @ matrix @ away + jnp.mean(batch["z"], 0) @ (away @ root)

    def init(key):
        return {"x": jax.random.normal(key, (100,)) * 0.1}

    held = {"z": np.zeros((1, 100), np.float32)}
    return Workload("noisy_quadratic", loss, init, data, held, 2, 2000, features=False)


def mixture() -> Workload:
    """The likelihood of points in the plane under eight Gaussians; six drew them."""
    rng = np.random.default_rng(11)
    centres = rng.normal(0, 8, (6, 2))
    points = centres[rng.integers(0, 6, 2000)] + rng.normal(size=(2000, 2)) * [1.5, 0.4]
    data = {"x": points.astype(np.float32)}

    def init(key):
        return {"mean": jax.random.normal(key, (8, 2)) * 3, "log_scale": jnp.zeros((8, 2)), "weight": jnp.zeros(8)}

    def loss(params, batch):
        scaled = (batch["x"][:, None] - params["mean"]) * jnp.exp(-params["log_scale"])
        log_density = -0.5 * jnp.sum(scaled**2, -1) - jnp.sum(params["log_scale"], -1) - jnp.log(2 * jnp.pi)
        return -jnp.mean(jax.nn.logsumexp(jax.nn.log_softmax(params["weight"]) + log_density, -1))

    return Workload("mixture", loss, init, data, data, 64, 1000, features=False)


def matrix_factors() -> Workload:
    """150 x 80 entries of rank 4 with noise, a third of them seen, six factors."""
    rng = np.random.default_rng(3)
    full = rng.normal(size=(150, 4)) @ rng.normal(size=(4, 80)) / 2 + 0.3 * rng.normal(size=(150, 80))
    row, column = (a.astype(np.int32) for a in rng.permutation(np.argwhere(rng.random((150, 80)) < 0.35)).T)
    data = {"row": row, "column": column, "y": full[row, column].astype(np.float32)}

    def init(key):
        first, second = jax.random.split(key)
        return {
            "row_embed": jax.random.normal(first, (150, 6)) * 0.1,
            "column_embed": jax.random.normal(second, (80, 6)) * 0.1,
        }

    def loss(params, batch):
        rows, columns = params["row_embed"][batch["row"]], params["column_embed"][batch["column"]]
        return squared(jnp.sum(rows * columns, -1), batch["y"])

    return Workload("matrix_factors", loss, init, data, data, 256, 2000, features=False)


def ten_parameters() -> Workload:
    """A curve fitted by three hidden units, for 20,000 steps."""
    rng = np.random.default_rng(5)
    x = rng.uniform(-3, 3, (1000, 1))
    y = np.sin(1.7 * x[:, 0]) + 0.3 * x[:, 0] + rng.normal(0, 0.1, 1000)
    data = {"x": x.astype(np.float32), "y": y.astype(np.float32)}

    def loss(params, batch):
        return squared(perceptron(params, batch["x"], jnp.tanh)[:, 0], batch["y"])

    return Workload("ten_parameters", loss, lambda key: stack(key, [1, 3, 1], 1.0), data, data, 16, 20000)


WORKLOADS = {f.__name__: f for f in (noisy_quadratic, mixture, matrix_factors, ten_parameters)}

"""Networks on the 8 x 8 digits of scikit-learn: perceptrons, autoencoders, convolutions.

The classifiers see 1,300 rows dozens of times and are judged on them: on held-out rows the best rate would be the one
that overfits least, which is no question of descent. A penalty gives all but one a minimum other than 0.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from sklearn import datasets

from benchmarks.arena.layers import affine, categorical, dense, halve, normalise, patches, penalty, perceptron, stack
from benchmarks.arena.tables import shuffle, split
from benchmarks.arena.workload import Workload


def _digits() -> tuple[dict, dict]:
    x, y = datasets.load_digits(return_X_y=True)
    x, y = shuffle((x / 16).astype(np.float32), y.astype(np.int32))
    return split(x, y, 497)


def mlp_digits() -> Workload:
    """One hidden layer of 48."""
    data, _ = _digits()

    def loss(params, batch):
        return penalty(params) + categorical(perceptron(params, batch["x"]), batch["y"])

    return Workload("mlp_digits", loss, lambda key: stack(key, [64, 48, 10]), data, data, 64, 1000)


def deep_tanh() -> Workload:
    """Six narrow tanh layers, which come to fit every row."""
    data, _ = _digits()

    def loss(params, batch):
        return categorical(perceptron(params, batch["x"], jnp.tanh), batch["y"])

    def init(key):
        return stack(key, [64, *[24] * 6, 10], 1.0)

    return Workload("deep_tanh", loss, init, data, data, 32, 1500)


def autoencoder() -> Workload:
    """64-32-8-32-64, squared error summed over the pixels."""
    data, held = _digits()

    def init(key):
        first, second = jax.random.split(key)
        return {"encoder": stack(first, [64, 32, 8]), "decoder": stack(second, [8, 32, 64])}

    def loss(params, batch):
        code = perceptron(params["encoder"], batch["x"])
        return jnp.mean(jnp.sum((perceptron(params["decoder"], code) - batch["x"]) ** 2, -1))

    return Workload("autoencoder", loss, init, data, held, 32, 2500)


def vae() -> Workload:
    """A variational autoencoder with four latent dimensions: its loss draws noise."""
    data, held = _digits()

    def init(key):
        first, second = jax.random.split(key)
        return {"encoder": stack(first, [64, 32, 8]), "decoder": stack(second, [4, 32, 64])}

    def loss(params, batch, key):
        mean, log_variance = jnp.split(perceptron(params["encoder"], batch["x"]), 2, -1)
        code = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
        error = jnp.sum((perceptron(params["decoder"], code) - batch["x"]) ** 2, -1) / (2 * 0.2**2)
        divergence = 0.5 * jnp.sum(mean**2 + jnp.exp(log_variance) - 1 - log_variance, -1)
        return jnp.mean(error + divergence)

    return Workload("vae", loss, init, data, held, 32, 1500)


def _images(x):
    return x.reshape(-1, 8, 8, 1)


def cnn() -> Workload:
    """Two convolutions."""
    data, _ = _digits()

    def init(key):
        a, b, c = jax.random.split(key, 3)
        return {"first": dense(a, 9, 8), "second": dense(b, 72, 16), "out": dense(c, 64, 10)}

    def loss(params, batch):
        x = jax.nn.relu(affine(params["first"], patches(_images(batch["x"]))))
        x = jax.nn.relu(affine(params["second"], patches(x)))
        return penalty(params) + categorical(affine(params["out"], halve(x).reshape(len(x), -1)), batch["y"])

    return Workload("cnn", loss, init, data, data, 32, 1000, lanes=1, narrow=True)


def cnn_batch_norm() -> Workload:
    """Three convolutions, each normalised over the batch; judged with the statistics of all rows at once."""
    data, _ = _digits()

    def init(key):
        keys = jax.random.split(key, 4)
        sizes = ((9, 8), (72, 16), (144, 16))
        layers = [
            {**dense(k, i, o), "gain": jnp.ones(o), "offset": jnp.zeros(o)}
            for k, (i, o) in zip(keys[:3], sizes, strict=True)
        ]
        return {"hidden": layers, "out": dense(keys[3], 16, 10)}

    def loss(params, batch):
        x = _images(batch["x"])
        for layer in params["hidden"]:
            x = normalise(affine(layer, patches(x)), (0, 1, 2)) * layer["gain"] + layer["offset"]
            x = jax.nn.relu(x)
        return penalty(params) + categorical(affine(params["out"], x.mean((1, 2))), batch["y"])

    return Workload("cnn_batch_norm", loss, init, data, data, 32, 1500, lanes=1, narrow=True)


WORKLOADS = {f.__name__: f for f in (mlp_digits, deep_tanh, autoencoder, vae, cnn, cnn_batch_norm)}

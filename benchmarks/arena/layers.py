"""The few pieces that the models of the arena are made of."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def dense(key, inputs: int, outputs: int, gain: float = 2.0) -> dict:
    """Weights drawn with variance gain / inputs, and zero offsets."""
    return {"w": jax.random.normal(key, (inputs, outputs)) * jnp.sqrt(gain / inputs), "b": jnp.zeros(outputs)}


def affine(layer: dict, x):
    """x w + b."""
    return x @ layer["w"] + layer["b"]


def stack(key, sizes: list[int], gain: float = 2.0) -> dict:
    """The params of a multi-layer perceptron: `hidden`, a list of layers, and `out`."""
    keys = jax.random.split(key, len(sizes) - 1)
    layers = [dense(k, i, o, gain) for k, i, o in zip(keys, sizes[:-1], sizes[1:], strict=True)]
    return {"hidden": layers[:-1], "out": layers[-1]}


def perceptron(params: dict, x, activation=jax.nn.relu):
    """A multi-layer perceptron on x of shape (rows, inputs)."""
    for layer in params["hidden"]:
        x = activation(affine(layer, x))
    return affine(params["out"], x)


def normalise(x, axes=-1):
    """Zero mean and unit variance over `axes`."""
    mean = jnp.mean(x, axes, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(jnp.var(x, axes, keepdims=True) + 1e-5)


def patches(x):
    """The 3 x 3 neighbourhoods of images (rows, height, width, channels): (rows, height - 2, width - 2, 9 channels).

    Made of shifted slices: a convolution is then one matrix product, which XLA does well on a CPU.
    """
    height, width = x.shape[1] - 2, x.shape[2] - 2
    shifted = [x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifted, -1)


def halve(x):
    """The means of 2 x 2 blocks of images (rows, height, width, channels)."""
    rows, height, width, channels = x.shape
    return x.reshape(rows, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def squared(prediction, target):
    """Mean squared error."""
    return jnp.mean((prediction - target) ** 2)


def bernoulli(logit, label):
    """Mean negative log likelihood of labels 0 or 1."""
    return jnp.mean(jax.nn.softplus(logit) - label * logit)


def categorical(logits, labels):
    """Mean negative log likelihood of integer labels, over all leading axes."""
    picked = jnp.take_along_axis(logits, labels[..., None], -1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, -1) - picked)


def penalty(params, weight: float = 1e-3):
    """weight / 2 times the sum of squares of all params: a classifier that fits every row then has a minimum."""
    return 0.5 * weight * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

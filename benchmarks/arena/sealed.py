"""Workloads set aside before anything was tuned on any: ours is run on them once, at the end, by `--sealed`.

They were written before the first run of the arena, and share neither data nor architecture with the open ones but for
the pixels of MNIST. The peers may be tuned on them at any time.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.compute as pc

from benchmarks.arena.layers import affine, bernoulli, categorical, dense, halve, normalise, patches, perceptron, stack
from benchmarks.arena.tables import encode, read, shuffle, split, table
from benchmarks.arena.workload import Workload


def flow_moons() -> Workload:
    """The density of two noisy half moons by six affine couplings; bits are counted from a sharp bound, so positive."""
    rng = np.random.default_rng(41)
    angle, side = rng.uniform(0, np.pi, 4000), rng.integers(0, 2, 4000)
    moon = np.stack([np.cos(angle), np.sin(angle)], 1)
    moon = np.where(side[:, None] == 1, [1.0, 0.5] - moon, moon) + rng.normal(0, 0.15, (4000, 2))
    moon = moon.astype(np.float32)
    data, held = {"x": moon[1000:]}, {"x": moon[:1000]}

    def init(key):
        keys = jax.random.split(key, 6)
        layers = [stack(k, [1, 16, 2], 1.0) for k in keys]
        return {"coupling": layers}

    def loss(params, batch):
        still, moved = batch["x"].T
        stretch = 0.0
        for layer in params["coupling"]:
            log_scale, shift = perceptron(layer, still[:, None], jnp.tanh).T
            log_scale = 2 * jnp.tanh(log_scale / 2)
            still, moved = moved * jnp.exp(log_scale) + shift, still
            stretch = stretch + log_scale
        return jnp.mean(0.5 * (still**2 + moved**2) - stretch) + jnp.log(2 * jnp.pi)

    return Workload("flow_moons", loss, init, data, held, 64, 2000, features=False)


def recall() -> Workload:
    """Attention that must look up: six pairs of letter and digit, then a letter; which digit stood beside it? One
    answer in ten is a random one, so that the loss has a floor."""
    rng = np.random.default_rng(43)
    letters = np.argsort(rng.random((9000, 12)), 1)[:, :6]
    values = rng.integers(0, 8, (9000, 6))
    asked = rng.integers(0, 6, 9000)
    rows = np.arange(9000)
    answers = np.where(rng.random(9000) < 0.1, rng.integers(0, 8, 9000), values[rows, asked])
    x = np.concatenate([letters, values, letters[rows, asked][:, None]], 1).astype(np.int32)
    data, held = split(x, answers.astype(np.int32), 1000)
    width = 24

    def init(key):
        a, b, c, d, e, f = jax.random.split(key, 6)
        return {
            "letter_embed": jax.random.normal(a, (12, width)) * 0.5,
            "digit_embed": jax.random.normal(b, (8, width)) * 0.5,
            "query": dense(c, width, width, 1.0),
            "keys": dense(d, width, width, 1.0),
            "hidden": stack(e, [width, 48, width]),
            "out": dense(f, width, 8, 0.3),
        }

    def loss(params, batch):
        x = batch["x"]
        pairs = params["letter_embed"][x[:, :6]] + params["digit_embed"][x[:, 6:12]]
        asked = params["letter_embed"][x[:, 12]]
        query, keys = affine(params["query"], asked), affine(params["keys"], pairs)
        weights = jax.nn.softmax(jnp.einsum("bd,bkd->bk", query, keys) / jnp.sqrt(width), -1)
        found = asked + jnp.einsum("bk,bkd->bd", weights, pairs)
        found = found + perceptron(params["hidden"], normalise(found), jax.nn.gelu)
        return categorical(affine(params["out"], normalise(found)), batch["y"])

    return Workload("recall", loss, init, data, held, 32, 2500, features=False)


def mammography() -> Workload:
    """A rare class: 2.3 % of 11,183 rows, six columns, two hidden layers."""
    rows = table("mammography/mammography.csv.gz", [*"abcdef", "y"])
    y = np.array([str(v) == "'1'" for v in rows["y"].to_pylist()], np.float32)
    x, y = shuffle(encode(rows.drop_columns("y")), y)
    data, held = split(x, y, 3000)

    def loss(params, batch):
        return bernoulli(perceptron(params, batch["x"], jax.nn.silu)[:, 0], batch["y"])

    return Workload("mammography", loss, lambda key: stack(key, [6, 32, 32, 1]), data, held, 128, 1500)


def kegg_raw() -> Workload:
    """27 heavy-tailed columns as they come, the robust error of a standardised target."""
    rows = np.loadtxt(read("uci_keggundirected/data.csv.gz").decode().splitlines(), delimiter=",")
    target = (rows[:, -1] - rows[:, -1].mean()) / rows[:, -1].std()
    x, y = shuffle(rows[:, :-1].astype(np.float32), target.astype(np.float32))
    data, held = split(x[:30000], y[:30000], 2000)

    def loss(params, batch):
        error = perceptron(params, batch["x"], jnp.tanh)[:, 0] - batch["y"]
        return jnp.mean(jnp.sqrt(1 + error**2) - 1)

    return Workload("kegg_raw", loss, lambda key: stack(key, [x.shape[1], 32, 1], 1.0), data, held, 64, 3000)


def flights() -> Workload:
    """More than 15 minutes late or not, from what is known the day before; carriers and airports are embedded."""
    rows = table("hflights/hflights.csv.xz")
    rows = rows.filter(pc.is_valid(pc.cast(rows["ArrDelay"], "float64")))
    late = pc.cast(rows["ArrDelay"], "float64").to_numpy() > 15
    codes = [
        np.unique(np.array(rows[c]).astype(str), return_inverse=True)[1] for c in ("UniqueCarrier", "Origin", "Dest")
    ]
    number = encode(rows.select(["Month", "DayofMonth", "DayOfWeek", "Distance"]))
    x, place, y = shuffle(number, np.stack(codes, 1).astype(np.int32), late.astype(np.float32))
    sizes = [int(c.max()) + 1 for c in codes]
    data = {"x": x[4000:40000], "place": place[4000:40000], "y": y[4000:40000]}
    held = {"x": x[:4000], "place": place[:4000], "y": y[:4000]}

    def init(key):
        *keys, last = jax.random.split(key, 4)
        embeds = [jax.random.normal(k, (size, 6)) * 0.3 for k, size in zip(keys, sizes, strict=True)]
        return {"embed": embeds, "net": stack(last, [22, 32, 1])}

    def loss(params, batch):
        places = [embed[batch["place"][:, i]] for i, embed in enumerate(params["embed"])]
        return bernoulli(perceptron(params["net"], jnp.concatenate([batch["x"], *places], 1))[:, 0], batch["y"])

    return Workload("flights", loss, init, data, held, 64, 2500)


def residual_cnn() -> Workload:
    """MNIST at 14 x 14: three residual blocks of convolutions, normalised within each image."""
    pixels = np.frombuffer(read("mnist/train-images-idx3-ubyte.gz"), np.uint8, offset=16).reshape(-1, 14, 2, 14, 2)
    labels = np.frombuffer(read("mnist/train-labels-idx1-ubyte.gz"), np.uint8, offset=8)
    small = pixels[20000:28000].mean((2, 4))[..., None] / 255
    data, held = split(small.astype(np.float32), labels[20000:28000].astype(np.int32), 800)
    channels = 8

    def init(key):
        first, *keys, last = jax.random.split(key, 5)
        blocks = [{**dense(k, 9 * channels, channels), "gain": jnp.ones(channels)} for k in keys]
        return {"first": dense(first, 9, channels), "hidden": blocks, "out": dense(last, channels, 10, 1.0)}

    def padded(x):
        return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))

    def loss(params, batch):
        x = halve(affine(params["first"], patches(batch["x"])))
        for block in params["hidden"]:
            x = x + affine(block, patches(padded(jax.nn.relu(normalise(x, (1, 2, 3)) * block["gain"]))))
        return categorical(affine(params["out"], x.mean((1, 2))), batch["y"])

    return Workload("residual_cnn", loss, init, data, held, 16, 600, lanes=1, features=False, narrow=True)


WORKLOADS = {f.__name__: f for f in (flow_moons, recall, mammography, kegg_raw, flights, residual_cnn)}

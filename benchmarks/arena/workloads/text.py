"""Characters and words; the data sets of DESCENSO_DATA."""

from __future__ import annotations

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.arena.layers import affine, bernoulli, categorical, dense, normalise
from benchmarks.arena.tables import read, shuffle, split
from benchmarks.arena.workload import Workload

_LENGTH = 32


def _windows() -> tuple[dict, dict, int]:
    """Windows of 33 characters from the first 90 % of the plays, 64 from the rest, and the number of characters."""
    text = np.frombuffer(read("tinyshakespeare/input.txt.gz"), np.uint8)
    known = np.unique(text)
    codes = np.searchsorted(known, text).astype(np.int32)
    cut = int(0.9 * len(codes))
    train = np.lib.stride_tricks.sliding_window_view(codes[:cut], _LENGTH + 1)[::_LENGTH]
    held = np.lib.stride_tricks.sliding_window_view(codes[cut:], _LENGTH + 1)[:: 20 * _LENGTH][:64]
    return {"text": train.copy()}, {"text": held.copy()}, len(known)


def char_transformer() -> Workload:
    """One block of attention and one perceptron over 32 characters of Shakespeare."""
    data, held, letters = _windows()
    width, heads = 32, 2
    past = jnp.tril(jnp.ones((_LENGTH, _LENGTH), bool))

    def init(key):
        a, b, c, d, e, f, g = jax.random.split(key, 7)
        return {
            "embed": jax.random.normal(a, (letters, width)) * 0.1,
            "place_embed": jax.random.normal(b, (_LENGTH, width)) * 0.1,
            "mix": dense(c, width, 3 * width, 1.0),
            "merge": dense(d, width, width, 0.3),
            "widen": dense(e, width, 4 * width),
            "narrow": dense(f, 4 * width, width, 0.3),
            "out": dense(g, width, letters, 0.3),
            "gain": jnp.ones((3, width)),
        }

    def attend(params, x):
        parts = jnp.split(affine(params["mix"], x), 3, -1)
        query, keys, value = (p.reshape(*p.shape[:2], heads, -1) for p in parts)
        scores = jnp.einsum("bthd,bshd->bhts", query, keys) / jnp.sqrt(width / heads)
        weights = jax.nn.softmax(jnp.where(past, scores, -1e9), -1)
        return affine(params["merge"], jnp.einsum("bhts,bshd->bthd", weights, value).reshape(x.shape))

    def loss(params, batch):
        before, after = batch["text"][:, :-1], batch["text"][:, 1:]
        x = params["embed"][before] + params["place_embed"]
        x = x + attend(params, normalise(x) * params["gain"][0])
        wide = jax.nn.gelu(affine(params["widen"], normalise(x) * params["gain"][1]))
        x = x + affine(params["narrow"], wide)
        return categorical(affine(params["out"], normalise(x) * params["gain"][2]), after)

    return Workload("char_transformer", loss, init, data, held, 12, 1000, lanes=1, features=False, narrow=True)


def char_gru() -> Workload:
    """A gated recurrent unit of width 32 over 32 characters."""
    data, held, letters = _windows()
    width = 32

    def init(key):
        a, b, c, d = jax.random.split(key, 4)
        return {
            "embed": jax.random.normal(a, (letters, width)) * 0.3,
            "inward": dense(b, width, 3 * width, 1.0),
            "recur": dense(c, width, 3 * width, 1.0),
            "out": dense(d, width, letters, 0.3),
        }

    def cell(params, state, inward):
        reset, update, new = jnp.split(inward, 3, -1)
        past_reset, past_update, past_new = jnp.split(affine(params["recur"], state), 3, -1)
        keep = jax.nn.sigmoid(update + past_update)
        fresh = jnp.tanh(new + jax.nn.sigmoid(reset + past_reset) * past_new)
        state = keep * state + (1 - keep) * fresh
        return state, state

    def loss(params, batch):
        before, after = batch["text"][:, :-1], batch["text"][:, 1:]
        inward = affine(params["inward"], params["embed"][before.T])
        state = jnp.zeros((len(before), width))
        _, states = jax.lax.scan(lambda s, i: cell(params, s, i), state, inward, unroll=4)
        return categorical(affine(params["out"], states), after.T)

    return Workload("char_gru", loss, init, data, held, 12, 1000, lanes=1, features=False, narrow=True)


def polarity() -> Workload:
    """Film reviews: the mean of word embeddings, 3,000 words of which a batch touches few; judged on training rows."""
    sentences, labels = [], []
    for label, name in enumerate(("neg", "pos")):
        lines = read(f"rt_polarity/rt-polarity.{name}.gz").decode("latin-1").split("\n")
        kept = [line.split() for line in lines if line.strip()]
        sentences += kept
        labels += [label] * len(kept)
    words = Counter(word for sentence in sentences for word in sentence).most_common(3000)
    number = {word: i + 1 for i, (word, _) in enumerate(words)}
    x = np.zeros((len(sentences), 32), np.int32)
    for row, sentence in zip(x, sentences, strict=True):
        known = [number[word] for word in sentence if word in number][:32]
        row[: len(known)] = known
    x, y = shuffle(x, np.array(labels, np.float32))
    held, _ = split(x, y, len(x) - 2000)

    def init(key):
        a, b = jax.random.split(key)
        return {"embed": jax.random.normal(a, (3001, 16)) * 0.1, "out": dense(b, 16, 1, 1.0)}

    def loss(params, batch):
        present = (batch["x"] > 0)[..., None]
        total = jnp.sum(params["embed"][batch["x"]] * present, 1)
        mean = total / jnp.maximum(jnp.sum(present, 1), 1)
        return bernoulli(affine(params["out"], mean)[:, 0], batch["y"])

    return Workload("polarity", loss, init, {"x": x, "y": y}, held, 32, 3000, lanes=1, features=False, narrow=True)


WORKLOADS = {f.__name__: f for f in (char_transformer, char_gru, polarity)}

"""What the gradients of independent batches tell about the gradient of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import jax
import jax.numpy as jnp
import numpy as np

from descenso._errors import ArgumentError
from descenso._namespace import ravel
from descenso._types import Leaves
from descenso.engine.bounds import Bounds
from descenso.engine.chunk import as_key
from descenso.engine.compile_cache import Remembered
from descenso.engine.evaluate import gather
from descenso.engine.objective import Objective, Trace
from descenso.engine.tree import is_wide

LEAST = 16  # batches below which the test has little power
_FLIPS = 9999
_LEVEL = 0.05  # of the test: how often it sees a gradient where there is none, at most
_SEEN = 2.01  # (chi2_0.95 - 1) / sqrt(2), for noise in one direction: the largest there is; 1.645 for noise in many
_SURE = 0.842  # the normal quantile of 80 %

_remembered = Remembered()


@dataclass(frozen=True)
class BatchGradient:
    """Whether the gradients of K independent batches have a common part.

    Attributes:
        batches, rows: K, and the rows of all of them together (0 for draws of a key).
        squared_norm: an estimate of |grad|^2 without bias, so it may be negative.
        p_value: the share of random signs s with s'A s >= 1'A 1, A the Gram matrix of the batch gradients.
        detectable: the gradient norm that would have been seen with probability 80 %.
        single: the root mean square of the norm of one batch's gradient.
        cost: K, in gradients of one batch.
    """

    batches: int
    rows: int
    squared_norm: float
    p_value: float
    detectable: float
    single: float
    cost: float

    @property
    def seen(self) -> bool:
        """Whether a gradient was seen: p_value is at most 5 %."""
        return self.p_value <= _LEVEL

    @property
    def grad_norm(self) -> float:
        """The estimate of |grad|, 0.0 where that of its square is negative."""
        return sqrt(max(self.squared_norm, 0.0))

    def __str__(self) -> str:
        on = f"{self.rows:,} rows" if self.rows else f"{self.batches:,} draws"
        if self.seen:
            return f"a gradient of norm about {self.grad_norm:.2g} is seen on {on} (p = {self.p_value:.2g})"
        return f"no gradient detectable above {self.detectable:.2g} on {on} (p = {self.p_value:.2g})"


def detectable_gradient(
    objective: Objective,
    leaves: Leaves,
    data: Leaves,
    rows: np.ndarray | None,
    *,
    draws: int = LEAST,
    seed: int = 0,
    trace: Trace | None = None,
    bounds: Bounds | None = None,
) -> BatchGradient:
    """Test whether the gradient of the whole is zero, from batches alone.

        U = (1'A 1 - tr A) / (K (K - 1))         estimates |grad|^2 without bias
        p = (1 + #{s'A s >= 1'A 1}) / (1 + N)    over N random signs s: exact for batch gradients symmetric about zero
        g^2 = 2.01 u + 0.842 sqrt(u^2 + 4 g^2 s / K)    the norm seen with power 80 %: u^2 = 2 tr(S^2) / (K (K - 1)),
                                                         S the covariance of one, s = sqrt(tr(S^2)) >= all its values

    Args:
        objective: the loss over leaves.
        leaves: the point.
        data: the arrays of the data, and those of the loss itself.
        rows: the row numbers of K >= 16 batches, int (K, B), each row at most once; None for a loss without data that
            takes a key.
        draws: K where `rows` is None.
        seed: of the signs, and of the keys of a loss that takes one.
        trace: what tracing the loss showed, so that compiled code is found again.
        bounds: of the params; the gradient is then the projected one, x - P(x - g) by the mean g: each entry is scaled
            by how much of a step of g the bounds allow.

    Memory: K gradients.
    Source: tr(S^2) as in Chen and Qin 2010, "A two-sample test for high-dimensional data", section 3.
    """
    if rows is None and not objective.keyed:
        raise ArgumentError("`rows` is None, but the loss takes no key: all its draws are the same.")
    k = draws if rows is None else len(rows)
    if k < LEAST:
        raise ArgumentError(f"{k} batches were given. The test needs at least {LEAST}.")
    order = np.zeros((k, 0), np.int32) if rows is None else np.asarray(rows, np.int32)
    make = lambda: jax.jit(lambda *args: _gram(objective, *args))  # noqa: E731
    gram = make() if trace is None else _remembered.get((objective, is_wide()), trace, make)
    words = np.stack([np.full(k, 2), np.arange(k) + seed % 2**31], axis=1).astype(np.uint32)
    return tested(
        np.asarray(gram(leaves, data, order, words, bounds), np.float64), order.size, np.random.default_rng(seed)
    )


def _gram(
    objective: Objective, leaves: Leaves, data: Leaves, order: jax.Array, words: jax.Array, bounds: Bounds | None
) -> jax.Array:
    """The inner products (K, K) of the gradients of the batches."""

    def one(pair):
        rows, word = pair
        batch = data if objective.data is None else gather(objective, data, rows)
        return ravel(jax.grad(objective.value)(leaves, batch, as_key(word)), jnp)

    g = jax.lax.map(one, (order, words))
    if bounds is not None:
        x, low, high = (ravel(tuple(jnp.asarray(leaf) for leaf in side), jnp) for side in (leaves, *bounds))
        mean = g.mean(0)
        # an average of points lies near a bound rather than at it, so being held there is a matter of degree
        g = g * jnp.where(mean == 0, 1.0, (x - jnp.clip(x - mean, low, high)) / jnp.where(mean == 0, 1.0, mean))
    return jnp.matmul(g, g.T, precision="highest")


def tested(gram: np.ndarray, rows: int, rng: np.random.Generator) -> BatchGradient:
    """The same from the Gram matrix (K, K) of the batch gradients, `rows` in all of them."""
    k = len(gram)
    total, own = float(gram.sum()), float(np.trace(gram))
    single = sqrt(max(own, 0.0) / k)
    if not np.isfinite(total):
        return BatchGradient(k, rows, np.nan, 1.0, np.inf, single, float(k))
    signs = rng.choice([-1.0, 1.0], size=(_FLIPS, k))
    flipped = np.sum((signs @ gram) * signs, axis=1)
    # all signs alike give the total itself: rounding must not hide a tie
    p = (1 + int(np.sum(flipped >= total - 1e-12 * abs(total)))) / (1 + _FLIPS)
    return BatchGradient(k, rows, (total - own) / (k * (k - 1)), p, _detectable(gram), single, float(k))


def _detectable(gram: np.ndarray) -> float:
    k, s = len(gram), sqrt(_square_trace(gram))
    u = s * sqrt(2 / (k * (k - 1)))
    # a quadratic in g^2, of which the larger root is meant
    a, b = _SEEN * u, _SURE**2
    half = a + 2 * b * s / k
    return sqrt(half + sqrt(max(half**2 - a**2 + b * u**2, 0.0)))


def _square_trace(gram: np.ndarray) -> float:
    """tr(S^2): the mean over pairs of x_j'(x_i - m) x_i'(x_j - m), m the mean of all but the two."""
    k = len(gram)
    others = (gram.sum(0)[None, :] - gram - np.diag(gram)[None, :]) / (k - 2)
    pairs = (gram - others) * (gram - others.T)
    return max(float(pairs.sum() - np.trace(pairs)) / (k * (k - 1)), 0.0)

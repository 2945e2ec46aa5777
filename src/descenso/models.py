"""The models that a table is learned with: one affine map, or a few with a bend in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from descenso import losses
from descenso._types import Array

HIDDEN = (128, 128)
_BLOCK_BYTES = 1 << 24  # of the widest layer of the rows that are predicted at once


@dataclass(frozen=True)
class Model:
    """Affine maps in a row, with GELU between them: linear where there is one, else a multilayer perceptron.

    Args:
        widths: inputs, then each hidden layer, then outputs; at least two numbers, each >= 1.

    Params: a tuple of {"weight": (in, out), "bias": (out,)}, float32, one for each affine map.
    Source of the bend: Hendrycks and Gimpel 2016, arXiv:1606.08415 (its tanh form).
    """

    widths: tuple[int, ...]

    def init(self, seed: int) -> tuple[dict[str, np.ndarray], ...]:
        """Params to start from: zero in the last map, normal with variance 2 / in in those before.

        With the last map at zero the model starts as a constant, whatever the inputs are; a linear one is all zero.
        Source of the variance: He et al. 2015, arXiv:1502.01852, section 2.2.
        """
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence(abs(seed), spawn_key=(seed < 0,))))
        hidden = [
            {"weight": _normal(random, (a, b), (2 / a) ** 0.5), "bias": np.zeros(b, np.float32)}
            for a, b in zip(self.widths[:-2], self.widths[1:-1], strict=True)
        ]
        last = self.widths[-2:]
        return (*hidden, {"weight": np.zeros(last, np.float32), "bias": np.zeros(last[1], np.float32)})

    def __call__(self, params: Any, inputs: Array) -> Array:
        """The outputs: (rows, in) to (rows, out)."""
        *hidden, last = params
        for layer in hidden:
            inputs = jax.nn.gelu(inputs @ layer["weight"] + layer["bias"])
        return inputs @ last["weight"] + last["bias"]

    def predict(self, params: Any, inputs: Any, *, spread: tuple[int, ...] = ()) -> np.ndarray:
        """The outputs of many rows, a block of rows at a time: float32 of shape (rows, out).

        Args:
            params: of this model.
            inputs: (rows, in), or what `spread` makes that of; an array, or what gives one for `inputs[first:last]`.
            spread: see `mean_loss`.
        """
        run, rows = self.predictor(params, spread=spread), self._rows_at_once
        return np.concatenate([run(inputs[i : i + rows]) for i in range(0, len(inputs), rows)])

    def predictor(self, params: Any, *, spread: tuple[int, ...] = ()) -> Callable[[Any], np.ndarray]:
        """A compiled function from some rows of inputs, at least one, to their outputs, as `predict` gives them.

        It computes on as many rows as a power of two, so that rows that come in pieces of any length are compiled for
        a few lengths alone; more than `predict` takes at once are cut.
        """
        run, most = jax.jit(lambda params, block: self(params, spread_out(block, spread))), self._rows_at_once

        def padded(rows: np.ndarray) -> np.ndarray:
            room = min(1 << (len(rows) - 1).bit_length(), most)
            block = np.zeros((room, *rows.shape[1:]), rows.dtype)
            block[: len(rows)] = rows
            return np.asarray(run(params, block))[: len(rows)]

        return lambda rows: np.concatenate([padded(rows[i : i + most]) for i in range(0, len(rows), most)])

    @property
    def _rows_at_once(self) -> int:
        return max(_BLOCK_BYTES // (4 * max(self.widths)), 1)


def _normal(random: np.random.Generator, shape: tuple[int, ...], deviation: float) -> np.ndarray:
    return (deviation * random.standard_normal(shape)).astype(np.float32)


def spread_out(rows: Array, spread: tuple[int, ...]) -> Array:
    """Rows in short as the inputs they stand for: (rows, len(spread)) to (rows, in).

    Args:
        rows: each column an input, or the place among k inputs of the one that is 1, below 0 for none.
        spread: for each column 0 or that k; () leaves the rows as they are.
    """
    if not any(spread):
        return rows
    parts, first = [], 0
    for at in [*np.flatnonzero(spread).tolist(), len(spread)]:
        parts += [rows[:, first:at]] if at > first else []
        if at < len(spread):
            parts.append((rows[:, at, None] == jnp.arange(spread[at])).astype(rows.dtype))
        first = at + 1
    return jnp.concatenate(parts, axis=1)


def mean_loss(
    model: Model, per_example: losses.Loss, penalty: float = 0.0, spread: tuple[int, ...] = ()
) -> Callable[[Any, tuple], Array]:
    """The loss to descend: the mean over the batch of `per_example`, and `penalty` times the sum of squared weights.

    Args:
        model: with one output the loss is given predictions of shape (rows,), else (rows, out).
        per_example: a loss of `descenso.losses`.
        penalty: >= 0. Biases are not penalised.
        spread: how the rows of a batch stand for the inputs, see `spread_out`; targets are then float32 as well.

    Returns:
        A function of (params, (inputs, targets)).
    """

    def loss(params: Any, batch: tuple[Array, Array]) -> Array:
        inputs, targets = batch
        if spread and model.widths[-1] > 1:
            targets = targets.astype(jnp.int32)  # classes, which lie beside the inputs as float32
        outputs = model(params, spread_out(inputs, spread))
        fit = jnp.mean(per_example(outputs[:, 0] if outputs.shape[1] == 1 else outputs, targets))
        if not penalty:
            return fit
        return fit + penalty * sum(jnp.sum(layer["weight"] ** 2) for layer in params)

    return loss

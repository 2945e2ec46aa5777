"""Problems with known answers, written once for numpy, jax and torch.

A problem gives the loss and its gradient, by hand, at flat leaves of any float dtype. `t` is the step count, for the
problem whose gradient is noisy; the others ignore it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from descenso._types import Evaluation, Leaves, Namespace


@dataclass(frozen=True)
class Problem:
    """A loss to descend.

    start: float64 numpy leaves. minimum: the smallest loss. evaluate(params, t, xp): loss and gradient at step t.
    """

    name: str
    start: tuple[np.ndarray, ...]
    minimum: float
    evaluate: Callable[[Leaves, Any, Namespace], Evaluation]

    def loss(self, params: Leaves) -> float:
        """The loss at numpy leaves, in float64."""
        wide = tuple(np.asarray(p, np.float64) for p in params)
        return float(self.evaluate(wide, 0, np).loss)

    def gap(self, params: Leaves) -> float:
        """How much of the way from the start's loss to the minimum is left, 1 at the start."""
        return (self.loss(params) - self.minimum) / (self.loss(self.start) - self.minimum)


def constant(value: np.ndarray, like: Any, xp: Namespace) -> Any:
    """A numpy array in the dtype of `like`."""
    return xp.asarray(value, dtype=like.dtype)


def quadratic(condition: float, seed: int = 0) -> Problem:
    """f = 1 + sum w (x - c)^2 / 2 over a matrix, a vector and a number; the weights span `condition`."""
    rng = np.random.default_rng(seed)
    shapes = ((4, 3), (7,), ())
    goals = tuple(np.asarray(rng.normal(size=s)) for s in shapes)
    spread = np.logspace(0, -np.log10(condition), 20)
    weights = (spread[:12].reshape(4, 3), spread[12:19], spread[19].reshape(()))

    def evaluate(params: Leaves, t: Any, xp: Namespace) -> Evaluation:
        gaps = [p - constant(c, p, xp) for p, c in zip(params, goals, strict=True)]
        grads = tuple(constant(w, d, xp) * d for w, d in zip(weights, gaps, strict=True))
        return Evaluation(1 + sum(xp.sum(d * g) for d, g in zip(gaps, grads, strict=True)) / 2, grads)

    start = tuple(np.asarray(c + rng.choice((-1.0, 1.0), size=c.shape)) for c in goals)
    return Problem(f"quadratic, condition {condition:g}", start, 1.0, evaluate)


def noisy(seed: int = 0) -> Problem:
    """A quadratic of condition 10 whose gradient carries noise, a table of 4096 draws taken in order."""
    clean = quadratic(10.0, seed)
    rng = np.random.default_rng(seed + 1)
    table = tuple(0.3 * rng.normal(size=(4096, *p.shape)) for p in clean.start)

    def evaluate(params: Leaves, t: Any, xp: Namespace) -> Evaluation:
        loss, grads = clean.evaluate(params, t, xp)
        rows = tuple(constant(n, g, xp)[t % 4096] for n, g in zip(table, grads, strict=True))
        return Evaluation(loss, tuple(g + n for g, n in zip(grads, rows, strict=True)))

    return Problem("noisy", clean.start, clean.minimum, evaluate)


def rosenbrock() -> Problem:
    """f = (1 - x)^2 + 100 (y - x^2)^2 from (-1.2, 1)."""

    def evaluate(params: Leaves, t: Any, xp: Namespace) -> Evaluation:
        x, y = params
        valley = y - x * x
        return Evaluation((1 - x) ** 2 + 100 * valley**2, (-2 * (1 - x) - 400 * x * valley, 200 * valley))

    return Problem("rosenbrock", (np.array(-1.2), np.array(1.0)), 0.0, evaluate)


def logistic(rows: int = 80, seed: int = 0) -> Problem:
    """Ridge logistic regression on three features: weights (3,), intercept ()."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3)) * (3.0, 1.0, 0.3)
    y = np.where(x @ (0.5, -1.0, 2.0) + 0.3 + rng.logistic(size=rows) > 0, 1.0, -1.0)

    def evaluate(params: Leaves, t: Any, xp: Namespace) -> Evaluation:
        w, b = params
        features, labels = constant(x, w, xp), constant(y, w, xp)
        margin = labels * (features @ w + b)
        miss = 1 / (1 + xp.exp(margin))
        pull = -labels * miss / rows
        loss = -xp.sum(xp.log(1 - miss)) / rows + 0.01 * (xp.sum(w * w) + b * b) / 2
        return Evaluation(loss, (features.T @ pull + 0.01 * w, xp.sum(pull) + 0.01 * b))

    return Problem("logistic", (np.zeros(3), np.array(0.0)), _logistic_minimum(x, y), evaluate)


def _logistic_minimum(x: np.ndarray, y: np.ndarray) -> float:
    """The smallest loss, by Newton's method, written apart from the problem."""
    design = np.column_stack([x, np.ones(len(x))])
    w = np.zeros(4)
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ w))
        gradient = design.T @ (p - (y > 0)) / len(y) + 0.01 * w
        w -= np.linalg.solve((design.T * (p * (1 - p))) @ design / len(y) + 0.01 * np.eye(4), gradient)
    return float(np.mean(np.logaddexp(0, -y * (design @ w))) + 0.005 * w @ w)


def network(seed: int = 0) -> Problem:
    """Half the mean squared error of a 3-4-1 tanh network on the outputs of another: four leaves, minimum 0."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(24, 3))

    def outputs(params: Leaves, x: Any, xp: Namespace) -> tuple[Any, Any]:
        first, shift, second, offset = params
        sigmoid = 1 / (1 + xp.exp(-2 * (x @ first + shift)))
        return 2 * sigmoid - 1, (2 * sigmoid - 1) @ second + offset

    def draw() -> tuple[np.ndarray, ...]:
        return rng.normal(size=(3, 4)), 0.3 * rng.normal(size=4), rng.normal(size=(4, 1)), np.asarray(rng.normal())

    teacher = draw()
    y = outputs(teacher, x, np)[1]

    def evaluate(params: Leaves, t: Any, xp: Namespace) -> Evaluation:
        inputs, targets = constant(x, params[0], xp), constant(y, params[0], xp)
        hidden, out = outputs(params, inputs, xp)
        miss = (out - targets) / 24
        back = miss @ params[2].T * (1 - hidden * hidden)
        grads = (inputs.T @ back, xp.sum(back, axis=0), hidden.T @ miss, xp.sum(miss))
        kept = tuple(xp.asarray(g, dtype=p.dtype) for g, p in zip(grads, params, strict=True))
        return Evaluation(xp.sum((out - targets) ** 2) / 48, kept)

    start = (*(p + 0.5 * rng.normal(size=p.shape) for p in teacher[:3]), np.asarray(teacher[3] + 0.5))
    return Problem("network", start, 0.0, evaluate)


def cliff() -> Problem:
    """f = x - log(1 - x) + 2 x^2 from 0.9, infinite from 1 on: a long step falls off."""

    def evaluate(params: Leaves, t: Any, xp: Namespace) -> Evaluation:
        (x,) = params
        inside = x < 1
        left = xp.where(inside, 1 - x, 1.0)
        loss = xp.where(inside, x - xp.log(left) + 2 * x * x, np.inf)
        return Evaluation(xp.sum(loss), (xp.where(inside, 1 + 1 / left + 4 * x, np.nan),))

    # the gradient vanishes where (1 + 4 x)(1 - x) + 1 = 0, at x = (3 - sqrt(41)) / 8
    x = (3 - 41**0.5) / 8
    return Problem("cliff", (np.array([0.9]),), x - np.log(1 - x) + 2 * x * x, evaluate)

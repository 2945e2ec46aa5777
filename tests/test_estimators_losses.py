"""The losses of margins and of amounts against their formulas, and a kink rounded off."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descenso import losses
from descenso._errors import ArgumentError, DataError
from descenso.estimators.families import ramp

P = np.array([-9.0, -1.5, -0.7, 0.0, 0.4, 2.5, 9.0])
T = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
M = (2 * T - 1) * P
A = np.array([0.1, 3.0, 1.0, 7.0, 0.2, 2.0, 5.0])

FORMULAS = {
    "squared_hinge": (losses.squared_hinge, T, np.clip(1 - M, 0, None) ** 2),
    "modified_huber": (losses.modified_huber, T, np.where(M >= -1, np.clip(1 - M, 0, None) ** 2, -4 * M)),
    "epsilon_insensitive": (losses.epsilon_insensitive, A, np.clip(np.abs(A - P) - 0.1, 0, None)),
    "gamma": (losses.gamma, A, P + A * np.exp(-P)),
    "tweedie": (losses.tweedie, A, 2 * np.exp(P / 2) + 2 * A * np.exp(-P / 2)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_agrees_with_the_formula(name):
    loss, target, expected = FORMULAS[name]
    np.testing.assert_allclose(loss(jnp.asarray(P, jnp.float32), jnp.asarray(target, jnp.float32)), expected, rtol=1e-5)


@pytest.mark.parametrize("name", FORMULAS)
def test_gradient_is_the_slope(name):
    loss, target, _ = FORMULAS[name]
    with jax.enable_x64(True):
        p, t, h = jnp.asarray(P) + 0.01, jnp.asarray(target), 1e-6
        slope = (loss(p + h, t) - loss(p - h, t)) / (2 * h)
        np.testing.assert_allclose(jax.grad(lambda p: loss(p, t).sum())(p), slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("loss", "least"), [(losses.gamma, np.log(2.0)), (losses.tweedie, np.log(2.0))])
def test_a_rate_is_best_at_the_target(loss, least):
    grid = jnp.linspace(-2, 2, 4001)
    best = grid[jnp.argmin(loss(grid, jnp.full_like(grid, 2.0)))]
    assert best == pytest.approx(least, abs=2e-3)


def test_targets_without_a_meaning_are_refused():
    with pytest.raises(DataError, match="above 0"):
        losses.check_targets(losses.gamma, np.array([1.0, 0.0]))
    with pytest.raises(DataError, match="0 or more"):
        losses.check_targets(losses.tweedie, np.array([-1.0]))
    with pytest.raises(DataError, match="0 or 1"):
        losses.check_targets(losses.squared_hinge, np.array([2.0]))
    with pytest.raises(ArgumentError, match="power"):
        losses.tweedie(jnp.zeros(1), jnp.zeros(1), power=2.0)
    with pytest.raises(ArgumentError, match="epsilon"):
        losses.epsilon_insensitive(jnp.zeros(1), jnp.zeros(1), epsilon=-1.0)


def test_a_rounded_kink_is_too_low_by_at_most_half_its_width():
    x = jnp.linspace(-2, 2, 401)
    for width in (0.0, 1e-3, 0.5):
        off = np.maximum(x, 0) - ramp(x, width)
        assert off.min() >= -1e-6
        assert off.max() <= width / 2 + 1e-6
    slopes = jax.vmap(jax.grad(ramp), (0, None))(x, 0.5)
    np.testing.assert_allclose(slopes, np.clip(x / 0.5, 0, 1), atol=1e-5)

"""Every loss against its formula in float64, at extremes, by its gradient, and for targets that it must refuse."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from descenso import losses
from descenso._errors import ArgumentError, DataError, LossShapeError

P = np.array([-30.0, -3.0, -0.7, 0.0, 0.4, 2.5, 30.0])
T = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0])

FORMULAS = {
    "squared": (losses.squared, (T - P) ** 2),
    "huber": (losses.huber, special.huber(1.0, T - P)),
    "quantile": (losses.quantile, np.abs(T - P) / 2),
    "logistic": (losses.logistic, -(T * special.log_expit(P) + (1 - T) * special.log_expit(-P))),
    "hinge": (losses.hinge, np.clip(1 - (2 * T - 1) * P, 0, None)),
    "poisson": (losses.poisson, -stats.poisson.logpmf(T, np.exp(P)) - special.gammaln(T + 1)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_agrees_with_the_formula_in_float64(name):
    loss, expected = FORMULAS[name]
    np.testing.assert_allclose(loss(jnp.asarray(P, jnp.float32), jnp.asarray(T, jnp.float32)), expected, rtol=2e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_gradient_is_the_slope(name):
    loss, _ = FORMULAS[name]
    with jax.enable_x64(True):
        p, t, h = jnp.asarray(P[1:-1]) + 0.01, jnp.asarray(T[1:-1]), 1e-6
        slope = (loss(p + h, t) - loss(p - h, t)) / (2 * h)
        np.testing.assert_allclose(jax.grad(lambda p: loss(p, t).sum())(p), slope, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", sorted(set(FORMULAS) - {"poisson", "squared"}))
def test_value_and_gradient_stay_finite_at_extremes(name):
    p, t = jnp.array([-1e30, 1e30, 1e30, -1e30], jnp.float32), jnp.array([0.0, 1.0, 0.0, 1.0], jnp.float32)
    value, gradient = jax.value_and_grad(lambda p: FORMULAS[name][0](p, t).sum())(p)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_a_sure_and_right_prediction_keeps_its_small_loss():
    small = losses.logistic(jnp.float32([20.0, -20.0]), jnp.float32([1.0, 0.0]))
    np.testing.assert_allclose(small, np.log1p(np.exp(-20.0)), rtol=1e-6)


def test_quantile_is_minimised_by_the_quantile():
    t = np.random.default_rng(0).normal(size=999).astype(np.float32)
    grid = jnp.linspace(-2, 2, 401)
    mean = jax.vmap(lambda c: losses.quantile(jnp.full_like(t, c), jnp.asarray(t), q=0.8).mean())(grid)
    assert abs(grid[jnp.argmin(mean)] - np.quantile(t, 0.8)) <= 0.02


def test_softmax_agrees_with_scipy_and_has_a_gradient():
    rng = np.random.default_rng(1)
    logits, t = rng.normal(size=(50, 4)).astype(np.float32) * 20, rng.integers(0, 4, 50)
    expected = -special.log_softmax(logits.astype(np.float64), axis=1)[np.arange(50), t]
    np.testing.assert_allclose(losses.softmax(jnp.asarray(logits), jnp.asarray(t)), expected, rtol=1e-5, atol=1e-5)
    grad = jax.grad(lambda x: losses.softmax(x, jnp.asarray(t)).sum())(jnp.asarray(logits))
    np.testing.assert_allclose(grad, special.softmax(logits, axis=1) - np.eye(4)[t], atol=1e-6)


@pytest.mark.parametrize("label", [-1, 4])
def test_softmax_of_a_label_out_of_range_is_nan_not_another_class(label):
    assert np.isnan(losses.softmax(jnp.zeros((1, 4)), jnp.array([label]))[0])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_softmax_takes_integers_of_every_width(dtype):
    logits = np.random.default_rng(2).normal(size=(3, 300)).astype(np.float32)
    t = np.array([0, 5, 127], dtype)
    expected = -special.log_softmax(logits, axis=1)[np.arange(3), t]
    np.testing.assert_allclose(losses.softmax(logits, t), expected, rtol=1e-5)


def test_softmax_in_higher_dimensions_scores_every_position():
    assert losses.softmax(jnp.zeros((2, 5, 7)), jnp.zeros((2, 5), jnp.int32)).shape == (2, 5)


@pytest.mark.parametrize("name", FORMULAS)
def test_shapes_are_never_broadcast(name):
    with pytest.raises(LossShapeError, match=r"\(7, 1\).*\(7,\)"):
        jax.jit(FORMULAS[name][0])(jnp.zeros((7, 1)), jnp.zeros(7))


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (jnp.zeros((5, 1)), jnp.zeros((5, 1), jnp.int32), "one output for each class"),
        (jnp.zeros(()), jnp.zeros((), jnp.int32), "one output for each class"),
        (jnp.zeros((5, 3)), jnp.zeros(5), "dtype float32"),
    ],
)
def test_softmax_refuses_shapes_and_dtypes_that_do_not_fit(prediction, target, message):
    with pytest.raises(LossShapeError, match=message):
        losses.softmax(prediction, target)


@pytest.mark.parametrize(("loss", "extra"), [(losses.huber, {"delta": 0.0}), (losses.quantile, {"q": 1.0})])
def test_constants_out_of_range_are_refused(loss, extra):
    with pytest.raises(ArgumentError):
        loss(jnp.zeros(1), jnp.zeros(1), **extra)


@pytest.mark.parametrize(
    ("loss", "targets", "classes", "found"),
    [
        (losses.logistic, [0, 1, 2, 2], None, (3, 2, 2)),
        (losses.logistic, [0.5, float("nan")], None, (2, 1, float("nan"))),
        (losses.hinge, [-1, 1, 1], None, (1, 1, -1)),
        (losses.softmax, [0, 7, 3], 4, (2, 1, 7)),
        (losses.softmax, [0, -1, 3], None, (2, 1, -1)),
        (losses.softmax, [0.0, 1.5], 4, (2, 1, 1.5)),
        (losses.poisson, [3, 0, -2], None, (3, 1, -2)),
        (losses.squared, [1.0, float("inf")], None, (2, 1, float("inf"))),
        (losses.squared, ["a", "b"], None, (1, 2, "a")),
    ],
)
def test_targets_out_of_range_are_refused_with_row_count_and_example(loss, targets, classes, found):
    with pytest.raises(DataError) as caught:
        losses.check_targets(loss, np.array(targets), classes=classes)
    assert repr((caught.value.row, caught.value.count, caught.value.example)) == repr(found)


def test_the_row_of_a_matrix_of_targets_is_its_first_axis():
    target = np.zeros((4, 3))
    target[2, 1] = np.inf
    with pytest.raises(DataError) as caught:
        losses.check_targets(losses.squared, target)
    assert caught.value.row == 3


def test_good_targets_pass_and_none_at_all_is_refused():
    losses.check_targets(losses.softmax, np.array([0, 3]), classes=4)
    losses.check_targets(losses.logistic, np.array([True, False]))
    losses.check_targets(losses.huber, np.array([1.5, -2]))
    with pytest.raises(DataError, match="no targets"):
        losses.check_targets(losses.squared, np.array([]))

"""Points of known kind, and what the certificate says of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import descenso
from descenso._errors import ArgumentError, DataError
from descenso.certificate import Verdict, batches, certify, detectable_gradient, stationary
from descenso.engine.engine import key_data
from descenso.engine.objective import Objective
from descenso.engine.tree import flatten


@pytest.fixture(params=[False, True], ids=["float32", "float64"])
def wide(request):
    with jax.enable_x64(request.param):
        yield request.param


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def quadratic(*curvatures):
    """sum_i c_i x_i^2 / 2, in turned coordinates so that no axis is an eigenvector."""
    h = turned(np.array(curvatures, float), seed=len(curvatures))
    return lambda x: x @ jnp.asarray(h, x.dtype) @ x / 2


def turned(eigenvalues, seed):
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(eigenvalues),) * 2))[0]
    return q * eigenvalues @ q.T


STRICT, FLAT, DEGENERATE, SADDLE = Verdict.STRICT_MINIMUM, Verdict.FLAT, Verdict.DEGENERATE, Verdict.SADDLE
MAXIMUM, KINK, MOVING, UNDECIDED = Verdict.MAXIMUM, Verdict.KINK, Verdict.NOT_STATIONARY, Verdict.UNDECIDED

ENDINGS = {
    # name: loss, point, verdict, index, flat directions (None: not looked at)
    "rosenbrock": (rosenbrock, [1.0, 1.0], STRICT, 0, 0),
    "rosenbrock, almost": (rosenbrock, [1 + 1e-7, 1 + 2e-7], STRICT, 0, 0),
    "log cosh": (lambda x: jax.nn.logsumexp(jnp.stack([x, -x])), 0.0, STRICT, 0, 0),
    "many minima, at one": (lambda x: jnp.sum(x**2 + 10 - 10 * jnp.cos(6.2831853 * x)), [0.0] * 3, STRICT, 0, 0),
    "unlike units": (lambda x: 1e8 * (x[0] - 0.1) ** 2 + (x[1] - 0.3) ** 2, [0.1, 0.3], STRICT, 0, 0),
    "tiny units": (lambda x: ((x - 1e-9) / 1e-9) ** 2, 1e-9, STRICT, 0, 0),
    "huge units": (lambda x: ((x - 1e9) / 1e9) ** 2, 1e9, STRICT, 0, 0),
    "on a large constant": (lambda x: 1e6 + x**2, 1e-5, STRICT, 0, 0),
    "saddle from its axis": (lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4, [0.0, 0.0], SADDLE, 1, 0),
    "saddle, unlike units": (lambda x: 1e8 * (x[0] - 0.1) ** 2 - (x[1] - 0.3) ** 2, [0.1, 0.3], SADDLE, 1, 0),
    "saddle, no diagonal": (lambda x: x[0] * x[1], [0.0, 0.0], SADDLE, 1, 0),
    "index 2 of 4": (quadratic(-3.0, -1.0, 1.0, 2.0), [0.0] * 4, SADDLE, 2, 0),
    "index 4 of 5": (quadratic(-3.0, -1.0, -1.0, -2.0, 5.0), [0.0] * 5, SADDLE, 4, 0),
    "saddle and flat": (quadratic(-1.0, 0.0, 1.0), [0.0] * 3, SADDLE, 1, 1),
    "monkey saddle": (lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2, [0.0, 0.0], DEGENERATE, 0, 2),
    "inflection": (lambda x: x**3, 0.0, DEGENERATE, 0, 1),
    "inflection, almost": (lambda x: x**3, 1e-4, DEGENERATE, 0, 1),
    "inflection beside a valley": (lambda x: x[0] ** 2 + x[1] ** 3, [0.0, 0.0], DEGENERATE, 0, 1),
    "falls along no line": (lambda x: (x[1] - x[0] ** 2) * (x[1] - 2 * x[0] ** 2), [0.0, 0.0], DEGENERATE, 0, 1),
    "quartic": (lambda x: x**4, 0.0, DEGENERATE, 0, 1),
    "quartic, almost": (lambda x: x**4, 1e-3, DEGENERATE, 0, 1),
    "quartic beside a valley": (lambda x: x[0] ** 2 + x[1] ** 4, [0.0, 0.0], DEGENERATE, 0, 1),
    "maximum": (lambda x: jnp.sum(jnp.cos(x)), [0.0] * 3, MAXIMUM, 3, 0),
    "ridge": (lambda x: -(x[0] ** 2) + 0 * x[1], [0.0, 3.0], MAXIMUM, 1, 1),
    "straight valley": (lambda x: (x[0] + x[1] - 1) ** 2, [0.25, 0.75], FLAT, 0, 1),
    "valley round a circle": (lambda x: (x @ x - 1) ** 2, [0.6, 0.8, 0.0], FLAT, 0, 2),
    "absolute value": (jnp.abs, 0.0, KINK, None, None),
    "absolute value, almost": (jnp.abs, 1e-9, KINK, None, None),
    "kink beside a valley": (lambda x: jnp.abs(x[0]) + x[1] ** 2, [1e-9, 0.0], KINK, None, None),
    "largest entry": (lambda x: jnp.max(jnp.abs(x)), [1e-9, -2e-9, 1e-9], KINK, None, None),
    "kink on a slope": (lambda x: jnp.sum(jnp.abs(x)), [1e-9, 5.0], MOVING, None, None),
    "slope": (rosenbrock, [1.001, 1.002], MOVING, None, None),
    "no finite minimum": (lambda x: jnp.exp(-x), 40.0, MOVING, None, None),
    "far out on a sigmoid": (jax.nn.sigmoid, -30.0, MOVING, None, None),
    "constant": (lambda x: 0 * x + 1.0, 3.0, UNDECIDED, 0, 1),
    "no loss": (jnp.log, -1.0, UNDECIDED, None, None),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_endings(name, wide):
    loss, point, verdict, index, flat = ENDINGS[name]
    found = certify(loss, jnp.asarray(point, float))
    assert found.verdict is verdict, str(found)
    if index is not None:
        assert (found.index, found.flat) == (index, flat), str(found)
    assert found.is_minimum == (verdict in (STRICT, FLAT))
    assert 0 < found.cost < 150


def test_a_sigmoid_that_is_constant_to_rounding_is_a_plateau(wide):
    found = certify(jax.nn.sigmoid, jnp.asarray(-200.0, float))
    assert found.verdict is UNDECIDED
    assert "plateau" in str(found)


@pytest.mark.parametrize(
    "name", ["saddle from its axis", "index 2 of 4", "monkey saddle", "falls along no line", "slope"]
)
def test_the_loss_falls_along_the_descent(name, wide):
    loss, point, *_ = ENDINGS[name]
    x = jnp.asarray(point, float)
    step = certify(loss, x).descent
    step = step * min(1.0, 0.1 / float(jnp.linalg.norm(step)))
    assert min(float(loss(x + step)), float(loss(x - step))) < float(loss(x))


def test_the_sentence_says_what_was_measured(wide):
    found = str(certify(quadratic(-3.0, -1.0, 1.0, 2.0), jnp.zeros(4)))
    assert found.startswith("saddle of index 2: the loss falls along 2 directions, with curvature down to -3;")
    assert "predicted decrease" in found
    assert found.endswith("gradients")
    assert "\n" not in found


def test_params_are_any_tree(wide):
    params = {"a": jnp.zeros((2, 2)), "f": jnp.tanh, "b": (jnp.zeros(()), jnp.ones(3))}

    def loss(p):
        return jnp.sum(p["f"](p["a"]) ** 2) - p["b"][0] ** 2 + jnp.sum((p["b"][1] - 1) ** 2)

    found = certify(loss, params)
    assert (found.verdict, found.index) == (SADDLE, 1)
    assert jax.tree.structure(found.descent) == jax.tree.structure(params)
    assert abs(float(found.descent["b"][0])) > 0.99 * float(jnp.linalg.norm(found.descent["b"][0]))


def test_low_precision_counts_its_own_rounding():
    found = certify(lambda x: jnp.sum((x - 0.3) ** 2), jnp.full(3, 0.3, jnp.bfloat16))
    assert found.verdict is STRICT


def test_the_same_again(wide):
    a, b = (certify(quadratic(1.0, 0.0, 2.0), jnp.zeros(3)) for _ in range(2))
    assert str(a) == str(b)


# random saddles and minima


def surfaces(count, seed):
    """Random quadratics, half of them saddles: (curvatures, the Hessian as diagonal or matrix, stationary point)."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        n = (3, 30, 300)[rng.integers(3)]  # few sizes: each is compiled once
        values = 10.0 ** rng.uniform(-4, 0, n)
        if i % 2:
            values[: rng.integers(1, 3)] = -(10.0 ** rng.uniform(-3, 0))
        aligned = i % 4 < 2
        h = rng.permutation(values) if aligned else turned(values, i)
        yield values, h, rng.standard_normal(n)


def bowl(own, x):
    h, centre = own
    d = x - centre
    return d @ (h * d if h.ndim == 1 else h @ d) / 2


@pytest.mark.parametrize("seed", [1, 2])
def test_random_saddles_and_minima(seed, wide):
    for values, h, centre in surfaces(20, seed):
        loss = jax.tree_util.Partial(bowl, (jnp.asarray(h), jnp.asarray(centre)))
        found = certify(loss, jnp.asarray(centre), seed=seed)
        low = values.min()
        assert found.level is not None
        assert low >= -found.level or not found.is_minimum, str(found)
        if low < 0:
            assert (found.verdict, found.index) == (SADDLE, int(np.sum(values < 0))), str(found)
        else:
            assert found.verdict is STRICT, str(found)
        np.testing.assert_allclose(found.lowest, low, atol=1e-5)


@pytest.mark.parametrize("curvature", [-0.1, -0.01])
@pytest.mark.parametrize("effort", ["quick", "thorough"])
def test_lanczos_sees_what_its_level_excludes(curvature, effort, wide):
    values = np.concatenate([[curvature], 10.0 ** np.random.default_rng(0).uniform(-4, 0, 799)])
    h = jnp.asarray(np.random.default_rng(1).permutation(values))
    found = certify(lambda x: x @ (h * x) / 2, jnp.zeros(800), effort=effort)
    assert (found.verdict, found.index, found.complete) == (SADDLE, 1, False)
    assert curvature * 1.01 <= found.lowest < 0.5 * curvature


def test_lanczos_states_the_level_that_it_proves(wide):
    values = np.linspace(0.5, 1, 800)
    quick, thorough = (
        certify(lambda x, b=b: x @ (jnp.asarray(values + b) * x) / 2, jnp.zeros(800), effort=effort)
        for effort, b in (("quick", 0.0), ("thorough", -0.49999))
    )
    assert quick.verdict is STRICT
    assert quick.sure == 0.99
    # 0.00001 is above zero, but 256 products do not prove it
    assert thorough.verdict is Verdict.MINIMUM
    assert 0 < thorough.level < 0.02
    assert thorough.sure == 0.9999
    assert "probability 99.99 %" in str(thorough)


def test_lanczos_counts_what_occurs_more_than_once(wide):
    values = np.concatenate([[-1.0] * 3, np.ones(700)])
    found = certify(lambda x: x @ (jnp.asarray(values) * x) / 2, jnp.zeros(703))
    assert (found.verdict, found.index) == (SADDLE, 3)
    assert certify(lambda x: -(x @ x), jnp.zeros(600)).verdict is MAXIMUM


# the cheap check of a run


def check(loss, point, **more):
    tree, leaves = flatten(jnp.asarray(point, float))
    return stationary(Objective(loss, tree, None, False), leaves, (), **more)


def test_stationary(wide):
    assert check(rosenbrock, [1.0, 1.0]).zero
    assert not check(rosenbrock, [1.001, 1.002]).zero
    off = check(lambda x: 3 * x**2, 0.5)
    np.testing.assert_allclose([off.grad_norm, off.predicted_decrease, off.newton_step], [3.0, 0.75, 0.5], rtol=1e-5)
    assert off.solved
    assert not check(jax.nn.sigmoid, -30.0).zero


def test_stationary_measures_its_noise(wide):
    # the sum cancels: the gradient of a part is 1e4 times what is left
    noisy = check(
        lambda x: jnp.sum(jnp.sin(1e4 * x)) - jnp.sum(1e4 * x - (1e4 * x) ** 3 / 6) + (x - 1) @ (x - 1), [1e-4] * 3
    )
    assert noisy.noise > 10 * jnp.finfo(float).eps
    assert noisy.noise < 0.1


def test_stationary_trusts_the_gradients_of_the_run(wide):
    tiny = lambda x: jnp.sum(x**4)  # noqa: E731
    assert check(tiny, [1e-3], largest=4.0).zero
    assert not check(tiny, [1e-3], largest=1e-3).zero


# with data


def logistic(w, batch):
    x, y = batch
    z = x @ w
    return jnp.mean(jnp.logaddexp(0, z) - y * z)


def rows_of(rows, n=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, n))
    y = (rng.random(rows) < 1 / (1 + np.exp(-x @ np.ones(n)))).astype(float)
    return x, y


def test_over_all_rows_it_is_a_loss_like_any_other(wide):
    data = rows_of(2000)
    best = descenso.minimize(logistic, jnp.zeros(5), data, batch_size="all").params
    at, off = certify(logistic, best, data), certify(logistic, best + 0.1, data)
    assert at.verdict is STRICT
    assert "the loss over these 2,000 rows" in str(at)
    assert off.verdict is MOVING
    assert off.batches is None


def test_batches_see_a_gradient_away_from_the_optimum_alone(wide):
    data = rows_of(4000)
    best = descenso.minimize(logistic, jnp.zeros(5), data, batch_size="all").params
    at = certify(logistic, best, data, batch_size=64)
    off = certify(logistic, best + 0.5, data, batch_size=64)
    assert at.verdict is Verdict.NO_GRADIENT
    assert not at.is_minimum
    assert str(at).startswith(f"no gradient detectable above {at.batches.detectable:.2g} on 1,024 rows")
    assert "minimum" not in str(at)
    assert off.verdict is MOVING
    exact = float(jnp.linalg.norm(jax.grad(logistic)(best + 0.5, data)))
    assert abs(off.batches.grad_norm - exact) < 0.5 * exact
    assert certify(logistic, best, data, batch_size=32, effort="thorough").batches.batches == 64


def test_a_loss_with_a_key_is_judged_by_its_draws(wide):
    def loss(x, key):
        return jnp.sum((x + 0.1 * jax.random.normal(key, x.shape)) ** 2)

    assert certify(loss, jnp.zeros(4)).verdict is Verdict.NO_GRADIENT
    assert "16 draws" in str(certify(loss, jnp.zeros(4)))
    assert certify(loss, jnp.ones(4)).verdict is MOVING


def gram(rng, k, d, norm):
    spread = 1 / np.sqrt(np.arange(1.0, d + 1))
    mean = norm * np.eye(d)[0]
    g = mean + spread * rng.standard_t(5, (k, d))
    return g @ g.T, spread


def test_false_alarms_stay_within_the_level():
    rng = np.random.default_rng(0)
    seen = sum(batches.tested(gram(rng, 16, 50, 0.0)[0], 1, rng).seen for _ in range(400))
    # 5 % of 400 is 20, with a standard deviation of 4.4
    assert seen <= 34


def test_the_detectable_gradient_is_detected():
    rng = np.random.default_rng(1)
    found = [batches.tested(gram(rng, 16, 50, 0.0)[0], 1, rng) for _ in range(50)]
    detectable = float(np.median([f.detectable for f in found]))
    seen = np.mean([batches.tested(gram(rng, 16, 50, detectable)[0], 1, rng).seen for _ in range(200)])
    assert seen > 0.6
    # without bias: the mean of |grad|^2 over many tests
    squares = [batches.tested(gram(rng, 16, 50, 1.0)[0], 1, rng).squared_norm for _ in range(200)]
    assert abs(np.mean(squares) - 1.0) < 5 * np.std(squares) / np.sqrt(200)


def test_what_cannot_be_certified():
    data = rows_of(100)
    with pytest.raises(ArgumentError, match="must be a function"):
        certify(3, jnp.zeros(2))
    with pytest.raises(ArgumentError, match='"quick" or "thorough"'):
        certify(rosenbrock, jnp.zeros(2), effort="hard")
    with pytest.raises(ArgumentError, match="no `data`"):
        certify(rosenbrock, jnp.zeros(2), batch_size=3)
    with pytest.raises(ArgumentError, match="16 batches without common rows"):
        certify(logistic, jnp.zeros(5), data, batch_size=50)
    with pytest.raises(ArgumentError, match="whole number"):
        certify(logistic, jnp.zeros(5), data, batch_size=0)
    with pytest.raises(DataError, match="no arrays"):
        certify(logistic, jnp.zeros(5), ())
    tree, leaves = flatten(jnp.zeros(2))
    objective = Objective(rosenbrock, tree, None, False)
    with pytest.raises(ArgumentError, match="takes no key"):
        detectable_gradient(objective, leaves, (), None)
    with pytest.raises(ArgumentError, match="at least 16"):
        detectable_gradient(objective, leaves, (), np.zeros((3, 2)))
    assert key_data(0, 0).shape == (2,)

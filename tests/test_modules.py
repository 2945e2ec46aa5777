"""Models of Equinox and Flax as params: what of them moves, what stays, what is refused."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx

from descenso import Budget, leaf_mask, losses, minimize
from descenso._errors import LossGradientError, ParamsError
from descenso.engine.tree import flatten
from descenso.methods import Freeze, named

ADAM = named("adam", lr=0.03)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(128, 2)).astype(np.float32)
Y = np.sin(2 * X[:, 0]) * X[:, 1]
IMAGES = RNG.normal(size=(64, 6, 6, 1)).astype(np.float32)
LABELS = (IMAGES[:, :3].mean((1, 2, 3)) > IMAGES[:, 3:].mean((1, 2, 3))).astype(np.int32)


def squared(model, batch):
    inputs, targets = batch
    return jnp.mean((jax.vmap(model)(inputs) - targets) ** 2)


# Equinox


class Equipped(eqx.Module):
    """A module with all that a field can hold."""

    inside: eqx.nn.MLP
    spread: eqx.nn.LayerNorm
    drop: eqx.nn.Dropout
    order: jax.Array
    share: float
    name: str
    width: int = eqx.field(static=True)

    def __init__(self, key):
        self.inside = eqx.nn.MLP(2, "scalar", 8, 1, activation=jax.nn.gelu, key=key)
        self.spread = eqx.nn.LayerNorm(2)
        self.drop = eqx.nn.Dropout(0.3, inference=True)
        self.order = jnp.array([1, 0])
        self.share, self.name, self.width = 0.5, "equipped", 2

    def __call__(self, x):
        return self.share * self.inside(self.drop(self.spread(x)[self.order]))


def test_an_equinox_module_is_descended_on_as_its_arrays_are():
    model = eqx.nn.MLP(2, "scalar", 16, 1, activation=jnp.tanh, key=jax.random.key(1))
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)
    budget = Budget(steps=100)
    result = minimize(squared, model, (X, Y), method=ADAM, budget=budget)
    alone = minimize(
        lambda leaves, batch: squared(eqx.combine(jax.tree.unflatten(jax.tree.structure(arrays), leaves), rest), batch),
        jax.tree.leaves(arrays),
        (X, Y),
        method=ADAM,
        budget=budget,
    )
    assert isinstance(result.params, eqx.nn.MLP)
    assert result.params.activation is model.activation
    assert result.loss < 0.3 * squared(model, (X, Y))
    assert result.loss == pytest.approx(float(squared(result.params, (X, Y))), rel=1e-5)
    np.testing.assert_allclose(result.loss, alone.loss, rtol=1e-5)


def test_only_the_float_arrays_of_an_equinox_module_move():
    model = Equipped(jax.random.key(0))
    result = minimize(
        lambda params, batch: squared(params["model"], batch),
        {"model": model},
        (X, Y),
        method=ADAM,
        batch_size="all",
        budget=Budget(steps=30),
    )
    after = result.params["model"]
    before, moved = (eqx.filter(m, eqx.is_inexact_array) for m in (model, after))
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), before, moved)))
    same = jax.tree.map(
        lambda a, b: bool(np.all(a == b)), *(eqx.filter(m, eqx.is_inexact_array, True) for m in (model, after))
    )
    assert all(jax.tree.leaves(same))
    assert (after.share, after.drop.p, after.drop.inference, after.name, after.width) == (0.5, 0.3, True, "equipped", 2)
    assert after.order.dtype == jnp.int32


def test_trees_that_keep_the_same_arrays_are_equal():
    one, two = (flatten(Equipped(jax.random.key(k)))[0] for k in (0, 1))
    assert one == two
    assert hash(one) == hash(two)
    turned = eqx.tree_at(lambda m: m.order, Equipped(jax.random.key(0)), jnp.array([0, 1]))
    assert flatten(turned)[0] != one


def test_a_number_in_a_dict_moves_beside_a_module():
    tree, leaves = flatten({"a": 1.0, "m": Equipped(jax.random.key(0))})
    assert tree.names[0] == "params['a']"
    assert len(leaves) == 7


# Flax NNX


class Net(nnx.Module):
    """A convolution and a map; with the normalisation and the dropout of a larger one if asked for."""

    def __init__(self, rngs, large=False):
        self.conv = nnx.Conv(1, 4, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.0, rngs=rngs) if large else None
        self.drop = nnx.Dropout(0.1) if large else None
        self.out = nnx.Linear(36, 2, rngs=rngs)

    def __call__(self, images, rngs=None):
        x = self.conv(images)
        x = nnx.relu(self.norm(x) if self.norm else x).reshape(len(x), -1)
        return self.out(self.drop(x, rngs=rngs) if self.drop else x)


def crossed(model, batch):
    images, labels = batch
    return jnp.mean(losses.softmax(model(images), labels))


@pytest.fixture(scope="module")
def trained():
    model = Net(nnx.Rngs(0))
    start = model.conv.kernel[...]
    result = minimize(crossed, model, (IMAGES, LABELS), method=ADAM, batch_size=16, budget=Budget(epochs=20))
    assert (model.conv.kernel[...] == start).all()
    return model, result


def test_an_nnx_module_comes_back_as_one(trained):
    model, result = trained
    assert isinstance(result.params, Net)
    assert crossed(result.params, (IMAGES, LABELS)) == pytest.approx(result.loss, rel=1e-4)
    assert result.loss < 0.9 * crossed(model, (IMAGES, LABELS))
    assert result.steps == 80


def test_split_in_two_it_takes_the_same_steps(trained):
    graph, weights = nnx.split(trained[0])
    split = minimize(
        lambda weights, batch: crossed(nnx.merge(graph, weights), batch),
        weights,
        (IMAGES, LABELS),
        method=ADAM,
        batch_size=16,
        budget=Budget(epochs=20),
    )
    np.testing.assert_array_equal(split.params["conv"]["kernel"][...], trained[1].params.conv.kernel[...])


def test_leaves_of_a_module_are_chosen_by_path(trained):
    model = trained[0]
    frozen = leaf_mask(model, lambda path, leaf: ".conv." in path)
    assert frozen == (True, True, False, False)
    method = Freeze(ADAM, frozen)
    result = minimize(crossed, model, (IMAGES, LABELS), method=method, budget=Budget(steps=3))
    assert (result.params.conv.kernel[...] == model.conv.kernel[...]).all()
    assert (result.params.out.kernel[...] != model.out.kernel[...]).all()


def test_what_is_no_param_of_an_nnx_module_is_refused():
    for model, name in (
        (Net(nnx.Rngs(0), large=True), "norm.mean is a BatchStat"),
        (nnx.Rngs(0), "count is a RngCount"),
    ):
        with pytest.raises(
            ParamsError, match=rf"params\..*{name} of Flax NNX. Only a Param moves.\n\nhint: graph, weig"
        ):
            minimize(crossed, model, (IMAGES, LABELS))


def test_normalisation_and_dropout_of_a_model_that_was_split():
    graph, weights, rest = nnx.split(Net(nnx.Rngs(0), large=True), nnx.Param, ...)

    def loss(weights, batch, key):
        model = nnx.merge(graph, weights, rest, copy=True)
        return crossed(lambda images: model(images, rngs=nnx.Rngs(key)), batch)

    result = minimize(loss, weights, (IMAGES, LABELS), method=ADAM, budget=Budget(steps=80))
    model = nnx.merge(graph, result.params, rest, copy=True)
    assert (rest["norm"]["mean"][...] == 0).all()
    model(IMAGES, rngs=nnx.Rngs(0))
    model.eval()
    assert (model.norm.mean[...] != 0).all()
    assert np.mean(np.argmax(model(IMAGES), axis=1) == LABELS) > 0.8


# Flax Linen


class Normed(linen.Module):
    @linen.compact
    def __call__(self, x, train=True):
        x = linen.BatchNorm(use_running_average=not train)(linen.Dense(4)(x))
        return linen.Dense(1)(jnp.tanh(x))[:, 0]


def test_linen_variables_move_without_their_statistics():
    model = Normed()
    variables = model.init(jax.random.key(0), X)

    def loss(params, batch):
        inputs, targets = batch
        outputs, _ = model.apply({**variables, "params": params}, inputs, mutable=["batch_stats"])
        return jnp.mean((outputs - targets) ** 2)

    result = minimize(loss, variables["params"], (X, Y), method=ADAM, budget=Budget(steps=60))
    assert jax.tree.structure(result.params) == jax.tree.structure(variables["params"])
    assert result.loss < 0.7 * loss(variables["params"], (X, Y))

    def whole(variables, batch):
        outputs, _ = model.apply(variables, batch[0], mutable=["batch_stats"])
        return jnp.mean((outputs - batch[1]) ** 2)

    with pytest.raises(LossGradientError, match=r"params\['batch_stats'\]\['BatchNorm_0'\]\['mean'\]"):
        minimize(whole, variables, (X, Y))


# what cannot be meant


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        (Normed(), r"Linen module holds no params: .* model.init\(key, inputs\)"),
        (torch.nn.Linear(2, 1), "modules of torch .* descenso.torch.Optimizer"),
        (eqx.nn.Dropout(0.3), r"Equinox module only arrays are params: write jnp.asarray\(1.0\)"),
    ],
)
def test_a_model_without_a_param_gets_a_hint(model, hint: str):
    with pytest.raises(ParamsError, match=rf"no float leaf. .*\n\nhint: .*{hint}"):
        minimize(squared, model, (X, Y))


def test_a_loss_that_looks_at_another_model_is_refused():
    model = eqx.nn.Linear(2, "scalar", key=jax.random.key(0))
    with pytest.raises(LossGradientError, match=r"No gradient reaches params.weight, params.bias"):
        minimize(lambda _, batch: squared(model, batch), model, (X, Y))

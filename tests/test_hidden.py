"""Which matrices are hidden, read off the traced loss; and that the pilot says so."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descenso import Budget, minimize
from descenso.engine.objective import Objective
from descenso.engine.tree import flatten
from descenso.pilot.hidden import hidden_matrices

RNG = np.random.default_rng(0)


def weights(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def hidden(loss, params, *batch):
    """The names of the leaves that are found to be hidden matrices."""
    tree, leaves = flatten(params)
    arrays, structure = jax.tree.flatten(batch[0] if batch else None)
    objective = Objective(loss, tree, structure if batch else None, keyed=False)
    mask = hidden_matrices(objective, leaves, tuple(map(jnp.asarray, arrays)), jax.random.key(0))
    return [name.removeprefix("params") for name, chosen in zip(tree.names, mask, strict=True) if chosen]


X = weights(32, 5)


def test_all_but_the_last_layer():
    params = [{"w": weights(5, 8), "b": weights(8)}, {"w": weights(8, 8), "b": weights(8)}, {"w": weights(8, 2)}]

    def loss(params, x):
        for layer in params[:-1]:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        return jnp.mean((x @ params[-1]["w"]) ** 2)

    assert hidden(loss, params, X) == ["[0]['w']", "[1]['w']"]


def test_weights_stored_the_other_way_round_and_a_loss_of_single_rows():
    params = {"a": weights(8, 5), "z": weights(1, 8)}

    def one(params, row):
        return (params["z"] @ jnp.tanh(params["a"] @ row))[0] ** 2

    def loss(params, x):
        return jnp.mean(jax.vmap(one, (None, 0))(params, x))

    assert hidden(loss, params, X) == ["['a']"]
    assert hidden(jax.jit(loss), params, X) == ["['a']"]
    assert hidden(jax.checkpoint(loss), params, X) == ["['a']"]


def test_a_linear_model_and_a_plain_matrix_have_none():
    assert hidden(lambda w, x: jnp.mean((x @ w) ** 2), weights(5, 3), X) == []
    assert hidden(lambda w, x: jnp.mean((w - x) ** 2), weights(32, 5), X) == []
    assert hidden(lambda w: jnp.sum(w**2), weights(4, 4)) == []


def test_an_embedding_is_looked_up_and_not_hidden():
    params = {"embed": weights(9, 6), "mid": weights(6, 6)}
    rows = RNG.integers(0, 9, 32)

    def tied(params, x):
        return jnp.mean((jnp.tanh(params["embed"][x] @ params["mid"]) @ params["embed"].T) ** 2)

    assert hidden(tied, params, rows) == ["['mid']"]


def test_a_recurrence_is_followed_by_itself():
    params = {"inward": weights(5, 6), "recur": weights(6, 6), "out": weights(6, 1)}

    def loss(params, x):
        def cell(state, row):
            state = jnp.tanh(row @ params["inward"] + state @ params["recur"])
            return state, state

        states = jax.lax.scan(cell, jnp.zeros(6), x)[1]
        return jnp.mean((states @ params["out"]) ** 2)

    assert hidden(loss, params, X) == ["['inward']", "['recur']"]


def test_a_branch_and_a_loop_are_looked_into():
    params = {"a": weights(5, 5), "b": weights(5, 5), "out": weights(5, 1)}

    def branched(params, x):
        x = jax.lax.cond(jnp.sum(x) > 0, lambda x: x @ params["a"], lambda x: x @ params["b"], x)
        return jnp.mean((x @ params["out"]) ** 2)

    def looped(params, x):
        x = jax.lax.fori_loop(0, 3, lambda i, x: jnp.tanh(x @ params["a"]), x)
        return jnp.mean((x @ params["b"] @ params["out"]) ** 2)

    assert hidden(branched, params, X) == ["['a']", "['b']"]
    assert hidden(looped, params, X) == ["['a']", "['b']"]


def test_a_convolution_follows_too():
    params = {"kernel": weights(3, 4, 2), "mix": weights(4, 4)}

    def loss(params, x):
        x = jnp.repeat(x[:, :, None], 4, 2) @ params["mix"]
        layout = ("NWC", "WIO", "NWC")
        x = jax.lax.conv_general_dilated(x, params["kernel"], (1,), "SAME", dimension_numbers=layout)
        return jnp.mean(x**2)

    assert hidden(loss, params, X) == ["['mix']"]


@pytest.mark.parametrize(("width", "found"), [(64, True), (65, False)])
def test_a_matrix_that_is_wide_for_its_batch_is_left_to_adam(width, found):
    params = {"a": weights(width, width), "out": weights(width, 1)}

    def loss(params, x):
        return jnp.mean((jnp.tanh(x @ params["a"]) @ params["out"]) ** 2)

    assert bool(hidden(loss, params, weights(32, width))) == found


def test_the_pilot_says_which_go_by_muon():
    params = {"first": weights(5, 8), "out": weights(8, 1)}
    y = np.sin(X.sum(1))

    def loss(params, batch):
        x, y = batch
        return jnp.mean(((jnp.tanh(x @ params["first"]) @ params["out"])[:, 0] - y) ** 2)

    result = minimize(loss, params, (X, y), batch_size=8, budget=Budget(steps=200))
    (told,) = [f.message for f in result.findings if f.kind == "method"]
    assert told == "Muon for the hidden matrix params['first'], Adam for the rest"
    assert result.loss < 0.1 * np.mean(y**2)

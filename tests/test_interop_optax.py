"""Methods in optax's loop and optax's transformations in ours."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import zoo
from descenso import Budget, minimize
from descenso._errors import ArgumentError, CheckpointError
from descenso._namespace import step_if_finite
from descenso._types import Evaluation, Method
from descenso.interop.optax import answer, from_optax, to_optax
from descenso.methods import named

PROBLEM = zoo.quadratic(20.0)


def tree(leaves):
    """The leaves of the problem as a nested dict, in the same order."""
    return {"a": leaves[0], "b": {"c": leaves[1], "d": leaves[2]}}


def evaluate(params, t=0):
    loss, grads = PROBLEM.evaluate(tuple(jax.tree.leaves(params)), t, jnp)
    return loss, jax.tree.unflatten(jax.tree.structure(params), grads)


def optax_loop(tx, steps=60):
    params = tree(tuple(jnp.asarray(p, jnp.float32) for p in PROBLEM.start))
    state = tx.init(params)

    @jax.jit
    def step(params, state):
        loss, grads = evaluate(params)
        updates, state = tx.update(grads, state, params, value=loss)
        return optax.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state)
    return params, state


def our_loop(method, steps=60):
    params = tuple(jnp.asarray(p, jnp.float32) for p in PROBLEM.start)
    state = method.init(params, xp=jnp)

    @jax.jit
    def step(params, state):
        evaluation = PROBLEM.evaluate(params, 0, jnp)
        return step_if_finite(method, evaluation, params, state, scale=jnp.asarray(1.0), xp=jnp)

    for _ in range(steps):
        params, state, info = step(params, state)
    return params, state, info


def assert_close(a, b, tolerance=1e-5):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("sgd", optax.with_extra_args_support(optax.sgd(0.1))),
        ("adamw", optax.with_extra_args_support(optax.adamw(0.1, weight_decay=1e-2))),
    ],
)
def test_our_method_in_their_loop(name: str, theirs):
    assert_close(optax_loop(to_optax(named(name, lr=0.1)))[0], optax_loop(theirs)[0])


def test_it_chains():
    ours = optax.chain(optax.clip_by_global_norm(0.3), to_optax(named("momentum", lr=0.1)))
    theirs = optax.chain(optax.clip_by_global_norm(0.3), optax.with_extra_args_support(optax.sgd(0.1, momentum=0.9)))
    assert_close(optax_loop(ours)[0], optax_loop(theirs)[0])


def test_the_loss_reaches_polyak():
    ours = optax_loop(to_optax(named("polyak", floor=1.0, cap=1.0)))[0]
    assert_close(ours, optax_loop(optax.polyak_sgd(1.0, f_min=1.0))[0])


def test_the_answer_of_an_averaging_method():
    method = named("schedule_free_sgd", lr=1.0)
    params, state = optax_loop(to_optax(method))
    reference = optax.contrib.schedule_free(optax.sgd(1.0), 1.0)
    their_params, their_state = optax_loop(reference)
    assert_close(answer(method, params, state), optax.contrib.schedule_free_eval_params(their_state, their_params))
    assert PROBLEM.gap(tuple(jax.tree.leaves(answer(method, params, state)))) < 0.01


def test_scale_is_an_extra_argument():
    params = tree(tuple(jnp.asarray(p, jnp.float32) for p in PROBLEM.start))
    tx = to_optax(named("sgd", lr=0.1))
    grads = evaluate(params)[1]
    updates, _ = tx.update(grads, tx.init(params), params, scale=0.5)
    assert_close(updates, jax.tree.map(lambda g: -0.05 * g, grads), 1e-6)


def test_updates_need_params():
    params = {"w": jnp.ones(2)}
    tx = to_optax(named("adam"))
    with pytest.raises(ArgumentError, match="got no params"):
        tx.update(params, tx.init(params))


@pytest.mark.parametrize(
    ("transformation", "name", "options"),
    [
        (optax.adam(0.1), "adam", {"lr": 0.1}),
        (
            optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9)),
            "momentum",
            {"weight_decay": 0.1, "lr": 0.1},
        ),
        (optax.polyak_sgd(1.0, f_min=1.0), "polyak", {"floor": 1.0, "cap": 1.0}),
    ],
)
def test_their_transformation_in_our_loop(transformation, name: str, options: dict):
    method = from_optax(transformation)
    assert isinstance(method, Method)
    params, _, info = our_loop(method)
    reference, _, other = our_loop(named(name, **options))
    assert_close(params, reference)
    assert [n.shape for n in info] == [()] * 4
    assert float(info.update_norm) == pytest.approx(float(other.update_norm), rel=1e-2, abs=1e-6)


def test_the_step_size_of_sgd_is_told():
    assert float(our_loop(from_optax(optax.sgd(0.1)), 3)[2].step_size) == pytest.approx(0.1, rel=1e-5)


def test_masks_follow_the_structure_of_the_params():
    start = tree(tuple(jnp.asarray(p, jnp.float32) for p in PROBLEM.start))
    mask = {"a": True, "b": {"c": False, "d": True}}
    params, _, _ = our_loop(from_optax(optax.adamw(0.1, weight_decay=1.0, mask=mask), like=start))
    assert_close(params, our_loop(named("adamw", lr=0.1, weight_decay=1.0, mask=(True, False, True)))[0])


def test_nonfinite_gradients_leave_no_trace_in_partitioned_state():
    labels = ("fast", "slow", "fast")
    method = from_optax(optax.multi_transform({"fast": optax.adam(0.1), "slow": optax.sgd(0.01)}, labels))
    params, state, _ = our_loop(method, 5)
    bad = Evaluation(jnp.asarray(jnp.nan), tuple(p * jnp.inf for p in params))
    after = step_if_finite(method, bad, params, state, scale=jnp.asarray(1.0), xp=jnp)
    assert_close(after[:2], (params, state), 0)


def test_scale_zero_moves_nothing():
    method = from_optax(optax.adam(0.1))
    params, state, _ = our_loop(method, 3)
    evaluation = PROBLEM.evaluate(params, 0, jnp)
    after, _, info = method.step(evaluation, params, state, scale=jnp.asarray(0.0), xp=jnp)
    assert_close(after, params, 0)
    assert float(info.step_size) == 0.0


def test_what_does_not_fit_is_refused():
    params = (jnp.ones(2),)
    with pytest.raises(ArgumentError, match=r"runs in jax\.numpy, not in numpy"):
        from_optax(optax.adam(0.1)).init((np.ones(2),), xp=np)
    search = from_optax(optax.lbfgs())
    with pytest.raises(ArgumentError, match="value_fn"):
        search.step(Evaluation(jnp.asarray(1.0), params), params, search.init(params, xp=jnp), scale=1.0, xp=jnp)


# handed to `minimize` as it is


X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
W = {"act": jnp.tanh, "deep": {"w": np.zeros(3, np.float32)}, "b": np.float32(0)}


def regress(params, batch):
    inputs, targets = batch
    return jnp.mean((params["act"](inputs @ params["deep"]["w"]) + params["b"] - targets) ** 2)


def go(method, **options):
    return minimize(regress, W, (X, X[:, 0]), **{"method": method, "batch_size": 10, "budget": Budget(40)} | options)


def test_minimize_takes_a_transformation():
    theirs, ours = go(optax.adam(0.05)), go(named("adam", lr=0.05))
    assert theirs.loss < 0.2 * regress(W, (X, X[:, 0]))
    np.testing.assert_allclose(theirs.params["deep"]["w"], ours.params["deep"]["w"], rtol=0, atol=1e-5)


def test_a_transformation_sees_the_params_as_the_loss_does():
    def labels(params):
        assert params["act"] is None
        assert params["deep"]["w"].shape == (3,)
        return {"act": None, "deep": {"w": "still"}, "b": "moving"}

    parts = {"still": optax.set_to_zero(), "moving": optax.sgd(0.1)}
    result = go(optax.multi_transform(parts, labels))
    assert (result.params["deep"]["w"] == 0).all()
    assert result.params["b"] != 0


def test_a_search_along_a_line_is_refused_before_a_step():
    def no_step(_):
        raise AssertionError("a step was made")

    with pytest.raises(ArgumentError, match="value_fn"):
        go(optax.lbfgs(), batch_size="all", watch=no_step)


@pytest.mark.parametrize("wrong", [optax.adam, (1, 2)])
def test_what_is_no_transformation_is_refused(wrong):
    with pytest.raises(ArgumentError, match="must be a name, a method or an optax transformation"):
        go(wrong)


def test_it_goes_on_from_a_checkpoint_with_the_same_numbers_alone(tmp_path):
    schedule = optax.cosine_decay_schedule(0.05, 40)
    whole = go(optax.adam(schedule), checkpoint=tmp_path)
    again = go(optax.adam(optax.cosine_decay_schedule(0.05, 40)), checkpoint=tmp_path, resume="must")
    np.testing.assert_array_equal(again.params["deep"]["w"], whole.params["deep"]["w"])
    with pytest.raises(CheckpointError, match="method"):
        go(optax.adam(0.06), checkpoint=tmp_path, resume="must")

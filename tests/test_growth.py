"""Where the rows of a batch were left to the run and their noise is what limits it, it takes more of them."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import jax.numpy as jnp
import numpy as np
import pytest

import checkpoint_runs as runs
import descenso
from descenso import Budget
from descenso._errors import CheckpointError
from descenso.data.batches import Order
from descenso.driver.prepare import prepare
from descenso.methods.bfgs import BFGS
from descenso.result import Reason

X, Y = (a.astype(np.float64) for a in runs._MANY)


def sizes(result) -> list[str]:
    return [f.message.split(":")[0] for f in result.findings if f.kind == "batch_size"]


def test_few_params_end_at_the_minimum_over_all_rows():
    seen = []
    with mock.patch("descenso.driver.telling._EVERY", 0.0):
        result = runs.handed(progress=seen.append)
    assert seen[-1].epoch == result.epochs
    assert sizes(result) == ["batches of 128 of 20,480 rows", "all 20,480 rows at every step from here"]
    assert result.reason is Reason.CONVERGED
    np.testing.assert_allclose(result.params, np.linalg.lstsq(X, Y, rcond=None)[0], atol=1e-5)
    grown = next(f.step for f in result.findings if "from here" in f.message)
    assert result.epochs == pytest.approx((128 * grown + 20_480 * (result.steps - grown)) / 20_480)


def test_larger_batches_lead_nearer_to_the_minimum():
    result = runs.growing()
    assert sizes(result) == ["batches of 128 of 20,480 rows", "batches of 512 rows from here"]
    assert result.reason is Reason.NOISE_FLOOR
    grown = next(f.step for f in result.findings if "from here" in f.message)
    assert result.epochs == pytest.approx((128 * grown + 512 * (result.steps - grown)) / 20_480)
    # a half of the inputs, doubled: the mean of the loss is a ridge regression
    best = np.linalg.solve(X.T @ X + np.diag((X**2).sum(0)), X.T @ Y)
    np.testing.assert_allclose(result.params, best, atol=0.05)


@pytest.mark.parametrize(
    "asked", [{"batch_size": 128}, {"budget": Budget(steps=1500)}, {"method": "sgd", "budget": Budget(steps=100)}]
)
def test_what_was_asked_for_stays(asked):
    result = descenso.minimize(runs.linear, np.zeros(2, np.float32), runs._MANY, **asked)
    assert not any("from here" in size for size in sizes(result))


def test_the_rows_of_larger_batches_follow_on_those_before():
    ready = prepare(runs.linear, np.zeros(2, np.float32), runs._MANY, "adam", 16, Budget(), None, 3)
    engine = replace(ready.engine, batch_size=64, origin=(10, 160))
    assert (engine.position(10), engine.position(12)) == (160, 288)
    order = engine._rows(11, 2)[1]
    np.testing.assert_array_equal(order[:128], Order(20_480, 3).take(224, 128))
    whole = replace(engine, batch_size=None, method=BFGS(), origin=(10, 160))
    assert whole.epochs(11) == pytest.approx((160 + 20_480) / 20_480)


def test_a_run_whose_batches_may_grow_is_not_gone_on_with_by_one_whose_may_not(tmp_path):
    runs.handed(checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="larger batches: True, now None"):
        runs.handed(checkpoint=tmp_path, batch_size=128)


def test_a_loss_that_is_no_mean_is_taken_over_all_rows_at_once():
    def logarithm(w, batch):
        x, y = batch
        return jnp.log(jnp.mean((x @ w - y) ** 2))  # its mean over blocks of rows is another

    random = np.random.default_rng(0)
    x = random.normal(size=(20_480, 20)).astype(np.float32)  # of more than one block
    data = (x, (x.sum(1) + np.linspace(0.1, 10, 20_480) * random.normal(size=20_480)).astype(np.float32))
    result = descenso.minimize(logarithm, np.zeros(20, np.float32), data)
    assert "all 20,480 rows" in sizes(result)[-1]
    best = np.linalg.lstsq(*(a.astype(np.float64) for a in data), rcond=None)[0]
    assert float(logarithm(result.params, data)) == pytest.approx(float(logarithm(best, data)), abs=1e-5)

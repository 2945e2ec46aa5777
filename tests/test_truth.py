"""The reason and the certificate are right wherever the end is known, in both precisions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from descenso import minimize
from descenso.certificate import Verdict
from descenso.result import Reason
from endings import ENDINGS, shared


@pytest.fixture(scope="module", params=[False, True], ids=["float32", "float64"])
def wide(request):
    with jax.enable_x64(request.param):
        yield request.param


def test_they_are_many():
    assert len(ENDINGS) >= 40


@pytest.mark.parametrize("name", ENDINGS)
def test_the_end_is_the_true_one(name, wide):
    ending = ENDINGS[name]
    result = minimize(shared(ending), jnp.asarray(ending.start, float), escape=not ending.stays)
    found = result.certificate
    assert (result.reason, found and found.verdict) == (ending.reason, ending.verdict), str(result)
    assert ending.index is None or found.index == ending.index, str(result)
    if ending.lowest is not None:
        # in float32 the loss itself is known to 1e-7 of 1e6
        assert result.loss == pytest.approx(ending.lowest, rel=1e-6, abs=1e-4), str(result)


def noisy(p, key):
    return jnp.sum((p + 0.1 * jax.random.normal(key, p.shape)) ** 2)


def test_noise_is_never_a_minimum(wide):
    result = minimize(noisy, jnp.ones(2))
    assert (result.reason, result.certificate.verdict) == (Reason.NOISE_FLOOR, Verdict.NO_GRADIENT)


def test_no_finite_loss_at_the_start(wide):
    result = minimize(lambda x: jnp.log(x[0]), jnp.array([-1.0]))
    assert (result.reason, result.certificate) == (Reason.NONFINITE, None)

"""Where a run without noise goes on from a point of rest, and the certificate of the point where it does not."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import descenso
from checkpoint_runs import climbing, leaving, linear, narrow, pass_
from descenso import Budget, Stop, minimize
from descenso._errors import ArgumentError
from descenso.certificate import Verdict
from descenso.result import Reason


def kinds(result) -> list[str]:
    return [f.kind for f in result.findings]


def test_a_saddle_is_left_and_the_certificate_is_of_the_minimum_below():
    result = leaving()
    assert result.loss == pytest.approx(-1.0)
    assert abs(float(result.params[1])) == pytest.approx(2**0.5, abs=1e-4)
    assert (result.reason, result.certificate.verdict) == (Reason.CONVERGED, Verdict.STRICT_MINIMUM)
    told = next(f for f in result.findings if f.kind == "saddle")
    assert told.message == "left a saddle point: the loss falls along 1 direction, with curvature down to -2"
    # what the saddle's certificate took is counted, what that of the end took is not
    assert result.gradients > result.steps + 30


@pytest.mark.parametrize("more", [{"escape": False}, {"method": "bfgs"}])
def test_a_saddle_that_is_not_to_be_left_is_told(more):
    result = leaving(**more)
    assert (result.loss, result.certificate.verdict, result.certificate.index) == (0.0, Verdict.SADDLE, 1)
    assert "saddle of index 1" in str(result)
    assert f"{result.certificate.cost:,.0f} gradients" in str(result)
    assert result.gradients < result.steps + 2
    assert "saddle" not in kinds(result)


def test_a_maximum_is_left_on_the_way_to_a_minimum():
    result = minimize(lambda x: jnp.sum(jnp.cos(x)), jnp.zeros(2))
    assert result.loss == pytest.approx(-2.0)
    assert "left a maximum point" in str(result)


def test_no_saddle_is_left_beyond_the_budget():
    result = leaving(budget=Budget(steps=2))
    assert result.steps == 2
    assert result.loss == 0.0


def test_methods_take_turns_and_say_why():
    result = climbing()
    told = [f.message for f in result.findings if f.kind == "method"]
    assert told[1].startswith("NewtonCG goes on where BFGS stalled: no lower loss was found along the gradient")
    assert told[2].startswith("BFGS goes on where NewtonCG stalled")
    stuck = climbing(method="bfgs")
    assert result.loss <= stuck.loss
    assert kinds(stuck) == []


def test_where_there_are_no_products_nothing_takes_over_and_nothing_is_certified():
    @jax.custom_vjp
    def loss(p):
        return narrow(p)

    loss.defvjp(lambda p: (loss(p), p), lambda p, g: (g * jax.grad(narrow)(p),))
    result = minimize(loss, -np.ones(12, np.float32))
    assert kinds(result) == ["method"]
    assert result.reason is Reason.PLATEAU
    assert result.certificate is None


_DATA = (np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32), np.ones(100, np.float32))


def test_when_a_certificate_is_made():
    start = np.zeros(6, np.float32)
    assert minimize(linear, start, _DATA).certificate is None
    asked = minimize(linear, start, _DATA, certify="quick").certificate
    assert (asked.verdict, asked.rows) == (Verdict.STRICT_MINIMUM, 100)
    batches = minimize(linear, start, _DATA, batch_size=2, certify="quick", budget=Budget(steps=300)).certificate
    assert batches.batches.batches == 16
    assert leaving(certify=False).certificate is None
    assert leaving(certify=False).loss == 0.0
    assert leaving(budget=Budget(steps=1)).certificate is None
    assert leaving(budget=Budget(steps=1), certify=True).certificate.verdict is Verdict.NOT_STATIONARY
    assert minimize(lambda p: -p, 0.0, certify="quick").certificate is None  # unbounded


def test_the_certificate_is_of_the_point_that_is_returned():
    held = (_DATA[0], -_DATA[1])
    result = minimize(linear, np.zeros(6, np.float32), _DATA, validate=held, certify="quick", batch_size="all")
    alone = descenso.certify(linear, result.params, _DATA, batch_size="all")
    assert result.certificate.verdict is Verdict.NOT_STATIONARY
    assert str(result.certificate) == str(alone)


def test_thorough_is_more_than_quick():
    found = {
        effort: minimize(lambda p: jnp.sum((p - 1) ** 2), np.zeros(600), certify=effort).certificate.sure
        for effort in ("quick", "thorough")
    }
    assert found == {"quick": 1 - 1e-2, "thorough": 1 - 1e-4}


def test_an_arrival_that_the_certificate_doubts_is_none():
    with jax.enable_x64(True):
        result = minimize(lambda x: jnp.exp(-x), 0.0)
        trusted = minimize(lambda x: jnp.exp(-x), 0.0, stop=Stop(gradient=1e-8))
    assert (result.reason, result.certificate.verdict) == (Reason.PLATEAU, Verdict.NOT_STATIONARY)
    assert "but the loss falls along the gradient" in result.message
    # a tolerance that was asked for is kept to
    assert trusted.reason is Reason.CONVERGED


@pytest.mark.parametrize("wrong", [{"certify": "very"}, {"certify": None}, {"escape": "no"}, {"escape": None}])
def test_arguments(wrong):
    with pytest.raises(ArgumentError, match="It must be"):
        minimize(pass_, np.zeros(2, np.float32), **wrong)

"""The rows of the first batches follow from the noise of their gradients, where they were left to the run."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

import checkpoint_runs as runs
import descenso
from descenso import Budget, Checkpoint, Stop, Streamed
from descenso.driver import loop, noise

_X = np.random.default_rng(0).normal(size=(20_480, 6)).astype(np.float32)
_Z = np.random.default_rng(1).normal(size=20_480).astype(np.float32)


def rows_of(spread: float) -> tuple[np.ndarray, np.ndarray]:
    """A linear model whose targets have noise of this deviation."""
    return _X, 0.2 * _X.sum(1) + np.float32(spread) * _Z


def run(spread, data=None, **more):
    more = {"method": "adam", "budget": Budget(steps=2100), "stop": Stop(floor=False)} | more
    data = rows_of(spread) if data is None else data
    return descenso.minimize(runs.linear, np.zeros(6, np.float32), data, **more)


def told(result) -> list[str]:
    return [f.message for f in result.findings if f.kind == "batch_size"]


@pytest.mark.parametrize("spread", [0.5, 5.0])
def test_the_scale_is_that_of_the_rows(spread):
    x, y = (a.astype(np.float64) for a in rows_of(spread))
    each = -2 * x * y[:, None]
    mean, rows = each.mean(0), 64
    batches = each.reshape(-1, rows, 6).mean(1)
    found = noise.noise_scale((batches**2).sum(1), (batches.cumsum(0) ** 2).sum(1), rows)
    assert found == pytest.approx(each.var(0).sum() / (mean @ mean), rel=0.25)


@pytest.mark.parametrize("size", [1, 50])
def test_no_scale_is_told_where_no_gradient_is_seen(size):
    g = np.random.default_rng(5).normal(size=(500, 16, size))
    scales = [noise.noise_scale((one**2).sum(1), (one.cumsum(0) ** 2).sum(1), 32) for one in g]
    assert sum(scale is not None for scale in scales) < 25
    assert noise.noise_scale(np.zeros(16), np.zeros(16), 32) is None
    assert noise.noise_scale(np.full(16, np.nan), np.full(16, np.nan), 32) is None
    assert noise.noise_scale(np.ones(16), np.arange(1.0, 17) ** 2, 32) == 0.0


def test_noisy_gradients_are_taken_over_more_rows():
    calm, noisy, lost = (run(spread) for spread in (0.0, 8.0, 200.0))
    assert told(calm)[0].startswith("batches of 128 of 20,480 rows: at the start the gradient of ")
    assert told(noisy)[0].startswith("batches of 256 of 20,480 rows: at the start the gradient of ")
    assert told(lost) == ["batches of 128 of 20,480 rows: at the start no gradient is seen on 8,192 of them"]
    assert noisy.epochs == 2100 * 256 / 20_480
    judged = 8 / 3  # of the start
    assert calm.gradients == pytest.approx(2100 + 16 + judged)
    assert noisy.gradients == lost.gradients == pytest.approx(2100 + 64 + judged)
    again = run(8.0)
    assert (again.params == noisy.params).all()
    assert told(again) == told(noisy)


def test_no_more_than_memory_allows():
    row = 28  # bytes
    less = run(8.0, Streamed(rows_of(8.0), memory=8 * row * 255))
    assert told(less) == ["batches of 128 of 20,480 rows"]


def test_a_short_run_is_not_measured_for_long():
    result = run(8.0, budget=Budget(steps=600))
    assert told(result) == ["batches of 128 of 20,480 rows: at the start no gradient is seen on 2,048 of them"]


@pytest.mark.parametrize(
    "asked",
    [
        {"batch_size": 128},
        {"budget": Budget(steps=511)},
        {"budget": Budget(gradients=500)},
        {"budget": Budget(epochs=20)},
    ],
)
def test_what_was_asked_for_or_is_short_is_not_measured(asked):
    with mock.patch.object(noise, "noise_scale", side_effect=AssertionError):
        run(8.0, **asked)


def test_a_stopped_run_goes_on_with_the_batches_that_were_chosen(tmp_path):
    whole = run(8.0, method="auto")

    class KilledError(BaseException):
        pass

    def kill(look):
        if look.step > 600:
            raise KilledError

    with pytest.raises(KilledError):
        run(8.0, method="auto", checkpoint=Checkpoint(tmp_path, steps=20), watch=kill)
    with mock.patch.object(loop, "choose_first", side_effect=AssertionError):
        resumed = run(8.0, method="auto", checkpoint=tmp_path, resume="must")
    assert runs.numbers(resumed) == runs.numbers(whole)

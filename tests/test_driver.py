"""`minimize` end to end: every reason is reached by a run, what goes wrong is survived, and what is told is true."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descenso import Budget, Descent, Reason, Stop, averaging, losses, minimize, rules, step_sizes
from descenso._errors import FailedRun
from descenso.data.batches import Order
from descenso.result import Look, Progress

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 3.0, 0.5]) + 0.3 * RNG.normal(size=400)).astype(np.float32)
DATA = (X, Y)
EXACT, (BEST,), *_ = np.linalg.lstsq(X.astype(float), Y.astype(float), rcond=None)
BEST = BEST / len(X)
ZERO = np.zeros(4, np.float32)
FOREVER = Stop(floor=False)


def gradient(step_size):
    return Descent(rules.Gradient(), step_sizes.Constant(step_size))


def adam(step_size):
    return Descent(rules.Adam(), step_sizes.Constant(step_size))


def linear(w, batch):
    x, y = batch
    return jnp.mean((x @ w - y) ** 2)


def bowl(w):
    """Curvatures 0.15, 1.5, 15, the minimum 0 at 1."""
    return 0.5 * jnp.sum(jnp.array([0.15, 1.5, 15.0]) * (w - 1) ** 2)


@jax.custom_vjp
def uphill(w):
    """A bowl whose gradient is told with the wrong sign."""
    return jnp.sum(w**2)


uphill.defvjp(lambda w: (uphill(w), w), lambda w, g: (-2 * g * w,))

LANDS = {
    "bowl": bowl,
    "kink": lambda w: jnp.sum(jnp.abs(w - 0.3)),
    "uphill": uphill,
    "point": lambda w: jnp.where(jnp.all(w == 1.0), jnp.sum(w) / w.size, jnp.nan),
    "root": lambda w: jnp.sum(jnp.sqrt(w)),
    "slope": lambda w: -jnp.sum(w),
    "dome": lambda w: 5.0 - jnp.sum(w**2),
    "saddle": lambda w: jnp.sum(w**4 / 4 - w**2 / 2),
    "from zero": lambda w: 0.5 * jnp.sum(w**2) - 100 * jnp.sum(w),
}


def _land(number, w):
    return jax.lax.switch(number, list(LANDS.values()), w)


def land(name):
    """A loss of three params; all of them are one function of a number, so that a method is compiled once for all."""
    return jax.tree_util.Partial(_land, np.int32(list(LANDS).index(name)))


def mean_squared(w, data=DATA):
    return float(np.mean((data[0].astype(float) @ np.asarray(w, float) - data[1]) ** 2))


# every reason

ZEROS, ONES = np.zeros(3, np.float32), np.ones(3, np.float32)
SMALL = gradient(0.1)
BATCHES = {"method": gradient(0.01), "batch_size": 16}

REASONS = {
    "converged, plain": (Reason.CONVERGED, partial(minimize, land("bowl"), ZEROS, method=SMALL)),
    "converged, searched": (Reason.CONVERGED, partial(minimize, land("bowl"), ZEROS, method="lbfgs")),
    "converged, from the minimum": (Reason.CONVERGED, partial(minimize, land("bowl"), ONES, method=SMALL)),
    "noise floor": (Reason.NOISE_FLOOR, partial(minimize, linear, ZERO, DATA, **BATCHES)),
    "noise floor, auto": (Reason.NOISE_FLOOR, partial(minimize, linear, ZERO, DATA, batch_size=16)),
    "plateau": (Reason.PLATEAU, partial(minimize, land("kink"), ONES, method=SMALL)),
    "plateau, searched": (Reason.PLATEAU, partial(minimize, land("uphill"), ONES, method="lbfgs")),
    "plateau at the start, searched": (Reason.PLATEAU, partial(minimize, land("point"), ONES, method="lbfgs")),
    "budget of steps": (
        Reason.BUDGET,
        partial(minimize, land("bowl"), ZEROS, method=SMALL, budget=Budget(steps=77)),
    ),
    "budget of epochs": (Reason.BUDGET, partial(minimize, linear, ZERO, DATA, **BATCHES, budget=Budget(epochs=2.5))),
    "budget of seconds": (
        Reason.BUDGET,
        partial(minimize, linear, ZERO, DATA, **BATCHES, stop=FOREVER, budget=Budget(seconds=0.2)),
    ),
    "budget of gradients": (
        Reason.BUDGET,
        partial(minimize, linear, ZERO, DATA, **BATCHES, budget=Budget(gradients=200)),
    ),
    "target": (Reason.TARGET, partial(minimize, linear, ZERO, DATA, **BATCHES, stop=Stop(target=0.5))),
    "target, validated": (
        Reason.TARGET,
        partial(minimize, linear, ZERO, DATA, **BATCHES, stop=Stop(target=0.5), validate=DATA),
    ),
    "diverged": (Reason.DIVERGED, partial(minimize, land("uphill"), ONES, method=SMALL)),
    "nonfinite at the start": (
        Reason.NONFINITE,
        partial(minimize, land("bowl"), np.array([0, np.nan, 0]), method=SMALL),
    ),
    "nonfinite after it": (Reason.NONFINITE, partial(minimize, land("point"), ONES, method=SMALL)),
    "an infinite gradient": (Reason.NONFINITE, partial(minimize, land("root"), ZEROS, method=SMALL)),
    "an infinite gradient, searched": (Reason.NONFINITE, partial(minimize, land("root"), ZEROS, method="lbfgs")),
    "unbounded, linear": (Reason.UNBOUNDED, partial(minimize, land("slope"), ZEROS, method=SMALL)),
    "unbounded, concave": (Reason.UNBOUNDED, partial(minimize, land("dome"), ONES, method=SMALL)),
    "unbounded, linear, searched": (Reason.UNBOUNDED, partial(minimize, land("slope"), ZEROS, method="lbfgs")),
    "unbounded, concave, searched": (Reason.UNBOUNDED, partial(minimize, land("dome"), ONES, method="lbfgs")),
}
UNUSABLE = {Reason.DIVERGED, Reason.NONFINITE, Reason.UNBOUNDED}
ARRIVED = {Reason.CONVERGED, Reason.NOISE_FLOOR, Reason.TARGET, Reason.VALIDATION}


@pytest.mark.parametrize("name", REASONS)
def test_every_reason_is_reached(name):
    reason, go = REASONS[name]
    result = go()
    assert result.reason is reason, result
    assert result.success == (reason in ARRIVED)
    assert len(result.message) > 20
    assert np.isfinite(result.loss) or name == "nonfinite at the start"
    if reason in UNUSABLE:
        assert not result.usable
        with pytest.raises(FailedRun, match=re.escape(result.message)) as failed:
            result.raise_if_failed()
        assert failed.value.result is result
    else:
        assert result.raise_if_failed() is result


def test_no_reason_is_left_out():
    elsewhere = {Reason.VALIDATION, Reason.INTERRUPTED}  # below
    assert {reason for reason, _ in REASONS.values()} | elsewhere == set(Reason)


def test_the_minimum_that_a_converged_run_found():
    for name in ("converged, plain", "converged, searched"):
        result = REASONS[name][1]()
        np.testing.assert_allclose(result.params, 1, atol=1e-2)
        assert result.loss == pytest.approx(float(bowl(result.params)), rel=1e-5, abs=1e-12)


def test_a_noise_floor_lies_near_the_minimum():
    for name in ("noise floor", "noise floor, auto"):
        result = REASONS[name][1]()
        assert result.loss == pytest.approx(mean_squared(result.params), rel=1e-5)
        assert result.loss < 1.05 * BEST


def test_a_slow_run_is_not_ended_before_it_arrives():
    """A step size twenty times too small, single examples, no budget."""
    for seed in range(3):
        result = minimize(linear, ZERO, DATA, method=gradient(1e-3), batch_size=1, seed=seed)
        assert result.reason in (Reason.NOISE_FLOOR, Reason.PLATEAU)
        assert result.loss < 1.1 * BEST, result


# validation

RICH = np.random.default_rng(5).normal(size=(60, 40)).astype(np.float32)
NOISY = (2 * RICH[:, :4].sum(axis=1) + np.random.default_rng(6).normal(size=60)).astype(np.float32)
TRAIN, HELD_OUT = (RICH[:42], NOISY[:42]), (RICH[42:], NOISY[42:])


@pytest.mark.parametrize("method", [adam(0.02), "auto"])
def test_the_validation_minimum_is_returned(method):
    """40 columns, 42 rows: the training loss goes to zero, the validation loss to its minimum and up again."""
    result = minimize(linear, np.zeros(40), TRAIN, method=method, batch_size=7, validate=HELD_OUT)
    assert result.reason is Reason.VALIDATION
    measured = result.history.validation[np.isfinite(result.history.validation)]
    assert result.validation_loss == min(measured.min(), mean_squared(np.zeros(40), HELD_OUT))
    assert result.validation_loss == pytest.approx(mean_squared(result.params, HELD_OUT), rel=1e-5)
    assert result.loss == pytest.approx(mean_squared(result.params, TRAIN), rel=1e-5)
    assert measured[-1] > measured.min()


def test_the_best_validated_point_is_returned_whatever_ends_the_run():
    result = minimize(
        linear,
        np.zeros(40),
        TRAIN,
        method=adam(0.02),
        batch_size=7,
        validate=HELD_OUT,
        stop=FOREVER,
        budget=Budget(steps=3000),
    )
    assert result.reason is Reason.BUDGET
    assert result.history.validation[-1] > result.validation_loss
    assert result.validation_loss == np.nanmin(result.history.validation)
    best = result.history.step[np.nanargmin(result.history.validation)]
    assert result.findings[-1].kind == "validation"
    assert f"the params are those of step {best:,}" in result.findings[-1].message
    assert "at step 3,000 it was" in result.findings[-1].message
    assert result.validation_loss == pytest.approx(mean_squared(result.params, HELD_OUT), rel=1e-5)


def test_the_start_is_a_validated_point_too():
    result = minimize(linear, EXACT.astype(np.float32), DATA, method=adam(0.3), batch_size=4, validate=DATA)
    assert result.validation_loss == pytest.approx(BEST, rel=1e-4)
    np.testing.assert_array_equal(result.params, EXACT.astype(np.float32))


def test_validation_data_that_give_nan_are_told_before_the_first_step():
    spoiled = X.copy()
    spoiled[3, 1] = np.nan
    result = minimize(linear, ZERO, DATA, method=adam(0.1), batch_size=16, validate=(spoiled, Y))
    assert (result.reason, result.steps) == (Reason.NONFINITE, 0)
    assert "validation loss at the start is nan" in result.message
    assert result.validation_loss is None


# interruption, in processes of their own

SCRIPT = """
import sys
import jax.numpy as jnp, numpy as np
from descenso import *
told = []
def tell(now):
    if not told:
        print("running", flush=True)
    told.append(now)
method = Descent(rules.Gradient(), step_sizes.Constant(1e-7))
"""


def interrupted(body, *, signals=1):
    """What a process prints after "running", with its return code; it is sent SIGINT once it says that it runs."""
    code = textwrap.dedent(SCRIPT) + textwrap.dedent(body)
    with subprocess.Popen([sys.executable, "-W", "error", "-c", code], stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout.readline() == "running\n", process.stderr.read()
        for _ in range(signals):
            os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    return out, err, process.returncode


def test_ctrl_c_returns_what_there_is():
    out, err, status = interrupted(
        """
        import signal
        before = signal.getsignal(signal.SIGINT)
        r = minimize(lambda w: jnp.sum((w - 1) ** 2), jnp.zeros(3), method=method, progress=tell,
                     stop=Stop(floor=False), budget=Budget(seconds=100))
        assert signal.getsignal(signal.SIGINT) is before
        print(r.reason, r.usable, r.success, r.steps > 0, r.loss < 3, r.message.startswith("stopped by the user"))
        """
    )
    assert (out, status) == ("interrupted True False True True True\n", 0), err


def test_ctrl_c_in_a_race_and_with_validation():
    """Of ten million steps, a lane of the race makes 200,000."""
    out, err, status = interrupted(
        """
        x = np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32)
        r = minimize(lambda w, b: jnp.mean((b @ w - 1) ** 2), np.zeros(20), x, batch_size=30, validate=x,
                     progress=tell, budget=Budget(steps=10**7))
        print(r.reason, np.isfinite(r.loss), r.validation_loss is not None)
        """
    )
    assert (out, status) == ("interrupted True True\n", 0), err


def test_a_second_ctrl_c_raises():
    """Sent from inside the run, so that both fall into one chunk."""
    code = textwrap.dedent(SCRIPT) + textwrap.dedent(
        """
        import os, signal
        def twice(now):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        try:
            minimize(lambda w: jnp.sum((w - 1) ** 2), jnp.zeros(3), method=method, progress=twice,
                     stop=Stop(floor=False), budget=Budget(seconds=100))
        except KeyboardInterrupt:
            print("raised", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        """
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "raised True\n", done.stderr


def test_a_run_outside_the_main_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(minimize(land("bowl"), ZEROS, method=SMALL)))
    thread.start()
    thread.join()
    assert found[0].reason is Reason.CONVERGED


# what goes wrong on the way


@pytest.mark.parametrize("method", [gradient(1e6), adam(1e6)])
def test_a_learning_rate_of_a_million_recovers_and_arrives(method):
    result = minimize(bowl, ZEROS, method=method)
    assert result.usable
    assert result.loss < 1e-4
    assert any(f.kind == "recovered" and "scale" in f.message for f in result.findings)


def test_a_learning_rate_of_a_million_on_batches():
    result = minimize(linear, ZERO, DATA, method=gradient(1e6), batch_size=16)
    assert result.usable
    assert result.loss < 1.2 * BEST


def test_a_learning_rate_that_lands_where_all_is_flat():
    """One step leads to where tanh is 1, a little above the start, and its slope 0: there no gradient is left."""
    result = minimize(lambda w: jnp.tanh(w**2), 1.4, method=gradient(1e6), budget=Budget(steps=10_000))
    assert result.loss < 1e-6
    assert "ended above where it began" in next(f.message for f in result.findings if f.kind == "restarted")


def test_a_loss_that_turns_nan_at_step_500():
    """The rows of batch 500 and of all after it give NaN: the point of step 500 is what there is."""
    rows = np.ones(1000, np.float32)
    rows[Order(1000, 0).take(500, 500)] = np.nan
    go = partial(minimize, lambda w, x: jnp.mean(x) * jnp.sum((w - 1) ** 2), np.zeros(3), rows, batch_size=1)
    result = go(method=adam(0.001), stop=FOREVER, budget=Budget(steps=900))
    assert result.reason is Reason.NONFINITE
    assert not result.usable
    assert "NaN or infinite by step 501" in result.message
    assert 300 < result.steps <= 500
    # Adam moves by 0.001 a step here; the last steps were made at a smaller scale, on the way to a way out
    assert ((result.params > 0.25) & (result.params < 0.5)).all()
    assert np.isfinite(result.history.loss).all()


def test_a_cliff_of_nan_is_gone_round():
    """Beyond 500 steps along one axis the loss is NaN; the run goes back, on at smaller steps, and says so."""

    def cliff(p):
        return jnp.where(p["t"] < 500, jnp.sum((p["w"] - 1) ** 2), jnp.nan) - p["t"]

    result = minimize(
        cliff, {"w": np.zeros(3), "t": 0.0}, method=gradient(1.0), budget=Budget(steps=3000), stop=FOREVER
    )
    assert result.reason is Reason.BUDGET
    assert 400 < result.params["t"] < 500
    assert np.isfinite(result.loss)
    recovered = [f for f in result.findings if f.kind == "recovered"]
    assert recovered
    assert 300 < recovered[0].step < 500
    assert "scale 0.25" in recovered[0].message


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("method", [adam(0.02), gradient(0.05), "auto"])
def test_one_bad_row_poisons_nothing_but_is_told(value, method):
    """An infinity in one row of 400: Adam's moments and the average stay clean, the other rows are learned."""
    spoiled = X.copy()
    spoiled[17, 2] = value
    result = minimize(
        linear, ZERO, (spoiled, Y), method=method, batch_size=8, seed=3, budget=Budget(epochs=40), stop=FOREVER
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.params))
    keep = np.arange(400) != 17
    assert mean_squared(result.params, (X[keep], Y[keep])) < 1.2 * BEST
    assert any(f.kind == "skipped" for f in result.findings)
    assert (result.reason, result.usable) == (Reason.NONFINITE, False)
    assert "loss of all rows is" in result.message


def test_single_bad_steps_end_nothing():
    """A loss that is NaN for one key in twenty."""

    def loss(w, key):
        return jnp.sum((w - 1) ** 2) * jnp.where(jax.random.uniform(key) < 0.05, jnp.nan, 1.0)

    result = minimize(loss, np.zeros(3), method=adam(0.01), budget=Budget(steps=1000), stop=FOREVER)
    np.testing.assert_allclose(result.params, 1, atol=1e-2)
    skipped = sum(int(f.message.split()[0]) for f in result.findings if f.kind == "skipped")
    assert 20 < skipped < 90
    assert not [f for f in result.findings if f.kind == "recovered"]


@pytest.mark.parametrize("name", ["diverged", "nonfinite after it", "an infinite gradient"])
def test_a_failed_run_returns_the_best_finite_params(name):
    result = REASONS[name][1]()
    np.testing.assert_allclose(result.params, 0.0 if "gradient" in name else 1.0, atol=1e-6)


def test_a_run_that_only_rose_returns_its_start():
    """Single examples, a rate that is too large, and too short a budget to find out: the start is returned."""
    result = minimize(linear, EXACT.astype(np.float32), DATA, method=adam(0.5), batch_size=1, budget=Budget(steps=100))
    np.testing.assert_array_equal(result.params, EXACT.astype(np.float32))
    assert result.loss == pytest.approx(BEST, rel=1e-4)
    assert "the start is returned" in next(f.message for f in result.findings if f.kind == "start")


def test_a_creeping_rise_is_not_called_an_arrival():
    """The average of a rule that walks uphill a little at each step."""
    method = Descent(rules.Gradient(), step_sizes.Constant(1e-3), averaging.Polynomial())
    result = minimize(land("uphill"), ONES, method=method)
    assert result.reason is Reason.DIVERGED
    assert result.loss <= 3 * (1 + 1e-5)


SLOW_BUT_BOUNDED = {
    "a step size far too small": gradient(1e-5),
    "constant speed": adam(1e-3),
    "momentum": Descent(rules.Momentum(0.9), step_sizes.Constant(1e-6)),
}


@pytest.mark.parametrize("name", SLOW_BUT_BOUNDED)
def test_a_loss_that_starts_at_zero_and_merely_falls_is_not_unbounded(name):
    result = minimize(land("from zero"), ZEROS, method=SLOW_BUT_BOUNDED[name], budget=Budget(steps=30_000))
    assert result.reason is Reason.BUDGET


def test_a_saddle_is_left_without_alarm():
    result = minimize(land("saddle"), np.full(3, 1e-3), method=SMALL)
    assert result.reason is Reason.CONVERGED
    np.testing.assert_allclose(result.params, 1, atol=1e-3)


# what is told


def counted(loss):
    """The loss, and a function that says how often its value alone and how often its gradient was evaluated."""
    seen = {"value": 0, "gradient": 0}

    def count(kind):
        jax.debug.callback(lambda: seen.update({kind: seen[kind] + 1}))

    @jax.custom_vjp
    def mark(x):
        count("value")
        return x

    def forward(x):
        count("gradient")
        return x, None

    mark.defvjp(forward, lambda _, g: (g,))

    def asked():
        jax.effects_barrier()
        return seen["gradient"], seen["value"]

    return lambda *args: mark(loss(*args)), asked


COUNTED = {
    "plain": {"method": adam(0.02), "budget": Budget(steps=150)},
    "auto": {"budget": Budget(steps=150)},
    "auto, endless": {},
    "all rows": {"method": SMALL, "batch_size": "all", "budget": Budget(steps=90)},
    "searched": {"method": "lbfgs", "batch_size": "all"},
    "validated": {"method": adam(0.02), "budget": Budget(steps=150), "validate": (X[:160], Y[:160])},
}


@pytest.mark.parametrize("name", COUNTED)
def test_every_evaluation_is_counted(name):
    """Against callbacks from inside the loss. The loss that is reported at the end is not part of the descent."""
    loss, asked = counted(linear)
    result = minimize(loss, ZERO, DATA, **{"batch_size": 16} | COUNTED[name])
    gradients, values = asked()
    looks = int(np.isfinite(result.history.validation).sum()) + 1 if name == "validated" else 0
    values += 9 * looks  # 160 rows are ten batches, and one evaluation
    assert result.gradients == pytest.approx(gradients + (values - 1) / 3, abs=1e-6)
    assert gradients > result.steps if "auto" in name else gradients == result.steps


def test_what_a_recovery_costs_is_counted():
    """The steps that were gone back from are paid for; not those of a chunk after eight without a finite number."""
    loss, asked = counted(linear)
    result = minimize(loss, ZERO, DATA, batch_size=16, method=gradient(10.0), budget=Budget(steps=200))
    gradients, values = asked()
    told = result.gradients - (values - 1) / 3
    assert result.steps + 10 < told <= gradients


def test_steps_and_epochs():
    result = minimize(linear, ZERO, DATA, method=adam(0.01), batch_size=16, budget=Budget(epochs=2.5), stop=FOREVER)
    assert result.steps == 62  # of 62.5 in 2.5 epochs of 25 batches
    assert result.epochs == 62 * 16 / 400
    for batch_size, epochs in ((1, 0.01), ("all", 3)):
        result = minimize(
            linear, ZERO, DATA, method=adam(0.01), batch_size=batch_size, budget=Budget(epochs=epochs), stop=FOREVER
        )
        assert result.epochs == pytest.approx(epochs)
    assert REASONS["budget of steps"][1]().epochs == 0


def test_the_first_limit_ends_the_run():
    go = partial(minimize, linear, ZERO, DATA, **BATCHES, stop=FOREVER)
    assert go(budget=Budget(steps=10, epochs=100, gradients=1e6)).steps == 10
    assert go(budget=Budget(steps=1000, epochs=1)).steps == 25
    spent = go(budget=Budget(steps=1000, gradients=100))
    assert 99 < spent.gradients <= 101
    assert "gradients allowed were spent" in spent.message
    assert "25" in go(budget=Budget(steps=25)).message
    assert "1 epochs" in go(budget=Budget(epochs=1, steps=1000)).message


def test_a_budget_of_gradients_holds_for_auto():
    for allowed in (300, 1000):
        result = minimize(linear, ZERO, DATA, batch_size=16, budget=Budget(gradients=allowed), stop=FOREVER)
        assert 0.9 * allowed < result.gradients < 1.03 * allowed


def test_the_history_is_the_course_of_the_run():
    """Against the same 1,500 steps written plainly: each record is the mean over the steps since the one before."""
    result = minimize(land("bowl"), ZEROS, method=SMALL, budget=Budget(steps=400), stop=Stop(gradient=1e-30))
    w, losses_, norms = np.zeros(3), [], []
    for _ in range(400):
        g = np.array([0.15, 1.5, 15]) * (w - 1)
        losses_.append(0.5 * np.sum(g * (w - 1)))
        norms.append(np.linalg.norm(g))
        w -= 0.1 * g
    ends = result.history.step
    assert ends[-1] == 400
    assert (np.diff(ends) > 0).all()
    starts = np.r_[0, ends[:-1]]
    for found, all_ in ((result.history.loss, losses_), (result.history.grad_norm, norms)):
        expected = [np.mean(all_[a:b]) for a, b in zip(starts, ends, strict=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(result.history.step_size, 0.1, rtol=1e-5)
    assert (np.diff(result.history.seconds) >= 0).all()
    assert result.history.seconds[-1] <= result.seconds
    assert np.isnan(result.history.validation).all()
    np.testing.assert_allclose(result.params, w, atol=1e-4)


def test_the_history_of_a_schedule():
    method = Descent(rules.Gradient(), step_sizes.Schedule(0.01, 100, "linear", warmup=10))
    result = minimize(land("bowl"), ZEROS, method=method, budget=Budget(steps=100), stop=FOREVER)
    expected = np.r_[np.arange(1, 10) / 10, 1 - np.arange(-1, 90).clip(0) / 90] * 0.01
    np.testing.assert_allclose(result.history.step_size, expected[:100], rtol=1e-4, atol=1e-7)


def test_the_target_is_true_of_the_answer_not_of_a_lucky_batch():
    """Single examples reach any target now and then."""
    target = 1.5 * BEST
    result = minimize(linear, ZERO, DATA, method=gradient(1e-3), batch_size=1, stop=Stop(target=target))
    assert result.reason is Reason.TARGET
    assert mean_squared(result.params) <= target * (1 + 1e-5)
    below = minimize(
        linear,
        ZERO,
        DATA,
        method=gradient(1e-3),
        batch_size=1,
        stop=Stop(target=0.9 * BEST),
        budget=Budget(steps=2000),
    )
    assert below.reason is not Reason.TARGET


def test_a_seed_is_a_run():
    go = partial(minimize, linear, ZERO, DATA, batch_size=16, budget=Budget(steps=300))
    first, again, other = go(seed=1), go(seed=1), go(seed=2)
    np.testing.assert_array_equal(first.params, again.params)
    np.testing.assert_array_equal(first.history.loss, again.history.loss)
    assert first.findings == again.findings
    assert first.gradients == again.gradients
    assert not np.array_equal(first.params, other.params)


def test_all_rows_by_name_and_by_number():
    go = partial(minimize, linear, ZERO, DATA, method=SMALL, budget=Budget(steps=20), stop=FOREVER)
    np.testing.assert_allclose(go(batch_size="all").params, go(batch_size=400).params, rtol=1e-5)


def test_a_key_is_never_searched_along():
    """A loss with a key is another one at each step: no line search, and the mean over many keys is what is told."""
    loss = lambda w, key: jnp.sum((w - 1 + jax.random.normal(key, (3,))) ** 2)  # noqa: E731
    result = minimize(loss, np.zeros(3), budget=Budget(steps=2000))
    np.testing.assert_allclose(result.params, 1, atol=0.2)
    assert result.loss == pytest.approx(3, rel=0.3)
    assert any(f.kind == "rate" for f in result.findings)


def test_the_result_is_told_in_words():
    result = REASONS["budget of epochs"][1]()
    told = str(result)
    for part in ("reason", "budget", "2.5 epochs", "loss", f"{result.loss:.6g}", "steps", "62", "gradients", "seconds"):
        assert part in told
    assert repr(result) == told
    assert str(result.reason) == "budget" == result.reason
    assert all("\n" not in f.message for f in result.findings)


def test_progress_is_told():
    seen = []
    result = minimize(
        linear,
        ZERO,
        DATA,
        method=gradient(1e-6),
        batch_size=16,
        validate=DATA,
        progress=seen.append,
        stop=FOREVER,
        budget=Budget(seconds=3),
    )
    assert len(seen) >= 2
    assert all(isinstance(p, Progress) for p in seen)
    assert [p.step for p in seen] == sorted(p.step for p in seen)
    last = seen[-1]
    assert 0 < last.step <= result.steps
    assert last.epoch == last.step * 16 / 400
    assert last.loss == pytest.approx(result.history.loss[-1], rel=0.5)
    assert last.validation is not None
    assert last.step_size == pytest.approx(1e-6, rel=1e-3)
    assert last.rows_per_second > 0
    assert 0 < last.fraction <= 1
    assert last.seconds_left == pytest.approx(last.seconds / last.fraction - last.seconds)


def test_watch_is_shown_each_look():
    class Every:
        """Looks at each multiple of 50 steps."""

        every = 50

        def __init__(self):
            self.seen = []

        def __call__(self, look):
            self.seen.append((look, look.params()))

    watch = Every()
    go = partial(minimize, land("bowl"), ZEROS, method=SMALL, budget=Budget(steps=300), stop=Stop(gradient=1e-30))
    result = go(watch=watch)
    looks = [look for look, _ in watch.seen]
    assert all(isinstance(look, Look) for look in looks)
    assert {50, 100, 150, 200, 250, 300} <= {look.step for look in looks}
    for look, params in watch.seen:
        np.testing.assert_allclose(params, 1 - (1 - np.array([0.015, 0.15, 1.5])) ** look.step, rtol=1e-4)
    np.testing.assert_array_equal(watch.seen[-1][1], result.params)
    np.testing.assert_array_equal(go().params, result.params)


@pytest.mark.parametrize("which", ["progress", "watch"])
def test_what_a_caller_raises_comes_out(which):
    before = signal.getsignal(signal.SIGINT)

    def fails(_):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        minimize(linear, ZERO, DATA, method=gradient(1e-6), batch_size=16, budget=Budget(seconds=5), **{which: fails})
    assert signal.getsignal(signal.SIGINT) is before


# one quality for every scale

CLASSES = (X @ np.array([1.0, -2.0, 3.0, 0.5]) + RNG.logistic(size=400) > 0).astype(np.float32)


def logistic(scale, w, batch):
    x, y = batch
    return scale * losses.logistic(x @ w, y).mean()


@pytest.mark.parametrize("batch_size", ["all", 32])
@pytest.mark.parametrize(("scale", "columns"), [(1.0, 1.0), (1e-3, 1.0), (1e3, 1.0), (1.0, 100.0), (1e-3, 100.0)])
def test_auto_is_as_good_at_every_scale_of_the_loss_and_of_the_columns(batch_size, scale, columns):
    """The mean loss within 1 % of the minimum that SciPy finds in float64."""
    from scipy.optimize import minimize as scipy_minimize
    from scipy.special import log_expit

    signs = 2 * CLASSES - 1
    least = scipy_minimize(lambda w: -log_expit(signs * (X @ w)).mean(), np.zeros(4)).fun
    result = minimize(
        jax.tree_util.Partial(logistic, np.float32(scale)),
        ZERO,
        (X * np.float32(columns), CLASSES),
        batch_size=batch_size,
        budget=Budget(epochs=100),
    )
    assert result.usable
    assert result.loss / scale < 1.01 * least, result


def test_auto_on_raw_columns_of_different_size():
    """Columns of 0.01 to 10,000 times their size, all rows: as scikit-learn's tables come."""
    from scipy.optimize import minimize as scipy_minimize
    from scipy.special import log_expit

    signs = 2 * CLASSES - 1
    least = scipy_minimize(lambda w: -log_expit(signs * (X @ w)).mean(), np.zeros(4)).fun
    sizes = np.array([1e-2, 1, 1e2, 1e4], np.float32)
    result = minimize(jax.tree_util.Partial(logistic, np.float32(1)), ZERO, (X * sizes, CLASSES))
    assert result.success
    assert result.loss < 1.01 * least, result

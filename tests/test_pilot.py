"""The race for a learning rate, on made-up lanes whose best rate is known, and in runs."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descenso import Budget, Checkpoint, Descent, Stop, minimize, rules, step_sizes
from descenso._types import Evaluation
from descenso.engine.chunk import RunState
from descenso.pilot.auto import Pilot
from descenso.pilot.fork import fork, trend
from descenso.pilot.method import Fade, Relative, Windowed
from descenso.pilot.race import FACTOR, Lane, better, bracket, narrowed, race
from descenso.rules import Adam
from descenso.watch.records import Records


class MadeUp:
    """Lanes whose loss after t steps at a rate is known: log-quadratic about `best`, nonfinite above `limit`.

    Args:
        best: the rate of the lowest loss, and a function of the steps made.
        limit: above it the steps are nonfinite.
        noise: of a batch's loss; the same batch is as hard for all points.
        apart: noise that the points do not share.
        bad: how many of the eight batches have no finite loss.
        patience: how many calls until it is halted.
    """

    def __init__(self, best=0.01, *, limit=np.inf, noise=0.0, apart=0.0, bad=0, patience=10**9):
        self.best = best if callable(best) else lambda step: best
        self.limit, self.noise, self.apart, self.bad, self.patience = limit, noise, apart, bad, patience
        self.rng, self.steps, self.judged, self.calls = np.random.default_rng(0), 0, 0, 0
        self.shown = []

    def start(self):
        return RunState((), (), np.float32(1.0), 0, None)

    def advance(self, state, steps):
        self.calls += 1
        self.steps += steps
        fails = float(state.scale) > self.limit
        ends = state.cursor + 1.0 + np.arange(steps)
        numbers = np.full(steps, np.nan if fails else 1.0)
        new = Records(ends, numbers, numbers, numbers, numbers, np.ones(steps), np.full(steps, float(fails)))
        return state._replace(cursor=state.cursor + steps), new

    def answer(self, state):
        return float(state.scale), state.cursor

    def show(self, state, loss):
        self.shown.append((state.cursor, float(state.scale), self.steps, loss))

    def judge(self, points, *, again=False):
        self.calls += 1
        rng = np.random.default_rng(1) if again else self.rng
        hard = self.noise * rng.normal(size=8)
        losses = np.array([1 + 0.1 * np.log(rate / self.best(step)) ** 2 + hard for rate, step in points])
        losses += self.apart * self.rng.normal(size=losses.shape)
        losses[:, : self.bad] = np.nan
        losses[[rate > self.limit for rate, _ in points]] = np.inf
        self.judged += losses.size
        return losses

    @property
    def halted(self):
        return self.calls >= self.patience


@pytest.mark.parametrize("best", 10.0 ** np.arange(-7, 6))
def test_the_bracket_closes_round_the_best_rate(best):
    bench = MadeUp(best)
    lanes = bracket(bench, bench.start(), 20)
    rates = sorted(lane.rate for lane in lanes)
    assert best / FACTOR < lanes[0].rate < best * FACTOR
    assert rates[0] < lanes[0].rate < rates[-1]
    np.testing.assert_allclose(np.diff(np.log(rates)), np.log(FACTOR), rtol=1e-6)
    assert all(lane.state.cursor == 20 for lane in lanes)
    # the distance from the first rate in powers of four, and one on either side
    assert len(lanes) <= 4 + abs(np.log(best / 0.01)) / np.log(4)


def test_rates_that_blow_up_are_gone_below():
    bench = MadeUp(best=1.0, limit=1e-5)
    lanes = bracket(bench, bench.start(), 20)
    assert lanes[0].rate < 1e-5
    assert all(lane.rate < 1e-5 for lane in lanes)
    # a lane that fails in its first half is not run on
    assert bench.steps < 20 * len(lanes) + 10 * 12


def test_no_rate_at_all():
    bench = MadeUp(limit=0.0)
    found = []
    assert race(bench, bench.start(), 20, [(40, 2), (160, 1)], found.append) is None
    assert bench.steps <= 24 * 20
    assert not found


def test_the_race_is_told():
    bench, found = MadeUp(0.01), []
    won = race(bench, bench.start(), 20, [(40, 2), (160, 1)], found.append)
    assert won.state.cursor == 160
    (finding,) = found
    assert (finding.kind, finding.step) == ("rate", 160)
    assert re.search(r"learning rate 0.01 chosen among 0.0025 0.01 0.04", finding.message)


def test_the_leading_lane_is_shown_as_it_goes():
    bench = MadeUp(lambda step: 0.04 if step < 30 else 0.01)
    won = race(bench, bench.start(), 20, [(40, 2), (160, 1)], lambda finding: None)
    cursors, rates, spent, losses = zip(*bench.shown, strict=True)
    assert cursors == (20, 40, 60, 80, 100, 120, 140)
    # who led after the first lanes does not lead after the next rung
    assert rates[0] == pytest.approx(0.04)
    assert set(rates[1:]) == {float(won.state.scale)}
    assert list(spent) == sorted(spent)
    assert spent[0] == 3 * 20
    assert spent[-1] < bench.steps
    assert set(losses) == {1.0}


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_noise_that_all_lanes_share_does_not_hide_the_best(noise):
    for best in (1e-3, 1e-2, 0.1, 1.0):
        bench = MadeUp(best, noise=noise)
        won = race(bench, bench.start(), 20, [(40, 2), (160, 1)], lambda finding: None)
        assert best / FACTOR < won.rate < best * FACTOR


def test_the_smaller_rate_wins_a_tie():
    """Two rates that cannot be told apart by two standard errors: the early best is too large for the end."""
    wins = 0
    for seed in range(40):
        bench = MadeUp(0.02, apart=0.3)  # as good at 0.01 as at 0.04
        bench.rng = np.random.default_rng(seed)
        lanes = [Lane(rate, bench.start()._replace(scale=np.float32(rate)), np.ones(8), []) for rate in (0.04, 0.01)]
        wins += narrowed(bench, lanes, 40, 1)[0].rate == 0.01
    assert wins >= 34  # by the toss of a coin alone: 20


def test_a_smaller_rate_that_is_clearly_worse_does_not_win():
    bench = MadeUp(0.04, apart=0.01)
    lanes = [Lane(rate, bench.start()._replace(scale=np.float32(rate)), np.ones(8), []) for rate in (0.01, 0.04)]
    assert narrowed(bench, lanes, 40, 1)[0].rate == 0.04


def test_a_best_rate_that_falls_with_the_steps_is_followed():
    bench = MadeUp(lambda step: 0.64 if step < 30 else 0.16)
    won = race(bench, bench.start(), 20, [(40, 2), (160, 1)], lambda finding: None)
    assert won.rate == pytest.approx(0.16)


def test_bad_batches_are_nobody_s_fault():
    for bad, arrives in ((1, True), (2, True), (5, False)):
        bench = MadeUp(0.01, bad=bad)
        won = race(bench, bench.start(), 20, [(40, 2), (160, 1)], lambda finding: None)
        assert (won is not None) == arrives
        assert not arrives or won.rate == 0.01


@pytest.mark.parametrize("patience", [1, 2, 3, 5, 8])
def test_a_race_that_is_stopped_gives_what_it_has(patience):
    bench = MadeUp(1e3, patience=patience)
    won = race(bench, bench.start(), 20, [(40, 2), (160, 1)], lambda finding: None)
    assert won is not None
    # after the end is asked for, one probe at most, and the judging of what there is
    assert bench.calls <= max(patience, 6) + 5


def test_better_is_a_paired_comparison():
    rng = np.random.default_rng(0)
    hard, apart = 10 * rng.normal(size=8), 0.01 * rng.normal(size=8)
    assert better(hard, hard + 0.1 + apart, 2.0)
    assert not better(hard + 0.1 + apart, hard, 2.0)
    assert not better(hard, hard, 1.0)
    assert not better(rng.normal(size=8), rng.normal(size=8), 3.0)
    nan = np.where(np.arange(8) == 3, np.nan, hard)
    assert better(nan, nan + 0.1 + apart, 2.0)
    assert better(hard, nan, 2.0)
    assert not better(nan, hard, 2.0)
    assert not better(np.full(8, np.nan), np.full(8, np.nan), 2.0)
    assert better(np.array([1.0]), np.array([2.0]), 2.0)


def test_the_trend():
    rng = np.random.default_rng(0)
    assert trend(np.linspace(2, 1, 100) + 0.1 * rng.normal(size=100)) < -2
    assert trend(np.linspace(1, 2, 100) + 0.1 * rng.normal(size=100)) > 2
    flat = [trend(np.random.default_rng(s).normal(size=100)) for s in range(300)]
    assert np.mean(np.array(flat) < -2) < 0.06
    assert trend(np.array([3.0, np.nan, 1.0])) == 0


class Forking(MadeUp):
    """The same, with a state that holds a window whose mean is the rate and the step."""

    def start(self, rate):
        return RunState((), ((), (), ((), np.int32(0), None)), np.float32(rate), 1000, None)

    def advance(self, state, steps):
        state, new = MadeUp.advance(self, state, steps)
        rule, size, (answer, count, _) = state.method
        return state._replace(method=(rule, size, (answer, count, (float(state.scale), state.cursor)))), new


@pytest.mark.parametrize(
    ("best", "says", "rate"),
    [(0.01, "kept", 0.01), (0.05, "raised to 0.04", 0.04), (0.0008, "lowered to 0.001", 0.001)],
)
def test_a_doubt_is_answered_by_other_rates(best, says, rate):
    """Four times the rate, and a tenth of it: a crawl, and a rate that is too large."""
    bench, pilot = Forking(best, apart=0.01), Pilot(None)
    assert pilot.doubt(1000)
    assert pilot.due(1000)
    run = Records(*[np.ones(10)] * 7)
    lane = pilot.steer(bench, bench.start(0.01), run)
    (finding,) = pilot.findings
    assert float(lane.state.scale) == pytest.approx(rate)
    assert lane.state.cursor == 1100
    assert says in finding.message
    assert "a gradient is seen" in finding.message
    assert not pilot.due(1999)


def test_doubts_have_an_end():
    pilot = Pilot(None)
    assert [pilot.doubt(1000) for _ in range(4)] == [True, True, True, False]
    assert not Pilot(5000).doubt(1000)


def test_what_a_fork_says():
    bench = Forking(0.02, apart=0.001)
    found = fork(bench, bench.start(0.01), 100, np.linspace(2, 1, 100))
    assert found.changed
    assert found.finding.message.startswith("rate doubled to 0.02: the loss still falls (z = -")
    found = fork(bench, bench.start(0.02), 100, np.ones(100))
    assert not found.changed
    assert found.finding.message.startswith("rate 0.02 kept: the loss hardly falls (z = 0.0)")


# the method that is raced


def test_units_of_the_loss_do_not_matter():
    """Relative(rule) sees the same gradients whatever the loss is multiplied by; Adam alone would not, by its eps."""
    rng = np.random.default_rng(0)
    params = (rng.normal(size=5), rng.normal(size=(2, 3)))
    grads = [tuple(1e-6 * rng.normal(size=p.shape) for p in params) for _ in range(4)]

    def path(unit):
        rule, directions = Relative(Adam()), []
        state = rule.init(params, xp=np)
        for g in grads:
            d, state = rule.direction(tuple(unit * leaf for leaf in g), params, state, xp=np)
            directions.append(np.concatenate([leaf.ravel() for leaf in d]))
        return np.array(directions)

    np.testing.assert_allclose(path(1e-8), path(1e8), rtol=1e-9)


def test_a_first_gradient_of_zero_sets_no_unit():
    params, rule = (np.zeros(3),), Relative(Adam())
    state = rule.init(params, xp=np)
    _, state = rule.direction((np.zeros(3),), params, state, xp=np)
    direction, _ = rule.direction((np.ones(3),), params, state, xp=np)
    assert np.isfinite(direction[0]).all()


def test_the_fade():
    """eta_t = min(1, t_s / t)^power min(1, (N - t) / (tail N))."""
    fade, params = Fade(power=0.25, tail=0.3), (np.zeros(2),)
    evaluation, found, state = Evaluation(np.float64(1), params), [], fade.init(params, xp=np)
    for t in range(1, 101):
        if t == 17:
            state = (state[0], np.float64(16), np.float64(100))  # as the pilot sets them
        eta, state = fade.choose(evaluation, params, params, state, xp=np)
        found.append(float(eta))
    t = np.arange(1, 101)
    expected = np.where(t < 17, 1.0, (16 / np.maximum(t, 16)) ** 0.25 * np.clip((100 - t) / 30, 0, 1))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_window_is_the_plain_mean_since_it_was_cleared():
    rng = np.random.default_rng(0)
    averaging, x = Windowed(), (rng.normal(size=3),)
    state, seen = averaging.init(x, xp=np), []
    for t in range(1, 11):
        if t == 5:
            answer, count, mean = state
            state, seen = (answer, 0 * count, mean), []
        x, state = averaging.apply(x, (rng.normal(size=3),), np.float64(0.1), state, xp=np)
        seen.append(x[0])
    np.testing.assert_allclose(state[2][0], np.mean(seen, axis=0), rtol=1e-12)


# in runs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 5)).astype(np.float32)
Y = (X @ np.arange(1.0, 6.0) + 0.5 * RNG.normal(size=600)).astype(np.float32)


def scaled(unit, w, batch):
    x, y = batch
    return unit * jnp.mean((x @ w - y) ** 2)


def loss_in(unit):
    return jax.tree_util.Partial(scaled, np.float32(unit))


go = partial(minimize, params=np.zeros(5, np.float32), data=(X, Y), batch_size=16)


def rate_of(result):
    return float(re.search("learning rate ([^ ]+) chosen", " ".join(f.message for f in result.findings))[1])


def test_the_rate_does_not_depend_on_the_unit_of_the_loss():
    rates = {rate_of(go(loss_in(unit), budget=Budget(steps=1000))) for unit in (1e-3, 1.0, 1e3)}
    assert len(rates) == 1


@pytest.mark.parametrize("steps", [500, 2000])
def test_what_the_race_costs(steps):
    """With a known horizon, at most half a run on top of the run."""
    result = go(loss_in(1.0), budget=Budget(steps=steps))
    assert result.steps == steps
    assert result.gradients < 1.5 * steps


def test_the_race_is_shown_to_the_caller():
    """From its first rung on, and it changes nothing."""
    looks = []
    shown = go(loss_in(1.0), budget=Budget(steps=1000), watch=lambda look: looks.append((look, look.params())))
    alone = go(loss_in(1.0), budget=Budget(steps=1000))
    steps = [look.step for look, _ in looks]
    assert steps[:9] == [20, 40, 60, 80, 100, 120, 140, 160, 224]
    spent = [look.gradients for look, _ in looks]
    assert spent == sorted(spent)
    assert all(g >= s for g, s in zip(spent, steps, strict=True))
    start = np.mean(Y.astype(float) ** 2)
    losses = [np.mean((X.astype(float) @ w - Y) ** 2) for _, w in looks]
    assert losses[0] < start
    assert losses[8] < losses[2] < losses[0]
    assert losses[-1] == pytest.approx(shown.loss, rel=0.02)  # the last point may be judged better than the average
    np.testing.assert_array_equal(shown.params, alone.params)
    assert shown.gradients == alone.gradients


class Leave(Exception):
    """The caller's own, in the midst of a run."""


@pytest.mark.parametrize("last", [1, 4, 8, 11])
def test_the_looks_are_the_same_after_a_stop(tmp_path, last):
    def looks_until(last, folder):
        seen = []

        def watch(look):
            seen.append((look.step, look.gradients, look.loss, look.params().tobytes()))
            if len(seen) == last:
                raise Leave

        plan = Checkpoint(folder, steps=100)
        with suppress(Leave):
            go(loss_in(1.0), budget=Budget(steps=1000), checkpoint=plan, watch=watch)
        return seen

    whole = looks_until(None, tmp_path / "whole")
    first = looks_until(last, tmp_path / "parts")
    rest = looks_until(None, tmp_path / "parts")
    assert first == whole[:last]
    assert rest == whole[-len(rest) :]
    assert len(rest) >= len(whole) - last


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 30])
def test_the_shortest_runs(steps):
    result = go(loss_in(1.0), budget=Budget(steps=steps))
    assert (result.steps, result.reason) == (steps, "budget")
    assert result.loss <= np.mean(Y.astype(float) ** 2) * (1 + 1e-6)


def test_as_good_as_the_best_rate_of_a_grid():
    """Adam with the rate tuned by hand, on as many steps: its distance to the minimum is not undercut by far."""
    least = np.linalg.lstsq(X.astype(float), Y.astype(float), rcond=None)[1][0] / len(X)
    steps = 600

    def mean_loss(**more):
        return np.mean([go(loss_in(1.0), budget=Budget(steps=steps), seed=seed, **more).loss for seed in range(3)])

    tuned = min(
        mean_loss(
            method=Descent(rules.Adam(b2=0.99), step_sizes.Schedule(rate, steps, "cosine")), stop=Stop(floor=False)
        )
        for rate in (0.01, 0.1, 1.0)
    )
    auto = mean_loss()
    start = np.mean(Y.astype(float) ** 2)
    assert auto - least < 0.01 * (start - least)
    assert auto - tuned < 0.02 * (tuned - least) + 1e-3 * least


def test_without_a_horizon_the_rate_is_tried_again():
    result = go(loss_in(1.0))
    told = [f.message for f in result.findings if f.kind == "rate"]
    assert len(told) >= 2
    assert all(re.match("rate ([^ ]+ kept|doubled|halved)", message) for message in told[1:])
    assert result.success

"""The arena's scoring, grids, files and transforms, on curves and tasks whose answers are known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from benchmarks.arena import catalogue, grid, lanes, peers, robust, tuned
from benchmarks.arena.__main__ import main
from benchmarks.arena.contend import CONTENDERS, Contender, contend
from benchmarks.arena.score import Course, peer_course, reached, reference, score, summarise, targets
from benchmarks.arena.tuned import PeerResult, Tuned
from benchmarks.arena.workload import MARKS, Workload, features_times, judge, loss_times, start_times

from descenso.torch import Descent

BEST = 0.1


def geometric(rate: float, best: float = BEST) -> np.ndarray:
    """From 1 down to `best` as exp(-rate t), t in (0, 1]."""
    t = np.arange(1, MARKS + 1) / MARKS
    return best + (1 - best) * np.exp(-rate * t)


def known(curve: np.ndarray) -> Tuned:
    peer = PeerResult(0.1, 13, True, [curve.tolist()])
    poor = PeerResult(1.0, 1, False, [[0.01] * MARKS])  # lower, but not tuned: never the reference
    return Tuned("toy", 1000, 8, 3, [1], 1.0, {"tuned": peer, "untuned": poor}, "here")


def toy(features=True) -> Workload:
    """Least squares in three dimensions, 200 steps."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3)).astype(np.float32)
    data = {"x": x, "y": (x @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=64)).astype(np.float32)}

    def loss(params, batch):
        return jnp.mean((batch["x"] @ params["w"] - batch["y"]) ** 2)

    def init(key):
        return {"w": jax.random.normal(key, (3,))}

    return Workload("toy", loss, init, data, data, 8, 200, lanes=3, features=features)


def test_targets_are_98_and_95_percent_of_the_way():
    loose, tight = targets(1.0, 0.01)
    assert loose == pytest.approx(0.01 + 0.02 * 0.99)
    assert math.log(tight / 0.01) / math.log(1.0 / 0.01) == pytest.approx(0.05)


@pytest.mark.parametrize(("initial", "best"), [(1.0, 0.0), (1.0, -2.0), (1.0, 1.0), (1.0, 2.0)])
def test_targets_refuse_a_best_outside_the_range(initial, best):
    with pytest.raises(ValueError, match="between 0 and initial"):
        targets(initial, best)


def test_a_target_reached_between_marks_counts_at_the_later_mark():
    course = Course(np.array([0.005, 0.021, 0.0399, 0.04]), np.array([4.0, 3.0, 2.0, 1.0]))
    assert [reached(course, t) for t in (4.0, 3.0, 2.0, 1.0)] == [1, 2, 2, 2]
    assert reached(course, 0.5) == math.inf


def test_half_the_speed_is_twice_the_steps():
    curve = geometric(40.0)
    ref = reference(known(curve))
    slow = score(peer_course(geometric(20.0)), ref)
    assert ref.best == pytest.approx(BEST)
    assert slow.ratio1 == pytest.approx(2.0, rel=0.2)
    assert slow.ratio2 == pytest.approx(2.0, rel=0.2)
    assert score(peer_course(curve), ref)[:4] == (1, 1, 1, 1)


def test_every_gradient_counts_in_the_spent_ratios():
    curve = geometric(40.0)
    course = peer_course(curve)
    twice = Course(course.fractions, course.losses, 2.0, 2 * course.fractions)
    one = score(twice, reference(known(curve)))
    assert (one.ratio1, one.spent1, one.cost) == (1, 2, 2)


def test_the_log_gap_is_zero_at_the_best_and_one_at_the_start():
    ref = reference(known(geometric(40.0)))
    gaps = {final: score(peer_course([final] * MARKS), ref).log_gap for final in (ref.best, 1.0, 50.0, math.inf, 1e-9)}
    assert gaps[ref.best] == pytest.approx(0)
    assert gaps[1.0] == gaps[50.0] == gaps[math.inf] == 1
    assert gaps[1e-9] == pytest.approx(-0.3)


def test_the_reference_is_the_best_tuned_peer_only():
    result = known(geometric(40.0))
    assert result.best == "tuned"
    assert result.best_final == pytest.approx(BEST)


def test_summary_weighs_workloads_alike_and_counts_a_miss_as_four():
    ref = reference(known(geometric(40.0)))
    one = score(peer_course(geometric(40.0)), ref)
    double, half, miss = (one._replace(ratio1=r, ratio2=r) for r in (2.0, 0.5, math.inf))
    summary = summarise({"a": [double] * 5, "b": [half]})
    assert summary.gm1 == pytest.approx(1.0)
    assert (summary.hit1, summary.worst1, summary.worst) == (1.0, pytest.approx(2.0), "a")
    missing = summarise({"a": [miss, one], "b": [one, one]})
    assert missing.gm2 == pytest.approx(4 ** (1 / 4))
    assert missing.hit2 == 0.75


def test_the_interval_holds_the_mean_and_closes_without_spread():
    ref = reference(known(geometric(40.0)))
    one = score(peer_course(geometric(40.0)), ref)
    rng = np.random.default_rng(1)
    spread = {str(i): [one._replace(ratio1=float(r)) for r in np.exp(rng.normal(0, 0.5, 3))] for i in range(12)}
    summary = summarise(spread)
    assert summary.gm1_low < summary.gm1 < summary.gm1_high
    assert summary.gm1_high - summary.gm1_low < 1.5
    assert summary.gm2_low == summary.gm2 == summary.gm2_high == 1.0


@pytest.mark.parametrize("optimum", [-17, -5, 1, 4, 12])
def test_the_grid_widens_until_the_best_is_inside(optimum):
    asked = []

    def run(rates):
        exponents = 2 * np.log10(rates)
        asked.extend(np.round(exponents).astype(int).tolist())
        return np.repeat((exponents - optimum)[:, None, None] ** 2, 3, 1)

    found = grid.search(run, middle=-5, reach=6)
    assert grid.best_exponent(found) == optimum
    assert {optimum - 2, optimum - 1, optimum + 1, optimum + 2} <= set(found)
    assert set(range(-11, 2)) <= set(found)
    assert len(asked) == len(set(asked)) == len(found)


def test_the_grid_ends_where_every_rate_fails():
    found = grid.search(lambda rates: np.full((len(rates), 2, 5), np.inf), middle=0, reach=1)
    assert min(found) >= -40
    assert grid.best_exponent(found) == min(found)


def test_equal_rates_give_the_smaller_and_the_median_decides():
    curves = {k: np.array([[v], [1.0], [1.0]]) for k, v in ((1, 1.0), (2, 1.0), (3, 0.0))}
    assert grid.best_exponent(curves) == 1


def test_tuned_results_survive_their_file(tmp_path):
    curve = [1.0, 1 / 3, math.inf]
    peers_ = {"a": PeerResult(0.1, 39, True, [curve, curve], {"0.1": 0.3}), "b": PeerResult(1.0, 2, False, [curve])}
    tuned.save(Tuned("toy", 150, 8, 3, [5, 6], 2.5, peers_, "here"), tmp_path)
    back = tuned.load("toy", tmp_path)
    assert back is not None
    assert back.seeds == [5, 6]
    assert back.peers["a"].rates == {"0.1": 0.3}
    np.testing.assert_allclose(back.peers["b"].curves, [curve], rtol=1e-5)
    assert tuned.load("absent", tmp_path) is None
    assert [p.name for p in tmp_path.iterdir()] == ["toy.json"]


def test_every_kept_result_can_be_scored():
    files = sorted(tuned.FOLDER.glob("*.json"))
    assert files
    for file in files:
        result = tuned.load(file.stem)
        assert result is not None
        ref = reference(result)
        assert ref.best < ref.tight < ref.initial
        assert math.isfinite(ref.loose_mark)
        assert math.isfinite(ref.tight_mark)


def test_the_order_shows_every_row_once_an_epoch():
    rows = lanes.order(toy(), seed=3)
    assert rows.shape == (MARKS, 4, 8)
    for epoch in rows.ravel()[: 64 * 25].reshape(-1, 64):
        assert sorted(epoch) == list(range(64))


def test_lanes_side_by_side_equal_lanes_alone():
    peer = peers.TUNED[0]
    together = lanes.curves(toy(), peer, [0.1, 0.01, 1e9, 1e-3], [1, 2])
    assert together.shape == (4, 2, MARKS)
    alone = lanes.curves(toy(), peer, [0.01], [2])
    np.testing.assert_allclose(together[1, 1], alone[0, 0], rtol=1e-4)


def test_the_control_is_the_peer_of_the_same_make():
    workload = toy()
    control, _ = contend(workload, CONTENDERS["control"], seed=4)
    peer = next(p for p in peers.AS_THEY_COME if p.name == "adam99_0.01_average")
    theirs = lanes.curves(workload, peer, [peer.rate], [4])[0, 0]
    assert len(control.losses) == MARKS
    np.testing.assert_allclose(control.losses, theirs, rtol=0.01)
    # N gradients, and what the driver spends on the loss at the start and at the end
    assert control.cost == pytest.approx(1.0, abs=0.1)


def test_the_online_entrant_is_what_torch_users_get():
    workload = replace(toy(), batch_size="all")
    course, _ = contend(workload, CONTENDERS["online"], seed=4)
    x, y = (torch.asarray(np.asarray(workload.data[k])) for k in ("x", "y"))
    w = torch.tensor(np.array(workload.init(jax.random.key(4))["w"]), requires_grad=True)
    optimizer = Descent([w])
    losses = []
    for step in range(1, workload.steps + 1):
        optimizer.zero_grad()
        ((x @ w - y) ** 2).mean().backward()
        optimizer.step()
        if step % (workload.steps // MARKS) == 0:
            with optimizer.evaluation(), torch.no_grad():
                losses.append(((x @ w - y) ** 2).mean().item())
    np.testing.assert_allclose(course.losses, losses, rtol=1e-3)
    assert course.cost == 1.0


def test_the_forking_entrant_is_what_torch_users_get_with_a_closure(monkeypatch):
    monkeypatch.setattr("descenso.torch.lanes.FIRST", 512)
    workload = replace(toy(), steps=550)
    course, found = contend(workload, CONTENDERS["online_forks"], seed=4)
    x, y = (torch.asarray(np.asarray(workload.data[k])) for k in ("x", "y"))
    w = torch.tensor(np.array(workload.init(jax.random.key(4))["w"]), requires_grad=True)
    optimizer, calls, losses = Descent([w]), [], []
    for step, rows in enumerate(lanes.order(workload, 4).reshape(550, -1), 1):

        def closure(rows=rows):
            calls.append(rows)
            optimizer.zero_grad()
            loss = ((x[rows] @ w - y[rows]) ** 2).mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        if step % 11 == 0:
            with optimizer.evaluation(), torch.no_grad():
                losses.append(((x @ w - y) ** 2).mean().item())
    np.testing.assert_allclose(course.losses, losses, rtol=1e-3)
    assert course.cost == pytest.approx(len(calls) / 550)
    assert [line.split(": loss")[0] for line in found] == [line.split(": loss")[0] for line in optimizer.findings]
    assert len(found) == 1


def test_ours_reaches_the_least_squares_solution():
    workload = toy()
    course, found = contend(workload, CONTENDERS["auto"], seed=5)
    x, y = workload.data["x"], workload.data["y"]
    lowest = np.mean((x @ np.linalg.lstsq(x, y, rcond=None)[0] - y) ** 2)
    assert course.final == pytest.approx(lowest, rel=0.05)
    assert course.fractions[-1] == 1.0
    assert course.cost >= 1.0
    assert any("rate" in line for line in found)


def test_without_a_horizon_ours_is_stopped_at_n_steps():
    course, _ = contend(toy(), Contender("anytime", horizon=False), seed=6)
    assert course.fractions[-1] <= 1.5
    assert np.all(np.diff(course.fractions) > 0)


def test_changes_of_units():
    workload = toy()
    params = workload.init(jax.random.key(0))
    plain = float(judge(workload, params, workload.held))
    loss = loss_times(workload, 1e3)
    assert float(judge(loss, params, loss.held)) == pytest.approx(1e3 * plain, rel=1e-5)
    features = features_times(workload, 100.0)
    np.testing.assert_allclose(features.data["x"], 100 * workload.data["x"], rtol=1e-6)
    np.testing.assert_array_equal(features.data["y"], workload.data["y"])
    np.testing.assert_allclose(start_times(workload, 10.0).init(jax.random.key(0))["w"], 10 * params["w"], rtol=1e-6)


def test_changes_of_units_keep_the_key_of_a_loss_that_draws_noise():
    def loss(params, batch, key):
        return jnp.mean((batch["x"] @ params["w"] + jax.random.normal(key) - batch["y"]) ** 2)

    noisy = replace(toy(), loss=loss)
    scaled = loss_times(noisy, 0.5)
    assert noisy.needs_key
    assert scaled.needs_key
    params = noisy.init(jax.random.key(0))
    half = 0.5 * float(judge(noisy, params, noisy.held))
    assert float(judge(scaled, params, scaled.held)) == pytest.approx(half, rel=1e-5)


def test_robust_leaves_out_what_changes_nothing():
    names = [w.name for w in robust.changed(toy(features=False))]
    assert names == ["toy@loss0.001", "toy@loss1000", "toy@start10"]
    zero = [w.name for w in robust.changed(catalogue.make("linear_small"))]
    assert zero == [f"linear_small@{c}" for c in ("loss0.001", "loss1000", "features0.01", "features100")]


def test_without_data_sets_the_workloads_on_files_are_left_out(monkeypatch):
    monkeypatch.delenv("DESCENSO_DATA", raising=False)
    names, left_out = catalogue.available()
    assert names == list(catalogue.BUNDLED)
    assert left_out == list(catalogue.FILED)
    assert len(names) >= 16
    with pytest.raises(KeyError, match="no workload named nonsense"):
        catalogue.available(["nonsense"])
    with pytest.raises(KeyError):
        catalogue.available([next(iter(catalogue.SEALED))])  # a sealed one is not to be run by name


@pytest.mark.parametrize("name", list(catalogue.BUNDLED))
def test_every_bundled_workload_starts_from_a_finite_loss(name):
    workload = catalogue.make(name)
    params = workload.init(jax.random.key(1))
    assert workload.name == name
    assert 0 < float(jax.jit(partial(judge, workload))(params, workload.held)) < math.inf
    assert workload.rows_per_batch <= workload.rows


def test_the_command_line_scores_one_workload(tmp_path, capsys):
    file = tmp_path / "out.json"
    assert main(["--only", "linear_small", "--seeds", "7,8", "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "**auto**" in out
    assert "adamw99_average" in out
    seen = json.loads(file.read_text())
    assert [run["seed"] for run in seen["runs"]["linear_small"]] == [7, 8]
    assert seen["hit1"] == 1.0


def test_the_command_line_refuses_an_unknown_workload(capsys):
    assert main(["--only", "nonsense"]) == 2
    assert "no workload named nonsense" in capsys.readouterr().err

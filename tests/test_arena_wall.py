"""The torch side of the arena's wall times is the same task, and ours is timed to the right answer."""

from __future__ import annotations

import subprocess

import pytest
from benchmarks.arena import catalogue, tuned, wall
from benchmarks.arena.eager import MODELS
from benchmarks.arena.eager.run import disagreement, train
from benchmarks.arena.wall_table import HEAD, row
from benchmarks.arena.watched import Call, reached, watched


def _run(seconds: float | None, torch_seconds: float, whole: bool = True) -> dict:
    ours = {"step": 20, "seconds": seconds, "final": 0.72 if seconds is None else 0.5}
    theirs = {"seconds": torch_seconds, "loss": 0.6, "whole": whole}
    planned = ours | {"seconds": None}
    return {"seed": 1, "target": 0.6, "torch": theirs, "fused": theirs, "ours": ours, "planned": planned}


def test_every_open_workload_below_the_limit_has_a_torch_model():
    kept = [known for name in (*catalogue.BUNDLED, *catalogue.FILED) if (known := tuned.load(name))]
    assert set(MODELS) == {known.workload for known in kept if known.size < wall.LARGEST}


@pytest.mark.parametrize("name", ["poisson", "cnn"])
def test_torch_has_the_loss_of_jax(name):
    assert disagreement(catalogue.make(name), 3) < 1e-5


def test_a_loss_that_differs_is_seen(monkeypatch):
    monkeypatch.setitem(MODELS, "linear_small", MODELS["logistic_raw"])
    assert disagreement(catalogue.make("linear_small"), 3) > 0.1


def test_torch_ends_where_the_peer_ended():
    known = tuned.load("linear_small")
    assert known is not None
    peer = wall.best_adamw(known)
    found = train(catalogue.make("linear_small"), peer, known.peers[peer.name].rate, known.seeds[0])
    assert found.whole
    assert found.loss == pytest.approx(known.peers[peer.name].curves[0][-1], rel=1e-3)


def test_the_first_answer_at_the_target_counts():
    seen = [(10, 0.1, None), (20, 0.2, None), (30, 0.3, None)]
    assert reached(seen, [3.0, 1.0, 2.0], 1.0) == (20, 0.2)
    assert reached(seen, [3.0, 1.0, 2.0], 0.9) is None


def test_every_answer_is_kept_with_its_step():
    workload = catalogue.make("linear_small")
    run = watched(workload, 1, Call())
    losses = run.losses(workload)
    steps, seconds = [step for step, _, _ in run.seen], [moment for _, moment, _ in run.seen]
    assert steps == sorted(steps)
    assert seconds == sorted(seconds)
    assert losses[-1] == min(losses) < 0.1 * 29074  # the loss at the start
    assert run.ending.startswith("converged")


def test_the_rows_of_a_batch_are_left_to_ours_or_given():
    workload = catalogue.make("linear_raw")
    left, given = (watched(workload, 1, Call(1, auto)) for auto in (True, False))
    assert left.ending.startswith("converged")  # with all rows at every step
    assert given.ending.startswith("budget")
    assert given.seen[-1][0] == workload.steps


def test_a_row_tells_medians_and_misses():
    runs = [_run(1.0, 2.0), _run(None, 4.0), _run(6.0, 3.0)]
    found = {
        "name": "cnn",
        "size": 1898,
        "steps": 1000,
        "fresh": {"seconds": None},
        "cold": {"seconds": 5.0},
        "runs": runs,
    }
    cells = dict(zip(HEAD, row(found), strict=True))
    assert cells["torch, s"] == "3.00"
    assert cells["times torch"] == "0.50 miss 2.00"
    assert cells["as planned for torch, times torch"] == "miss miss miss"
    assert cells["fresh, s (times)"] == "miss (miss)"
    assert cells["cold, s (times)"] == "5.00 (2.50)"
    assert cells["short by"] == "- 0.2 -"
    runs[0] = _run(1.0, 2.0, whole=False)
    assert "a tenth of the steps" in row(found)[3]


def test_the_command_refuses_an_unknown_workload(capsys):
    assert wall.main(["--only", "nonsense"]) == 2
    assert "no workload named nonsense" in capsys.readouterr().err


def test_a_workload_that_cannot_be_timed_does_not_end_the_table(monkeypatch, capsys):
    def refuse(name, *_):
        if name == "poisson":
            raise subprocess.CalledProcessError(1, "wall")
        return {"name": name, "size": 1, "steps": 50, "runs": [_run(1.0, 2.0)], "fresh": none, "cold": none}

    none = {"seconds": None}
    monkeypatch.setattr(wall, "_in_fresh_processes", refuse)
    assert wall.main(["--only", "poisson,linear_raw"]) == 1
    told = capsys.readouterr()
    assert "poisson: not timed" in told.err
    assert "| linear_raw | 1 | 50 |" in told.out


def test_the_reason_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(wall, "disagreement", lambda *_: 0.5)
    monkeypatch.setattr(wall, "watched", lambda *_: None)
    assert wall.main(["--child", "linear_small", "--seeds", "1"]) == 1
    assert capsys.readouterr().err == "linear_small: torch's loss is 5.0e-01 off JAX's.\n"

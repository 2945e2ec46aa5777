"""A run that was stopped, anywhere and by anything, ends as the run that was not, to the bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import descenso
from checkpoint_runs import CASES, dropout, linear, numbers
from descenso import Budget, Stop
from descenso._errors import ArgumentError, CheckpointError
from descenso.checkpoint import keeper
from descenso.checkpoint.keeper import Checkpoint
from descenso.checkpoint.store import Store, read_manifest
from descenso.driver import loop, run, spending
from descenso.driver.run import Run
from descenso.methods import named
from descenso.result import Reason

_SCRIPT = Path(__file__).with_name("checkpoint_runs.py")
_ALL = 10**6
_DATA = (np.random.default_rng(8).normal(size=(5000, 6)).astype(np.float32), np.ones(5000, np.float32))


class KilledError(BaseException):
    """What stands for the end of the process."""


def found(result) -> list[str]:
    return [f.message for f in result.findings if f.kind == "resumed"]


def every_checkpoint(folder: Path, case: str, steps: int) -> dict:
    """The numbers of a run that kept all its checkpoints."""
    return numbers(CASES[case](checkpoint=Checkpoint(folder, steps=steps, keep=_ALL)))


@pytest.mark.parametrize(
    ("case", "steps", "step"),
    [
        ("dropout", 1, 1),
        ("auto", 5, 8),
        ("anytime", 7, 9),
        ("bfgs", 1, 9),
        ("climbing", 2, 6),
        ("recovering", 9, 7),
        ("streamed", 10, 7),
        ("growing", 40, 9),
        ("widened", 55, 12),
        ("handed", 16, 9),
    ],
)
def test_resumed_at_any_step_it_is_the_same_run(tmp_path, case, steps, step):
    undisturbed = numbers(CASES[case]())
    assert every_checkpoint(tmp_path / "all", case, steps) == undisturbed
    made = Store(tmp_path / "all").names()
    assert len(made) > 30
    for last in made[::step]:
        folder = tmp_path / "one"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(last, folder / last.name)
        result = CASES[case](checkpoint=folder, resume="must")
        assert numbers(result) == undisturbed
        assert last.name in found(result)[0]


@pytest.mark.parametrize("case", ["auto", "recovering"])
def test_killed_again_and_again_it_is_the_same_run(tmp_path, monkeypatch, case):
    undisturbed = numbers(CASES[case]())
    save, left = Store.save, 0

    def killed(self, arrays, body):
        nonlocal left
        path = save(self, arrays, body)
        left -= 1
        if left == 0:
            raise KilledError
        return path

    monkeypatch.setattr(Store, "save", killed)
    times = 0
    while True:
        left = 3
        try:
            result = CASES[case](checkpoint=Checkpoint(tmp_path, steps=20))
            break
        except KilledError:
            times += 1
    assert times > 8
    assert numbers(result) == undisturbed
    assert f"for the {times}th time" in found(result)[0]
    assert len(found(result)) == 1


def test_the_methods_that_took_over_are_gone_on_with(tmp_path):
    whole = CASES["climbing"](checkpoint=Checkpoint(tmp_path, steps=2, keep=_ALL))
    assert [f.message.split()[0] for f in whole.findings if f.kind == "method"][1:] == ["NewtonCG", "BFGS"]
    rungs = [read_manifest(path)["body"]["numbers"]["watchers"]["ladder"]["rung"] for path in Store(tmp_path).names()]
    assert set(rungs) == {0, 1, 2}


def test_a_saddle_is_left_by_a_run_that_was_stopped_before_or_after(tmp_path):
    undisturbed = numbers(CASES["leaving"]())
    assert every_checkpoint(tmp_path / "all", "leaving", 1) == undisturbed
    for last in Store(tmp_path / "all").names():
        shutil.copytree(last, tmp_path / last.name / last.name)
        assert numbers(CASES["leaving"](checkpoint=tmp_path / last.name, resume="must")) == undisturbed


def test_whatever_the_driver_holds_is_saved_or_given_again():
    given = {"ready", "stop", "spending", "teller", "watch", "keeper"}
    saved = {"course", "marks", "findings", "judged", "best", "milestone", "earlier", "stretch", "recovery", "unit"}
    changes_nothing, made_again = {"pace"}, {"certificate"}
    assert {f.name for f in fields(Run)} == given | saved | changes_nothing | made_again


def test_a_checkpoint_between_two_looks_is_gone_on_from(tmp_path):
    every_checkpoint(tmp_path, "recovering", 10)
    bodies = [read_manifest(path)["body"] for path in Store(tmp_path).names()]
    inside = [b for b in bodies if b["numbers"]["stretch"]]
    assert len(inside) > 20
    assert any(b["step"] > b["numbers"]["cursor"] + 10 for b in inside)


def test_a_run_that_is_over_is_not_run_again(tmp_path):
    first = CASES["bfgs"](checkpoint=tmp_path)
    made = Store(tmp_path).names()
    again = CASES["bfgs"](checkpoint=tmp_path)
    assert numbers(again) == numbers(first)
    assert first.reason is Reason.CONVERGED
    assert Store(tmp_path).names() == made


class Clock:
    """Seconds that pass as they are asked for."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


def test_time_that_was_used_up_may_be_given_again(tmp_path, monkeypatch):
    monkeypatch.setattr(spending, "perf_counter", Clock())
    monkeypatch.setattr(loop, "perf_counter", spending.perf_counter)
    monkeypatch.setattr(run, "perf_counter", spending.perf_counter)
    start = (linear, np.zeros(6, np.float32), _DATA)

    def go(seconds, **more):
        budget = Budget(steps=9000, seconds=seconds)
        return descenso.minimize(*start, method="adam", batch_size=8, budget=budget, stop=Stop(floor=False), **more)

    short = go(0.3, checkpoint=tmp_path)
    assert short.reason is Reason.BUDGET
    assert 0 < short.steps < 9000
    again = go(0.3, checkpoint=tmp_path)
    assert (again.steps, again.loss) == (short.steps, short.loss)
    whole = go(None)
    assert numbers(go(1e6, checkpoint=tmp_path)) == numbers(whole)
    assert whole.steps == 9000


# what must be as it was


def start(folder: Path, **more):
    data = more.pop("data", (np.ones((64, 3), np.float32), np.arange(64, dtype=np.float32)))
    params = more.pop("params", np.zeros(3, np.float32))
    given = {"method": "adam", "batch_size": 8, "budget": Budget(steps=20)} | more
    plan = Checkpoint(folder, steps=given.pop("every")) if "every" in given else folder
    return descenso.minimize(given.pop("loss", linear), params, data, checkpoint=plan, **given)


_OTHER = np.arange(64, dtype=np.float32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "sgd"}, "another configuration:\n  method: "),
        ({"batch_size": 4}, "batch_size: 8, now 4"),
        ({"seed": 1}, "seed: 0, now 1"),
        ({"method": "auto", "batch_size": "all", "certify": "quick"}, "escape: False, now quick"),
        ({"budget": Budget(steps=21)}, "budget: steps: 20, now 21"),
        ({"stop": Stop(target=0.1)}, "stop: target: None, now 0.1"),
        ({"params": np.zeros(3, np.float16)}, "params: entry 0: entry 2: float32, now float16"),
        ({"data": (np.ones((64, 3), np.float32), -_OTHER)}, "another data:\n  data: entry 1: other values"),
        ({"data": (np.ones((63, 3), np.float32), _OTHER[:63])}, "data: entry 0: shape (64, 3), now (63, 3)"),
        ({"validate": (np.ones((64, 3), np.float32), _OTHER)}, "validate: "),
        ({"data": (np.ones((64, 3), np.float32), -_OTHER), "seed": 1}, "another data and configuration:\n  data: "),
        ({"method": named("adam", lr=0.5)}, "value=0.5"),
    ],
)
def test_another_run_is_refused_with_the_field(tmp_path, change, words):
    start(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        start(tmp_path, **change)
    assert words in str(caught.value)
    assert found(start(tmp_path))


def test_another_loss_is_said(tmp_path):
    start(tmp_path)
    told = found(start(tmp_path, loss=lambda p, batch: 2 * linear(p, batch)))
    assert "the loss is not the one the run began with" in told[1]


def test_an_array_of_the_loss_that_changed_is_refused(tmp_path):
    strong = lambda strength: jax.tree_util.Partial(_penalised, strength)  # noqa: E731
    start(tmp_path, loss=strong(jnp.float32(0.1)))
    start(tmp_path, loss=strong(jnp.float32(0.1)))
    with pytest.raises(CheckpointError, match="arrays of the loss: entry 0"):
        start(tmp_path, loss=strong(jnp.float32(0.2)))


def _penalised(strength, p, batch):
    return linear(p, batch) + strength * jnp.sum(p**2)


def test_another_machine_makes_it_order_exact_and_it_stays_so(tmp_path, monkeypatch):
    start(tmp_path)
    here = keeper.identify

    def elsewhere(*args):
        identity = here(*args)
        identity.environment["jax"] = "0.9.9"
        return identity

    with monkeypatch.context() as patch:
        patch.setattr(keeper, "identify", elsewhere)
        assert (
            f"order-exact (the same batches, not the same last bits), since jax: {jax.__version__}, now 0.9.9"
            in (found(start(tmp_path))[0])
        )
    told = found(start(tmp_path))[0]
    assert f"jax: {jax.__version__}, now 0.9.9; jax: 0.9.9, now {jax.__version__}" in told


def test_one_thread_is_told_from_several(tmp_path, monkeypatch):
    monkeypatch.setenv("NPROC", "1")
    start(tmp_path)
    assert "bit-exact: as if it had never stopped" in found(start(tmp_path))[0]


# where there is nothing to go on from, or too much


def test_must_and_never(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        start(tmp_path, resume="must")
    start(tmp_path, resume="never")
    with pytest.raises(CheckpointError, match="there are checkpoints here already"):
        start(tmp_path, resume="never")
    assert found(start(tmp_path, resume="must"))


def test_a_broken_checkpoint_is_named_and_the_one_before_it_taken(tmp_path):
    whole = start(tmp_path / "whole")
    start(tmp_path / "run", every=4)
    good, broken = Store(tmp_path / "run").names()[-2:]
    (broken / "arrays.safetensors").write_bytes(b"")
    result = start(tmp_path / "run")
    assert result.loss == whole.loss
    assert good.name in found(result)[0]
    assert f"not used: {broken.name}: arrays.safetensors has 0 bytes" in found(result)[1]


def test_never_from_the_start_where_all_are_broken(tmp_path):
    start(tmp_path)
    for path in Store(tmp_path).names():
        (path / "manifest.json").unlink()
    for resume in ("auto", "must"):
        with pytest.raises(CheckpointError, match="none of the"):
            start(tmp_path, resume=resume)


def test_arguments(tmp_path):
    for wrong in ({"every": 0}, {"steps": 0}, {"keep": 0}, {"every": "30s"}, {"steps": 1.5}, {"keep": None}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            Checkpoint(tmp_path, **wrong)
    for folder in ("", "s3://bucket/seven", Path("s3://bucket/seven"), None):
        with pytest.raises(ArgumentError, match="name of a folder on a file system"):
            Checkpoint(folder)
    with pytest.raises(ArgumentError, match="must be"):
        start(tmp_path, resume="perhaps")
    with pytest.raises(ArgumentError, match="a folder or a Checkpoint"):
        start(3)
    with pytest.raises(ArgumentError, match="no `checkpoint` to go on from"):
        descenso.minimize(lambda p: p**2, 1.0, resume="must")


def test_the_last_few_and_the_best_are_kept(tmp_path):
    result = CASES["auto"](checkpoint=Checkpoint(tmp_path, steps=20, keep=2))
    scores = [
        json.loads((p / "manifest.json").read_bytes())["manifest"]["body"]["score"] for p in Store(tmp_path).names()
    ]
    assert len(scores) in (2, 3)
    assert min(scores) == result.validation_loss


def test_a_save_that_fails_ends_the_run_loudly(tmp_path, monkeypatch):
    save, left = Store.save, 3

    def failing(self, arrays, body):
        nonlocal left
        left -= 1
        if left:
            return save(self, arrays, body)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, os.strerror(28))))
            return save(self, arrays, body)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "save", failing)
        with pytest.raises(CheckpointError, match=r"No space left on device.*is kept"):
            dropout(checkpoint=Checkpoint(tmp_path, steps=5))
    assert numbers(dropout(checkpoint=tmp_path, resume="must")) == numbers(dropout())


# signals


class Signalled:
    """A `watch` that sends this process a signal at the first look past a step."""

    def __init__(self, number: int, step: int):
        self.number, self.step = number, step

    def __call__(self, look):
        if look.step > self.step:
            self.step = _ALL
            os.kill(os.getpid(), self.number)


def test_interrupted_it_returns_what_it_has_and_goes_on_later(tmp_path):
    first = CASES["auto"](checkpoint=tmp_path, watch=Signalled(signal.SIGINT, 200))
    assert first.reason is Reason.INTERRUPTED
    assert numbers(CASES["auto"](checkpoint=tmp_path, resume="must")) == numbers(CASES["auto"]())


def test_terminated_it_leaves_with_143_and_goes_on_later(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        CASES["auto"](checkpoint=Checkpoint(tmp_path, steps=_ALL), watch=Signalled(signal.SIGTERM, 200))
    assert left.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert Store(tmp_path).newest()[0].body["step"] >= 200
    assert numbers(CASES["auto"](checkpoint=tmp_path, resume="must")) == numbers(CASES["auto"]())


def test_terminated_in_the_race_it_begins_again(tmp_path):
    def early(progress):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as left:
        descenso.minimize(_slow, np.zeros(6, np.float32), _DATA, batch_size=8, checkpoint=tmp_path, progress=early)
    assert left.value.code == 143
    assert Store(tmp_path).names() == []


def _slow(p, batch):
    x, y = batch
    return jnp.mean((jax.lax.fori_loop(0, 20_000, lambda i, v: v + 1e-9 * jnp.sin(v), x @ p) - y) ** 2)


def test_without_checkpoints_sigterm_is_left_alone():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        result = CASES["auto"](watch=Signalled(signal.SIGTERM, 200))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]
    assert result.reason is Reason.BUDGET


def processes(case: str, folder: Path, *rest: int) -> list:
    """The exit statuses of the runs that were ended, and the numbers of the last one."""
    environment = {**os.environ, "NPROC": "1", "PYTHONWARNINGS": "default"}
    command = [sys.executable, str(_SCRIPT), case, str(folder), *map(str, rest)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The numbers of a run in a process that nothing ends, by its case."""
    return cache(lambda case: processes(case, tmp_path_factory.mktemp(case) / "whole")[1])


@pytest.mark.parametrize(
    ("case", "number", "status", "times"),
    [("auto", signal.SIGKILL, -9, 12), ("auto", signal.SIGTERM, 143, 4), ("streamed", signal.SIGKILL, -9, 8)],
)
def test_ended_by_signals_all_the_time_it_is_the_same_run(tmp_path, undisturbed, case, number, status, times):
    statuses, last = processes(case, tmp_path / "run", number, times)
    assert statuses == [status] * times
    assert last == undisturbed(case)
    left = {path.name.split("-")[0] for path in (tmp_path / "run").iterdir()}
    assert left == {".lock", "checkpoint"}

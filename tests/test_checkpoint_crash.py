"""A save that is cut off anywhere leaves the old checkpoint or the new one, and nothing that looks like either."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from checkpoint_faults import number_of
from descenso._errors import CheckpointError
from descenso.checkpoint.lock import Lock
from descenso.checkpoint.store import Store
from descenso.disk.owner import Owner

_SCRIPT = Path(__file__).with_name("checkpoint_faults.py")


def start(*args: object, **keywords) -> subprocess.Popen:
    command = [sys.executable, str(_SCRIPT), *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **keywords)


def report(*args: object) -> list:
    with start(*args) as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(out)


def test_a_crash_at_any_call_leaves_the_old_or_the_new(tmp_path):
    outcomes = report("crash", tmp_path / "run")
    ended = [o for o in outcomes if o[2] == 9]
    assert len(ended) > 40
    assert {(number, tuple(rejected)) for *_, number, rejected in ended} == {(1, ()), (2, ())}
    numbers = [number for *_, number, _ in outcomes]
    assert numbers == sorted(numbers)  # once the new one is there, it stays there
    assert outcomes[-1][2:] == [0, 2, []]


def test_writing_in_place_is_caught(tmp_path):
    outcomes = report("crash", tmp_path / "run", "in_place")
    assert sum(bool(rejected) for *_, rejected in outcomes) >= 10


def test_deleting_first_is_caught(tmp_path):
    outcomes = report("crash", tmp_path / "run", "delete_first")
    assert sum(number is None for *_, number, _ in outcomes) >= 10


def lapses(calls: list[list[str]]) -> list[str]:
    """What a power cut could undo, given the calls of a save in order."""
    prepared = next(about for name, about, _ in calls if name == "mkdir")
    renamed = next(i for i, (name, about, _) in enumerate(calls) if name == "rename" and about == prepared)
    final = calls[renamed][2]
    before, after = calls[:renamed], calls[renamed + 1 :]
    found = []
    for file in ("arrays.safetensors", "manifest.json"):
        last = max(i for i, c in enumerate(calls) if c[:2] == ["write", file])
        if ["fsync", file, ""] not in before[last + 1 :]:
            found.append(f"{file} is not flushed between its last write and the rename")
    last = max(i for i, c in enumerate(before) if c[0] == "open" and c[1] != prepared)
    if ["fsync", prepared, ""] not in before[last:]:
        found.append("the folder is not flushed before the rename")
    parent = next((i for i, c in enumerate(after) if c[0] == "fsync" and c[1] not in (prepared, final)), None)
    if parent is None:
        found.append("the parent is not flushed after the rename")
    removals = [
        i for i, c in enumerate(calls) if c[0] in ("unlink", "rmdir") or (c[0] == "rename" and c[1] != prepared)
    ]
    if removals and removals[0] < renamed + 1 + (parent if parent is not None else len(after)):
        found.append("something is removed before the new one is safe")
    return found


def test_all_is_flushed_before_anything_depends_on_it(tmp_path):
    calls = report("trace", tmp_path / "run")
    assert lapses(calls) == []
    assert any(name == "unlink" for name, *_ in calls)  # the save did remove an old one


@pytest.mark.parametrize(
    ("mutant", "lapse"),
    [
        ("unflushed_file", "arrays.safetensors is not flushed between its last write and the rename"),
        ("unflushed_folder", "the folder is not flushed before the rename"),
        ("unflushed_parent", "the parent is not flushed after the rename"),
        ("renamed_first", "the folder is not flushed before the rename"),
        ("delete_first", "something is removed before the new one is safe"),
    ],
)
def test_a_missing_flush_is_caught(tmp_path, mutant, lapse):
    assert lapse in lapses(report("trace", tmp_path / "run", mutant))


def test_kill_9_at_any_moment_loses_nothing_that_was_said_to_be_safe(tmp_path):
    folder = tmp_path / "run"
    chance = random.Random(5)
    for _ in range(25):
        with start("write", folder) as process:
            first = int(process.stdout.readline())
            time.sleep(chance.uniform(0.0, 0.05))
            process.kill()
            said = [first, *map(int, process.stdout.read().split())]
        saved, rejected = Store(folder).newest()
        assert rejected == []
        assert said[-1] <= number_of(saved) <= said[-1] + 1  # the last may be safe before it was said
    assert len(list(folder.glob(".tmp-*"))) <= 1  # the next writer sweeps
    Store(folder).sweep()
    assert list(folder.glob(".tmp-*")) == []


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    yield folder if mounted.returncode == 0 else None
    if mounted.returncode == 0:
        subprocess.run(["umount", folder], check=True)


def check_full(folder: Path, last: int, message: str, number: int, rejected: list[str], words: str) -> None:
    assert words in message
    assert f"checkpoint-{last:08d} is kept" in message
    assert (number, rejected) == (last, [])
    assert list(folder.glob(".tmp-*")) == []


def test_a_full_disk_is_said_and_the_last_good_checkpoint_kept(tmp_path, small_disk):
    folder = tmp_path / "run"
    folder.mkdir()
    check_full(folder, *report("limit", folder, 500_000), "File too large")
    if small_disk is not None:
        check_full(small_disk, *report("limit", small_disk, 0), "No space left on device")


@pytest.mark.parametrize(("call", "number"), [("mkdir", 30), ("write", 5), ("fsync", 5), ("rename", 30)])
def test_a_failing_disk_is_said_and_the_last_good_checkpoint_kept(tmp_path, monkeypatch, call, number):
    made = Store(tmp_path)
    made.save({}, {"number": 0})

    def failing(*args, **keywords):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(CheckpointError, match="checkpoint-00000000 is kept"):
            made.save({}, {"number": 1})
    assert made.newest()[0].body == {"number": 0}
    assert list(tmp_path.glob(".tmp-*")) == []


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path):
    with start("hold", tmp_path, stdin=subprocess.PIPE) as process:
        pid = int(process.stdout.readline())
        with pytest.raises(CheckpointError, match=f"another run writes its checkpoints here .process {pid} on "):
            Lock.take(tmp_path)
        process.kill()
    Lock.take(tmp_path).release()


def test_a_second_writer_in_the_same_process_is_refused(tmp_path):
    lock = Lock.take(tmp_path)
    with pytest.raises(CheckpointError, match=str(os.getpid())):
        Lock.take(tmp_path)
    lock.release()
    Lock.take(tmp_path).release()


def test_a_folder_that_cannot_be_written_to_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="checkpoints cannot be written here"):
        Lock.take(tmp_path / "file" / "run")


def test_only_the_leavings_of_the_dead_are_swept(tmp_path):
    with start("hold", tmp_path / "other", stdin=subprocess.PIPE) as process:
        pid = int(process.stdout.readline())
        started = int((tmp_path / "other" / ".lock").read_text().split("~")[2])
        here = Owner.this().host
        kept = [f".tmp-{here}~{pid}~{started}~0", f".tmp-elsewhere~{pid}~1~0", f".tmp-{Owner.this()}~0", ".tmp-odd"]
        gone = [f".tmp-{here}~{pid}~{started + 1}~0"]  # the same number, another process
        for name in kept + gone:
            (tmp_path / name).mkdir()
        Store(tmp_path).sweep()
        assert {p.name for p in tmp_path.glob(".tmp-*")} == set(kept)
        process.send_signal(signal.SIGKILL)
    Store(tmp_path).sweep()
    assert {p.name for p in tmp_path.glob(".tmp-*")} == set(kept[1:])

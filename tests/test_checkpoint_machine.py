"""Stepping, saving, killing, loading and corrupting in any order: a run is never other than it would have been."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from descenso._errors import CheckpointError
from descenso.checkpoint.lock import Lock
from descenso.checkpoint.store import Store, load
from descenso.methods.named import named

_CALLS = ("mkdir", "open", "write", "fsync", "close", "rename", "unlink", "rmdir")
_METHOD = named("adam", lr=0.05)
_ROOT = "/dev/shm" if Path("/dev/shm").is_dir() else None


class KilledError(BaseException):
    """What stands for the end of the process."""


class Dying:
    """Patches the calls of `os`: the call numbered `at`, and each after it, finds the process dead."""

    def __init__(self, at: int, half: bool):
        self.left, self.half = at, half
        self.real = {name: getattr(os, name) for name in _CALLS}

    def __enter__(self):
        for name in _CALLS:
            setattr(os, name, self.patched(name))
        return self

    def __exit__(self, *_):
        for name, call in self.real.items():
            setattr(os, name, call)

    def patched(self, name: str):
        def call(*args, **keywords):
            self.left -= 1
            if self.left == 0 and self.half and name == "write":
                self.real[name](args[0], args[1][: len(args[1]) // 2])
            if self.left <= 0:
                raise KilledError
            return None if name == "fsync" else self.real[name](*args, **keywords)

        return call


def begin() -> tuple:
    params = (np.asarray([3.0, -2.0]), np.asarray(1.0, np.float32))
    return 0, params, _METHOD.init(params, xp=np)


def forward(run: tuple) -> tuple:
    """One step on a noisy bowl; the noise is a function of the step."""
    from descenso._types import Evaluation

    step, params, state = run
    noise = np.random.default_rng(step).normal()
    grads = (params[0] + noise, np.asarray(params[1] - noise, np.float32))
    params, state, _ = _METHOD.step(Evaluation(np.asarray(0.0), grads), params, state, scale=np.asarray(1.0), xp=np)
    return step + 1, params, state


def flat(value) -> list[np.ndarray]:
    return [a for v in value for a in flat(v)] if isinstance(value, tuple) else [np.asarray(value)]


def rebuilt(like, arrays) -> tuple:
    return type(like)(rebuilt(v, arrays) for v in like) if type(like) is tuple else next(arrays)


_COURSE = [begin()]  # what an undisturbed run is at each step


def undisturbed(step: int) -> tuple:
    while len(_COURSE) <= step:
        _COURSE.append(forward(_COURSE[-1]))
    return _COURSE[step]


def same(a: tuple, b: tuple) -> bool:
    pairs = zip(flat(a), flat(b), strict=True)
    return all((x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes()) for x, y in pairs)


class Runs(RuleBasedStateMachine):
    """A run, the folder it writes to, and what the folder must hold."""

    @initialize(keep=st.integers(1, 4))
    def start(self, keep):
        self.folder = Path(tempfile.mkdtemp(dir=_ROOT))
        self.keep = keep
        self.whole: dict[str, int] = {}  # the checkpoints that must be readable, and their steps
        self.broken: set[str] = set()
        self.open()

    def open(self):
        self.lock = Lock.take(self.folder)
        self.store = Store(self.folder, self.keep)
        self.store.sweep()
        self.run = begin()

    def teardown(self):
        if hasattr(self, "folder"):
            self.lock.release()
            shutil.rmtree(self.folder)

    @rule(count=st.integers(1, 7))
    def step(self, count):
        for _ in range(count):
            self.run = forward(self.run)

    def write(self):
        step, *rest = self.run
        arrays = {f"x.{i}": a for i, a in enumerate(flat(tuple(rest)))}
        return self.store.save(arrays, {"step": step, "score": abs(float(flat(tuple(rest))[0][0]))})

    @rule()
    def save(self):
        with Dying(10**9, half=False):
            path = self.write()
        assert load(path).body["step"] == self.run[0]
        self.settle()

    @rule(at=st.integers(1, 60), half=st.booleans())
    def save_and_die(self, at, half):
        with Dying(at, half) as death:
            try:
                self.write()
            except KilledError:
                assert death.left <= 0
        self.settle()
        self.die()

    @rule()
    def die(self):
        self.lock.release()
        self.open()
        self.load()

    def settle(self):
        """Take note of what is there; each must be whole unless it was broken here."""
        self.whole = {}
        for path in self.store.names():
            if path.name not in self.broken:
                self.whole[path.name] = load(path).body["step"]

    def load(self):
        """Go on from the newest, as a run that starts again does."""
        if not self.whole and self.store.names():
            with pytest.raises(CheckpointError):
                self.store.newest()
            return
        saved, rejected = self.store.newest()
        newer = [p.name for p in reversed(self.store.names()) if saved is None or p.name > saved.path.name]
        assert [line.split(":")[0] for line in rejected] == newer
        assert self.broken.issuperset(newer)
        if saved is None:
            assert not self.whole
            return
        assert saved.path.name == max(self.whole)
        step, *rest = begin()
        arrays = iter([saved.arrays[f"x.{i}"] for i in range(len(saved.arrays))])
        self.run = (saved.body["step"], *rebuilt(tuple(rest), arrays))
        assert step == 0

    @rule()
    def load_again(self):
        self.load()

    @precondition(lambda self: self.store.names())
    @rule(which=st.integers(0, 5), seed=st.integers(0, 2**32), manifest=st.booleans())
    def corrupt(self, which, seed, manifest):
        names = self.store.names()
        path = names[which % len(names)]
        file = path / ("manifest.json" if manifest else "arrays.safetensors")
        if path.name in self.broken:
            return
        chance = random.Random(seed)
        blob = bytearray(file.read_bytes())
        at = chance.randrange(len(blob))
        kind = chance.choice(["flip", "cut", "append", "delete"])
        if kind == "flip":
            blob[at] ^= 1 << chance.randrange(8)
        elif kind == "cut":
            del blob[at:]
        elif kind == "append":
            blob += b"\n"
        file.unlink()
        if kind != "delete":
            file.write_bytes(bytes(blob))
        self.broken.add(path.name)
        self.whole.pop(path.name, None)

    @invariant()
    def the_run_is_as_it_would_have_been(self):
        if hasattr(self, "run"):
            assert same(self.run, undisturbed(self.run[0]))

    @invariant()
    def the_last_good_one_is_there(self):
        if hasattr(self, "whole") and self.whole:
            assert self.store.newest()[0].body["step"] == self.whole[max(self.whole)]

    @invariant()
    def no_more_is_kept_than_asked_for(self):
        if hasattr(self, "store"):
            assert len(list(self.store.names())) <= self.keep + 2


TestRuns = Runs.TestCase
TestRuns.settings = settings(
    max_examples=500, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)

"""Runs to stop and go on with.

python checkpoint_runs.py CASE FOLDER [EVERY]     make the run, a checkpoint every so many steps; print its numbers
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

import descenso
from descenso import Budget, Descent, Streamed, averaging, rules, step_sizes
from descenso.checkpoint.keeper import Checkpoint
from descenso.data import stream
from descenso.result import Result

_X = np.random.default_rng(3).normal(size=(500, 6)).astype(np.float32)
_Y = (np.tanh(_X[:, 0] * _X[:, 1]) + 0.5 * _X[:, 2] + 0.1 * np.random.default_rng(4).normal(size=500)).astype(
    np.float32
)
_NET = {
    "into": np.random.default_rng(5).normal(size=(6, 8)).astype(np.float32) / 2,
    "bias": np.zeros(8, np.float32),
    "out": np.random.default_rng(6).normal(size=8).astype(np.float32) / 3,
}


def _net(p: Any, x: Any) -> Any:
    return jnp.tanh(x @ p["into"] + p["bias"])


def dropped(p: Any, batch: Any, key: Any) -> Any:
    x, y = batch
    hidden = _net(p, x)
    kept = jax.random.bernoulli(key, 0.8, hidden.shape)
    return jnp.mean((jnp.where(kept, hidden / 0.8, 0.0) @ p["out"] - y) ** 2)


def plain(p: Any, batch: Any) -> Any:
    x, y = batch
    return jnp.mean((_net(p, x) @ p["out"] - y) ** 2)


def linear(p: Any, batch: Any) -> Any:
    x, y = batch
    return jnp.mean((x @ p - y) ** 2)


def valley(p: Any) -> Any:
    return jnp.sum(100 * (p[1:] - p[:-1] ** 2) ** 2 + (1 - p[:-1]) ** 2)


def cliff(p: Any, batch: Any) -> Any:
    """Infinite where a step has gone too far, and now and then on a batch."""
    x, y = batch
    value = jnp.mean((x @ p - y) ** 2)
    return jnp.where((value > 100.0) | (x[0, 0] > 2.2), jnp.inf, value)


def dropout(**more: Any) -> Result:
    """Dropout, AdamW, a schedule, an average, validation."""
    method = Descent(
        rules.WeightDecay(rules.Adam(), 0.01), step_sizes.WarmupStableDecay(0.02, 60, warmup=10), averaging.EMA(0.9)
    )
    held = (_X[400:], _Y[400:])
    data = (_X[:400], _Y[:400])
    return descenso.minimize(
        dropped, _NET, data, method=method, batch_size=16, budget=Budget(steps=60), validate=held, seed=7, **more
    )


def auto(**more: Any) -> Result:
    """method="auto" with a horizon, and validation."""
    data, held = (_X[:400], _Y[:400]), (_X[400:], _Y[400:])
    return descenso.minimize(plain, _NET, data, batch_size=16, budget=Budget(steps=600), validate=held, **more)


def anytime(**more: Any) -> Result:
    """method="auto" without one: forks on the way, to the noise floor."""
    return descenso.minimize(linear, np.zeros(6, np.float32), (_X, _Y), batch_size=8, **more)


def bfgs(**more: Any) -> Result:
    """A line search on a loss without data."""
    return descenso.minimize(valley, -np.ones(6, np.float32), **more)


_AXES = np.linalg.qr(np.random.default_rng(9).normal(size=(12, 12)))[0]
_NARROW = (_AXES * np.logspace(-8, 0, 12) @ _AXES.T).astype(np.float32)


def pass_(p: Any) -> Any:
    return p[0] ** 2 - p[1] ** 2 + p[1] ** 4 / 4


def leaving(**more: Any) -> Result:
    """A saddle, from where every gradient points at it."""
    return descenso.minimize(pass_, np.array([1.0, 0.0], np.float32), **more)


def narrow(p: Any) -> Any:
    return 0.5 * (p - 1) @ _NARROW @ (p - 1)


def climbing(**more: Any) -> Result:
    """A valley so narrow that the methods take turns."""
    return descenso.minimize(narrow, -np.ones(12, np.float32), **more)


def recovering(**more: Any) -> Result:
    """Steps that are far too long, and nonfinite batches."""
    method = Descent(rules.Momentum(), step_sizes.Constant(0.6))
    data = (_X, _Y)
    return descenso.minimize(
        cliff, np.zeros(6, np.float32), data, method=method, batch_size=32, budget=Budget(steps=700), **more
    )


def streamed(**more: Any) -> Result:
    """Rows read a window at a time."""
    data = Streamed((_X, _Y), memory=12_000)
    with mock.patch.object(stream, "BLOCK_BYTES", 700), mock.patch.object(stream, "CHUNK_BYTES", 3000):
        return descenso.minimize(plain, _NET, data, batch_size=16, budget=Budget(steps=600), **more)


_ROWS = np.random.default_rng(10).normal(size=(20_480, 2)).astype(np.float32)
_MANY = (_ROWS, (_ROWS @ np.array([3.0, -1.0]) + np.random.default_rng(11).normal(size=20_480)).astype(np.float32))


def thinned(p: Any, batch: Any, key: Any) -> Any:
    x, y = batch
    return jnp.mean((jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0.0) @ p - y) ** 2)


def growing(**more: Any) -> Result:
    """Batches that grow where their noise is what limits."""
    return descenso.minimize(thinned, np.zeros(2, np.float32), _MANY, **more)


def widened(**more: Any) -> Result:
    """The same where the rows are read a window at a time."""
    data = Streamed(tuple(a[:9000] for a in _MANY), memory=120_000)
    with mock.patch.object(stream, "BLOCK_BYTES", 1200), mock.patch.object(stream, "CHUNK_BYTES", 30_000):
        return descenso.minimize(linear, np.zeros(2, np.float32), data, **more)


def handed(**more: Any) -> Result:
    """Batches that give way to all rows."""
    return descenso.minimize(linear, np.zeros(2, np.float32), _MANY, **more)


CASES = {
    f.__name__: f
    for f in (dropout, auto, anytime, bfgs, climbing, leaving, recovering, streamed, growing, widened, handed)
}


def numbers(result: Result) -> dict[str, Any]:
    """All of a result that must be the same to the bit, however often the run was stopped."""
    history = {name: getattr(result.history, name) for name in ("step", "loss", "step_size", "grad_norm", "validation")}
    return {
        "params": [np.asarray(leaf).tobytes().hex() for leaf in jax.tree.leaves(result.params)],
        "history": {name: values.tobytes().hex() for name, values in history.items()},
        "loss": result.loss.hex(),
        "ended": [result.reason, result.message, result.steps, result.gradients, result.validation_loss],
        "findings": [list(f) for f in result.findings if f.kind != "resumed"],
        "certificate": str(result.certificate),
    }


def ended_by(number: int, case: str, folder: Path, chance: random.Random) -> int:
    """Start the run in a child, end it by a signal soon after its first checkpoint; returns its exit status."""
    before = newest(folder)
    if (pid := os.fork()) == 0:
        leave(case, folder, None)
    while newest(folder) == before:
        if os.waitpid(pid, os.WNOHANG)[0]:
            raise SystemExit("the run was over before it was ended")
        time.sleep(0.001)
    time.sleep(chance.uniform(0.0, 0.03))
    os.kill(pid, number)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def newest(folder: Path) -> str:
    return max((p.name for p in folder.glob("checkpoint-*")), default="")


def leave(case: str, folder: Path, out: Path | None) -> None:
    """Make the run and end the process, as a script would."""
    status = 1
    try:
        result = CASES[case](checkpoint=Checkpoint(folder, steps=2))
        if out is not None:
            out.write_text(json.dumps(numbers(result)))
        status = 0
    except SystemExit as left:
        status = left.code
    finally:
        os._exit(status)


def main(case: str, folder: Path, number: int = 0, times: int = 0) -> None:
    folder.mkdir(parents=True)
    chance = random.Random(11)
    statuses = [ended_by(number, case, folder, chance) for _ in range(times)]
    out = folder.with_suffix(".json")
    if (pid := os.fork()) == 0:
        leave(case, folder, out)
    assert os.waitpid(pid, 0)[1] == 0
    print(json.dumps([statuses, json.loads(out.read_text())]))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))

"""A checkpoint of each format that was ever released is read for ever.

`golden/checkpoint-format-1` was written by `Store.save(*pack(snapshot()))` when format 1 was made. Where this test
fails after a change, the change needs a new format number, and a reader for the old one.
"""

from __future__ import annotations

from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest

from descenso.checkpoint.snapshot import Points, Snapshot, pack, unpack
from descenso.checkpoint.store import load
from descenso.disk.canonical import Broken
from descenso.driver.stretch import Stretch
from descenso.engine.chunk import RunState

_GOLDEN = Path(__file__).with_name("golden") / "checkpoint-format-1"


def state(at: int) -> RunState:
    """A state of a few kinds of arrays, different at each step."""
    params = (np.arange(6, dtype=np.float32).reshape(2, 3) + at, np.asarray(at / 3, ml_dtypes.bfloat16))
    method = (np.asarray(at, np.int32), (params[0] / 7, np.zeros((0, 2), np.float32)))
    return RunState(params, method, np.asarray(0.25, np.float32), at, np.array([7, at], np.uint32))


def snapshot() -> Snapshot:
    stretch = Stretch(state(90), 64, 128, np.arange(12, dtype=np.float32).reshape(2, 6), arrived=False)
    points = Points(state(0).params, None, state(40).params)
    course, marks = np.arange(14, dtype=np.float64).reshape(7, 2), np.array([[0.5, np.nan], [1.5, 2.0]])
    numbers = {"judged": 16, "findings": [["rate", 3, "é"]], "watchers": {"validation": {"best": float("inf")}}}
    return Snapshot(state(64), state(48), stretch, points, course, marks, numbers)


def same(a, b) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(
        (np.asarray(x).dtype, np.asarray(x).tobytes()) == (np.asarray(y).dtype, np.asarray(y).tobytes())
        for x, y in pairs
    )


def test_format_1_is_read():
    saved = load(_GOLDEN)
    assert saved.body["score"] == 0.125
    found = unpack(saved.arrays, saved.body["numbers"], state(0))
    wanted = snapshot()
    assert same(found[:-1], wanted[:-1])
    assert {name: found.numbers[name] for name in wanted.numbers} == wanted.numbers


def test_format_1_is_what_is_written():
    arrays, numbers = pack(snapshot())
    saved = load(_GOLDEN)
    assert saved.body["numbers"] == numbers
    assert arrays.keys() == saved.arrays.keys()
    assert all(same(arrays[name], saved.arrays[name]) for name in arrays)


def test_a_run_of_another_form_is_refused_with_the_array():
    saved = load(_GOLDEN)
    other = state(0)._replace(scale=np.asarray(0.25, np.float64))
    with pytest.raises(Broken, match=r"state.\d is float32 of shape \(\); the run needs float64 of shape \(\)"):
        unpack(saved.arrays, saved.body["numbers"], other)

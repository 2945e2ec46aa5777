"""Rows that are read as they are needed: the order they come in, and the runs that are made of them."""

from __future__ import annotations

from time import sleep

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import descenso
from descenso import Budget, Checkpoint, Streamed
from descenso._errors import ArgumentError, DataError
from descenso.data import stream as stream_module
from descenso.data.batches import Order
from descenso.data.memory import as_bytes
from descenso.data.stream import Stream
from descenso.data.windows import Windows, permutation
from descenso.methods.named import named
from descenso.result import Reason

_ROWS = 40_000


def numbers(windows: Windows, start: int, count: int) -> np.ndarray:
    """Row numbers at these positions, through the windows they lie in."""
    found = []
    for place, rows in windows.pieces(start, count):
        held = np.concatenate([np.arange(*stretch) for stretch in windows.stretches(place)])
        found.append(held[rows])
    return np.concatenate(found)


some_windows = st.builds(
    Windows, rows=st.integers(1, 300), block=st.integers(1, 40), span=st.integers(1, 9), seed=st.integers(0, 99)
)


@given(some_windows, st.integers(0, 3))
@settings(deadline=None)
def test_every_row_comes_once_an_epoch(windows, epoch):
    found = numbers(windows, epoch * windows.rows, windows.rows)
    assert sorted(found) == list(range(windows.rows))


@given(some_windows, st.integers(0, 1000), st.integers(1, 500), st.integers(1, 499))
@settings(deadline=None)
def test_the_order_is_a_function_of_the_position(windows, start, count, cut):
    whole = numbers(windows, start, count)
    cut = min(cut, count - 1)
    if cut:
        parts = np.concatenate([numbers(windows, start, cut), numbers(windows, start + cut, count - cut)])
        assert (whole == parts).all()


@given(some_windows)
@settings(deadline=None)
def test_the_next_window_is_the_next(windows):
    places = [place for place, _ in windows.pieces(0, 3 * windows.rows)]
    if not windows.whole:
        assert [windows.after(a) for a in places[:-1]] == places[1:]


def test_seeds_and_epochs_differ_and_the_rows_of_a_window_lie_together():
    windows = Windows(10_000, 100, 5, 0)
    first = numbers(windows, 0, 500)
    assert len({row // 100 for row in first}) == 5
    assert (first != np.sort(first)).any()
    assert set(first // 100) != set(numbers(windows, 10_000, 500) // 100)
    assert set(first // 100) != set(numbers(Windows(10_000, 100, 5, 1), 0, 500) // 100)


def test_a_window_that_holds_all_gives_the_order_of_rows_in_memory():
    windows = Windows(1000, 64, 16, 3)
    assert (numbers(windows, 700, 1500) == Order(1000, 3).take(700, 1500)).all()


@pytest.mark.parametrize("rows", [0, 1, 2, 65_536, 65_537, 300_000])
def test_the_order_by_random_words_is_that_by_all_their_bits(rows):
    drawn = np.random.default_rng(0).integers(0, 2**64, rows, np.uint64)
    for taken in (drawn, drawn & np.uint64(0xFFFF_0000_0000_0007)):  # the latter are often the same
        expected = np.argsort(taken & np.uint64(2**48 - 1), kind="stable")
        assert (permutation(taken) == expected).all()


def test_amounts_of_memory():
    assert [as_bytes(a) for a in ("2GB", "1.5 MB", "512MiB", 1000, "10")] == [2 * 10**9, 1_500_000, 1 << 29, 1000, 10]
    for wrong in ("", "0", -1, "2 apples", "GB"):
        with pytest.raises(ArgumentError):
            as_bytes(wrong)


# runs


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of a linear model, as memory maps: 1.9 MB."""
    folder = tmp_path_factory.mktemp("rows")
    chance = np.random.default_rng(0)
    x = chance.normal(size=(_ROWS, 10)).astype(np.float32)
    y = (x @ np.arange(10) + 0.1 * chance.normal(size=_ROWS)).astype(np.float64)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "y.npy", mmap_mode="r")


def loss(p, batch):
    x, y = batch
    return jnp.mean((x @ p - y) ** 2)


def run(data, **more):
    given = {"method": "adam", "batch_size": 64, "budget": Budget(epochs=1)} | more
    return descenso.minimize(loss, np.zeros(10, np.float32), data, **given)


def test_the_batches_are_those_of_the_order(table, monkeypatch):
    monkeypatch.setattr(stream_module, "BLOCK_BYTES", 48 * 500)
    monkeypatch.setattr(stream_module, "CHUNK_BYTES", 48 * 64 * 7)
    result = run(Streamed(table, memory=400_000), budget=Budget(steps=300))
    assert result.steps == 300
    x, y = (np.asarray(a, np.float64) for a in table)
    method = named("adam")
    params = (np.zeros(10),)
    state = method.init(params, xp=np)
    order = Stream(table, ("x", "y"), 400_000).order(0)
    assert not order.whole
    for step in range(300):
        rows = numbers(order, step * 64, 64)
        residual = x[rows] @ params[0] - y[rows]
        gradient = (2 * x[rows].T @ residual / 64,)
        evaluation = descenso._types.Evaluation(np.mean(residual**2), gradient)
        params, state, _ = method.step(evaluation, params, state, scale=np.asarray(1.0), xp=np)
    assert np.allclose(result.params, params[0], rtol=1e-4, atol=1e-5)


def test_every_window_is_read_once_an_epoch(table, monkeypatch):
    monkeypatch.setattr(stream_module, "BLOCK_BYTES", 48 * 500)
    monkeypatch.setattr(stream_module, "CHUNK_BYTES", 48 * 64 * 50)
    taken = {"_read": [], "_gather": []}
    for name, calls in taken.items():
        whole = getattr(Stream, name)
        monkeypatch.setattr(Stream, name, lambda *a, calls=calls, whole=whole: (calls.append(a[2]), whole(*a))[1])
    run(Streamed(table, memory=500_000))
    windows = -(-80 // Stream(table, ("x", "y"), 500_000).order(0).span)
    assert windows == 16
    assert len(set(taken["_read"])) == len(taken["_read"]) <= windows + 3  # and those of the next epoch
    assert len(set(taken["_gather"])) == len(taken["_gather"])


def test_nothing_is_read_after_the_run(table, monkeypatch):
    monkeypatch.setattr(stream_module, "BLOCK_BYTES", 48 * 500)
    monkeypatch.setattr(stream_module, "CHUNK_BYTES", 48 * 64 * 50)
    begun, done, whole = [], [], Stream._read

    def slowly(*args):
        begun.append(args)
        sleep(0.2)
        found = whole(*args)
        done.append(args)
        return found

    monkeypatch.setattr(Stream, "_read", slowly)
    run(Streamed(table, memory=500_000), budget=Budget(steps=60))
    count = len(done)
    sleep(0.3)
    assert len(begun) == len(done) == count > 0


def test_streamed_is_as_in_memory_where_a_window_holds_all(table, monkeypatch):
    monkeypatch.setattr(stream_module, "_PARTS", 1)
    for method in ("adam", "auto"):
        streamed = run(Streamed(table, memory=2_500_000), method=method)
        held = run(tuple(np.asarray(a) for a in table), method=method)
        assert streamed.findings[-1].kind != "stream" or method == "adam"
        assert np.allclose(streamed.params, held.params, rtol=1e-6, atol=1e-6)
        assert streamed.loss == pytest.approx(held.loss, rel=1e-5)
        assert (streamed.reason, streamed.steps) == (held.reason, held.steps)


def test_little_is_read_whole(table):
    result = run(Streamed(table, memory="1GB"))
    assert not [f for f in result.findings if f.kind == "stream"]
    assert (result.params == run(tuple(np.asarray(a) for a in table)).params).all()


def test_what_is_read_is_said(table):
    told = [f.message for f in run(Streamed(table, memory=1_000_000)).findings if f.kind == "stream"]
    assert told == ["40,000 rows of 2 MB are read in windows of 21,845 rows"]


def test_auto_goes_to_the_noise_floor(table):
    few = tuple(a[:9000] for a in table)
    result = run(Streamed(few, memory=800_000), method="auto", batch_size="auto", budget=None)
    assert result.reason is Reason.NOISE_FLOOR
    assert result.loss < 0.0105
    assert np.allclose(result.params, np.arange(10), atol=0.02)
    told = [f.message.split(":")[0] for f in result.findings if f.kind == "batch_size"]
    assert told == ["batches of 128 of 9,000 rows", "batches of 512 rows from here"]


def test_batches_grow_no_further_than_memory_allows(table):
    few = tuple(a[:9000] for a in table)
    result = run(Streamed(few, memory=150_000), method="auto", batch_size="auto", budget=None)
    assert Stream(few, ("x", "y"), 150_000).most == 390
    told = [f.message.split(":")[0] for f in result.findings if f.kind == "batch_size"]
    assert told == ["batches of 128 of 9,000 rows"]


def test_a_stopped_run_goes_on_with_the_same_batches(table, tmp_path, monkeypatch):
    monkeypatch.setattr(stream_module, "BLOCK_BYTES", 48 * 500)

    class KilledError(BaseException):
        pass

    def kill(look):
        if look.step > 300:
            raise KilledError

    data = Streamed(table, memory=500_000)
    with pytest.raises(KilledError):
        run(data, checkpoint=Checkpoint(tmp_path, steps=50), watch=kill)
    resumed = run(data, checkpoint=tmp_path, resume="must")
    assert (resumed.params == run(data).params).all()
    with pytest.raises(descenso.DescensoError, match="window"):
        run(Streamed(table, memory=1_000_000), checkpoint=tmp_path)


def test_anything_that_can_be_sliced_will_do(table, monkeypatch):
    monkeypatch.setattr(stream_module, "BLOCK_BYTES", 48 * 500)
    monkeypatch.setattr(stream_module, "CHUNK_BYTES", 48 * 64 * 7)

    class Sliced:
        def __init__(self, array):
            self.array, self.shape, self.dtype, self.asked = array, array.shape, array.dtype, []

        def __len__(self):
            return len(self.array)

        def __getitem__(self, rows):
            assert isinstance(rows, slice)
            self.asked.append(rows.stop - rows.start)
            return np.array(self.array[rows])

    parts = tuple(Sliced(a) for a in table)
    assert (run(Streamed(parts, memory=500_000)).params == run(Streamed(table, memory=500_000)).params).all()
    assert max(parts[0].asked) < 1000  # never more than a part of it


def test_mistakes_are_named(table, tmp_path):
    x, y = table
    with pytest.raises(DataError, match="differ in length"):
        run(Streamed((x, y[1:]), memory=1_000_000))
    with pytest.raises(DataError, match=r"data\[0\]\[0\] is a float.*(?s:.*)hint: np.asarray"):
        run(Streamed(([1.0, 2.0], y), memory=1_000_000))
    with pytest.raises(ArgumentError, match="must then fit into the memory"):
        run(Streamed(table, memory=1_000_000), batch_size="all")
    with pytest.raises(ArgumentError, match="must then fit into the memory"):
        run(Streamed(table, memory=1_000_000), method=descenso.methods.BFGS(), batch_size="auto")
    with pytest.raises(ArgumentError, match="Only the data"):
        run(table, validate=Streamed(table))
    with pytest.raises(ArgumentError, match="`memory`"):
        Streamed(table, memory="much")
    wide = y.copy()
    wide[17] = 1e300
    np.save(tmp_path / "wide.npy", wide)
    with pytest.raises(DataError, match="does not fit float32"):
        run(Streamed((x, np.load(tmp_path / "wide.npy", mmap_mode="r")), memory=1_000_000))

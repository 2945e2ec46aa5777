"""Which rows are in batch n: a pure function of the seed and n, every batch full, every row once an epoch."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descenso.data import batches
from descenso.data.batches import Order

GOLDEN_10 = [4, 0, 9, 3, 5, 6, 1, 8, 2, 7, 1, 2, 4, 9, 8, 7, 6, 5, 3, 0]
GOLDEN_5 = [4, 2, 1, 4, 0, 3, 1, 2]
GOLDEN_DIGESTS = {
    (1000, 0, 0, 5000): "cbd7741302e35a6c",
    (1000, 7, 1_000_000_000, 1000): "0f66637b92d0d883",
    (65_537, 2, 60_000, 10_000): "f983a999b32ef1c4",
    (200_003, 5, 0, 200_003): "205261fa83ef8a1a",
}
SIZES = (1, 2, 3, 7, 8, 1000, 65_535, 65_536, 65_537, 200_003)


@pytest.mark.parametrize("rows", SIZES)
def test_every_row_is_seen_once_an_epoch(rows):
    epochs = 5 if rows < 100_000 else 2
    stream = Order(rows, seed=3).take(0, epochs * rows).reshape(epochs, rows)
    assert stream.dtype == np.int32
    np.testing.assert_array_equal(np.sort(stream, axis=1), np.broadcast_to(np.arange(rows), stream.shape))


@pytest.mark.parametrize("rows", [8, 1000, 65_537])
def test_every_epoch_has_an_order_of_its_own(rows):
    first, second, third = Order(rows, seed=0).take(0, 3 * rows).reshape(3, rows)
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)
    assert not np.array_equal(first, np.arange(rows))


@given(
    rows=st.integers(1, 200),
    seed=st.integers(-5, 2**70),
    start=st.integers(0, 200_000),
    cuts=st.lists(st.integers(0, 400), min_size=1, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_a_stretch_is_the_sum_of_its_pieces(rows, seed, start, cuts):
    order = Order(rows, seed)
    pieces, at = [], start
    for count in cuts:
        pieces.append(order.take(at, count))
        at += count
    np.testing.assert_array_equal(np.concatenate(pieces), order.take(start, at - start))


def test_a_batch_is_full_across_the_end_of_an_epoch():
    order, rows, size = Order(10, seed=1), 10, 4
    third = order.take(2 * size, size)  # positions 8 .. 11: two rows of this epoch, two of the next
    assert len(third) == size
    epoch = order.take(0, 2 * rows)
    np.testing.assert_array_equal(third, epoch[8:12])


def test_a_batch_needs_no_batch_before_it():
    far = 123_456_789
    fresh = Order(1000, seed=5)
    used = Order(1000, seed=5)
    used.take(0, 5000)
    batches._block.cache_clear()
    np.testing.assert_array_equal(fresh.take(far, 64), used.take(far, 64))


def test_a_position_beyond_32_bits():
    order = Order(1000, seed=5)
    far = 2**40 // 1000 * 1000  # at the start of an epoch
    np.testing.assert_array_equal(np.sort(order.take(far, 1000)), np.arange(1000))


def test_seeds_and_purposes_have_streams_of_their_own():
    streams = [
        Order(1000, 0).take(0, 1000),
        Order(1000, 1).take(0, 1000),
        Order(1000, -1).take(0, 1000),
        Order(1000, 2**64).take(0, 1000),
        Order(1000, 0, "judge").take(0, 1000),
    ]
    assert len({s.tobytes() for s in streams}) == len(streams)
    # unrelated permutations agree in about one place of a thousand
    assert max(np.sum(a == b) for i, a in enumerate(streams) for b in streams[:i]) < 10


def test_equal_orders_give_equal_streams():
    np.testing.assert_array_equal(Order(77, 4).take(5, 300), Order(77, 4).take(5, 300))
    np.testing.assert_array_equal(Order(77, np.int64(4)).take(5, 300), Order(77, 4).take(5, 300))


def test_the_stream_cannot_be_spoiled_by_its_reader():
    order = Order(9, seed=0)
    before = order.take(0, 9)
    order.take(0, 9)[:] = -1
    np.testing.assert_array_equal(order.take(0, 9), before)


def test_rows_go_everywhere():
    """Where a row stands in an epoch is uniform: a chi-squared of 36 cells over 2,000 epochs."""
    rows, epochs = 6, 2000
    stream = Order(rows, seed=11).take(0, rows * epochs).reshape(epochs, rows)
    counts = np.stack([np.bincount(stream[:, place], minlength=rows) for place in range(rows)])
    expected = epochs / rows
    assert np.sum((counts - expected) ** 2 / expected) < 60  # 25 degrees of freedom: p = 1e-4


def test_an_epoch_is_a_stable_sort_of_philox_words():
    """The same order written plainly: word w of the stream, its low bits cut off, is the sort key of row w."""
    rows, seed = 11, 42
    digest = hashlib.sha256(f"descenso order\0{seed}\0train".encode()).digest()
    words = np.random.Philox(key=np.frombuffer(digest[:16], np.uint64)).random_raw(3 * rows)
    bits = (rows - 1).bit_length()
    for epoch in range(3):
        key = words[epoch * rows : (epoch + 1) * rows] >> np.uint64(bits)
        np.testing.assert_array_equal(Order(rows, seed).take(epoch * rows, rows), np.argsort(key, kind="stable"))


def test_golden_values():
    """A changed order would change every saved run: it must be noticed, and said in the change log."""
    assert Order(10, 0).take(0, 20).tolist() == GOLDEN_10
    assert Order(5, 123, "judge").take(7, 8).tolist() == GOLDEN_5
    for (rows, seed, start, count), digest in GOLDEN_DIGESTS.items():
        found = hashlib.sha256(Order(rows, seed).take(start, count).astype("<i4").tobytes()).hexdigest()[:16]
        assert found == digest, (rows, seed)

"""Restarts: out of local minima, the basins that were found, and what is said of those that were not."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descenso import Budget, Reason, minimize
from descenso._errors import ArgumentError
from descenso.data.streamed import Streamed
from descenso.restarts.basins import Found, note, unseen
from descenso.restarts.box import box_around
from descenso.restarts.elites import Elites, Start
from descenso.restarts.lanes import ABANDONED, ARRIVED, RUNNING, Lane, lane_at, looped

CENTRES = np.array([[0, 0], [4, 0], [0, 4], [8, 8], [9, 3]])
POINTS = np.concatenate([c + 0.5 * np.random.default_rng(i).normal(size=(60, 2)) for i, c in enumerate(CENTRES)])
POINTS = POINTS.astype(np.float32)
CORNERS = np.array([[i >> k & 1 for k in range(4)] for i in range(16)], np.float32) * 2 - 1
PARITY = np.prod(CORNERS, 1)


def two_wells(x):
    """Minima near -1 and 1; the second is the lower one."""
    return jnp.sum((x**2 - 1) ** 2 - 0.3 * x)


def mixture(params, x):
    """Minus the mean log likelihood of five round normal distributions of deviation .5."""
    square = ((x[:, None] - params["means"]) ** 2).sum(-1)
    return -jnp.mean(jax.nn.logsumexp(jax.nn.log_softmax(params["weights"]) - 2 * square, axis=1))


def mixture_start(rng):
    return {"means": (4 + 2 * rng.normal(size=(5, 2))).astype(np.float32), "weights": np.zeros(5, np.float32)}


def network(params, batch):
    x, y = batch
    return jnp.mean((jnp.tanh(x @ params["a"] + params["b"]) @ params["c"] + params["d"] - y) ** 2)


def network_start(rng, hidden=4):
    a, c = 0.5 * rng.normal(size=(4, hidden)), 0.5 * rng.normal(size=hidden)
    return {k: np.float32(v) for k, v in {"a": a, "b": np.zeros(hidden), "c": c, "d": 0.0}.items()}


def test_the_lower_of_two_wells():
    alone = minimize(two_wells, np.array([-1.0, -1.0]))
    result = minimize(two_wells, np.array([-1.0, -1.0]), restarts=40)
    assert result.loss < alone.loss - 0.5
    assert np.all(result.params > 0.9)
    assert result.reason == "converged"
    assert result.certificate.is_minimum
    assert [b.loss for b in result.basins] == sorted(b.loss for b in result.basins)
    assert len(result.basins) == 4
    assert all(b.certificate.is_minimum for b in result.basins)
    assert sum(b.hits for b in result.basins) <= 40 + 4
    told = next(f.message for f in result.findings if f.kind == "restarts")
    assert "in 4 basins" in told
    assert "of such starts would lead to one not seen" in told
    assert result.gradients > alone.gradients


@pytest.mark.parametrize(
    ("loss", "start", "data", "restarts", "good"),
    [(mixture, mixture_start, POINTS, 250, 2.6), (network, network_start, (CORNERS, PARITY), 250, 0.02)],
)
def test_the_best_basin_of_a_loss_with_data(loss, start, data, restarts, good):
    """The best is found where a single descent from the same points is trapped more often than not."""
    alone, found = 0, 0
    for seed in range(4):
        go = partial(minimize, loss, start(np.random.default_rng(seed)), data, batch_size="all", seed=seed)
        alone += go().loss < good
        result = go(restarts=restarts)
        found += result.loss < good
        assert result.basins[0].hits >= 1
    assert (alone <= 2, found) == (True, 4)


def test_the_same_seed_finds_the_same():
    go = partial(minimize, two_wells, np.array([-1.0, 0.5, 1.0]), restarts=15)
    a, b, c = go(seed=1), go(seed=1), go(seed=2)
    assert np.array_equal(a.params, b.params)
    assert [(x.loss, x.hits) for x in a.basins] == [(x.loss, x.hits) for x in b.basins]
    assert [(x.loss, x.hits) for x in a.basins] != [(x.loss, x.hits) for x in c.basins]


def test_what_restarts_may_spend():
    result = minimize(two_wells, np.array([-1.0, -1.0]), restarts=Budget(gradients=200))
    spent = int(next(f.message for f in result.findings if f.kind == "restarts").split(" of ")[1].split()[0])
    assert 150 <= spent <= 204
    assert result.gradients >= spent
    held = minimize(two_wells, np.array([-1.0, -1.0]), restarts=10**6, budget=Budget(gradients=300))
    assert held.gradients < 320
    assert held.reason == "budget"


def test_data_in_batches_and_streamed(tmp_path):
    """More rows than are explored on: the run that follows sees them all."""
    x = np.random.default_rng(0).normal(2, 1, size=(9000, 1)).astype(np.float32)
    loss = lambda w, b: jnp.mean((w**2 - 1) ** 2 - 0.3 * w * b[:, 0] / 2)  # noqa: E731
    np.save(tmp_path / "x.npy", x)
    for data in (x, Streamed(np.load(tmp_path / "x.npy", mmap_mode="r"), memory=20_000)):
        result = minimize(loss, np.float32(-1), data, batch_size=100, restarts=10, budget=Budget(steps=200))
        assert result.params > 0.9
        assert "on 4,096 rows" in next(f.message for f in result.findings if f.kind == "restarts")


def test_a_loss_that_takes_a_key():
    loss = lambda w, key: jnp.sum((w**2 - 1) ** 2 - 0.3 * w) + 0.01 * jax.random.normal(key)  # noqa: E731
    result = minimize(loss, np.array([-1.0, -1.0]), restarts=30, budget=Budget(steps=300))
    assert np.all(result.params > 0.8)


def test_a_loss_that_is_nan_in_places():
    loss = lambda x: jnp.where(x[0] > 2, jnp.nan, two_wells(x))  # noqa: E731
    result = minimize(loss, np.array([-1.0, -1.0]), restarts=30)
    assert np.all(result.params > 0.9)


def test_a_loss_without_a_floor_is_unbounded_still():
    result = minimize(lambda x: jnp.sum(x**3), np.full(2, 0.5), restarts=4)
    assert result.reason is Reason.UNBOUNDED
    assert any("no floor in sight" in f.message for f in result.findings if f.kind == "restarts")


@pytest.mark.parametrize("restarts", [0, -1, 2.5, True, "many", Budget(steps=5)])
def test_wrong_restarts(restarts):
    with pytest.raises(ArgumentError, match="restarts"):
        minimize(two_wells, np.zeros(2), restarts=restarts)


def test_restarts_are_not_checkpointed(tmp_path):
    with pytest.raises(ArgumentError, match="checkpoint"):
        minimize(two_wells, np.zeros(2), restarts=2, checkpoint=tmp_path)


# the parts


def descend(f, lane: Lane, lower=-np.inf, upper=np.inf) -> Lane:
    run = looped(jax.value_and_grad(f))
    lanes = jax.tree.map(lambda a: np.stack([a, a]), lane)
    bound = np.ones(lane.x.size, np.float32)
    found, _ = run(lanes, lower * bound, upper * bound, np.int32(1000), np.float32(-np.inf))
    return jax.tree.map(lambda a: np.asarray(a[0]), found)


def test_a_lane_descends_to_the_minimum():
    scales = jnp.array([1.0, 10.0, 100.0])
    f = lambda u: jnp.sum(scales * (u - 0.3) ** 2)  # noqa: E731
    lane = descend(f, lane_at(np.full(3, 0.9, np.float32), None, -np.inf, np.inf, 0.05))
    assert lane.ended == ARRIVED
    np.testing.assert_allclose(lane.x, 0.3, atol=1e-3)


def test_a_lane_stays_within_its_bounds():
    f = lambda u: jnp.sum((u - jnp.array([2.0, 0.5])) ** 2)  # noqa: E731
    lane = descend(f, lane_at(np.full(2, 0.1, np.float32), None, -np.inf, np.inf, 0.05), 0.0, 1.0)
    assert lane.ended == ARRIVED
    np.testing.assert_allclose(lane.x, [1.0, 0.5], atol=1e-4)


def test_a_lane_that_would_not_get_below_its_parent_is_abandoned():
    f = lambda u: 1 + jnp.sum(u**4)  # noqa: E731
    lane = descend(f, lane_at(np.full(2, 0.5, np.float32), np.ones(2, np.float32), 0.5, 0.1, 1e-3))
    assert lane.ended == ABANDONED
    assert lane.moves < 50


def test_a_lane_on_nan_ends():
    lane = descend(lambda u: jnp.nan * u.sum(), lane_at(np.full(2, 0.5, np.float32), None, -np.inf, np.inf, 0.05))
    assert lane.ended != RUNNING


def test_elites_are_few_distinct_and_the_best():
    elites = Elites(2, True, False, np.random.default_rng(0))
    for i, loss in enumerate([5.0, 3.0, 3.0, 4.0, 1.0, 2.0]):
        elites.offer(
            np.array([0.1 * min(i, 2), 0.5]) if loss == 3.0 else np.array([0.1 * i, 0.9]), loss, Start(np.zeros(2))
        )
    assert [e.loss for e in elites.found] == [1.0, 2.0, 3.0, 3.0]
    same = Elites(2, True, True, np.random.default_rng(0))
    for x in (0.1, 0.5, 0.9):
        same.offer(np.full(2, x), 3.0, Start(np.zeros(2)))
    assert len(same.found) == 1


def test_starts_lie_in_the_box():
    elites = Elites(3, True, False, np.random.default_rng(0))
    assert elites.next().drawn
    elites.offer(np.array([0.01, 0.5, 0.99]), 1.0, Start(np.zeros(3)))
    starts = [elites.next() for _ in range(300)]
    assert all((s.x >= 0).all() and (s.x <= 1).all() for s in starts)
    assert 20 < sum(s.drawn for s in starts) < 80
    assert all(s.drawn == (s.parent is None) for s in starts)


def test_hops_that_come_back_get_longer():
    elites = Elites(2, True, False, np.random.default_rng(0))
    at = np.array([0.5, 0.5])
    elites.offer(at, 1.0, Start(at))
    for _ in range(20):
        elites.offer(at, 1.0, Start(at, elites.found[0], elites.shortest))
    assert elites.shortest > 0.05


def test_boxes():
    start = (np.array([3.0, -4.0]), np.zeros(2))
    box = box_around(start, None)
    np.testing.assert_allclose(box.inside(np.array([3.0, -4.0, 0, 0])), 0.5)
    np.testing.assert_allclose(box.width, [6 * 12.5**0.5] * 2 + [6, 6])
    assert not box.bounded
    bounds = ((np.array([0.0, -np.inf]), np.full(2, -1.0)), (np.array([9.0, 0.0]), np.full(2, 1.0)))
    half = box_around(start, bounds)
    assert not half.bounded
    np.testing.assert_allclose(half.low[[0, 2, 3]], [0, -1, -1])
    np.testing.assert_allclose(half.lower, [0, -np.inf, 0, 0])
    np.testing.assert_allclose(half.upper, 1)


def test_what_is_said_of_basins_not_seen():
    """Ten descents in two basins: 2 x 9 / 6 = 3 in all, 2 x 3 / 90 of the starts lead elsewhere."""
    basins = [Found(np.zeros(1), 0.0, 12, 7), Found(np.ones(1), 1.0, 3, 3)]
    told = unseen(basins)
    assert "10 starts drawn at random ended in 2 basins: about 3 are" in told
    assert "about 7% of such starts" in told
    assert "fewer than 30%" in told
    assert "too few to tell" in unseen([Found(np.zeros(1), 0.0, 2, 2)])


def test_basins_are_told_apart():
    found: list[Found] = []
    for x, loss in ((0.1, 1.0), (0.1001, 1.0), (0.9, 1.0), (0.1, 2.0)):
        note(found, np.array([x]), loss, False, by_loss=False)
    assert [(b.hits, b.loss) for b in found] == [(2, 1.0), (1, 1.0), (1, 2.0)]
    note(found, np.array([0.5]), 2.0, True, by_loss=True)
    assert [(b.hits, b.fresh) for b in found] == [(2, 0), (1, 0), (2, 1)]

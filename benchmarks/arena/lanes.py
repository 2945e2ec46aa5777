"""Runs of a peer: compiled once for a workload and a rule, then called for rates and seeds."""

from __future__ import annotations

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.arena.peers import Peer
from benchmarks.arena.workload import MARKS, Workload, judge, start
from descenso.data.batches import Order


def curves(workload: Workload, peer: Peer, rates, seeds) -> np.ndarray:
    """The judged loss at every mark: float64 of shape (rates, seeds, MARKS), inf where it is not finite."""
    width = workload.lanes if peer.rate is None else 1
    run = _compiled(workload, peer.build, peer.own, width)
    knobs = {"cosine": float(peer.cosine), "b2": peer.b2, "average": float(peer.average)}
    blocks = []
    for seed in seeds:
        params, rows, key = start(workload, seed), order(workload, seed), jax.random.key(seed)
        data, held = _on_device(workload)
        lanes = [run(block, knobs, (params, data, held, rows, key)) for block in _blocks(rates, width)]
        blocks.append(np.concatenate([np.asarray(lane) for lane in lanes])[: len(rates)])
    values = np.stack(blocks, 1).astype(np.float64)
    return np.where(np.isfinite(values), values, np.inf)


def order(workload: Workload, seed: int) -> np.ndarray:
    """The row numbers of every batch of a run: int32 of shape (MARKS, steps / MARKS, batch size)."""
    shape = (MARKS, workload.steps // MARKS, workload.rows_per_batch)
    if workload.batch_size == "all":
        return np.zeros((*shape[:2], 1), np.int32)
    return Order(workload.rows, seed).take(0, int(np.prod(shape))).reshape(shape)


def initial(workload: Workload, seed: int) -> float:
    """The judged loss at the start of a run."""
    return float(judge(workload, start(workload, seed), workload.held))


def _blocks(rates, width: int):
    """The rates in blocks of `width`, the last one filled up with its own last rate."""
    for i in range(0, len(rates), width):
        block = list(rates[i : i + width])
        yield jnp.asarray(block + block[-1:] * (width - len(block)), jnp.float32)


@lru_cache(maxsize=2)
def _on_device(workload: Workload):
    return jax.device_put(workload.data), jax.device_put(workload.held)


@lru_cache(maxsize=16)
def _compiled(workload: Workload, build, own, width: int):
    """The compiled run of `width` rates at once."""
    one = partial(_run, workload, build, own)
    if width == 1:
        return jax.jit(lambda rates, knobs, given: one(rates[0], knobs, given)[None])
    return jax.jit(jax.vmap(one, in_axes=(0, None, None)))


def _run(workload, build, own, rate, knobs, given):
    """One run: the judged loss at every mark, shape (MARKS,)."""
    params, data, held, rows, key = given
    rule = optax.with_extra_args_support(build(_schedule(workload.steps, rate, knobs["cosine"]), knobs["b2"]))

    def step(carry, row):
        params, state, average, count = carry
        batch = data if workload.batch_size == "all" else jax.tree.map(lambda a: a[row], data)
        loss, grads = jax.value_and_grad(_loss(workload, batch, jax.random.fold_in(key, count)))(params)
        updates, state = rule.update(grads, state, params, value=loss)
        params = optax.apply_updates(params, updates)
        weight = 9.0 / (count + 9.0)
        average = jax.tree.map(lambda a, x: a + weight * (x - a), average, params)
        return (params, state, average, count + 1), None

    def mark(carry, rows):
        carry, _ = jax.lax.scan(step, carry, rows)
        params, state, average, _ = carry
        last = params if own is None else own(state, params)
        point = jax.tree.map(lambda a, x: jnp.where(knobs["average"] > 0, a, x), average, last)
        return carry, judge(workload, point, held)

    return jax.lax.scan(mark, (params, rule.init(params), params, jnp.int32(0)), rows)[1]


def _loss(workload, batch, key):
    if workload.needs_key:
        return lambda params: workload.loss(params, batch, key=key)
    return lambda params: workload.loss(params, batch)


def _schedule(steps: int, rate, cosine):
    """The rate at a step: constant, or 5 % warm-up and a cosine to 0."""
    warm = max(1, round(0.05 * steps))

    def at(count):
        rising = (count + 1) / warm
        falling = 0.5 * (1 + jnp.cos(jnp.pi * (count + 1 - warm) / (steps - warm)))
        return rate * jnp.where(cosine > 0, jnp.where(count < warm, rising, falling), 1.0)

    return at

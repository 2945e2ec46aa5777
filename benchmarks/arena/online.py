"""`descenso.torch.Descent` in the arena: the method behind it, alone in the peers' loop.

Nothing but gradients as they come: no `minimize`, so no race, no recovery, no stop, and no use of the loss. torch runs
the same source; what torch does with a gradient that is not finite is done here too.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from benchmarks.arena.peers import Peer
from descenso._namespace import all_finite, select
from descenso._types import Evaluation
from descenso.methods import Online

METHOD = Online()


def _build(schedule, b2) -> optax.GradientTransformationExtraArgs:
    return optax.GradientTransformationExtraArgs(_init, _update)


def _init(params):
    return METHOD.init(tuple(jax.tree.leaves(params)), xp=jnp)


def _update(updates, state, params=None, **extra):
    leaves, tree = jax.tree.flatten(params)
    after, state = moved(tuple(jax.tree.leaves(updates)), tuple(leaves), state, 1.0)
    return tree.unflatten([m - x for m, x in zip(after, leaves, strict=True)]), state


def moved(grads, leaves, state, scale):
    """One step of `METHOD` as torch makes it: the new leaves and state."""
    evaluation = Evaluation(jnp.zeros(()), grads)
    ok = all_finite(evaluation, jnp)
    clean = evaluation._replace(grads=tuple(jnp.where(ok, g, 0.0) for g in grads))
    after, stepped, _ = METHOD.step(clean, leaves, state, scale=scale, xp=jnp)
    stayed, skipped = METHOD.skip(leaves, state, xp=jnp)
    return select(ok, after, stayed, jnp), select(ok, stepped, skipped, jnp)


def _answer(state, params):
    leaves, tree = jax.tree.flatten(params)
    return tree.unflatten(METHOD.eval_params(tuple(leaves), state))


ONLINE = Peer("online", _build, rate=1.0, own=_answer)
"""Its rate is not used: the method has none."""

"""Several descents side by side, each an L-BFGS of its own, in one compiled loop that ends where one of them does."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from descenso._types import Array, Scalar

_PAIRS = 8  # moves that the inverse Hessian is made of
_ARMIJO = 1e-4
_TRIALS = 15  # of one search
_MOVES = 200  # of one descent
_PAST = 6  # losses looked back on: the fall over the last five moves
_LEAST = 1e-8  # a relative fall of the loss that counts as none
_ZERO = 1e-6  # a gradient, in units of the box, that counts as zero

RUNNING, ARRIVED, ABANDONED = 0, 1, 2


class Lane(NamedTuple):
    """One descent, in units of the box; with a leading dimension of lanes.

    Attributes:
        x, loss, grads: the accepted point (n,), () and (n,).
        trial, direction, t: what is evaluated next (n,), and the x + t d that it came from.
        trials: of this search, int32 (). moves: accepted points, int32 (); -1 before the first evaluation.
        S, Y: the last moves and changes of the gradient, (8, n), the newest last, zeros where there is none.
        small: moves in a row that hardly lowered the loss, int32 ().
        past: the last six losses, the newest last, (6,).
        parent, parent_loss: the minimum that it hopped from, (n,) and (); the loss is -inf for none.
        radius: of that hop, (). first: how long its first move may be, ().
        ended: RUNNING, ARRIVED or ABANDONED, int32 ().
    """

    x: Array
    loss: Scalar
    grads: Array
    trial: Array
    direction: Array
    t: Scalar
    trials: Scalar
    moves: Scalar
    S: Array
    Y: Array
    small: Scalar
    past: Array
    parent: Array
    parent_loss: Scalar
    radius: Scalar
    first: Scalar
    ended: Scalar


def lane_at(start: np.ndarray, parent: np.ndarray | None, parent_loss: float, radius: float, first: float) -> Lane:
    """A descent before its first evaluation, at `start` (n,) in units of the box."""
    none, whole = np.zeros_like(start), np.int32(0)
    number = start.dtype.type
    pairs, inf = np.zeros((_PAIRS, start.size), start.dtype), number(np.inf)
    return Lane(
        x=start,
        loss=inf,
        grads=none,
        trial=start,
        direction=none,
        t=number(1),
        trials=whole,
        moves=np.int32(-1),
        S=pairs,
        Y=pairs,
        small=whole,
        past=np.full(_PAST, inf, start.dtype),
        parent=none if parent is None else parent,
        parent_loss=number(parent_loss),
        radius=number(radius),
        first=number(first),
        ended=whole,
    )


def looped(evaluate: Callable[..., tuple[Scalar, Array]]) -> Callable:
    """All lanes until one of them ends: (lanes, lower, upper, most, enough, *rest) -> (lanes, evaluations of each).

    `evaluate(u, *rest)` gives the loss at u (n,) and its gradient (n,). `lower`, `upper`: (n,) bounds, infinite for
    none. `most`: evaluations. `enough`: a loss at which there is no more to do.
    """

    def run(lanes: Lane, lower: Array, upper: Array, most: Scalar, enough: Scalar, *rest) -> tuple[Lane, Scalar]:
        def tick(lane: Lane) -> Lane:
            return _step(lane, *evaluate(lane.trial, *rest), lower, upper)

        def body(carry):
            i, lanes = carry
            return i + 1, jax.vmap(tick)(lanes)

        def onward(carry):
            i, lanes = carry
            return (i < most) & (lanes.ended == RUNNING).all() & (lanes.loss > enough).all()

        i, lanes = lax.while_loop(onward, body, (jnp.int32(0), lanes))
        return lanes, i

    return jax.jit(run)


def _step(lane: Lane, loss: Scalar, grads: Array, lower: Array, upper: Array) -> Lane:
    """Judge the trial, and propose the next one.

    A trial x + t d, clipped to the bounds, is accepted if f <= f(x) + 1e-4 g.(x' - x); else t becomes that of the
    parabola through both losses and the slope, within [.1, .5] t.
    """
    finite = jnp.isfinite(loss) & jnp.isfinite(grads).all()
    loss, grads = jnp.where(finite, loss, jnp.inf), jnp.where(finite, grads, 0.0)
    step, begun = lane.trial - lane.x, lane.moves >= 0
    slope = lane.grads @ step
    accepted = ~begun | ((loss <= lane.loss + _ARMIJO * slope) & (slope < 0))
    moved = _moved(lane, loss, grads, step, begun)
    moved = _aimed(_judged(moved, lower, upper), lower, upper)
    return jax.tree.map(lambda a, b: jnp.where(accepted, a, b), moved, _shortened(lane, loss, slope, lower, upper))


def _shortened(lane: Lane, loss: Scalar, slope: Scalar, lower: Array, upper: Array) -> Lane:
    bend = 2 * (loss - lane.loss - slope)
    share = jnp.where(bend > 0, -slope / jnp.where(bend > 0, bend, 1.0), 0.5)
    t = lane.t * jnp.clip(jnp.where(jnp.isfinite(share), share, 0.1), 0.1, 0.5)
    trial = jnp.clip(lane.x + t * lane.direction, lower, upper)
    lost = (lane.trials >= _TRIALS) | (jnp.abs(trial - lane.x).max() < 4 * jnp.finfo(t.dtype).eps)
    return lane._replace(t=t, trial=trial, trials=lane.trials + 1, ended=jnp.where(lost, ARRIVED, lane.ended))


def _moved(lane: Lane, loss: Scalar, grads: Array, step: Array, begun: Scalar) -> Lane:
    """The lane at its trial, with what the move has shown."""
    y = grads - lane.grads
    curved = begun & (step @ y > 1e-10 * jnp.linalg.norm(step) * jnp.linalg.norm(y))
    S = jnp.where(curved, jnp.concatenate((lane.S[1:], step[None])), lane.S)
    Y = jnp.where(curved, jnp.concatenate((lane.Y[1:], y[None])), lane.Y)
    least = max(_LEAST, 4 * float(jnp.finfo(loss.dtype).eps)) * jnp.maximum(1.0, jnp.abs(loss))
    small = jnp.where(begun & (lane.loss - loss <= least), lane.small + 1, 0)
    past = jnp.concatenate((lane.past[1:], loss[None]))
    return lane._replace(
        x=lane.trial, loss=loss, grads=grads, moves=lane.moves + 1, S=S, Y=Y, small=small, past=past, trials=0 * small
    )


def _judged(lane: Lane, lower: Array, upper: Array) -> Lane:
    """Whether the lane has arrived, or is better given up.

    It is abandoned where it stands above its parent and four times its fall over five moves would not bring it below;
    or where it is back beside its parent and hardly above it.
    """
    free = _free(lane, lower, upper)
    unit = jnp.maximum(1.0, jnp.abs(lane.loss))
    arrived = (jnp.abs(jnp.where(free, lane.grads, 0.0)).max() <= _ZERO * unit) | (lane.small >= 2)
    arrived |= (lane.moves >= _MOVES) | ~jnp.isfinite(lane.loss)
    above = lane.loss - lane.parent_loss
    slow = jnp.isfinite(lane.past[0]) & (4 * (lane.past[0] - lane.loss) < above)
    near = jnp.abs(lane.x - lane.parent).max() < jnp.minimum(1e-2, 0.2 * lane.radius)
    back = (lane.moves >= 2) & near & (above < 0.05 * jnp.maximum(jnp.abs(lane.past[-2] - lane.parent_loss), 1e-9))
    abandoned = jnp.isfinite(lane.parent_loss) & (above > 0) & (slow | back)
    return lane._replace(ended=jnp.where(arrived, ARRIVED, jnp.where(abandoned, ABANDONED, RUNNING)))


def _free(lane: Lane, lower: Array, upper: Array) -> Array:
    """The coordinates that are not held at a bound by the gradient, (n,)."""
    return ~(((lane.x <= lower) & (lane.grads > 0)) | ((lane.x >= upper) & (lane.grads < 0)))


def _aimed(lane: Lane, lower: Array, upper: Array) -> Lane:
    """The lane with the first trial of its next search: along the L-BFGS direction of the free coordinates."""
    free = _free(lane, lower, upper)
    g = jnp.where(free, lane.grads, 0.0)
    size = jnp.linalg.norm(g)
    short = jnp.minimum(1.0, lane.first * g.size**0.5 / jnp.where(size > 0, size, 1.0))
    d = -jnp.where(free, _inverse(lane, g, short), 0.0)
    down = d @ g < -1e-12 * jnp.linalg.norm(d) * size
    d = jnp.where(down, d, -short * g)
    keep = jnp.where(down, 1.0, 0.0)
    trial = jnp.clip(lane.x + d, lower, upper)
    return lane._replace(direction=d, t=jnp.ones_like(lane.t), trial=trial, S=keep * lane.S, Y=keep * lane.Y)


def _inverse(lane: Lane, g: Array, short: Scalar) -> Array:
    """H g by the two loops of L-BFGS, from H_0 = s.y / y.y, or `short` before the first pair.

    Source: Nocedal and Wright 2006, Algorithm 7.4.
    """
    sy = jnp.sum(lane.S * lane.Y, -1)
    rho = jnp.where(sy > 0, 1 / jnp.where(sy > 0, sy, 1.0), 0.0)
    a = [rho[0]] * _PAIRS
    q = g
    for i in reversed(range(_PAIRS)):
        a[i] = rho[i] * (lane.S[i] @ q)
        q = q - a[i] * lane.Y[i]
    yy = lane.Y[-1] @ lane.Y[-1]
    q = q * jnp.where(yy > 0, sy[-1] / jnp.where(yy > 0, yy, 1.0), short)
    for i in range(_PAIRS):
        q = q + lane.S[i] * (a[i] - rho[i] * (lane.Y[i] @ q))
    return q

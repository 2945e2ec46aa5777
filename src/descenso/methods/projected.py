"""L-BFGS for params that may not be negative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from descenso._masks import Mask, check_mask
from descenso._namespace import all_finite, cast, counter, increment, ravel, select, unravel
from descenso._types import Array, Evaluation, Info, Leaves, Namespace, Scalar, State
from descenso.methods.line_search import APPROXIMATE, ARMIJO, TRIALS
from descenso.methods.searched import CURVED, ROUNDING

_NEAR = 1e-2  # entries closer to zero than this, and than the projected gradient, may be bound


class Along(NamedTuple):
    """The state of a search along the bent path P(x + t d).

    x, loss, grads: the accepted point, as vectors. direction (n,), trial () t, trials () int32. step_size, update_norm:
    of the last move. moves, pairs: counters. stalled: no lower loss can be represented. S, Y: (m, n) moves and changes
    of the gradient, oldest first.
    """

    x: Array
    loss: Scalar
    grads: Array
    direction: Array
    trial: Scalar
    trials: Scalar
    step_size: Scalar
    update_norm: Scalar
    moves: Scalar
    pairs: Scalar
    stalled: Scalar
    S: Array
    Y: Array


@dataclass(frozen=True)
class ProjectedLBFGS:
    """L-BFGS on the entries that are free, with a search along the path that is bent at zero.

        A   = {i : x_i near 0 and g_i > 0}                  bound entries, d_i = -x_i
        d_F = -H_FF g_F                                     H from the pairs (s_F, y_F) of the free entries
        x_{t+1} = max(x_t + t d, 0)                         f(x_{t+1}) <= f(x_t) + 1e-4 g.(x_{t+1} - x_t)

    Bound entries are exactly 0. With x = p - n for p, n >= 0 it minimises under an L1 penalty, which is then linear.

    Args:
        mask: which leaves may not be negative, one boolean per leaf; None takes all.
        m: pairs kept, >= 1.

    State: `Along`. Memory: 2 m n.
    Source: Bertsekas 1982, SIAM J. Control Optim. 20(2), section 3 (two-metric projection).
    """

    mask: Mask | None = None
    m: int = 20
    line_search: ClassVar[bool] = True

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        if self.mask is not None:
            check_mask(self, self.mask, params)
        x = ravel(params, xp)
        none, zero, count = xp.zeros_like(x), xp.sum(xp.zeros_like(x)), counter(params, xp)
        rows = xp.stack([none] * self.m)
        return Along(x, zero, none, none, zero, count, zero, zero, count, count, count > 0, rows, rows)

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        bound = self._bound(params, xp)
        state, moved, lost = _judge(evaluation, params, state, xp)
        forgot = lost & (state.pairs > 0)
        state = state._replace(pairs=xp.where(forgot, 0, state.pairs), stalled=state.stalled | (lost & ~forgot))
        state = _aim(bound, moved | forgot, scale, state, xp)
        trial = _bent(state.x, state.trial, state.direction, bound, xp)
        norm = xp.sqrt(xp.sum(projected_gradient(state.x, state.grads, bound, xp) ** 2))
        info = Info(state.loss, norm, state.step_size, state.update_norm)
        return unravel(xp.where(state.stalled, state.x, trial), params, xp), state, info

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        # the accepted point, cut into leaves by its own lengths: no namespace is at hand here
        out, start = [], 0
        for p in params:
            end = start + (p.numel() if hasattr(p, "numel") else p.size)
            out.append(state.x[start:end].reshape(tuple(p.shape)))
            start = end
        return tuple(out)

    def _bound(self, params: Leaves, xp: Namespace) -> Array:
        """Which entries may not be negative, boolean (n,)."""
        mask = self.mask or (True,) * len(params)
        ones = (xp.ones_like(p) if m else xp.zeros_like(p) for p, m in zip(params, mask, strict=True))
        return ravel(tuple(ones), xp) > 0


def projected_gradient(x: Array, grads: Array, bound: Array, xp: Namespace) -> Array:
    """x - P(x - g): zero where nothing allowed lowers the loss."""
    return xp.where(bound, xp.minimum(x, grads), grads)


def _bent(x: Array, t: Scalar, direction: Array, bound: Array, xp: Namespace) -> Array:
    moved = x + t * direction
    return xp.where(bound & (moved < 0), 0 * moved, moved)


def _judge(evaluation: Evaluation, params: Leaves, state: Along, xp: Namespace) -> tuple[Along, Scalar, Scalar]:
    """Accept the trial, or shorten it. Returns the state, whether the point moved, and whether the search is lost."""
    trial, finite, first = ravel(params, xp), all_finite(evaluation, xp), state.moves == 0
    grads = xp.where(finite, ravel(evaluation.grads, xp), 0 * state.grads)
    loss = xp.where(finite, cast(evaluation.loss, grads, xp), 0 * state.loss)
    s = trial - state.x
    slope, noise = xp.sum(state.grads * s), ROUNDING * xp.finfo(grads.dtype).eps * abs(state.loss)
    falls = loss <= state.loss + ARMIJO * slope
    level = (loss <= state.loss + noise) & (xp.sum(grads * s) <= (2 * APPROXIMATE - 1) * slope)
    moved = first | (finite & (slope < 0) & (falls | level))
    lost = ~moved & ((state.trials >= TRIALS) | (s == 0).all() | ~(slope < 0))
    accepted = _learned(trial, grads, state, xp)
    at_start = cast(evaluation.loss, grads, xp)  # as it is, finite or not
    shorter = state._replace(trial=_shorter(state, loss, slope, finite, xp), trials=state.trials + 1)
    return select(moved, accepted._replace(loss=xp.where(first, at_start, loss)), shorter, xp), moved, lost


def _shorter(state: Along, loss: Scalar, slope: Scalar, finite: Scalar, xp: Namespace) -> Scalar:
    """The next trial: the minimum of the parabola through what is known, between a tenth and a half of the last."""
    above = loss - state.loss - slope
    share = xp.where(finite & (above > 0), -slope / (2 * xp.where(above > 0, above, 1.0)), 0.1)
    return state.trial * xp.where(share < 0.1, 0.1, xp.where(share > 0.5, 0.5, share))


def _learned(trial: Array, grads: Array, state: Along, xp: Namespace) -> Along:
    """The state at the trial, with the move in its memory."""
    s, y = trial - state.x, grads - state.grads
    sy, ss, yy = xp.sum(s * y), xp.sum(s * s), xp.sum(y * y)
    first = state.moves == 0
    curved = ~first & (sy > CURVED * xp.sqrt(ss) * xp.sqrt(yy))
    S = xp.where(curved, xp.concatenate((state.S[1:], s[None])), state.S)
    Y = xp.where(curved, xp.concatenate((state.Y[1:], y[None])), state.Y)
    return state._replace(
        x=trial,
        grads=grads,
        step_size=xp.where(first, state.step_size, state.trial),
        update_norm=xp.sqrt(ss),
        moves=increment(state.moves, xp),
        pairs=xp.where(curved, increment(state.pairs, xp), state.pairs),
        trials=0 * state.trials,
        S=S,
        Y=Y,
    )


def _aim(bound: Array, anew: Scalar, scale: Scalar, state: Along, xp: Namespace) -> Along:
    """Where the point moved or the memory was dropped, a new direction and a first trial along it."""
    x, g = state.x, state.grads
    forgotten = state.pairs == 0
    state = state._replace(S=xp.where(forgotten, 0 * state.S, state.S), Y=xp.where(forgotten, 0 * state.Y, state.Y))
    rest = xp.sqrt(xp.sum(projected_gradient(x, g, bound, xp) ** 2))
    held = bound & (g > 0) & (x <= xp.where(rest < _NEAR, rest, _NEAR))
    free = xp.where(held, 0 * g, 1 + 0 * g)
    steepest = -g * free
    quasi = _two_loops(steepest, state.S * free, state.Y * free, xp)
    usable = (state.pairs > 0) & (xp.sum(quasi * g) < 0) & xp.isfinite(quasi).all()
    size = xp.sqrt(xp.sum(steepest * steepest))
    direction = xp.where(usable, quasi, steepest) + xp.where(held, -x, 0 * x)
    t = scale * xp.where(usable, 1.0, 1 / xp.where(size > 1, size, 1.0))
    return state._replace(
        direction=xp.where(anew, direction, state.direction),
        trial=xp.where(anew, t, state.trial),
        trials=xp.where(anew, 0, state.trials),
    )


def _two_loops(q: Array, S: Array, Y: Array, xp: Namespace) -> Array:
    """H q, with H made of the pairs that still curve upwards on the free entries.

    The two loops of the usual recursion are two triangular systems in R_ij = s_i.y_j, i <= j, D its diagonal:

        R a = S q;   r = q - Y'a;   R'c = D a - gamma Y r;   H q = gamma r + S'c

    Source: Byrd, Nocedal, Schnabel 1994, Math. Programming 63, theorem 2.2.
    """
    sy, ss, yy = xp.sum(S * Y, -1), xp.sum(S * S, -1), xp.sum(Y * Y, -1)
    curved = sy > CURVED * xp.sqrt(ss * yy)
    kept = xp.where(curved, xp.ones_like(sy), xp.zeros_like(sy))[:, None]
    S, Y, D = S * kept, Y * kept, xp.where(curved, sy, xp.ones_like(sy))
    inverse = _upper_inverse(S @ Y.mT, D, xp)
    a = inverse @ (S @ q)
    r = q - Y.mT @ a
    index = _numbers(D, xp)
    later = xp.where(index[None, :] > index[:, None], kept.mT, 0 * kept.mT)
    newest = curved & (xp.sum(later, -1) == 0)
    last = xp.sum(xp.where(newest, sy / xp.where(curved, yy, 1.0), 0 * sy))
    last = xp.where(curved.any(), last, 1 + 0 * last)
    c = inverse.mT @ (D * a - last * (Y @ r))
    return last * r + S.mT @ c


def _upper_inverse(M: Array, D: Array, xp: Namespace) -> Array:
    """The inverse of the upper triangle of M, with D for its diagonal: blocks of 1, 2, 4, ... are joined in pairs.

    [A B; 0 C]^-1 = [A^-1  -A^-1 B C^-1; 0  C^-1]
    """
    index, inverse, size = _numbers(D, xp), xp.diag(1 / D), 1
    while size < len(D):
        block = xp.floor(index / size)
        first = block == 2 * xp.floor(block / 2)
        pair = first[:, None] & (block[None, :] == block[:, None] + 1)
        inverse = inverse - inverse @ xp.where(pair, M, 0 * M) @ inverse
        size *= 2
    return inverse


def _numbers(like: Array, xp: Namespace) -> Array:
    """0, 1, 2, ... as long as `like`, a vector."""
    zero = xp.sum(xp.zeros_like(like))
    return xp.stack([zero + i for i in range(len(like))])

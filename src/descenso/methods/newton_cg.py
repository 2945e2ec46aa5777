"""Newton's method with conjugate gradients in a trust region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from descenso._errors import ArgumentError
from descenso._namespace import counter, increment, ravel, select, unravel
from descenso._types import Array, Evaluation, Info, Leaves, Namespace, Scalar, State
from descenso.methods.lbfgs import metric
from descenso.methods.searched import ROUNDING, Point, along, evaluated, same, wide

SHRINK, GROW = 0.25, 2.5
"""What the radius is multiplied by after a poor and after a good move along the boundary."""
ACCEPT, POOR, GOOD = 1e-4, 0.25, 0.75
"""Shares of the predicted fall: above which a move is accepted, below which it is poor, above which good."""
REJECTED = 40
"""Trials in a row, each a quarter of the last, after which the method is stalled."""


class Inner(NamedTuple):
    """The conjugate gradients so far on the model m(z) = g.z + z'Hz / 2. Vectors (n,).

    Attributes:
        D: the metric of the coordinates, a diagonal.
        z, Hz: the point reached and H z.
        r, d: the gradient g + H z of the model there, and the next direction.
        products: spent on this model; int32 ().
        bent: whether z was stopped by the boundary or by negative curvature; boolean ().
    """

    D: Array
    z: Array
    Hz: Array
    r: Array
    d: Array
    products: Scalar
    bent: Scalar


class Trusting(NamedTuple):
    """The state of `NewtonCG`.

    Attributes:
        point: the accepted point.
        inner: the model's minimisation.
        radius: of the region in which the model is trusted, in the norm sqrt(z'D^-1 z), ().
        fraction: the trial is this times z, ().
        judging: whether the params are a trial, not the accepted point; boolean ().
        curvature, seen: the sum of (Hd)^2 / d'Hd over the products of positive curvature, (n,), and their number, ().
        first_norm: the gradient norm at the start, ().
        step_size, update_norm: the fraction and the length of the last accepted move, ().
        moves: accepted points so far, the start included; int32 ().
        rejected: trials rejected in a row; int32 ().
        stalled: no lower loss can be represented; boolean ().
    """

    point: Point
    inner: Inner
    radius: Scalar
    fraction: Scalar
    judging: Scalar
    curvature: Array
    seen: Scalar
    first_norm: Scalar
    step_size: Scalar
    update_norm: Scalar
    moves: Scalar
    rejected: Scalar
    stalled: Scalar


@dataclass(frozen=True)
class NewtonCG:
    """Minimises the quadratic model in a trust region by conjugate gradients (Steihaug), one product H d a step.

        r = g, d = -D g;  a = r'Dr / d'Hd, z += a d, r += a H d, d = -D r + (r'Dr / previous r'Dr) d
        until |r| <= min(.1, sqrt(|g| / |g_0|)) |g|, or d'Hd <= 0 or |z| >= radius: then z goes to the boundary along d
        rho = (f(x) - f(x + z) + e) / (-m(z) + e), e = 10 eps |f|: accepted above 1e-4

    A step either extends z by one product at the accepted point, or judges the trial x + z. A trial that is accepted is
    where the next product is needed, so judging it costs nothing more; one that is rejected is cut to a quarter.
    Negative curvature is followed to the boundary, so it leaves saddles where the gradient is not exactly zero. D is
    the metric of L-BFGS, made of the products; |r|, |g|, |z| above are sqrt(r'Dr), sqrt(g'Dg), sqrt(z'D^-1 z).

    Args:
        most: products on one model, >= 1; 2 n where that is fewer.

    State: `Trusting`. Memory: 8 x params.
    Use: the same loss at every step, where BFGS and L-BFGS creep or stop at a saddle. A step costs about two gradients.
    Source: Nocedal and Wright 2006, Algorithms 4.1 and 7.2.
    """

    most: int = 200
    line_search: ClassVar[bool] = True
    needs_product: ClassVar[bool] = True

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        none = xp.zeros_like(ravel(params, xp))
        zero, count = xp.sum(none), counter(params, xp)
        no = count > 0
        inner = Inner(none + 1, none, none, none, none, count, no)
        point = Point(wide(params, xp), zero, none)
        return Trusting(point, inner, zero, zero, ~no, none, zero, zero, zero, zero, count, count, no)

    def step(
        self,
        evaluation: Evaluation,
        params: Leaves,
        state: State,
        *,
        scale: Scalar,
        xp: Namespace,
        product: Callable[[Leaves], Leaves] | None = None,
    ) -> tuple[Leaves, State, Info]:
        if product is None:
            raise ArgumentError("NewtonCG.step got no `product`. It needs v -> H v at the params.")
        state, refused = _judge(evaluation, params, state, xp)
        Hd = ravel(product(unravel(state.inner.d, params, xp)), xp)
        extended, done = self._extend(state, Hd, xp)
        inner = select(refused, state.inner, extended, xp)
        curvature, seen = _learn(state, Hd, ~refused, xp)
        state = state._replace(
            inner=inner,
            fraction=xp.where(refused, SHRINK * state.fraction, scale),
            judging=(refused | done) & ~state.stalled,
            curvature=curvature,
            seen=seen,
        )
        t = xp.where(state.judging, state.fraction, 0.0)
        norm = xp.sqrt(xp.sum(state.point.grads * state.point.grads))
        info = Info(state.point.loss, norm, state.step_size, state.update_norm)
        return along(state.point.x, t, inner.z, params, xp=xp), state, info

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return state.point.x

    def _extend(self, state: Trusting, Hd: Array, xp: Namespace) -> tuple[Inner, Scalar]:
        """One conjugate gradient with the product H d; also whether the trial is ready."""
        D, z, Hz, r, d, products, _ = state.inner
        Hd = xp.where(xp.isfinite(Hd).all(), Hd, 0.0)
        rDr, dHd = xp.sum(r * D * r), xp.sum(d * Hd)
        a = rDr / xp.where(_curved(d, Hd, xp), dHd, 1.0)
        edge = _to_boundary(z, d, D, state.radius, xp=xp)
        bent = ~_curved(d, Hd, xp) | (a >= edge)
        step = xp.where(bent, edge, a)
        r = r + step * Hd
        rest, all_of_it = xp.sum(r * D * r), xp.sum(state.point.grads * D * state.point.grads)
        share = xp.sqrt(xp.sqrt(all_of_it) / xp.where(state.first_norm > 0, state.first_norm, 1.0))
        small = xp.sqrt(rest) <= xp.minimum(share, 0.1 + 0 * share) * xp.sqrt(all_of_it)
        products = increment(products, xp)
        spent = (products >= self.most) | (products >= 2 * d.shape[0])
        onward = -D * r + rest / xp.where(rDr > 0, rDr, 1.0) * d
        return Inner(D, z + step * d, Hz + step * Hd, r, onward, products, bent), bent | spent | small


def _curved(d: Array, Hd: Array, xp: Namespace) -> Scalar:
    """Whether d'Hd > 0 beyond its rounding."""
    return xp.sum(d * Hd) > xp.finfo(d.dtype).eps * xp.sum(abs(d * Hd))


def _learn(state: Trusting, Hd: Array, fresh: Scalar, xp: Namespace) -> tuple[Array, Scalar]:
    """The curvatures of the coordinates with one more product taken in."""
    d = state.inner.d
    taken = fresh & xp.isfinite(Hd).all() & _curved(d, Hd, xp)
    seen = Hd * (Hd / xp.where(taken, xp.sum(d * Hd), 1.0))
    return state.curvature + xp.where(taken, seen, 0.0), xp.where(taken, state.seen + 1, state.seen)


def _to_boundary(z: Array, d: Array, D: Array, radius: Scalar, *, xp: Namespace) -> Scalar:
    """The t > 0 where z + t d has the length of the radius, 0 for d = 0."""
    a, b, c = xp.sum(d * d / D), xp.sum(z * d / D), xp.sum(z * z / D) - radius * radius
    root = xp.sqrt(xp.where(b * b - a * c > 0, b * b - a * c, 0.0))
    # the two forms of the root are equal; this one subtracts nothing from its like
    t = xp.where(b > 0, -c / xp.where(b + root > 0, b + root, 1.0), (root - b) / xp.where(a > 0, a, 1.0))
    return xp.where((a > 0) & (t > 0), t, 0.0)


def _judge(evaluation: Evaluation, params: Leaves, state: Trusting, xp: Namespace) -> tuple[Trusting, Scalar]:
    """Accept or reject the trial, where the params are one; also whether it was rejected."""
    trial, finite = evaluated(evaluation, params, xp)
    point, inner, t, first = state.point, state.inner, state.fraction, state.moves == 0
    move = t * inner.z
    predicted = -(xp.sum(point.grads * move) + 0.5 * t * xp.sum(move * inner.Hz))
    noise = ROUNDING * xp.finfo(move.dtype).eps * abs(point.loss)
    share = (point.loss - trial.loss + noise) / xp.where(predicted + noise > 0, predicted + noise, 1.0)
    stuck = same(trial.x, point.x)
    accepted = state.judging & (first | (finite & (predicted + noise > 0) & (share > ACCEPT) & ~stuck))
    refused = state.judging & ~accepted
    poor, good = ~finite | (share < POOR), finite & (share > GOOD) & inner.bent
    D = metric(state.curvature, state.seen, xp)
    length = xp.sqrt(xp.sum(move * move / inner.D))
    radius = xp.where(poor, SHRINK * length, xp.where(good, GROW * state.radius, state.radius))
    longer = xp.sqrt(xp.sum(move * move / D)) / xp.where(length > 0, length, 1.0)
    radius = radius * xp.where(accepted & (length > 0), longer, 1.0)
    downhill = -D * trial.grads
    fresh = Inner(D, 0 * move, 0 * move, trial.grads, downhill, 0 * inner.products, inner.bent)
    rejected = xp.where(accepted, 0, xp.where(refused, state.rejected + 1, state.rejected))
    judged = state._replace(
        point=select(accepted, trial, point, xp),
        inner=select(accepted & finite, fresh, inner, xp),
        radius=xp.where(first, _first_radius(trial, xp), xp.where(state.judging, radius, state.radius)),
        first_norm=xp.where(first, xp.sqrt(xp.sum(trial.grads * trial.grads)), state.first_norm),
        step_size=xp.where(accepted, t, state.step_size),
        update_norm=xp.where(accepted, xp.sqrt(xp.sum(move * move)), state.update_norm),
        moves=xp.where(accepted, increment(state.moves, xp), state.moves),
        rejected=rejected,
        stalled=state.stalled | (first & ~finite) | (refused & (stuck | (rejected >= REJECTED))),
    )
    return judged, refused


def _first_radius(point: Point, xp: Namespace) -> Scalar:
    """A tenth of the length of the start, at least 1."""
    x = ravel(point.x, xp)
    size = 0.1 * xp.sqrt(xp.sum(x * x))
    return xp.where(size > 1, size, 1.0)

"""method="auto" where every step sees the same loss: which method begins, which follows, and the way off a saddle."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import jax
import jax.numpy as jnp

from descenso._namespace import norm
from descenso._types import Leaves, Method
from descenso.engine.chunk import as_key
from descenso.engine.compile_cache import Remembered
from descenso.engine.engine import Engine, key_data
from descenso.engine.evaluate import full_gradient
from descenso.engine.tree import is_wide
from descenso.methods.newton_cg import NewtonCG

_RUNGS, _SADDLES = 4, 8  # how often a method is changed, and a saddle left
_NEAR = 1e-2  # of the length of the params: the first step off a saddle
_HALVINGS = 20
_asked = Remembered()


@dataclass
class Ladder:
    """What goes on where a method has stalled on a slope or come to rest on a saddle.

    A method stalls where the rounding of the loss hides every decrease along the gradient, or its memory misleads it;
    Newton's goes on by the true curvature. It does not begin: on problems of 500 to 10,000 params it took more
    evaluations than L-BFGS, and arrived less often.

    Args:
        first: the method that begins; it and Newton's take turns.

    Attributes:
        rung: how often the method was changed.
        saddles: how many saddles were left.
    """

    first: Method
    rung: int = 0
    saddles: int = 0

    def method(self) -> Method:
        """The method of this rung."""
        return NewtonCG() if self.rung % 2 else self.first

    def climb(self, moved: bool, engine: Engine, leaves: Leaves) -> Method | None:
        """The method to go on with at `leaves`, None where there is none left to try: within bounds there is but one.

        Args:
            moved: whether the method that stalled had lowered the loss.
        """
        if self.rung >= _RUNGS or (self.rung and not moved) or engine.bounds is not None:
            return None
        if self.rung % 2 == 0 and not has_products(engine, leaves):
            return None
        self.rung += 1
        return self.method()

    def leave(self, engine: Engine, leaves: Leaves, way: Leaves) -> tuple[Leaves | None, int]:
        """A lower point off a saddle at `leaves`, None where none was found; and the losses it took.

        Both directions along `way` are tried, from a hundredth of the length of the params, doubled while the loss
        falls; halved until it falls where it does not at first.
        """
        if self.saddles >= _SADDLES:
            return None, 0
        at = _Line(engine, leaves, way)
        best = min((at.lowest(sign) for sign in (1.0, -1.0)), key=lambda found: found[1])
        if not best[1] < at.start:
            return None, at.count
        self.saddles += 1
        return at.point(best[0]), at.count


class _Line:
    """The loss along a direction from a point, counting."""

    def __init__(self, engine: Engine, leaves: Leaves, way: Leaves):
        self.engine, self.leaves, self.way, self.count = engine, leaves, way, 0
        length = max(1.0, float(norm(leaves, jnp)))
        self.unit = _NEAR * length / max(float(norm(way, jnp)), 1e-300)
        self.start = self.loss(0.0)

    def point(self, t: float) -> Leaves:
        moved = tuple((x + t * self.unit * d).astype(x.dtype) for x, d in zip(self.leaves, self.way, strict=True))
        return moved if self.engine.bounds is None else self.engine.bounds.clip(moved)

    def loss(self, t: float) -> float:
        self.count += 1
        found = self.engine.mean_loss(self.point(t))
        return found if isfinite(found) else float("inf")

    def lowest(self, t: float) -> tuple[float, float]:
        """The t of the lowest loss found, and that loss; `t` is tried first."""
        loss, tries = self.loss(t), 0
        while not loss < self.start and tries < _HALVINGS:
            t, tries = t / 2, tries + 1
            loss = self.loss(t)
        while tries == 0 or loss < self.start:
            further = self.loss(2 * t)
            if not further < loss or tries > _HALVINGS:
                break
            t, loss, tries = 2 * t, further, tries + 1
        return t, loss


def has_products(engine: Engine, leaves: Leaves) -> bool:
    """Whether JAX can push a tangent through the gradient: not through a custom_vjp, nor a callback."""
    return _asked.get((engine.objective, is_wide()), engine.trace, lambda: _has_products(engine, leaves))


def _has_products(engine: Engine, leaves: Leaves) -> bool:
    def gradient(params, data):
        return full_gradient(engine.objective, params, data, as_key(key_data(0, 0))).grads

    def products(params, directions, data):
        return jax.vmap(lambda v: jax.jvp(lambda p: gradient(p, data), (params,), (v,))[1])(directions)

    try:
        # many at once, as the certificate takes them: JAX refuses more of these
        jax.eval_shape(products, leaves, tuple(leaf[None] for leaf in leaves), engine.data)
    except (TypeError, NotImplementedError, ValueError):
        return False
    return True

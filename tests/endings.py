"""Losses whose end is known: from each start, why a run must end and what kind of point that is.

All losses of one number of params are branches of a single one, so that few compilations serve them all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from descenso.certificate import Verdict
from descenso.result import Reason

CONVERGED, PLATEAU, UNBOUNDED = Reason.CONVERGED, Reason.PLATEAU, Reason.UNBOUNDED
STRICT, FLAT, DEGENERATE, SADDLE = Verdict.STRICT_MINIMUM, Verdict.FLAT, Verdict.DEGENERATE, Verdict.SADDLE
MAXIMUM, KINK, MOVING, UNDECIDED = Verdict.MAXIMUM, Verdict.KINK, Verdict.NOT_STATIONARY, Verdict.UNDECIDED


class Ending(NamedTuple):
    """A loss of a vector, a start, and the truth. index: of a saddle. lowest: the loss at the end, None if not known.

    stays: whether a saddle is not to be left.
    """

    loss: Callable
    start: list[float]
    reason: Reason
    verdict: Verdict | None
    lowest: float | None = None
    index: int | None = None
    stays: bool = False


def turned(*curvatures: float) -> np.ndarray:
    """A symmetric matrix of these eigenvalues, none along an axis."""
    q = np.linalg.qr(np.random.default_rng(len(curvatures)).standard_normal((len(curvatures),) * 2))[0]
    return q * np.array(curvatures) @ q.T


def bent(*curvatures: float) -> Callable:
    h = turned(*curvatures)
    return lambda x: x @ jnp.asarray(h, x.dtype) @ x / 2 + jnp.sum(x**4) / 4


def sigmoid(z):
    return jax.nn.sigmoid(z)


def himmelblau(x):
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


def beale(x):
    return sum((c - x[0] * (1 - x[1] ** k)) ** 2 for k, c in ((1, 1.5), (2, 2.25), (3, 2.625)))


def camel(x):
    return 2 * x[0] ** 2 - 1.05 * x[0] ** 4 + x[0] ** 6 / 6 + x[0] * x[1] + x[1] ** 2


def powell(x):
    return (x[0] + 10 * x[1]) ** 2 + 5 * (x[2] - x[3]) ** 2 + (x[1] - 2 * x[2]) ** 4 + 10 * (x[0] - x[3]) ** 4


def valley(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def pass_(x):
    return x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4


def monkey(x):
    return x[0] ** 3 - 3 * x[0] * x[1] ** 2


def gorge(x):
    return (x[1] - x[0] ** 2) * (x[1] - 2 * x[0] ** 2)


ENDINGS = {
    # strict minima
    "bowl": Ending(lambda x: jnp.sum((x - 0.3) ** 2), [5.0], CONVERGED, STRICT, 0.0),
    "log cosh": Ending(lambda x: jnp.sum(jnp.logaddexp(x, -x)), [3.0], CONVERGED, STRICT, float(np.log(2))),
    "on a large constant": Ending(lambda x: 1e6 + x[0] ** 2, [3.0], CONVERGED, STRICT, 1e6),
    "tiny units": Ending(lambda x: (x[0] / 1e-9 - 1) ** 2, [0.0], CONVERGED, STRICT, 0.0),
    "huge units": Ending(lambda x: (x[0] / 1e9 - 1) ** 2, [0.0], CONVERGED, STRICT, 0.0),
    "growing like a logarithm": Ending(lambda x: jnp.log1p(x[0] ** 2), [3.0], CONVERGED, STRICT, 0.0),
    "barrier of a logarithm": Ending(lambda x: x[0] - jnp.log(x[0]), [3.0], CONVERGED, STRICT, 1.0),
    "NaN below zero": Ending(lambda x: jnp.sum(jnp.where(x < 0, jnp.nan, (x - 1) ** 2)), [9.0], CONVERGED, STRICT, 0.0),
    "rosenbrock": Ending(valley, [-1.2, 1.0], CONVERGED, STRICT, 0.0),
    "unlike units": Ending(lambda x: 1e6 * (x[0] - 0.1) ** 2 + (x[1] - 0.3) ** 2, [1.0, 1.0], CONVERGED, STRICT, 0.0),
    "himmelblau": Ending(himmelblau, [0.0, 0.0], CONVERGED, STRICT, 0.0),
    "beale": Ending(beale, [1.0, 1.0], CONVERGED, STRICT, 0.0),
    "camel, beside": Ending(camel, [1.8, -0.8], CONVERGED, STRICT, 0.29863844),
    "barrier in a disc": Ending(
        lambda x: x[0] - jnp.log(1 - x @ x), [0.3, 0.5], CONVERGED, STRICT, 1 - 2**0.5 - np.log(2 * 2**0.5 - 2)
    ),
    "infinite beyond a line": Ending(
        lambda x: jnp.where(x[0] + x[1] > 3, jnp.inf, (x - 1) @ (x - 1)), [-5.0, 2.0], CONVERGED, STRICT, 0.0
    ),
    "bowl of 1e4": Ending(
        lambda x: x @ jnp.asarray(turned(1.0, 1e-1, 1e-2, 1e-4), x.dtype) @ x,
        [1.0, -1.0, 2.0, 0.5],
        CONVERGED,
        STRICT,
        0.0,
    ),
    "rosenbrock of 4": Ending(valley, [-1.2, 1.0, -1.2, 1.0], CONVERGED, STRICT, 0.0),
    # saddles and maxima, left and not
    "pass, left": Ending(pass_, [1.0, 0.0], CONVERGED, STRICT, -1.0),
    "pass": Ending(pass_, [1.0, 0.0], CONVERGED, SADDLE, 0.0, 1, stays=True),
    "pass, no diagonal": Ending(
        lambda x: x[0] * x[1] + x @ x * (x @ x), [0.7, 0.7], CONVERGED, SADDLE, 0.0, 1, stays=True
    ),
    "two hills": Ending(lambda x: jnp.sum((x**2 - 1) ** 2), [0.0, 0.0], CONVERGED, STRICT, 0.0),
    "hilltop": Ending(lambda x: jnp.sum((x**2 - 1) ** 2), [0.0, 0.0], CONVERGED, MAXIMUM, 2.0, stays=True),
    "hilltop of one": Ending(lambda x: jnp.cos(x[0]), [0.0], CONVERGED, MAXIMUM, 1.0, stays=True),
    "hilltop of one, left": Ending(lambda x: jnp.cos(x[0]), [0.0], CONVERGED, STRICT, -1.0),
    "index 1 of 4": Ending(bent(-1.0, 1.0, 2.0, 3.0), [0.0] * 4, CONVERGED, SADDLE, 0.0, 1, stays=True),
    "index 2 of 4": Ending(bent(-3.0, -1.0, 1.0, 2.0), [0.0] * 4, CONVERGED, SADDLE, 0.0, 2, stays=True),
    "index 3 of 4": Ending(bent(-3.0, -2.0, -1.0, 2.0), [0.0] * 4, CONVERGED, SADDLE, 0.0, 3, stays=True),
    "index 4 of 4": Ending(bent(-3.0, -2.0, -1.0, -0.5), [0.0] * 4, CONVERGED, MAXIMUM, 0.0, stays=True),
    "index 3 of 4, left": Ending(bent(-3.0, -2.0, -1.0, 2.0), [0.0] * 4, CONVERGED, STRICT),
    "saddle and flat": Ending(bent(-1.0, 0.0, 1.0, 2.0), [0.0] * 4, CONVERGED, SADDLE, 0.0, 1, stays=True),
    # higher orders decide
    "quartic": Ending(lambda x: x[0] ** 4, [1.0], CONVERGED, DEGENERATE, 0.0),
    "quartic beside a bowl": Ending(lambda x: x[0] ** 2 + x[1] ** 4, [0.0, 0.0], CONVERGED, DEGENERATE, 0.0),
    "powell": Ending(powell, [3.0, -1.0, 0.0, 1.0], CONVERGED, DEGENERATE, 0.0),
    "inflection": Ending(lambda x: x[0] ** 3 + x[0] ** 4, [0.0], CONVERGED, DEGENERATE, 0.0, stays=True),
    "inflection, left": Ending(lambda x: x[0] ** 3 + x[0] ** 4, [0.0], CONVERGED, STRICT, -27 / 256),
    "monkey saddle": Ending(lambda x: monkey(x) + (x @ x) ** 2, [0.0, 0.0], CONVERGED, DEGENERATE, 0.0, stays=True),
    "monkey saddle, left": Ending(lambda x: monkey(x) + (x @ x) ** 2, [0.0, 0.0], CONVERGED, STRICT, -27 / 256),
    "falls along no line": Ending(gorge, [0.0, 0.0], CONVERGED, DEGENERATE, 0.0, stays=True),
    # flat valleys
    "straight valley": Ending(lambda x: (x[0] + x[1] - 1) ** 2, [3.0, 0.5], CONVERGED, FLAT, 0.0),
    "valley round a circle": Ending(lambda x: (x @ x - 1) ** 2, [2.0, 1.0], CONVERGED, FLAT, 0.0),
    "valley of three": Ending(lambda x: (jnp.sum(x) - 1) ** 2, [1.0, 2.0, 0.0, -1.0], CONVERGED, FLAT, 0.0),
    # kinks
    "absolute value": Ending(lambda x: jnp.abs(x[0] - 0.3), [1.3], PLATEAU, KINK, 0.0),
    "unlike slopes": Ending(lambda x: jnp.maximum(x[0], -2 * x[0]), [1.3], PLATEAU, KINK, 0.0),
    "sum of absolute values": Ending(lambda x: jnp.sum(jnp.abs(x - 0.3)), [1.3, -1.0], PLATEAU, KINK, 0.0),
    "largest entry": Ending(lambda x: jnp.max(jnp.abs(x - 0.3)), [1.3, -1.0], PLATEAU, KINK, 0.0),
    "kink beside a bowl": Ending(lambda x: jnp.abs(x[0] - 0.3) + x[1] ** 2, [1.3, 1.0], PLATEAU, KINK, 0.0),
    "hinge with a ridge": Ending(lambda x: jnp.maximum(0.0, 1 - x[0]) + x[0] ** 2 / 8, [-2.0], PLATEAU, KINK, 0.125),
    # plateaus, and no finite minimum
    "far out on a sigmoid": Ending(lambda x: sigmoid(x[0]), [-30.0], PLATEAU, MOVING),
    "sigmoid of zeros": Ending(lambda x: sigmoid(x[0]), [-800.0], PLATEAU, UNDECIDED, 0.0),
    "constant": Ending(lambda x: 0 * x[0] + 1.0, [3.0], PLATEAU, UNDECIDED, 1.0),
    "exponential": Ending(lambda x: jnp.exp(-x[0]), [0.0], PLATEAU, MOVING),
    "reciprocal": Ending(lambda x: 1 / x[0], [1.0], PLATEAU, MOVING),
    "separable": Ending(
        lambda x: jnp.logaddexp(0.0, -x[0] - x[1]) + jnp.logaddexp(0.0, x[1] - 2 * x[0]), [0.0, 0.0], PLATEAU, MOVING
    ),
    "exponential beside a bowl": Ending(lambda x: jnp.exp(-x[0]) + x[1] ** 2, [0.0, 1.0], PLATEAU, UNDECIDED),
    "ends in NaN": Ending(lambda x: jnp.where(x[0] < 0.5, jnp.nan, x[0]), [2.0], PLATEAU, KINK, 0.5),
    # unbounded
    "slope": Ending(lambda x: -x[0], [0.0], UNBOUNDED, None),
    "cubic": Ending(lambda x: x[0] ** 3, [1.0], UNBOUNDED, None),
    "saddle without a floor": Ending(lambda x: x[0] ** 2 - x[1] ** 2, [1.0, 1e-3], UNBOUNDED, None),
    "saddle without a floor, left": Ending(lambda x: x[0] ** 2 - x[1] ** 2, [1.0, 0.0], UNBOUNDED, None),
    "monkey saddle without a floor": Ending(monkey, [1.0, 0.0], UNBOUNDED, None),
    "gorge without a floor": Ending(gorge, [0.0, 0.0], UNBOUNDED, None),
}
# params of one number after another: the code of the last is kept
ENDINGS = dict(sorted(ENDINGS.items(), key=lambda item: len(item[1].start)))
SIZES = sorted({len(e.start) for e in ENDINGS.values()})
_FAMILIES = {n: [e.loss for e in ENDINGS.values() if len(e.start) == n] for n in SIZES}


def _one(number, x):
    branches = [lambda x, f=f: jnp.asarray(f(x), x.dtype) for f in _FAMILIES[x.size]]
    return jax.lax.switch(number, branches, x)


def shared(ending: Ending) -> jax.tree_util.Partial:
    """The loss as a branch of the one of all losses of so many params."""
    return jax.tree_util.Partial(_one, np.int32(_FAMILIES[len(ending.start)].index(ending.loss)))

"""The few array verbs that a method may use, and norm, dot and dtype rules over leaves.

A method's source runs unchanged in numpy, under `jax.jit` and in torch. It uses operators, these functions, and from
`xp` only: abs, sign, sqrt, exp, expm1, log, cos, floor, sum, where, isfinite, zeros_like, ones_like, asarray, maximum
and minimum (between arrays; torch refuses a Python number there), concatenate, stack, diag, finfo, `@`, `.mT` and
`reshape`. It writes nothing in place and branches on no value.
"""

from __future__ import annotations

from functools import reduce
from itertools import accumulate, pairwise
from math import log, prod

from descenso._types import Array, Evaluation, Info, Leaves, Method, Namespace, Scalar, State

_NARROW = ("float16", "bfloat16")


def wide_dtype(leaf: Array, xp: Namespace):
    """The dtype that accumulators of `leaf` have: its own, but at least float32."""
    return xp.float32 if str(leaf.dtype).removeprefix("torch.") in _NARROW else leaf.dtype


def widen(leaf: Array, xp: Namespace) -> Array:
    """`leaf` in its accumulator dtype."""
    dtype = wide_dtype(leaf, xp)
    return leaf if leaf.dtype == dtype else xp.asarray(leaf, dtype=dtype)


def cast(value: Array, like: Array, xp: Namespace) -> Array:
    """`value` in the dtype of `like`."""
    return value if value.dtype == like.dtype else xp.asarray(value, dtype=like.dtype)


def zeros(params: Leaves, xp: Namespace) -> Leaves:
    """One zero accumulator per leaf, at least float32."""
    return tuple(xp.zeros_like(p, dtype=wide_dtype(p, xp)) for p in params)


def copies(params: Leaves, xp: Namespace) -> Leaves:
    """The params as accumulators, at least float32, sharing no memory with them."""
    return tuple(widen(p, xp) + 0 for p in params)


def widen_evaluation(evaluation: Evaluation, xp: Namespace) -> Evaluation:
    """The evaluation in accumulator dtypes, so that no square of a float16 gradient overflows."""
    return Evaluation(widen(evaluation.loss, xp), tuple(widen(g, xp) for g in evaluation.grads))


def scalar(value: float, params: Leaves, xp: Namespace) -> Scalar:
    """`value` as a 0-d float array on the device of the params, in the accumulator dtype of the first leaf."""
    nothing = widen(params[0].reshape((-1,))[:0], xp)  # no entry is read, but the device is known
    return xp.sum(nothing) + value


def counter(params: Leaves, xp: Namespace) -> Scalar:
    """An int32 zero on the device of the params."""
    return xp.asarray(scalar(0.0, params, xp), dtype=xp.int32)


def increment(count: Scalar, xp: Namespace) -> Scalar:
    """`count + 1`, staying at the largest int32 instead of wrapping round."""
    return xp.where(count < 2**31 - 1, count + 1, count)


def real(count: Scalar, like: Array, xp: Namespace) -> Scalar:
    """An int32 counter as a float of the accumulator dtype of `like`; numpy would make int32 * float32 a float64."""
    return xp.asarray(count, dtype=wide_dtype(like, xp))


def one_minus_power(b: float, t: Scalar, xp: Namespace) -> Scalar:
    """1 - b^t for b in [0, 1), without the cancellation that costs float32 four digits at b = 0.999, t = 1."""
    return -xp.expm1(t * log(b)) if b > 0 else 1 + 0 * t


def between(value: Array, low: float, high: float, xp: Namespace) -> Array:
    """`value`, but not below `low` nor above `high`."""
    return xp.where(value < low, low, xp.where(value > high, high, value))


def ravel(leaves: Leaves, xp: Namespace) -> Array:
    """All leaves in one vector, shape (n,), in the widest of their accumulator dtypes."""
    return xp.concatenate(tuple(widen(leaf, xp).reshape((-1,)) for leaf in leaves))


def unravel(vector: Array, like: Leaves, xp: Namespace) -> Leaves:
    """The vector cut into leaves of the shapes and dtypes of `like`."""
    ends = accumulate((prod(leaf.shape) for leaf in like), initial=0)
    cut = zip(pairwise(ends), like, strict=True)
    return tuple(cast(vector[start:end].reshape(tuple(leaf.shape)), leaf, xp) for (start, end), leaf in cut)


def dot(a: Leaves, b: Leaves, xp: Namespace) -> Scalar:
    """The inner product over all leaves, accumulated in at least float32."""
    return reduce(lambda s, t: s + t, (xp.sum(widen(x, xp) * widen(y, xp)) for x, y in zip(a, b, strict=True)))


def norm(leaves: Leaves, xp: Namespace) -> Scalar:
    """The Euclidean norm over all leaves."""
    return xp.sqrt(dot(leaves, leaves, xp))


def stable_norm(leaves: Leaves, xp: Namespace) -> Scalar:
    """The Euclidean norm over all leaves, finite wherever it can be: 1e30 in float32 squares to infinity."""
    largest = reduce(xp.maximum, (xp.abs(widen(leaf, xp)).max() for leaf in leaves if 0 not in leaf.shape))
    unit = xp.where(largest > 0, largest, 1 + 0 * largest)
    return unit * norm(tuple(widen(leaf, xp) / unit for leaf in leaves), xp)


def all_finite(evaluation: Evaluation, xp: Namespace) -> Scalar:
    """Whether the loss and every entry of the gradient are finite: a 0-d boolean."""
    return reduce(lambda s, g: s & xp.isfinite(g).all(), evaluation.grads, xp.isfinite(evaluation.loss).all())


def select(condition: Scalar, new: State, old: State, xp: Namespace) -> State:
    """`new` where the 0-d `condition` holds, else `old`, through nested tuples of arrays."""
    if isinstance(new, tuple):
        parts = (select(condition, n, o, xp) for n, o in zip(new, old, strict=True))
        return type(new)(*parts) if hasattr(new, "_fields") else tuple(parts)
    return xp.where(condition, new, old)


def step_if_finite(
    method: Method, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace, **extra
) -> tuple[Leaves, State, Info]:
    """`method.step`, except that a nonfinite evaluation changes neither params nor state.

    One inf that reaches Adam's moments stays there for ever, so finiteness is asked before the update. A line search
    is left alone: it needs to see that its trial was nonfinite.
    """
    if getattr(method, "line_search", False):
        return method.step(evaluation, params, state, scale=scale, xp=xp, **extra)
    ok = all_finite(evaluation, xp)
    clean = Evaluation(evaluation.loss, tuple(xp.where(ok, g, xp.zeros_like(g)) for g in evaluation.grads))
    new_params, new_state, info = method.step(clean, params, state, scale=scale, xp=xp, **extra)
    return select(ok, new_params, params, xp), select(ok, new_state, state, xp), info

"""The caller's loss as a function of leaves, checked before the first step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from descenso._errors import ArgumentError, LossGradientError, LossPurityError, LossShapeError
from descenso._types import Leaves
from descenso.engine.compile_cache import Remembered
from descenso.engine.tree import Tree


@dataclass(frozen=True)
class Objective:
    """`loss` over leaves: `value(leaves, batch, key)` whatever the loss itself takes.

    Attributes:
        loss: the caller's function.
        tree: how its params are built from leaves.
        data: the structure of a batch, or None for a loss without data.
        keyed: whether the loss takes a parameter named `key`.
        blocked: whether the loss over many rows may be taken as the mean over blocks of them.
        own: how many arrays of its own a loss has that is a pytree (`parted`); they follow those of the batch, and
            `loss` is then a `Parted`.
        has_aux: whether the loss returns a pair, of which only the first is descended on.
    """

    loss: Callable | Parted
    tree: Tree
    data: Any
    keyed: bool
    blocked: bool = True
    own: int = 0
    has_aux: bool = False

    def value(self, leaves: Leaves, batch: Leaves, key: jax.Array) -> jax.Array:
        out = self.output(leaves, batch, key)
        return out[0] if self.has_aux else out

    def output(self, leaves: Leaves, batch: Leaves, key: jax.Array) -> Any:
        """All that the loss returns."""
        rows, own = self.split(batch)
        args = () if self.data is None else (jax.tree.unflatten(self.data, rows),)
        extra = {"key": key} if self.keyed else {}
        loss = self.loss.build(own) if isinstance(self.loss, Parted) else self.loss
        return loss(self.tree.build(leaves), *args, **extra)

    def split(self, arrays: Leaves) -> tuple[Leaves, Leaves]:
        """The arrays of the data, and those of the loss itself."""
        end = len(arrays) - self.own
        return arrays[:end], arrays[end:]


class Parted(NamedTuple):
    """A loss that is a pytree, without its arrays: two of the same form are equal.

    structure: the pytree's structure. fixed: one entry per leaf, None where an array belongs.
    """

    structure: Any
    fixed: tuple

    def build(self, arrays: Leaves) -> Callable:
        """The loss with these arrays."""
        own = iter(arrays)
        return jax.tree.unflatten(self.structure, [next(own) if f is None else f for f in self.fixed])


def parted(loss: Callable) -> tuple[Callable | Parted, Leaves]:
    """A loss and its own arrays: those of a `jax.tree_util.Partial` or of any callable that is a pytree.

    The arrays become arguments of the compiled code: with other values in them the loss compiles nothing again.
    """
    found, structure = jax.tree.flatten(loss)
    kinds = [isinstance(leaf, (jax.Array, np.ndarray, np.generic, int, float)) for leaf in found]
    if not any(kinds):
        return loss, ()
    fixed = tuple(None if kind else leaf for leaf, kind in zip(found, kinds, strict=True))
    return Parted(structure, fixed), tuple(jnp.asarray(leaf) for leaf, kind in zip(found, kinds, strict=True) if kind)


@dataclass(frozen=True)
class Trace:
    """What tracing the loss showed.

    Attributes:
        text, constants: the traced loss, to tell whether two traces are the same function. Of an array that the
            caller may write to a digest is kept.
        convolves: whether it holds a convolution.
    """

    text: str
    constants: tuple
    convolves: bool

    def same_as(self, other: Trace) -> bool:
        return (
            self.text == other.text
            and len(self.constants) == len(other.constants)
            and all(_same(a, b) for a, b in zip(self.constants, other.constants, strict=True))
        )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, bytes) or isinstance(b, bytes):
        return a == b
    return a is b or np.array_equal(np.asarray(a), np.asarray(b), equal_nan=a.dtype.kind == "f")


_inspected = Remembered()
_WRITTEN_OTHERWISE = (
    "\nhint: a loss is written in jax.numpy: jnp.sin for math.sin and np.sin, jnp.where for `if`; one that cannot be "
    "goes to scipy.optimize.minimize(..., method=descenso.scipy_method), which takes finite differences"
)


def inspect_loss(objective: Objective, leaves: Leaves, batch: Leaves, key: jax.Array) -> Trace:
    """Trace the loss twice and its gradient once, on shapes alone; nothing is compiled or computed.

    Where the first trace is that of a loss inspected before, that is enough.

    Raises:
        LossShapeError: the loss does not return one float, or an aux that is longer where there are more rows.
        LossPurityError: the two traces differ: the loss draws from NumPy's or Python's random state, say.
        LossGradientError: a leaf does not reach the loss.
        Whatever the loss itself raises.
    """
    first = _trace(objective, leaves, batch, key)
    known = _inspected.trace(objective)
    if known is not None and known.same_as(first):
        return known
    if not first.same_as(_trace(objective, leaves, batch, key)):
        raise LossPurityError(
            "`loss` is not a function of its arguments: traced twice, it gave two different functions.",
            hint="take randomness from a parameter named `key` (jax.random), and keep no state between calls",
        )
    _check_gradient(objective, leaves, batch, key)
    _check_aux(objective, leaves, batch, key)
    return _inspected.get(objective, first, lambda: first)


def _trace(objective: Objective, leaves: Leaves, batch: Leaves, key: jax.Array) -> Trace:
    call = "loss(params)" if objective.data is None else "loss(params, batch)"

    def again(*args):  # a new function each time: JAX remembers the traces of one it has seen
        return _of_numbers(objective.output(*args), objective.has_aux, call)

    refuse_traced((leaves, batch))
    try:
        closed, shape = jax.make_jaxpr(again, return_shape=True)(leaves, batch, key)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        error.add_note(_WRITTEN_OTHERWISE)
        raise
    refuse_traced(closed.consts)
    check_scalar(_first(shape, call) if objective.has_aux else shape, call)
    return Trace(str(closed.jaxpr), tuple(_constants(closed)), _convolves(closed.jaxpr))


def refuse_traced(values: Any) -> None:
    """Raise ArgumentError where a value, or whatever is made now, is one that JAX traces in place of a number."""
    if any(isinstance(v, jax.core.Tracer) for v in (*jax.tree.leaves(values), jnp.zeros(()))):
        raise ArgumentError(
            "The descent was called inside a function that JAX transforms (jit, vmap, grad). It needs numbers.",
            hint="descenso.argmin(loss) gives the minimum as a function to be transformed",
        )


def _of_numbers(out: Any, has_aux: bool, call: str) -> Any:
    """What the loss returned, which JAX must know as numbers."""
    for path, leaf in jax.tree.leaves_with_path(out):
        if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, bool, int, float, complex)):
            kind = type(leaf).__name__
            if has_aux and len(path) > 1:
                raise LossShapeError(
                    f"`aux{jax.tree_util.keystr(path[1:])}` is a {kind}. It must hold arrays or numbers."
                )
            raise LossShapeError(f"`{call}` returned a {kind}. It must return one number.")
    return out


def _first(shape: Any, call: str) -> Any:
    if not isinstance(shape, tuple) or len(shape) != 2:
        what = f"one array of shape {shape.shape}" if hasattr(shape, "shape") else f"a {type(shape).__name__}"
        raise LossShapeError(f"`{call}` returned {what}. With has_aux=True it must return a pair (loss, aux).")
    return shape[0]


def check_scalar(shape: Any, call: str) -> None:
    """Raise LossShapeError where what a call returns, of this shape and dtype, is not one float."""
    hint = "average over the batch, as in `jnp.mean(per_example)`"
    if isinstance(shape, tuple) and len(shape) == 2:
        hint = "return the loss alone; `minimize(has_aux=True)` takes such a pair, whose second is not descended on"
    if not hasattr(shape, "shape"):
        raise LossShapeError(f"`{call}` returned a {type(shape).__name__}. It must return one number.", hint=hint)
    if shape.shape != ():
        raise LossShapeError(f"`{call}` returned shape {shape.shape}. It must return one number.", hint=hint)
    if not jnp.issubdtype(shape.dtype, jnp.floating):
        raise LossShapeError(f"`{call}` returned dtype {shape.dtype}. It must return a float.")


def _check_gradient(objective: Objective, leaves: Leaves, batch: Leaves, key: jax.Array) -> None:
    jaxpr = jax.make_jaxpr(jax.grad(objective.value))(leaves, batch, key).jaxpr
    made_by = {out: eqn for eqn in jaxpr.eqns for out in eqn.outvars}
    blind = [
        name
        for name, out in zip(objective.tree.names, jaxpr.outvars, strict=True)
        if _is_zero(out) or (not isinstance(out, Literal) and out in made_by and _is_zero_fill(made_by[out]))
    ]
    if blind:
        raise LossGradientError(
            f"No gradient reaches {', '.join(blind)}: the loss does not depend on it, or stops its gradient.",
            hint="use it in the loss, or take it out of `params` and close over it",
        )


def _check_aux(objective: Objective, leaves: Leaves, batch: Leaves, key: jax.Array) -> None:
    """Raise where the aux has a shape that hangs on the rows: it is a mean over blocks of different lengths."""
    if not objective.has_aux or objective.data is None:
        return
    rows, own = objective.split(batch)
    twice = tuple(jax.ShapeDtypeStruct((2 * len(a), *a.shape[1:]), a.dtype) for a in rows)

    def aux(some, key):
        return objective.output(leaves, (*some, *own), key)[1]

    once, doubled = (jax.eval_shape(aux, part, key) for part in (rows, twice))
    for (path, a), b in zip(jax.tree.leaves_with_path(once), jax.tree.leaves(doubled), strict=True):
        if a.shape != b.shape:
            name = "aux" + jax.tree_util.keystr(path)
            raise LossShapeError(
                f"`{name}` has shape {a.shape} on {len(rows[0]):,} rows and {b.shape} on {2 * len(rows[0]):,}. It must "
                "not hang on the number of rows: `result.aux` is its mean over blocks of all rows.",
                hint="average over the batch, or predict with `result.params`",
            )


def _is_zero(var: Any) -> bool:
    return isinstance(var, Literal) and np.ndim(var.val) == 0 and var.val == 0


def _is_zero_fill(eqn: Any) -> bool:
    return eqn.primitive.name == "broadcast_in_dim" and _is_zero(eqn.invars[0])


def _convolves(jaxpr: Jaxpr) -> bool:
    return any(eqn.primitive.name == "conv_general_dilated" for inner in _all(jaxpr) for eqn in inner.eqns)


def _constants(closed: ClosedJaxpr):
    """What a traced loss closes over, functions compiled inside it as well."""
    items = (item for jaxpr in _all(closed.jaxpr) for eqn in jaxpr.eqns for item in _params(eqn))
    for found in (closed, *(item for item in items if isinstance(item, ClosedJaxpr))):
        yield from (c if isinstance(c, jax.Array) else _digest(np.asarray(c)) for c in found.consts)


def _digest(array: np.ndarray) -> bytes:
    return blake2b(np.ascontiguousarray(array).data.cast("B")).digest() + f"{array.dtype}{array.shape}".encode()


def _all(jaxpr: Jaxpr):
    yield jaxpr
    for eqn in jaxpr.eqns:
        for inner in inner_jaxprs(eqn):
            yield from _all(inner)


def inner_jaxprs(eqn: Any) -> Iterator[Jaxpr]:
    """The functions, branches and bodies that an equation of a traced loss holds."""
    for item in _params(eqn):
        if isinstance(item, ClosedJaxpr):
            yield item.jaxpr
        elif isinstance(item, Jaxpr):
            yield item


def _params(eqn: Any):
    for value in eqn.params.values():
        yield from value if isinstance(value, (tuple, list)) else (value,)

"""Which leaves are hidden matrices, read off the traced loss: those that Muon is for.

A hidden matrix multiplies what comes before it, and what it gives goes through another product with a leaf. So the last
layer is none, nor is an embedding, whose rows are looked up.
"""

from __future__ import annotations

from math import prod, sqrt
from typing import Any, NamedTuple

import jax
from jax.extend.core import Jaxpr, Literal

from descenso._masks import Mask
from descenso._types import Leaves
from descenso.engine.objective import Objective, inner_jaxprs

_PRODUCTS = ("dot_general", "conv_general_dilated")
_SAME = ("transpose", "reshape", "convert_element_type", "copy", "squeeze", "stop_gradient")
_WIDEST = 2  # times the rows that meet a matrix in one step: beyond, its orthogonal factor costs more than its gradient

_NAMED = 4  # matrices, in a sentence


class Flow(NamedTuple):
    """What a value of the loss comes from: the leaf that it is, or None; the leaves that it was multiplied by."""

    leaf: int | None
    through: frozenset[int]


_NOTHING = Flow(None, frozenset())


def hidden_matrices(objective: Objective, leaves: Leaves, batch: Leaves, key: jax.Array) -> Mask:
    """One boolean per leaf. `batch` is one batch of the size that a step sees; nothing is computed."""
    closed = jax.make_jaxpr(lambda *args: objective.value(*args))(leaves, batch, key)  # noqa: PLW0108
    given = [Flow(i, frozenset()) for i in range(len(leaves))]
    given += [_NOTHING] * (len(closed.jaxpr.invars) - len(leaves))
    seen = _Seen({}, set())
    _flow(closed.jaxpr, given, seen, 1)
    return tuple(
        leaf.ndim == 2 and i in seen.followed and min(leaf.shape) <= _WIDEST * seen.rows[i]
        for i, leaf in enumerate(leaves)
    )


def in_words(mask: Mask, names: tuple[str, ...]) -> str:
    """The mask in a sentence."""
    chosen = [name for name, hidden in zip(names, mask, strict=True) if hidden]
    if len(chosen) > _NAMED:
        chosen = [*chosen[: _NAMED - 1], f"{len(chosen) - _NAMED + 1} more"]
    matrices = "matrix" if len(chosen) == 1 else "matrices"
    return f"Muon for the hidden {matrices} {', '.join(chosen)}, Adam for the rest"


class _Seen(NamedTuple):
    """rows: leaf -> the rows that it multiplied, in one evaluation. followed: leaves before another product."""

    rows: dict[int, int]
    followed: set[int]


def _flow(jaxpr: Jaxpr, given: list[Flow], seen: _Seen, times: int) -> list[Flow]:
    """The flows of a jaxpr's results; `times` is how often it is evaluated."""
    known: dict[Any, Flow] = dict(zip(jaxpr.invars, given, strict=True))
    read = lambda var: _NOTHING if isinstance(var, Literal) else known.get(var, _NOTHING)  # noqa: E731
    for eqn in jaxpr.eqns:
        known.update(zip(eqn.outvars, _results(eqn, [read(var) for var in eqn.invars], seen, times), strict=True))
    return [read(var) for var in jaxpr.outvars]


def _results(eqn: Any, flows: list[Flow], seen: _Seen, times: int) -> list[Flow]:
    inner = list(inner_jaxprs(eqn))
    if inner:
        return _inside(eqn, inner, flows, seen, times)
    through = frozenset().union(*(flow.through for flow in flows))
    if eqn.primitive.name in _PRODUCTS:
        through |= _multiplied(eqn, flows, seen, times)
    leaf = flows[0].leaf if flows and eqn.primitive.name in _SAME else None
    return [Flow(leaf, through)] * len(eqn.outvars)


def _multiplied(eqn: Any, flows: list[Flow], seen: _Seen, times: int) -> frozenset[int]:
    """The leaves among the two factors; what the other factor went through is followed."""
    factors = list(zip(flows[:2], eqn.invars[:2], strict=True))
    for (flow, own), (other, against) in zip(factors, factors[::-1], strict=True):
        if flow.leaf is None:
            continue
        seen.followed.update(other.through)
        # (rows, n) times (n, m): rows^2 = |product| |other| / |leaf|
        sizes = [prod(var.aval.shape) for var in (eqn.outvars[0], against, own)]
        rows = times * round(sqrt(sizes[0] * sizes[1] / max(sizes[2], 1)))
        seen.rows[flow.leaf] = seen.rows.get(flow.leaf, 0) + rows
    return frozenset(flow.leaf for flow, _ in factors if flow.leaf is not None)


def _inside(eqn: Any, inner: list[Jaxpr], flows: list[Flow], seen: _Seen, times: int) -> list[Flow]:
    """Through functions, loops and branches, whose inputs are the last ones of the equation."""
    times *= eqn.params.get("length", 1)
    everything = Flow(None, frozenset().union(*(flow.through for flow in flows)))
    out = [everything] * len(eqn.outvars)
    for jaxpr in inner:
        given = flows[max(len(flows) - len(jaxpr.invars), 0) :]
        if len(given) != len(jaxpr.invars) or len(jaxpr.outvars) != len(out):
            continue
        found = _flow(jaxpr, given, seen, times)
        if eqn.primitive.name in ("scan", "while"):  # what one turn gives the next has been through all of it
            carried = frozenset().union(*(flow.through for flow in found))
            again = [flow if flow.leaf is not None else Flow(None, flow.through | carried) for flow in given]
            found = _flow(jaxpr, again, _Seen({}, seen.followed), times)
        out = [Flow(new.leaf, old.through | new.through) for old, new in zip(out, found, strict=True)]
    return out

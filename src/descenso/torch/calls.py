"""The calls that carry out the vectors of a traced step, products with a number taken into the additions after them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import Node

from descenso.torch.traced import Parts, ancestors, is_vector

aten = torch.ops.aten


def copy_into(source: Tensor, *, out: Tensor) -> Tensor:
    """`source` in the dtype of `out`."""
    return out.copy_(source)


INTO: dict[Any, Callable] = {
    aten.add.Tensor: torch.add,
    aten.sub.Tensor: torch.sub,
    aten.mul.Tensor: torch.mul,
    aten.div.Tensor: torch.div,
    aten.sqrt.default: torch.sqrt,
    aten.abs.default: torch.abs,
    aten.neg.default: torch.neg,
    aten.sign.default: torch.sign,
    aten.maximum.default: torch.maximum,
}
"""Operations that can write into a vector they are given."""


class Call(NamedTuple):
    """What is called for a node of the trace.

    into: whether it takes `out`; otherwise it makes a vector of its own. factor: the name of one more argument and the
    number it takes, with a sign.
    """

    node: Node
    function: Callable
    args: tuple
    kwargs: dict[str, Any]
    into: bool = True
    factor: tuple[str, int, Any] | None = None

    @property
    def inputs(self) -> set[Node]:
        """The nodes that are read, but the number of `factor`."""
        return {a for a in self.args if isinstance(a, Node)}

    @property
    def numbers(self) -> list[tuple[Node, bool]]:
        """The numbers that are read, and whether as a tensor () or as a Python number, which is quicker."""
        factor = [] if self.factor is None else [(self.factor[2], False)]
        plain = self.into and is_vector(self.args[0])
        return [(n, t) for n, t in [*((a, not plain) for a in self.args), *factor] if _is_number(n)]


def calls_of(parts: Parts) -> list[Call]:
    """The calls in order."""
    calls: list[Call] = []
    superfluous: set[Node] = set()
    kept = set(parts.moved)
    for node in reversed(ancestors(parts.moved, stop=lambda n: not is_vector(n))):
        if node in superfluous:
            continue
        call, inside = _accumulation(node, kept) or (_plain(node), set())
        superfluous |= inside
        calls.append(call)
    return calls[::-1]


def _plain(node: Any) -> Call:
    if node.target is aten._to_copy.default:
        return Call(node, copy_into, node.args[:1], {})
    if node.target in INTO:
        return Call(node, INTO[node.target], node.args, dict(node.kwargs))
    return Call(node, node.target.overloadpacket, node.args, dict(node.kwargs), into=False)


def _accumulation(node: Any, kept: set[Node]) -> tuple[Call, set[Node]] | None:
    """first + sign number product in one call, and the nodes that this makes superfluous."""
    sign = {aten.add.Tensor: 1, aten.sub.Tensor: -1}.get(node.target)
    if sign is None or node.kwargs or not all(map(is_vector, node.args)):
        return None
    a, b = node.args
    for first, last in ((a, b), (b, a)) if sign == 1 else ((a, b),):
        found = _scaled(last, kept)
        if found:
            function, name, vectors, number, inside = found
            return Call(node, function, (first, *vectors), {}, factor=(name, sign, number)), inside
    return None


def _scaled(node: Any, kept: set[Node]) -> tuple[Callable, str, tuple, Any, set[Node]] | None:
    """How to add a node that is a number times a vector, a quotient or a product of two, and is used nowhere else."""
    if not _only_here(node, aten.mul.Tensor, kept):
        return None
    for a, b in (node.args, node.args[::-1]):
        if is_vector(a) and not is_vector(b):
            if _only_here(a, aten.div.Tensor, kept) and all(map(is_vector, a.args)):
                return torch.addcdiv, "value", a.args, b, {node, a}
            return torch.add, "alpha", (a,), b, {node}
    for a, b in (node.args, node.args[::-1]):
        inner = _scaled(a, kept)
        if inner and inner[0] is torch.add:
            return torch.addcmul, "value", (*inner[2], b), inner[3], {node, a}
    return None


def _is_number(node: Any) -> bool:
    return isinstance(node, Node) and not is_vector(node)


def _only_here(node: Any, target: Any, kept: set[Node]) -> bool:
    return isinstance(node, Node) and node.target is target and len(node.users) == 1 and node not in kept

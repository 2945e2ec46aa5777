"""The step of an entrywise method as a graph, cut into its numbers and its vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.passes.shape_prop import ShapeProp

from descenso._types import Evaluation, Method
from descenso.methods.wrapped import advance
from descenso.torch.nested import filled, flat


@dataclass
class Parts:
    """A traced step.

    graph: the whole: (x, g, scale, tensors of the state) -> (x, tensors of the state).
    numbers: (x, scale, numbers of the state) -> (new numbers of the state, numbers that the vectors need), all ().
    needed: the nodes of the latter. x, g, vectors: the placeholders of the params, the gradient and the vectors of the
    state. moved: what becomes of x and of the vectors, in their order.
    """

    graph: GraphModule
    numbers: GraphModule
    needed: list[Node]
    x: Node
    g: Node
    vectors: list[Node]
    moved: list[Node]


def traced(method: Method, dtype: torch.dtype, device: torch.device, scale: torch.dtype) -> Parts:
    """Trace one step on three entries; nothing in the graph depends on how many there are.

    Args:
        scale: the dtype of the scale, which becomes that of the numbers it is part of.
    """
    graph = _trace(method, torch.ones(3, dtype=dtype, device=device), torch.ones((), dtype=scale))
    x, g, scale, *state = [n for n in graph.graph.nodes if n.op == "placeholder"]
    (results,) = next(n for n in graph.graph.nodes if n.op == "output").args
    pairs = list(zip(state, results[1:], strict=True))
    vectors = [old for old, _ in pairs if is_vector(old)]
    moved = [results[0], *(new for old, new in pairs if is_vector(old))]
    operations = ancestors(moved, stop=lambda n: not is_vector(n))
    needed = list(dict.fromkeys(a for n in operations for a in n.all_input_nodes if not is_vector(a)))
    counts = [old for old, _ in pairs if not is_vector(old)]
    wanted = [new for old, new in pairs if not is_vector(old)] + needed
    return Parts(graph, copied(graph, wanted, [x, scale, *counts]), needed, x, g, vectors, moved)


def _trace(method: Method, x: Tensor, scale: Tensor) -> GraphModule:
    start = method.init((x,), xp=torch)
    places = list(flat(start))

    def step(x: Tensor, g: Tensor, scale: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        state = filled(start, dict(zip(places, tensors, strict=True)))
        loss = torch.full((), torch.nan, device=x.device)
        (moved,), state = advance(method, Evaluation(loss, (g,)), (x,), state, scale=scale, xp=torch)
        return moved, *flat(state).values()

    example = (x, torch.ones_like(x), scale, *flat(start).values())
    with torch.no_grad():
        graph = make_fx(step)(*example)
        ShapeProp(graph).propagate(*example)
    return graph


def is_vector(node: Any) -> bool:
    """Whether a node stands for one value per entry."""
    return isinstance(node, Node) and len(node.meta["tensor_meta"].shape) == 1


def ancestors(ends: Iterable[Node], stop: Callable[[Node], bool]) -> list[Node]:
    """The operations that lead to `ends`, in order, without those behind a node that stops the search."""
    seen: dict[Node, None] = {}

    def visit(node: Node) -> None:
        if node in seen or node.op == "placeholder" or stop(node):
            return
        for before in node.all_input_nodes:
            visit(before)
        seen[node] = None

    for end in ends:
        visit(end)
    return list(seen)


def copied(owner: GraphModule, wanted: list[Node], inputs: list[Node]) -> GraphModule:
    """What leads from `inputs` to `wanted` as a module of its own."""
    graph, copies = Graph(), {}
    for node in inputs:
        copies[node] = graph.placeholder(node.name)
    for node in ancestors(wanted, stop=copies.__contains__):
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[n] for n in wanted))
    return GraphModule(owner, graph)

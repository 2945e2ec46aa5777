"""The step of an entrywise method compiled by torch into one loop over the entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch._inductor
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from descenso._types import Method
from descenso.torch.traced import Parts, copied, traced

_LARGE = 1 << 20  # entries that the compiler is shown: enough that it takes threads where torch has several


@dataclass
class Compiled:
    """A step that writes in place, as `Program`; the numbers stay tensors, so that none of them compiles anew.

    scale: the dtype of the scale that `numbers` takes.
    """

    scale: torch.dtype
    numbers: Callable[..., tuple[Tensor, ...]]
    run: Callable[..., object]
    calls: int = 1

    def given(self, numbers: Sequence[Tensor]) -> list[Tensor]:
        """The needed numbers in the form that `step` takes."""
        return list(numbers)

    def step(self, x: Tensor, g: Tensor, vectors: list[Tensor], numbers: list[Tensor]) -> None:
        """Write the new entries to `x` and `vectors`."""
        self.run(x, g, *vectors, *numbers)


@lru_cache(maxsize=64)
def compiled(method: Method, dtype: torch.dtype, device: torch.device, backend: str) -> Compiled:
    """The step of an entrywise method, compiled for params of one dtype and device by a backend of `torch.compile`.

    The numbers of a step, such as 1 - b2^t, are computed outside the loop: inside, torch would compute them once for
    every entry.
    """
    scale = torch.float64 if dtype == torch.float64 else torch.float32
    parts = traced(method, dtype, device, scale)
    module = _writing(parts)
    # float64 numbers would be taken for Python's, which the compiler writes into its code
    direct = backend == "inductor" and scale == torch.float32
    made = _by_inductor(module, parts) if direct else torch.compile(module.forward, dynamic=True, backend=backend)
    return Compiled(scale, parts.numbers.forward, made)


def _inputs(parts: Parts) -> list[Node]:
    return [parts.x, parts.g, *parts.vectors, *parts.needed]


def _writing(parts: Parts) -> GraphModule:
    """What becomes of the params and the state, written where they stand.

    A graph has code of its own; torch compiles one piece of code for only so many kinds of arguments.
    """
    module = copied(parts.graph, parts.moved, _inputs(parts))
    x, _, *others = [n for n in module.graph.nodes if n.op == "placeholder"]
    end = next(n for n in module.graph.nodes if n.op == "output")
    with module.graph.inserting_before(end):
        for place, new in zip((x, *others), end.args[0], strict=False):
            module.graph.call_method("copy_", (place, new))
    end.args = (None,)
    module.recompile()
    return module


def _by_inductor(module: GraphModule, parts: Parts) -> Callable:
    """Past `torch.compile`, which asks at every call whether it has met such arguments: here they are all alike."""
    graph = make_fx(module, tracing_mode="symbolic")(*map(_example, _inputs(parts)))
    return torch._inductor.compile(graph, [n.meta["val"] for n in graph.graph.nodes if n.op == "placeholder"])


def _example(node: Node) -> Tensor:
    seen = node.meta["tensor_meta"]
    return torch.zeros(_LARGE if seen.shape else (), dtype=seen.dtype, device=node.meta["val"].device)

"""The step of an entrywise method as a program that writes in place.

A method's step is pure: every line of it makes a new vector. Traced once it is a short list of operations, and these
can be carried out without new memory: numbers, such as 1 - b2^t, once for all blocks; vectors in a few scratch vectors
that stay in cache; and what becomes of the params and the state where they stand.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from descenso._types import Method
from descenso.torch.calls import Call, calls_of
from descenso.torch.traced import Parts, traced


@dataclass
class Program:
    """A step that writes in place.

    numbers: as in `Parts`. forms: which of the needed numbers `run` takes, and whether as tensors.
    run: (x, g, vectors, numbers, scratch) -> None. calls: how many it makes. scratch: the dtypes of its vectors.
    adds: 1 or -1 if all it does is to add that times its one number times g to x, else 0.
    """

    scale: ClassVar = torch.float64  # of the scale that `numbers` takes
    numbers: Callable[..., tuple[Tensor, ...]]
    forms: list[tuple[int, bool]]
    run: Callable[..., None]
    calls: int
    scratch: list[torch.dtype]
    adds: int = 0
    whole: list[Tensor] = field(default_factory=list)
    cuts: dict[int, list[Tensor]] = field(default_factory=dict)

    def given(self, numbers: Sequence[Tensor]) -> list[Any]:
        """The needed numbers in the forms that `step` takes."""
        return [numbers[i] if as_tensor else numbers[i].item() for i, as_tensor in self.forms]

    def step(self, x: Tensor, g: Tensor, vectors: list[Tensor], numbers: list[Any]) -> None:
        """Write the new entries to `x` and `vectors`."""
        self.run(x, g, *vectors, *numbers, *self._scratch(len(x)))

    def _scratch(self, entries: int) -> list[Tensor]:
        if self.scratch and (not self.whole or len(self.whole[0]) < entries):
            self.whole = [torch.empty(entries, dtype=dtype) for dtype in self.scratch]
            self.cuts.clear()
        if entries not in self.cuts:
            self.cuts[entries] = [w[:entries] for w in self.whole]
        return self.cuts[entries]


@lru_cache(maxsize=64)
def written(method: Method, dtype: torch.dtype) -> Program:
    """The program of an entrywise method for params of one dtype on a CPU."""
    parts = traced(method, dtype, torch.device("cpu"), Program.scale)
    return _Writer(parts, calls_of(parts)).written()


class _Writer:
    """Gives every call a place to write to, and writes the calls as a module."""

    def __init__(self, parts: Parts, calls: list[Call]):
        self.parts, self.calls, self.graph = parts, calls, Graph()
        inputs = [parts.x, parts.g, *parts.vectors]
        self.at = {node: self.graph.placeholder(f"in_{i}") for i, node in enumerate(inputs)}
        forms = dict.fromkeys(form for call in calls for form in call.numbers)
        self.number = {form: self.graph.placeholder(f"number_{i}") for i, form in enumerate(forms)}
        self.places = dict(zip(parts.moved[::-1], [*parts.vectors[::-1], parts.x], strict=True))
        self.last = {n: i for i, call in enumerate(calls) for n in call.inputs}
        self.last |= {new: len(calls) for new in parts.moved if new.op == "placeholder"}
        self.scratch: list[tuple[Node, torch.dtype]] = []
        self.free: list[tuple[Node, torch.dtype]] = []

    def written(self) -> Program:
        for i, call in enumerate(self.calls):
            self._write(i, call)
        for new, old in zip(self.parts.moved, [self.parts.x, *self.parts.vectors], strict=True):
            if self.at[new] is not self.at[old]:
                self.graph.call_method("copy_", (self.at[old], self.at[new]))
        self.graph.output(None)
        run = GraphModule({}, self.graph).forward  # calling the module would look for hooks every time
        forms = [(self.parts.needed.index(node), as_tensor) for node, as_tensor in self.number]
        scratch = [dtype for _, dtype in self.scratch]
        return Program(self.parts.numbers.forward, forms, run, len(self.calls), scratch, self._adds())

    def _adds(self) -> int:
        (call, *more), x, g = self.calls, self.parts.x, self.parts.g
        alone = not more and call.function is torch.add and call.args == (x, g) and call.factor and self.number
        return call.factor[1] if alone and call.factor else 0

    def _write(self, i: int, call: Call) -> None:
        as_read = {**self.at, **{n: self.number[n, as_tensor] for n, as_tensor in call.numbers}}
        args = tuple(as_read[a] if isinstance(a, Node) else a for a in call.args)
        if not call.into:
            self.at[call.node] = self.graph.call_function(call.function, args, call.kwargs)
            return
        kwargs = dict(call.kwargs)
        if call.factor:
            name, sign, number = call.factor
            kwargs[name] = self._signed(sign, number)
        self.at[call.node] = kwargs["out"] = self._place(i, call.node)
        self.graph.call_function(call.function, args, kwargs)
        for n in call.inputs:
            self._give_back(i, n)

    def _signed(self, sign: int, number: Any) -> Any:
        if not isinstance(number, Node):
            return sign * number
        given = self.number[number, False]
        return given if sign == 1 else self.graph.call_function(operator.neg, (given,))

    def _place(self, i: int, node: Node) -> Node:
        """Where the new entries belong, if nothing later reads what stands there; else a scratch vector."""
        place, dtype = self.places.get(node), node.meta["tensor_meta"].dtype
        if place is not None and self.last.get(place, -1) <= i:
            return self.at[place]
        slot = next((s for s in self.free if s[1] == dtype), None)
        if slot:
            self.free.remove(slot)
            return slot[0]
        last_input = [n for n in self.graph.nodes if n.op == "placeholder"][-1]
        with self.graph.inserting_after(last_input):
            scratch = self.graph.placeholder(f"scratch_{len(self.scratch)}")
        self.scratch.append((scratch, dtype))
        return scratch

    def _give_back(self, i: int, n: Node) -> None:
        slot = next((s for s in self.scratch if s[0] is self.at.get(n)), None)
        if slot and self.last[n] == i and n not in self.places:
            self.free.append(slot)

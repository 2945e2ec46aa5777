"""Steps of an entrywise method on blocks of entries.

A large param is stepped in blocks that stay in the processor's cache with all their temporaries; small params are
gathered into one block, so that a hundred of them cost no more calls than one. The state of each param is a view of
what the blocks step, and is written in place: fresh memory for it would be touched cold at every step.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from descenso._types import Evaluation, Method, State
from descenso.methods.wrapped import advance
from descenso.torch.compiled import Compiled
from descenso.torch.nested import Flat, filled, flat, is_scalar
from descenso.torch.program import Program

CACHED = 1 << 17
"""Entries of a block that is to stay in cache: 512 kB of each float32 vector."""
UNCUT = 1 << 26
"""Entries of a block where a call costs more than memory, or where there is only one call to make."""

Grads = Sequence[Tensor]
"""The gradients of a step, by number: asked for by param they would cost more than a small step."""


@dataclass
class Gathered:
    """Where small params and their gradients are gathered: vectors, and pieces of them shaped as the params."""

    pieces: list[Tensor]
    grads: Tensor
    grad_pieces: list[Tensor]


@dataclass
class Block:
    """Entries that are stepped together.

    params: one param, or several whole ones. at: the numbers of their gradients. entries: a view of the entries start
    to stop of the one param, whole if that is all of them, or a vector of its own into which whole params are gathered.
    vectors: those of the state. state: nested tuples of them and of the numbers of the cohort.
    """

    params: list[Tensor]
    at: list[int]
    entries: Tensor
    start: int
    stop: int
    whole: bool
    vectors: list[Tensor]
    state: State
    gathered: Gathered | None

    def step(self, method: Method, grads: Grads, loss: Tensor, scale: float | Tensor) -> State:
        """Step the entries in place; returns the new state, whose numbers are not written yet."""
        x, g = self._gather(grads)
        (moved,), state = advance(method, Evaluation(loss, (g,)), (x,), self.state, scale=scale, xp=torch)
        x.copy_(moved)
        self._scatter()
        for old, new in zip(self.vectors, (v for v in flat(state).values() if not is_scalar(v)), strict=True):
            old.copy_(new)
        return state

    def run(self, program: Program | Compiled, grads: Grads, numbers: list) -> None:
        """The same by a program, whose numbers are known."""
        x, g = self._gather(grads)
        program.step(x, g, self.vectors, numbers)
        self._scatter()

    def _gather(self, grads: Grads) -> tuple[Tensor, Tensor]:
        if self.gathered is None:
            g = grads[self.at[0]].reshape(-1)
            return self.entries, g if self.whole else g[self.start : self.stop]
        torch._foreach_copy_(self.gathered.pieces, self.params)
        torch._foreach_copy_(self.gathered.grad_pieces, [grads[i] for i in self.at])
        return self.entries, self.gathered.grads

    def _scatter(self) -> None:
        """Write entries that were gathered to the params."""
        if self.gathered is not None:
            torch._foreach_copy_(self.params, self.gathered.pieces)


@dataclass
class Cohort:
    """Params of one dtype that have made the same number of steps, and so share the numbers of their state.

    at: the numbers of their gradients. nothing: no entries, of their dtype and on their device. known: a scale and what
    a program needs at it, where the state has no numbers that would change it.
    """

    params: list[Tensor]
    at: list[int]
    nothing: Tensor
    numbers: Flat
    blocks: list[Block]
    known: tuple[float, list] | None = None

    def step(self, method: Method, grads: Grads, loss: Tensor, scale: float | Tensor) -> None:
        state: State = ()
        for block in self.blocks:
            state = block.step(method, grads, loss, scale)
        new = flat(state)
        for place, number in self.numbers.items():
            number.copy_(new[place])

    def run(self, program: Program | Compiled, grads: Grads, scale: float | Tensor) -> None:
        """The same by a program."""
        new, needed = self._numbers(program, scale)
        if isinstance(program, Program) and program.adds:
            torch._foreach_add_(self.params, [grads[i] for i in self.at], alpha=program.adds * needed[0])
        else:
            for block in self.blocks:
                block.run(program, grads, needed)
        for number, now in zip(self.numbers.values(), new, strict=True):
            number.copy_(now)

    def _numbers(self, program: Program | Compiled, scale: float | Tensor) -> tuple[Sequence[Tensor], list]:
        """The new numbers of the state, and those that the program needs."""
        if self.known is not None and isinstance(scale, float) and scale == self.known[0]:
            return (), self.known[1]
        count = len(self.numbers)
        results = program.numbers(self.nothing, torch.as_tensor(scale, dtype=program.scale), *self.numbers.values())
        needed = program.given(results[count:])
        self.known = (scale, needed) if count == 0 and isinstance(scale, float) else None
        return results[:count], needed


def lay_out(
    method: Method, params: Mapping[Tensor, int], states: MutableMapping[Tensor, Flat], most: int
) -> list[Cohort]:
    """Cut or gather the params into blocks of at most `most` entries.

    `params` are numbered as their gradients are. `states` holds what is known of the state of each and is filled up.
    Afterwards its vectors are views of those of the blocks, shaped as the param (a number of a param as (1,)), and its
    numbers those of the cohort.
    """
    cohorts: dict[tuple, list[Tensor]] = {}
    for p in params:
        if not states.get(p):
            states[p] = flat(method.init((p.detach().reshape(-1),), xp=torch))
        age = tuple(v.item() for v in states[p].values() if is_scalar(v))
        cohorts.setdefault((age, p.device, p.dtype), []).append(p)
    return [_cohort(method, {p: params[p] for p in members}, states, most) for members in cohorts.values()]


def _cohort(method: Method, params: Mapping[Tensor, int], states: MutableMapping[Tensor, Flat], most: int) -> Cohort:
    first, *_ = params
    numbers = {k: v.clone() for k, v in states[first].items() if is_scalar(v)}
    nothing = first.detach().reshape(-1)[:0]
    template = method.init((nothing,), xp=torch)
    blocks = []
    for members in _gathered(list(params), most):
        vectors = _joined(members, states, numbers)
        total = sum(p.numel() for p in members)
        apart = len(members) == 1 and members[0].is_contiguous()
        entries = members[0].detach().view(-1) if apart else torch.cat([p.detach().reshape(-1) for p in members])
        gathered = None if apart else _gathering(members, entries)
        at = [params[p] for p in members]
        for start, stop in _cuts(total, most) if apart else [(0, total)]:
            cut = {k: v[start:stop] for k, v in vectors.items()}
            state = filled(template, {**numbers, **cut})
            part, vectors_cut, whole = entries[start:stop], list(cut.values()), stop - start == total
            blocks.append(Block(members, at, part, start, stop, whole, vectors_cut, state, gathered))
    return Cohort(list(params), list(params.values()), nothing, numbers, blocks)


def _gathering(members: list[Tensor], entries: Tensor) -> Gathered:
    grads = torch.empty_like(entries)
    return Gathered(_pieces(entries, members), grads, _pieces(grads, members))


def _pieces(vector: Tensor, members: list[Tensor]) -> list[Tensor]:
    parts = vector.split([p.numel() for p in members])
    return [part.view(p.shape) for part, p in zip(parts, members, strict=True)]


def _gathered(params: list[Tensor], most: int) -> list[list[Tensor]]:
    """Small params in groups of at most CACHED entries, a large one alone."""
    groups: list[list[Tensor]] = [[]]
    for p in params:
        if sum(q.numel() for q in groups[-1]) + p.numel() > min(most, CACHED):
            groups.append([])
        groups[-1].append(p)
    return [members for members in groups if members]


def _cuts(entries: int, most: int) -> list[tuple[int, int]]:
    """The entries in blocks of nearly equal size."""
    size = -(-entries // max(1, -(-entries // most)))
    return [(start, min(start + size, entries)) for start in range(0, entries, max(size, 1))]


def _joined(members: list[Tensor], states: MutableMapping[Tensor, Flat], numbers: Flat) -> Flat:
    """The vectors of the members end to end; their own states become views of them."""
    places = [k for k, v in states[members[0]].items() if not is_scalar(v)]
    vectors = {k: torch.cat([states[p][k].reshape(-1) for p in members]) for k in places}
    views = {k: v.split([p.numel() for p in members]) for k, v in vectors.items()}
    for i, p in enumerate(members):
        shaped = {k: v[i].view(p.shape if p.dim() else 1) for k, v in views.items()}
        states[p] = {k: shaped[k] if k in shaped else numbers[k] for k in states[p]}
    return vectors

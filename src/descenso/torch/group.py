"""What steps one param group: entrywise in blocks, or all its params as the leaves of one step."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from descenso._errors import ArgumentError
from descenso._types import Evaluation, Method, State
from descenso.methods.wrapped import advance
from descenso.torch import blocks
from descenso.torch.blocks import UNCUT, Cohort, lay_out
from descenso.torch.compiled import Compiled, compiled
from descenso.torch.nested import Flat, filled, flat
from descenso.torch.program import Program, written

States = MutableMapping[Tensor, Flat]
"""The state of each param by place; a method that is not entrywise keeps all of its state at the first param."""
Given = Sequence[Tensor | None]
"""The gradient of each param, or None."""

STEADY = 20
"""Steps with one method after which it is worth tracing."""


@dataclass
class Entrywise:
    """Steps params by themselves; one without a gradient is left alone, as in torch.

    The layout in blocks is made anew where the params with a gradient, their memory, or the form of the state have
    changed, and once more when the method has been the same for STEADY steps and becomes a program.
    """

    compile: bool | str = False
    method: Method | None = None
    steady: int = 0
    key: tuple = ()
    cohorts: list[Cohort] = field(default_factory=list)
    programs: list[Program | Compiled | None] = field(default_factory=list)

    def step(
        self, method: Method, params: list[Tensor], given: Given, states: States, loss: Tensor, scale: float | Tensor
    ) -> None:
        present, grads = params, [g for g in given if g is not None]
        if len(grads) < len(params):
            present = [p for p, g in zip(params, given, strict=True) if g is not None]
        if not present:
            return
        changed = method is not self.method and (self.compile or self._remembers_otherwise(method, present[0]))
        self.steady = self.steady + 1 if method is self.method else 0
        self.method = method
        key = (self.steady > STEADY, *map(id, present), *map(Tensor.data_ptr, present))
        if key != self.key or changed:
            self._lay_out(method, present, states)
            self.key = key
        for cohort, program in zip(self.cohorts, self.programs, strict=True):
            if program is None:
                cohort.step(method, grads, loss, scale)
            else:
                cohort.run(program, grads, scale)

    def _lay_out(self, method: Method, present: list[Tensor], states: States) -> None:
        kinds: dict[tuple, dict[Tensor, int]] = {}
        for i, p in enumerate(present):
            kinds.setdefault((p.dtype, p.device), {})[p] = i
        self.cohorts, self.programs = [], []
        for (dtype, device), members in kinds.items():
            program = self._program(method, dtype, device)
            uncut = device.type != "cpu" if program is None else program.calls < 2
            cohorts = lay_out(method, members, states, UNCUT if uncut else blocks.CACHED)
            self.cohorts += cohorts
            self.programs += [program] * len(cohorts)

    def _program(self, method: Method, dtype: torch.dtype, device: torch.device) -> Program | Compiled | None:
        if device.type == "cpu" and (self.compile or self.steady > STEADY):
            program = written(method, dtype)
            if program.adds or not self.compile:  # one addition is all there is to compile
                return program
        if self.compile:
            return compiled(method, dtype, device, "inductor" if self.compile is True else self.compile)
        return None

    def _remembers_otherwise(self, method: Method, p: Tensor) -> bool:
        if self.method is None:
            return True
        forms = [flat(m.init((p.detach().reshape(-1)[:0],), xp=torch)).keys() for m in (method, self.method)]
        return forms[0] != forms[1]

    def answer(self, method: Method, params: list[Tensor], states: States) -> list[Tensor]:
        """The point that the method gives as its answer, a param without a state as it is."""
        return [self._answer(method, p, states[p]) if states.get(p) else p for p in params]

    def _answer(self, method: Method, p: Tensor, state: Flat) -> Tensor:
        template = method.init((p.detach().reshape(-1)[:0],), xp=torch)
        vectors = {k: v if v.dim() == 0 else v.reshape(-1) for k, v in state.items()}
        return method.eval_params((p.detach().reshape(-1),), filled(template, vectors))[0].view(p.shape)


@dataclass
class Whole:
    """Steps all params at once; one without a gradient counts as having the gradient 0, and is left alone as in torch.

    A line search moves it too, since the loss that it has seen is that of all params. A method that has a `skip` makes
    it in place of a step where a gradient is not finite.

    Attributes:
        nested, kept: the state, as the method has it and as it is saved.
        met: the places of the params that have had a gradient; of a state from elsewhere, those that are not frozen.
    """

    nested: State = ()
    kept: Flat | None = None
    met: set[int] = field(default_factory=set)

    def step(
        self, method: Method, params: list[Tensor], given: Given, states: States, loss: Tensor, scale: float | Tensor
    ) -> None:
        _check_one_device(method, params)
        leaves = tuple(p.detach() for p in params)
        self.met = self._met(params, states) | {i for i, g in enumerate(given) if g is not None}
        if self.kept is None or states.get(params[0]) is not self.kept:
            self.nested = method.init(leaves, xp=torch)
            if states.get(params[0]):
                self.nested = filled(self.nested, states[params[0]])
        grads = tuple(torch.zeros_like(p) if g is None else g for p, g in zip(params, given, strict=True))
        skip = getattr(method, "skip", None)
        if skip is not None and not _finite(grads):
            moved, self.nested = skip(leaves, self.nested, xp=torch)
        else:
            moved, self.nested = advance(method, Evaluation(loss, grads), leaves, self.nested, scale=scale, xp=torch)
        searches = getattr(method, "line_search", False)
        moving = [i for i, g in enumerate(given) if searches or g is not None]
        if moving:
            torch._foreach_copy_([leaves[i] for i in moving], [moved[i] for i in moving])
        states[params[0]] = self.kept = flat(self.nested)

    def answer(self, method: Method, params: list[Tensor], states: States) -> list[Tensor]:
        """The point that the method gives as its answer, a param that never had a gradient as it is."""
        if not states.get(params[0]):
            return params
        leaves = tuple(p.detach() for p in params)
        state = filled(method.init(leaves, xp=torch), states[params[0]])
        met, answer = self._met(params, states), zip(method.eval_params(leaves, state), params, strict=True)
        return [a.reshape(p.shape) if i in met else p for i, (a, p) in enumerate(answer)]

    def _met(self, params: list[Tensor], states: States) -> set[int]:
        state = states.get(params[0])
        foreign = bool(state) and state is not self.kept
        return {i for i, p in enumerate(params) if p.requires_grad} if foreign else self.met


def _finite(grads: tuple[Tensor, ...]) -> bool:
    """Whether every entry is finite; the device is asked once."""
    return bool(torch.stack([g.isfinite().all() for g in grads]).all())


def _check_one_device(method: Method, params: list[Tensor]) -> None:
    devices = sorted({str(p.device) for p in params})
    if len(devices) > 1:
        raise ArgumentError(
            f"{type(method).__name__} got params on {' and '.join(devices)}. "
            "It measures all params of a group together, and needs them on one device.",
            hint="give each device a param group of its own",
        )

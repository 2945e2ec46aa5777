"""Methods of descenso as a torch optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from descenso._errors import ArgumentError
from descenso._types import Method
from descenso.torch.choice import defaults_of, method_of, options_of
from descenso.torch.entrywise import is_entrywise, needs_loss
from descenso.torch.group import Entrywise, Whole
from descenso.torch.saving import check_saved, load_states, plain_groups, with_own_objects

_UNKNOWN = torch.full((), torch.nan)


class Optimizer(torch.optim.Optimizer):
    """Any method by name, as a torch optimizer.

        for batch in batches:
            optimizer.zero_grad()
            loss(model, batch).backward()
            optimizer.step()

    Every option can be set for a param group of its own, `method` too, and may change during a run, as schedulers do.
    The state is at least float32, also of float16 and bfloat16 params. A method with averaging shows its answer inside
    `with optimizer.evaluation():`.

    Args:
        params: params, param groups or named params, as torch takes them.
        method: a name of `descenso.methods.METHODS`, or a method; a method's step sizes are multiplied by `lr`.
        compile: whether torch compiles the step of a method that treats every entry by itself, or the name of a backend
            of `torch.compile`. The default backend takes a C++ compiler on a CPU, and up to a minute at the first step
            and where an option changes.
        lr: the learning rate, a number >= 0 or a tensor () of one; None takes the default of the name, 1 for a method.
        options: those of the name.

    Raises:
        MethodNameError: no method has that name.
        ArgumentError: an option that the method does not have or whose value is out of range; complex params; from
            `step`, sparse gradients, or no closure where the method needs the loss; from `load_state_dict`, a state
            that does not fit.
    """

    def __init__(
        self,
        params: Any,
        method: str | Method = "adam",
        lr: float | Tensor | None = None,
        *,
        compile: bool | str = False,
        **options: Any,
    ):
        torch.optim.Optimizer.__init__(self, params, {**defaults_of(method, lr, options), "compile": compile})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add params, with options of their own; see `torch.optim.Optimizer.add_param_group`."""
        if "method" in param_group:
            own = {k: v for k, v in param_group.items() if k in options_of(param_group["method"])}
            param_group = {**defaults_of(param_group["method"], own.pop("lr", None), own), **param_group}
        torch.optim.Optimizer.add_param_group(self, param_group)
        group = self.param_groups[-1]
        has_rate = isinstance(group["method"], str) and "lr" in options_of(group["method"])
        group.setdefault("built_lr", (float(group["lr"]) or 1.0) if has_rate else 1.0)
        for p in group["params"]:
            if p.is_complex():
                raise ArgumentError(f"A param of shape {tuple(p.shape)} is complex. Params must be real.")
        method = method_of(group)
        if getattr(method, "needs_product", False):
            raise ArgumentError(f"{type(method).__name__} needs Hessian-vector products, which a torch step lacks.")
        if group["compile"] and not is_entrywise(method):
            raise ArgumentError(
                f"{group['method']!r} does not treat every entry by itself. It cannot be compiled here.",
                hint="leave out compile=True",
            )
        if getattr(method, "line_search", False) and len(self.param_groups) > 1:
            raise ArgumentError(f"{type(method).__name__} searches along a line. It needs all params in one group.")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyrefly: ignore
        """Make one step; returns what the closure returns.

        Args:
            closure: computes the loss and its gradients. Needed by methods that look at the loss.
        """
        if self.__dict__.get("_showing"):
            raise ArgumentError("`step` was called inside `evaluation()`. It must be called outside.")
        return self._advance(closure)

    def _advance(self, closure: Callable[[], Any] | None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for index, group in enumerate(self.param_groups):
            if group["params"]:
                self._step(index, group, loss)
        return loss

    def _step(self, index: int, group: dict[str, Any], loss: Any) -> None:
        method, params = method_of(group), group["params"]
        if loss is None and needs_loss(method):
            raise ArgumentError(
                f"{group['method']!r} looks at the loss. It needs a closure that returns it.",
                hint="optimizer.step(closure)",
            )
        grads = [p.grad for p in params]
        _refuse_sparse(grads)
        seen = _UNKNOWN if loss is None else torch.as_tensor(loss).detach()
        self._stepper(index, group, method).step(method, params, grads, self.state, seen, self._scale(group))

    def _scale(self, group: dict[str, Any]) -> float | Tensor:
        return group["lr"] / group["built_lr"]

    def _stepper(self, index: int, group: dict[str, Any], method: Method) -> Entrywise | Whole:
        steppers = self.__dict__.setdefault("_steppers", {})
        kind = Entrywise if is_entrywise(method) else Whole
        if not isinstance(steppers.get(index), kind):
            steppers[index] = Entrywise(group["compile"]) if kind is Entrywise else Whole()
        return steppers[index]

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Show the method's answer in the params while the block runs, then put back what was there.

        The answer of a method that averages is its average, of a line search the last accepted point.
        """
        groups = [(index, group) for index, group in enumerate(self.param_groups) if group["params"]]
        outer = self.__dict__.get("_showing", False)
        with torch.no_grad():
            before = [[p.clone() for p in group["params"]] for _, group in groups]
            for index, group in groups:
                method = method_of(group)
                answer = self._stepper(index, group, method).answer(method, group["params"], self.state)
                torch._foreach_copy_(group["params"], answer)
        self.__dict__["_showing"] = True
        try:
            yield
        finally:
            self.__dict__["_showing"] = outer
            with torch.no_grad():
                for (_, group), values in zip(groups, before, strict=True):
                    torch._foreach_copy_(group["params"], values)

    def state_dict(self) -> dict[str, Any]:
        """The state, as plain values and tensors that `torch.load(weights_only=True)` reads."""
        saved = torch.optim.Optimizer.state_dict(self)
        return {**saved, "param_groups": plain_groups(saved["param_groups"], self.param_groups)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, bit for bit, after checking that it was made by the same methods for the same params.

        Raises:
            ArgumentError: another number of groups or params, another method, name or shape.
        """
        check_saved(state_dict, self.param_groups)
        groups = with_own_objects(state_dict["param_groups"], self.param_groups)
        torch.optim.Optimizer.load_state_dict(self, {"state": {}, "param_groups": groups})
        load_states(state_dict, self.param_groups, self.state)
        self.__dict__.pop("_steppers", None)


def _refuse_sparse(grads: list[Tensor | None]) -> None:
    for g in grads:
        if g is not None and g.layout is not torch.strided:
            raise ArgumentError(
                f"The gradient of a param of shape {tuple(g.shape)} is sparse. It must be dense.",
                hint="sparse=False in torch.nn.Embedding, or torch.optim.SparseAdam for that param",
            )

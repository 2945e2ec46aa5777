"""Descent without a learning rate, as a torch optimizer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from descenso._errors import ArgumentError
from descenso.torch.lanes import LESS, LOOKS, Forks, Lane, Trial
from descenso.torch.optimizer import Optimizer


class Descent(Optimizer):
    """The method `online` as a torch optimizer: nothing to choose, no number of steps to give, no closure needed.

        optimizer = Descent(model.parameters())
        for batch in batches:
            optimizer.zero_grad()
            loss(model, batch).backward()
            optimizer.step()
        with optimizer.evaluation():
            validate(model)

    The answer is an average of the points, which `evaluation` shows. A gradient that is not finite changes nothing; at
    the third in a row the params go back to the average, and the step size is halved. Each param group has a step size
    of its own. `lr` is a factor on it, 1 unless a scheduler or the user of a group changes it.

    With a closure, `optimizer.step(closure)`, it forks: at step 1,024 and at every doubling it also tries a quarter of
    the step size, on the same batches, compares the means of the two paths on eight more, and goes on with the better
    one. Inside a fork a step calls the closure two or three times, each time for the same batch; all calls together are
    at most 1.05 times the steps. `findings` says what was decided, a line a fork. A step without a closure ends a fork
    undecided. Memory inside a fork: nine to ten copies of the params more.

    Args:
        params: params, param groups or named params, as torch takes them.
        weight_decay: decoupled weight decay, >= 0.
        matrices: whether params that are shaped like matrices, weights of convolutions among them, go by Muon; it costs
            fifteen products of such a matrix with itself a step. Otherwise everything goes by Adam.
        forks: whether it may fork where it is given a closure. It does not where torch runs several processes, each of
            which would decide by its own loss.

    Raises:
        ArgumentError: as from `Optimizer`; from `step`, a closure that does not return the loss.
    """

    def __init__(self, params: Any, *, weight_decay: float = 0.0, matrices: bool = True, forks: bool = True):
        self._forks, self._may_fork = Forks(), forks
        Optimizer.__init__(self, params, "online", weight_decay=weight_decay, matrices=matrices, output_axis=0)

    @property
    def findings(self) -> list[str]:
        """What the forks so far have decided, a line each."""
        return list(self._forks.findings)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add params, as in `Optimizer`; ends a fork undecided."""
        self._forks.trial = None
        Optimizer.add_param_group(self, param_group)

    def state_dict(self) -> dict[str, Any]:
        """The state as in `Optimizer`, and that of a fork."""
        return {**Optimizer.state_dict(self), "forks": self._forks.saved()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, as in `Optimizer`."""
        Optimizer.load_state_dict(self, state_dict)
        saved = state_dict.get("forks")
        self._forks = Forks() if saved is None else Forks.read(saved, self._params())
        self.__dict__.pop("_resting", None)

    def __getstate__(self) -> dict[str, Any]:
        return {**Optimizer.__getstate__(self), "_forks": self._forks, "_may_fork": self._may_fork}

    def _scale(self, group: dict[str, Any]) -> float | Tensor:
        return Optimizer._scale(self, group) * self._forks.factor

    def _advance(self, closure: Callable[[], Any] | None) -> Any:
        forks = self._forks
        if closure is None or not self._may_fork or _several_processes():
            forks.trial = None
            return Optimizer._advance(self, closure)
        if forks.trial is None and (length := forks.length()) > 0:
            forks.trial = self._begun(length)
        trial = forks.trial
        if trial is not None:
            (self._try if trial.made < trial.length else self._compare)(trial, closure)
        loss = Optimizer._advance(self, lambda: _checked(closure()))
        forks.steps += 1
        if trial is not None:
            self._after(trial)
        return loss

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _begun(self, length: int) -> Trial:
        params = self._params()
        states = {
            i: {k: v.clone() for k, v in self.state[p].items()} for i, p in enumerate(params) if self.state.get(p)
        }
        self.__dict__.pop("_resting", None)
        means = [[p.detach().to(torch.promote_types(p.dtype, torch.float32), copy=True) for p in params] for _ in "ab"]
        return Trial(length, Lane([p.detach().clone() for p in params], states), means)

    def _swap(self, trial: Trial) -> None:
        """Put the other lane into the params, and the one that is there in its place."""
        params, other = self._params(), trial.other
        here = Lane(
            [p.detach().clone() for p in params], {i: self.state[p] for i, p in enumerate(params) if p in self.state}
        )
        torch._foreach_copy_(params, other.params)
        self.state = defaultdict(dict, {params[i]: state for i, state in other.states.items()})
        steppers = self.__dict__.pop("_steppers", {})
        self.__dict__["_steppers"] = self.__dict__.pop("_resting", {})
        self.__dict__["_resting"] = steppers
        trial.other = here

    def _try(self, trial: Trial, closure: Callable[[], Any]) -> None:
        """A step of the other lane."""
        self._swap(trial)
        kept, self._forks.factor = self._forks.factor, self._forks.factor * LESS
        try:
            with _gradients_kept(self._params()):
                Optimizer._advance(self, closure)
            trial.follow(1, self._params())
        finally:
            self._forks.factor = kept
            self._swap(trial)
        self._forks.spent += 1

    def _compare(self, trial: Trial, closure: Callable[[], Any]) -> None:
        """The losses at the means of both lanes."""
        params = self._params()
        point, losses = [p.detach().clone() for p in params], []
        try:
            for mean in trial.means:
                torch._foreach_copy_(params, mean)
                with torch.enable_grad(), _gradients_kept(params):
                    losses.append(torch.as_tensor(_checked(closure())).item())
        finally:
            torch._foreach_copy_(params, point)
        for lane, loss in zip(trial.losses, losses, strict=True):
            lane.append(loss)
        self._forks.spent += 2

    def _after(self, trial: Trial) -> None:
        """The lane that is in the params has stepped."""
        if trial.made < trial.length:
            trial.follow(0, self._params())
        trial.made += 1
        if trial.made == trial.length + LOOKS:
            if self._forks.decide():
                self._swap(trial)
            self.__dict__.pop("_resting", None)


@contextmanager
def _gradients_kept(params: list[Tensor]) -> Iterator[None]:
    """A closure called once more leaves no gradient behind, whoever zeroes them."""
    kept = [None if p.grad is None else p.grad.clone() for p in params]
    try:
        yield
    finally:
        for p, grad in zip(params, kept, strict=True):
            p.grad = grad


def _several_processes() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _checked(loss: Any) -> Any:
    """The loss that a closure has returned; a tensor is not waited for."""
    if loss is None:
        raise ArgumentError(
            "The closure returned None. `Descent` compares losses, and needs the one that it computed.",
            hint="`return loss` at its end, or forks=False",
        )
    if isinstance(loss, Tensor) and loss.numel() != 1:
        raise ArgumentError(
            f"The closure returned a loss of shape {tuple(loss.shape)}. It must return one number.",
            hint="loss.mean()",
        )
    return loss

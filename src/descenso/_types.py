"""What flows through a descent, and the four questions a method answers.

No behaviour lives here: only the values that are passed on and the protocols that pass them. `Leaves` is a flat tuple
of arrays; `xp` is the caller's array namespace (`numpy`, `jax.numpy` or `torch`), always passed, never detected.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

Array: TypeAlias = Any
"""An array of the caller's library."""
Scalar: TypeAlias = Any
"""A 0-d array of the caller's library."""
Leaves: TypeAlias = tuple[Array, ...]
"""The params (or gradients) as a flat tuple of arrays."""
State: TypeAlias = Any
"""Nested tuples of arrays: all that a slot or a method remembers between steps."""
Namespace: TypeAlias = Any
"""`numpy`, `jax.numpy` or `torch`; the verbs a method may use are listed in `_namespace`."""


class Evaluation(NamedTuple):
    """The loss and its gradient at the params and batch of one step."""

    loss: Scalar
    grads: Leaves


class Info(NamedTuple):
    """What one step tells the watch; numbers only, never params.

    `loss` is the loss at the point the method stands at: for a line search the last accepted point, not the trial.
    """

    loss: Scalar
    grad_norm: Scalar
    step_size: Scalar
    update_norm: Scalar


@runtime_checkable
class Rule(Protocol):
    """Which way: turns gradients into a direction."""

    def init(self, params: Leaves, *, xp: Namespace) -> State: ...

    def direction(self, grads: Leaves, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]: ...


@runtime_checkable
class StepSize(Protocol):
    """How far: chooses eta for a direction."""

    def init(self, params: Leaves, *, xp: Namespace) -> State: ...

    def choose(
        self, evaluation: Evaluation, direction: Leaves, params: Leaves, state: State, *, xp: Namespace
    ) -> tuple[Scalar, State]: ...


@runtime_checkable
class Averaging(Protocol):
    """Which point is the answer: applies the update and keeps the point to evaluate at."""

    def init(self, params: Leaves, *, xp: Namespace) -> State: ...

    def apply(
        self, params: Leaves, direction: Leaves, step_size: Scalar, state: State, *, xp: Namespace
    ) -> tuple[Leaves, State]: ...

    def eval_params(self, params: Leaves, state: State) -> Leaves: ...


@runtime_checkable
class Method(Protocol):
    """A whole way down: one evaluation in, the next params out.

    A method may carry two optional class attributes, both False where absent:

    * `line_search`: the method proposes trial points and judges each at the next evaluation. Its step sees nonfinite
      evaluations (it backs off itself), and it is meant for a loss that is the same function at every step.
    * `needs_product`: `step` takes one more keyword, `product(v) -> H v`, the Hessian-vector product at `params`.
    """

    def init(self, params: Leaves, *, xp: Namespace) -> State: ...

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]: ...

    def eval_params(self, params: Leaves, state: State) -> Leaves: ...

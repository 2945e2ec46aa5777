"""A method made of three slots: which way, how far, which point."""

from __future__ import annotations

from dataclasses import dataclass, field

from descenso._namespace import norm, widen_evaluation
from descenso._types import Averaging, Evaluation, Info, Leaves, Namespace, Rule, Scalar, State, StepSize
from descenso.averaging import Last


@dataclass(frozen=True)
class Descent:
    """Gradient descent, written as the textbook writes it.

        x_{t+1} = x_t - eta_t d_t

    Args:
        rule: which way (`descenso.rules`).
        step_size: how far (`descenso.step_sizes`).
        averaging: which point is the answer (`descenso.averaging`).

    State: the states of the three slots. Memory: the sum of theirs.
    Use: for every method that is a direction, a step size and an averaging.
    Source: Cauchy 1847, Comptes Rendus 25, 536-538.
    """

    rule: Rule
    step_size: StepSize
    averaging: Averaging = field(default_factory=Last)

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return (
            self.rule.init(params, xp=xp),
            self.step_size.init(params, xp=xp),
            self.averaging.init(params, xp=xp),
        )

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        evaluation = widen_evaluation(evaluation, xp)
        params, state, direction, eta = self._move(evaluation, params, state, scale, xp)
        return params, state, Info(evaluation.loss, norm(evaluation.grads, xp), eta, eta * norm(direction, xp))

    def advance(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State]:
        """`step` without its Info, and so without a norm, for a caller that reads none and runs uncompiled."""
        return self._move(widen_evaluation(evaluation, xp), params, state, scale, xp)[:2]

    def _move(
        self, evaluation: Evaluation, params: Leaves, state: State, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Leaves, Scalar]:
        rule, size, mean = state
        direction, rule = self.rule.direction(evaluation.grads, params, rule, xp=xp)
        eta, size = self.step_size.choose(evaluation, direction, params, size, xp=xp)
        params, mean = self.averaging.apply(params, direction, scale * eta, mean, xp=xp)
        return params, (rule, size, mean), direction, scale * eta

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return self.averaging.eval_params(params, state[2])

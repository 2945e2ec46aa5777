"""One rule after the other."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._types import Leaves, Namespace, Rule, State


@dataclass(frozen=True)
class Chain:
    """The direction of one rule, handed to the next as its gradient.

        d_t = second(first(g_t))

    Args:
        first, second: the rules.

    State: the states of both. Memory: the sum of both.
    Use: `Chain(RMSProp(), Momentum())` is torch's RMSprop with momentum, `Chain(Momentum(), Sign())` is Signum.
    Source: the composition of transformations of optax.chain.
    """

    first: Rule
    second: Rule

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return self.first.init(params, xp=xp), self.second.init(params, xp=xp)

    def direction(self, grads: Leaves, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]:
        first, second = state
        direction, first = self.first.direction(grads, params, first, xp=xp)
        direction, second = self.second.direction(direction, params, second, xp=xp)
        return direction, (first, second)

"""Decoupled weight decay."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._masks import Mask, check_mask
from descenso._namespace import widen
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace, Rule, State


@dataclass(frozen=True)
class WeightDecay:
    """A rule whose every step also shrinks the params, by the step size times `decay`.

        d_t = rule(g_t) + decay x_t
        so that x_{t+1} = (1 - eta_t decay) x_t - eta_t rule(g_t)

    The moments of the rule never see the decay; that is what sets it apart from a penalty (`L2`).

    Args:
        rule: any rule.
        decay: share of the params lost per unit of step size, >= 0.
        mask: which leaves decay, one boolean per leaf; None decays all. Usual: matrices yes, biases and scales no.

    State: that of the rule. Memory: that of the rule.
    Use: around Adam it makes AdamW; around momentum SGDW.
    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, Algorithm 2, with the decay multiplied by the step size.
    """

    rule: Rule
    decay: float
    mask: Mask | None = None

    def __post_init__(self):
        check_ranges(self, decay="[0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        if self.mask is not None:
            check_mask(self, self.mask, params)
        return self.rule.init(params, xp=xp)

    def direction(self, grads: Leaves, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]:
        direction, state = self.rule.direction(grads, params, state, xp=xp)
        mask = self.mask or (True,) * len(params)
        decayed = (d + self.decay * widen(x, xp) if m else d for d, x, m in zip(direction, params, mask, strict=True))
        return tuple(decayed), state

"""Mechanic."""

from __future__ import annotations

from dataclasses import dataclass, field

from descenso._namespace import cast, copies, dot, norm, scalar, widen, widen_evaluation
from descenso._ranges import check_ranges
from descenso._types import Evaluation, Info, Leaves, Namespace, Rule, Scalar, State, StepSize
from descenso.step_sizes import Constant


@dataclass(frozen=True)
class Mechanic:
    """Any rule, with a factor on its whole way so far that is learned by betting on the gradients.

        D_t = (x_0 - x_t) / (sum s_t + eps)                              the way so far, at factor 1
        h = <g_t + decay (sum s_t) |g_t| / (|x_t| + eps) x_t, D_t>
        for beta = 0.9, 0.99, ..., one per bettor i:
            r = beta r + min(m, max(-m, h)) s,  m = max(beta m, |h| + eps),  v = beta^2 v + h^2
            s = (first / bettors m + max(0, r)) / (sqrt(v) + eps)
        x_{t+1} = x_0 - (sum s) (D_t + eta_t d_t)

    Args:
        rule: which way.
        step_size: a constant of about 1, or a schedule with peak 1; the factor learns the rest.
        decay: pulls the factor down as the params grow, >= 0; not a decay of the params.
        first: the first factor, > 0.
        bettors: how many values of beta, in [1, 16].
        eps: > 0, against division by 0.

    State: x_0: leaves shaped as params, at least float32; s, r, m, v (bettors,); those of the slots.
    Memory: 1 x params, and that of the rule. Params in float16 or bfloat16 lose the first, tiny steps in rounding.
    Use: to save the search for a step size; the schedule must still be given.
    Source: Cutkosky, Defazio, Mehta 2023, arXiv:2306.00144, Algorithm 1, in the form of optax.contrib.mechanize.
    """

    rule: Rule
    step_size: StepSize = field(default_factory=lambda: Constant(1.0))
    decay: float = 1e-2
    first: float = 1e-6
    bettors: int = 6
    eps: float = 1e-8

    def __post_init__(self):
        check_ranges(self, decay="[0, inf)", first="(0, inf)", bettors="[1, 16]", eps="(0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        zero = xp.stack([scalar(0.0, params, xp)] * self.bettors)
        rule, size = self.rule.init(params, xp=xp), self.step_size.init(params, xp=xp)
        return copies(params, xp), (zero + self.first, zero, zero, zero), rule, size

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        start, bets, rule, size = state
        evaluation = widen_evaluation(evaluation, xp)
        now = tuple(widen(x, xp) for x in params)
        direction, rule = self.rule.direction(evaluation.grads, params, rule, xp=xp)
        eta, size = self.step_size.choose(evaluation, direction, params, size, xp=xp)
        total = xp.sum(bets[0])
        way = tuple((x0 - x) / cast(total + self.eps, x, xp) for x0, x in zip(start, now, strict=True))
        h = cast(self._bet(evaluation.grads, now, way, total, xp), total, xp)
        bets = self._learn(h, bets, xp)
        total = xp.sum(bets[0])
        goal = (x0 - cast(total, d, xp) * (w + eta * d) for x0, w, d in zip(start, way, direction, strict=True))
        update = tuple(scale * (g - x) for g, x in zip(goal, now, strict=True))
        moved = tuple(cast(x + u, p, xp) for x, u, p in zip(now, update, params, strict=True))
        info = Info(evaluation.loss, norm(evaluation.grads, xp), scale * total * eta, norm(update, xp))
        return moved, (start, bets, rule, size), info

    def _bet(self, grads: Leaves, now: Leaves, way: Leaves, total: Scalar, xp: Namespace) -> Scalar:
        pull = self.decay * total * norm(grads, xp) / (norm(now, xp) + self.eps)
        return dot(tuple(g + cast(pull, g, xp) * x for g, x in zip(grads, now, strict=True)), way, xp)

    def _learn(self, h: Scalar, bets: State, xp: Namespace) -> State:
        s, r, m, v = bets
        beta = xp.stack([0 * h + (1 - 0.1**i) for i in range(1, self.bettors + 1)])
        r = beta * r + xp.minimum(m, xp.maximum(-m, h + 0 * m)) * s
        m = xp.maximum(beta * m, xp.abs(h) + self.eps + 0 * m)
        v = beta * beta * v + h * h
        wealth = self.first / self.bettors * m + xp.maximum(r, 0 * r)
        return wealth / (xp.sqrt(v) + self.eps), r, m, v

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return params

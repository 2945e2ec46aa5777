"""Muon."""

from __future__ import annotations

from dataclasses import dataclass, field

from descenso._errors import ArgumentError
from descenso._masks import Mask, check_mask, merge, split
from descenso._namespace import zeros
from descenso._ranges import check_ranges
from descenso._types import Array, Leaves, Namespace, Rule, State
from descenso.rules.adam import Adam


@dataclass(frozen=True)
class Muon:
    """Momentum of each hidden matrix with all its singular values brought near 1; other leaves by a second rule.

        M_t = beta M_{t-1} + (1 - beta) G_t
        N_t = beta M_t + (1 - beta) G_t                            N_t = M_t without nesterov
        X_0 = N_t / |N_t|,  X_{k+1} = a X_k + (b A + c A A) X_k,  A = X_k X_k'
        D_t = rms sqrt(max(rows, columns)) X_steps

    The factor before X gives a step the root mean square of a step of Adam, so that one step size serves both rules.

    Args:
        beta: decay of the momentum, in [0, 1).
        nesterov: whether to look one step ahead.
        rms: root mean square of a direction, > 0.
        steps: of the Newton-Schulz polynomial, >= 1.
        hidden: which leaves are hidden matrices, one boolean per leaf; each of them must have two axes. None takes
            every leaf with two axes; leave out embeddings and the last layer by a mask.
        rest: the rule of the other leaves.
        eps: smallest |N_t| divided by, > 0.

    State: momentum of the hidden matrices; the state of `rest`. Memory: 1 x hidden matrices, and that of `rest`.
    Use: the hidden matrices of transformers, autoencoders and other deep networks.
    Source: Jordan 2024, kellerjordan.github.io/posts/muon; the factor: Liu et al. 2025, arXiv:2502.16982, section 2.2.
    """

    beta: float = 0.95
    nesterov: bool = True
    rms: float = 0.2
    steps: int = 5
    hidden: Mask | None = None
    rest: Rule = field(default_factory=Adam)
    eps: float = 1e-7

    def __post_init__(self):
        check_ranges(self, beta="[0, 1)", rms="(0, inf)", steps="[1, 100]", eps="(0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        matrices, others = split(params, self._mask(params))
        return zeros(matrices, xp), self.rest.init(others, xp=xp) if others else ()

    def direction(self, grads: Leaves, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]:
        momentum, rest = state
        mask = self._mask(params)
        matrices, others = split(grads, mask)
        momentum = tuple(self.beta * m + (1 - self.beta) * g for m, g in zip(momentum, matrices, strict=True))
        ahead = momentum
        if self.nesterov:
            ahead = tuple(self.beta * m + (1 - self.beta) * g for m, g in zip(momentum, matrices, strict=True))
        direction = tuple(self.rms * max(n.shape) ** 0.5 * orthogonal(n, self.steps, self.eps, xp) for n in ahead)
        if others:
            others, rest = self.rest.direction(others, split(params, mask)[1], rest, xp=xp)
        return merge(direction, others, mask), (momentum, rest)

    def _mask(self, params: Leaves) -> Mask:
        flat = tuple(len(p.shape) == 2 for p in params)
        if self.hidden is None:
            return flat
        check_mask(self, self.hidden, params)
        for p, chosen, matrix in zip(params, self.hidden, flat, strict=True):
            if chosen and not matrix:
                raise ArgumentError(f"Muon got a hidden leaf of shape {tuple(p.shape)}. A hidden matrix has two axes.")
        return self.hidden


def orthogonal(n: Array, steps: int, eps: float, xp: Namespace) -> Array:
    """Roughly U V' of n = U S V': singular values between about 0.7 and 1.2, for those that are not tiny."""
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = n.shape[0] <= n.shape[1]
    x = n if wide else n.mT
    size = xp.sqrt(xp.sum(x * x))
    x = x / xp.where(size > eps, size, eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.mT

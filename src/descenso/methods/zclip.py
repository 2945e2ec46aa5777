"""Clipping of gradients that stand out."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import counter, increment, real, scalar, stable_norm
from descenso._ranges import check_ranges
from descenso._types import Evaluation, Info, Leaves, Method, Namespace, Scalar, State
from descenso.methods.clip import shortened
from descenso.methods.wrapped import refuse_line_search


@dataclass(frozen=True)
class ZClip:
    """A method whose gradients are clipped where their norm stands out among the recent ones.

        n = |g_t|,  z = (n - mu) / (sigma + eps)
        n <- mu + sigma threshold^2 / z                            where z > threshold, after the first `warmup` steps
        mu <- alpha mu + (1 - alpha) n,  sigma^2 <- alpha sigma^2 + (1 - alpha) (n - mu)^2
        in the first `warmup` steps: mu and sigma^2 are the plain mean and variance so far

    Args:
        method: any method without a line search.
        alpha: decay of the mean and variance, in [0, 1).
        threshold: standard deviations above the mean that count as standing out, > 0.
        warmup: steps that are only watched, >= 2.
        eps: added to sigma, > 0, as a share of mu.

    State: count () int32, mu (), sigma^2 (), that of the method. Memory: that of the method.
    Use: long runs on text, where a fixed limit is right at no two moments; `Info.grad_norm` is that before clipping.
    Source: Kumar et al. 2025, arXiv:2504.02507, section 3; eps made relative so that the scale of the loss is free.
    """

    method: Method
    alpha: float = 0.97
    threshold: float = 2.5
    warmup: int = 25
    eps: float = 1e-6

    def __post_init__(self):
        check_ranges(self, alpha="[0, 1)", threshold="(0, inf)", warmup="[2, inf)", eps="(0, inf)")
        refuse_line_search(self)

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        zero = scalar(0.0, params, xp)
        return counter(params, xp), zero, zero, self.method.init(params, xp=xp)

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        count, mu, variance, inner = state
        count = increment(count, xp)
        size = xp.asarray(stable_norm(evaluation.grads, xp), dtype=mu.dtype)
        limit = xp.where(count > self.warmup, self._limit(size, mu, variance, xp), size)
        clipped = Evaluation(evaluation.loss, shortened(evaluation.grads, size, limit, xp))
        params, inner, info = self.method.step(clipped, params, inner, scale=scale, xp=xp)
        mu, variance = self._watch(limit, mu, variance, real(count, params[0], xp), xp)
        return params, (count, mu, variance, inner), info._replace(grad_norm=size)

    def _limit(self, size: Scalar, mu: Scalar, variance: Scalar, xp: Namespace) -> Scalar:
        sigma = xp.sqrt(variance)
        spread = sigma + self.eps * mu
        z = (size - mu) / xp.where(spread > 0, spread, 1.0)
        return xp.where(z > self.threshold, mu + sigma * self.threshold**2 / xp.where(z > 0, z, 1.0), size)

    def _watch(self, size: Scalar, mu: Scalar, variance: Scalar, t: Scalar, xp: Namespace) -> tuple[Scalar, Scalar]:
        weight = xp.where(t > self.warmup, 1 - self.alpha, 1 / t)
        new = mu + weight * (size - mu)
        # the warm-up follows Welford, whose variance is about the new mean as well as the old
        other = xp.where(t > self.warmup, new, mu)
        return new, variance + weight * ((size - new) * (size - other) - variance)

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return self.method.eval_params(params, state[3])

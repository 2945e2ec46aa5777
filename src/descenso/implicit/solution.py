"""`argmin`: the minimum of a loss as a function of what the loss depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from descenso._errors import ArgumentError
from descenso._types import Leaves, Method, Scalar
from descenso.engine.calling import check_call
from descenso.engine.compile_cache import keep_on_disk
from descenso.engine.objective import Parted, check_scalar, parted
from descenso.engine.tree import Tree, flatten
from descenso.implicit.derivative import minimum
from descenso.implicit.descend import descend
from descenso.methods import named, quasi_newton


class Solution(NamedTuple):
    """The minimum, and whether it is one.

    Attributes:
        params: the answer, a pytree like the start.
        loss: the loss there, ().
        grad_norm: the norm of the gradient there, (); without a derivative.
        steps: evaluations of the loss and its gradient that it took, int32 ().
        converged: whether the gradient is zero, to the share asked for or to the rounding of the loss, (). Where not,
            derivatives of `params` are those that the point would have if it were: off by about |g| over the smallest
            curvature.
    """

    params: Any
    loss: Scalar
    grad_norm: Scalar
    steps: Scalar
    converged: Scalar


@dataclass(frozen=True, eq=False)  # compared as functions are: the start is an array
class Argmin:
    """What `argmin` returns: `self(theta, start)` is the `Solution`."""

    loss: Callable
    start: Any
    method: str | Method
    steps: int
    gradient: float | None
    products: int | None

    def __call__(self, theta: Any, start: Any = None) -> Solution:
        """The minimum for this `theta`, sought from `start`."""
        start = self.start if start is None else start
        if start is None:
            raise ArgumentError(
                "No point to start from was given.", hint="argmin(loss)(theta, start), or argmin(loss, start)(theta)"
            )
        keep_on_disk()
        tree, leaves = flatten(start)
        form, own = parted(self.loss)
        settings = _Settings(self._of_size(sum(leaf.size for leaf in leaves)), self.steps, self.gradient, self.products)
        params, loss, ended = _solve(form, tree, settings, own, theta, leaves)
        return Solution(tree.build(params), loss, *ended)

    def _of_size(self, n: int) -> Method:
        if not isinstance(self.method, str):
            return self.method
        if self.method == "auto":
            return quasi_newton(n)
        return named(self.method)


def argmin(
    loss: Callable,
    start: Any = None,
    *,
    method: str | Method = "auto",
    steps: int = 2000,
    gradient: float | None = None,
    products: int | None = None,
) -> Argmin:
    """The minimum of a loss over its params as a pure function of what else it depends on.

    `argmin(loss)(theta, start)` may stand inside `jax.jit`, `jax.vmap` (over thetas, starts or both), `jax.grad` and
    `jax.jvp`. Its derivatives are those of the minimum, not of the way there, and cost a few products with the Hessian:

        dx* = -H^-1 (dg / dtheta) dtheta,  H = d2 loss / dx2 and g = d loss / dx at x*

    There is none with respect to the start. Nothing can be raised from compiled code: whether it converged stands in
    the `Solution`. Derivatives are NaN where they do not exist, at a saddle or along a flat direction, and where the
    products allowed did not suffice.

    Args:
        loss: `loss(params, theta)`, written in jax.numpy, one float; twice differentiable, without kinks.
        start: params to start from, for calls that give none: a pytree as in `minimize`.
        method: "auto" is BFGS up to 512 params, else L-BFGS. Or a method by name or by value, for a loss that is the
            same at every step: "bfgs", "lbfgs", "newton_cg", "nonlinear_cg", "barzilai_borwein".
        steps: the most evaluations of the loss and its gradient, >= 1.
        gradient: the gradient norm, as a share of the largest seen, that counts as zero, in (0, 1). None takes 1e-8 in
            float64 and 1e-6 in float32.
        products: the most products with the Hessian that one derivative of first order may cost; None takes 10 for each
            param, between 50 and 5000.

    Returns:
        A function of `theta`, any pytree of arrays, and optionally of a start.

    Raises:
        ArgumentError: an argument is not what it must be. From the call: ParamsError and LossShapeError, as in
            `minimize`.
    """
    if not callable(loss):
        raise ArgumentError(f"`loss` is a {type(loss).__name__}. It must be a function of params and theta.")
    check_call(loss, batch=True, second="theta")
    if isinstance(method, str) and method != "auto":
        named(method)
    if steps < 1 or (products is not None and products < 1):
        raise ArgumentError(f"`steps` is {steps!r} and `products` {products!r}. They must be whole numbers from 1.")
    if gradient is not None and not 0 < gradient < 1:
        raise ArgumentError(f"`gradient` is {gradient!r}. It must lie between 0 and 1, or be None.")
    return Argmin(loss, start, method, steps, gradient, products)


class _Settings(NamedTuple):
    method: Method
    steps: int
    gradient: float | None
    products: int | None


@partial(jax.jit, static_argnums=(0, 1, 2))
def _solve(
    form: Callable | Parted, tree: Tree, settings: _Settings, own: Leaves, theta: Any, leaves: Leaves
) -> tuple[Leaves, Scalar, tuple[Scalar, Scalar, Scalar]]:
    """The minimum, the loss there, and its gradient norm, the steps and whether it converged."""
    loss = form.build(own) if isinstance(form, Parted) else form
    n, wide = sum(leaf.size for leaf in leaves), jnp.result_type(*leaves) == jnp.float64
    share = settings.gradient or (1e-8 if wide else 1e-6)
    most = settings.products or min(max(10 * n, 50), 5000)

    def value(x: Leaves) -> Scalar:
        return loss(tree.build(x), theta)

    check_scalar(jax.eval_shape(value, leaves), "loss(params, theta)")

    def solve(value: Callable, start: Leaves) -> tuple:
        found = descend(value, start, settings.method, share, settings.steps)
        # as floats: what stands beside a root must have a tangent of its own dtype
        steps, converged = (jnp.asarray(n, found.grad_norm.dtype) for n in (found.steps, found.converged))
        return found.params, (found.grad_norm, steps, converged)

    params, (norm, steps, converged) = minimum(value, leaves, solve, 1e-10 if wide else 1e-6, most)
    return params, value(params), (norm, jnp.asarray(steps, jnp.int32), converged > 0)

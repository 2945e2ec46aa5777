"""Methods of descenso in optax, and transformations of optax in descenso."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from descenso._errors import ArgumentError
from descenso._namespace import norm
from descenso._types import Evaluation, Info, Leaves, Method, Namespace, Scalar, State
from descenso.engine.tree import flatten


def to_optax(method: Method) -> optax.GradientTransformationExtraArgs:
    """A method as an optax transformation.

    Its `update` needs `params`, and takes two extra arguments: `value`, the loss (NaN where it is not given, which is
    what a Polyak step then makes of the params), and `scale`, a factor on the step size, by default 1. The updates are
    the differences between the new params and the old. For the answer of a method that averages see `answer`.

    Raises:
        ArgumentError: from `update`, if `params` is not given, or if the method needs Hessian-vector products.
    """
    if getattr(method, "needs_product", False):
        raise ArgumentError(f"{type(method).__name__} needs Hessian-vector products, which optax does not hand on.")

    def init(params: Any) -> State:
        return method.init(tuple(jax.tree.leaves(params)), xp=jnp)

    def update(updates: Any, state: State, params: Any = None, *, value: Any = jnp.nan, scale: Any = 1.0, **other: Any):
        if params is None:
            raise ArgumentError("`update` got no params. Every method of descenso needs them.")
        leaves = tuple(jax.tree.leaves(params))
        evaluation = Evaluation(jnp.asarray(value), tuple(jax.tree.leaves(updates)))
        moved, state, _ = method.step(evaluation, leaves, state, scale=jnp.asarray(scale), xp=jnp)
        steps = [new - old for new, old in zip(moved, leaves, strict=True)]
        return jax.tree.unflatten(jax.tree.structure(params), steps), state

    return optax.GradientTransformationExtraArgs(init, update)


def answer(method: Method, params: Any, state: State) -> Any:
    """The point that the method gives as its answer, as a pytree like `params` and in its dtypes.

    Args:
        method: what `to_optax` was given.
        params: the params that the optax loop carries.
        state: the state of the transformation.
    """
    leaves, structure = jax.tree.flatten(params)
    point = method.eval_params(tuple(leaves), state)
    return jax.tree.unflatten(structure, [jnp.asarray(a, x.dtype) for a, x in zip(point, leaves, strict=True)])


@dataclass(frozen=True)
class FromOptax:
    """An optax transformation as a method; made by `from_optax`.

        x_{t+1} = x_t + scale updates_t

    The step size that it tells is |updates| / |gradient|. It runs in jax only.

    State: the leaves of the transformation's state.
    Source: optax.
    """

    transformation: optax.GradientTransformation
    structure: Any = None

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        if xp is not jnp:
            raise ArgumentError(f"An optax transformation runs in jax.numpy, not in {xp.__name__}.")
        return tuple(jnp.array(leaf) for leaf in jax.tree.leaves(self.transformation.init(self._tree(params))))

    def step(
        self, evaluation: Evaluation, params: Leaves, state: State, *, scale: Scalar, xp: Namespace
    ) -> tuple[Leaves, State, Info]:
        tree, grads = self._tree(params), self._tree(evaluation.grads)
        whole = jax.tree.unflatten(jax.tree.structure(jax.eval_shape(self.transformation.init, tree)), state)
        updates, whole = self._update(grads, whole, tree, value=evaluation.loss, grad=grads)
        moves = tuple(scale * u for u in jax.tree.leaves(updates))
        moved = tuple(jnp.asarray(x + u, x.dtype) for x, u in zip(params, moves, strict=True))
        slope, length = norm(evaluation.grads, xp), norm(moves, xp)
        eta = jnp.where(slope > 0, length / jnp.where(slope > 0, slope, 1.0), 0.0)
        same = (jnp.asarray(new, old.dtype) for new, old in zip(jax.tree.leaves(whole), state, strict=True))
        return moved, tuple(same), Info(evaluation.loss, slope, eta, length)

    def eval_params(self, params: Leaves, state: State) -> Leaves:
        return params

    def text(self, params: Leaves) -> str:
        """What a step computes, to tell it from another: a transformation hides its numbers in functions."""

        def step(loss: Scalar, grads: Leaves, params: Leaves):
            return self.step(Evaluation(loss, grads), params, self.init(params, xp=jnp), scale=1.0, xp=jnp)

        closed = jax.make_jaxpr(step)(jnp.float32(0), params, params)
        return f"{closed.jaxpr} {[np.asarray(c).tolist() for c in closed.consts]}"

    def _tree(self, leaves: Leaves) -> Any:
        return leaves if self.structure is None else jax.tree.unflatten(self.structure, leaves)

    def _update(self, *args: Any, **extra: Any):
        try:
            return optax.with_extra_args_support(self.transformation).update(*args, **extra)
        except TypeError as error:
            if "value_fn" not in str(error):
                raise
            raise ArgumentError(
                "The optax transformation searches along a line with `value_fn`, which a step does not have.",
                hint='method="lbfgs" is a line search that fits',
            ) from error


def from_optax(transformation: optax.GradientTransformation, like: Any = None) -> FromOptax:
    """An optax transformation as a method.

    It is handed the loss and the gradient as the extra arguments `value` and `grad`.

    Args:
        transformation: any that needs no `value_fn`.
        like: a pytree shaped as the params, for a transformation that knows their structure, such as one with a mask.
            It is handed the float leaves, with None in place of the others. None hands it a flat tuple.

    Raises:
        ArgumentError: from `init` outside jax; from `step` if the transformation asks for `value_fn`.
    """
    return FromOptax(transformation, None if like is None else flatten(like)[0].bare())

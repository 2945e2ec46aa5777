"""Descent without a learning rate, as a torch optimizer."""

from __future__ import annotations

from typing import Any

from descenso.torch.optimizer import Optimizer


class Descent(Optimizer):
    """The method `online` as a torch optimizer: nothing to choose, no closure, no number of steps to give.

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

    Args:
        params: params, param groups or named params, as torch takes them.
        weight_decay: decoupled weight decay, >= 0.
        matrices: whether params that are shaped like matrices, weights of convolutions among them, go by Muon; it costs
            fifteen products of such a matrix with itself a step. Otherwise everything goes by Adam.

    Raises:
        ArgumentError: as from `Optimizer`.
    """

    def __init__(self, params: Any, *, weight_decay: float = 0.0, matrices: bool = True):
        Optimizer.__init__(self, params, "online", weight_decay=weight_decay, matrices=matrices, output_axis=0)

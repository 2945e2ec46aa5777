"""Tensors and layers of torch from arrays and layers of the arena, and the perceptron that many models are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


def tensor(array: Any) -> Tensor:
    """A tensor of its own memory; integers become int64, which torch indexes by and takes as labels."""
    found = torch.tensor(np.asarray(array))
    return found if found.is_floating_point() else found.long()


def parameter(array: Any) -> nn.Parameter:
    """A tensor to descend on."""
    return nn.Parameter(tensor(array))


def linear(layer: dict) -> nn.Linear:
    """The layer x w + b; w of shape (inputs, outputs), or (inputs,) for one output."""
    weight = np.asarray(layer["w"])
    weight = weight.reshape(len(weight), -1).T
    made = nn.Linear(weight.shape[1], weight.shape[0])
    made.weight, made.bias = parameter(weight.copy()), parameter(np.asarray(layer["b"]).reshape(-1))
    return made


class Perceptron(nn.Module):
    """A multi-layer perceptron: rows of inputs to rows of outputs."""

    def __init__(self, params: dict, activation: Callable[[Tensor], Tensor] = torch.relu):
        super().__init__()
        self.hidden = nn.ModuleList(map(linear, params["hidden"]))
        self.out = linear(params["out"])
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = self.activation(layer(x))
        return self.out(x)


class Supervised(nn.Module):
    """`loss(model(x), y)`, with half of `decay` times the sum of squares of all parameters added."""

    def __init__(self, model: nn.Module, loss: Loss, decay: float = 0.0):
        super().__init__()
        self.model, self.loss, self.decay = model, loss, decay

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        loss = self.loss(self.model(batch["x"]), batch["y"])
        if not self.decay:
            return loss
        return loss + 0.5 * self.decay * sum(p.square().sum() for p in self.parameters())


class OneOutput(Supervised):
    """The same for a model with one output a row."""

    def __init__(self, model: nn.Module, loss: Loss):
        super().__init__(model, lambda prediction, y: loss(prediction.squeeze(-1), y))

"""Networks on digits and tables in torch eager."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.arena.eager.pieces import OneOutput, Perceptron, Supervised, linear, parameter


def _convolution(layer: dict) -> nn.Conv2d:
    """A 3 x 3 convolution of the matrix product with `layers.patches`: rows of w are (row, column, channel)."""
    weight = np.asarray(layer["w"])
    weight = weight.reshape(3, 3, -1, weight.shape[1]).transpose(3, 2, 0, 1)
    made = nn.Conv2d(weight.shape[1], weight.shape[0], 3)
    made.weight, made.bias = parameter(weight.copy()), parameter(layer["b"])
    return made


class _Convolutions(nn.Module):
    """Two convolutions, means of 2 x 2 blocks, a linear layer."""

    def __init__(self, params: dict):
        super().__init__()
        self.first, self.second = _convolution(params["first"]), _convolution(params["second"])
        # torch flattens (channel, row, column), the arena (row, column, channel)
        weight = np.asarray(params["out"]["w"]).reshape(2, 2, 16, 10).transpose(2, 0, 1, 3).reshape(64, 10)
        self.out = linear({"w": weight, "b": params["out"]["b"]})

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x.view(-1, 1, 8, 8)))
        x = F.relu(self.second(x))
        return self.out(F.avg_pool2d(x, 2).flatten(1))


class _Normalised(nn.Module):
    """Three convolutions, each normalised over the batch; no running statistics, as the arena has none."""

    def __init__(self, params: dict):
        super().__init__()
        self.hidden = nn.ModuleList(map(_convolution, params["hidden"]))
        self.norms = nn.ModuleList(nn.BatchNorm2d(len(p["b"]), track_running_stats=False) for p in params["hidden"])
        for norm, layer in zip(self.norms, params["hidden"], strict=True):
            norm.weight, norm.bias = parameter(layer["gain"]), parameter(layer["offset"])
        self.out = linear(params["out"])

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(-1, 1, 8, 8)
        for convolution, norm in zip(self.hidden, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))
        return self.out(x.mean((2, 3)))


class _Autoencoder(nn.Module):
    def __init__(self, params: dict):
        super().__init__()
        self.encoder, self.decoder = Perceptron(params["encoder"]), Perceptron(params["decoder"])

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        x = batch["x"]
        return F.mse_loss(self.decoder(self.encoder(x)), x, reduction="sum") / len(x)


class _Variational(_Autoencoder):
    """Draws its noise, or takes it from the batch, so that it can be compared with the JAX loss."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        x = batch["x"]
        mean, log_variance = self.encoder(x).chunk(2, -1)
        noise = batch["noise"] if "noise" in batch else torch.randn_like(mean)
        code = mean + torch.exp(0.5 * log_variance) * noise
        error = F.mse_loss(self.decoder(code), x, reduction="sum") / (2 * 0.2**2)
        divergence = 0.5 * torch.sum(mean.square() + log_variance.exp() - 1 - log_variance)
        return (error + divergence) / len(x)


def _classified(params: dict) -> OneOutput:
    return OneOutput(Perceptron(params), F.binary_cross_entropy_with_logits)


def _predicted(params: dict) -> OneOutput:
    return OneOutput(Perceptron(params), F.mse_loss)


MODELS = {
    "mlp_digits": lambda params: Supervised(Perceptron(params), F.cross_entropy, decay=1e-3),
    "deep_tanh": lambda params: Supervised(Perceptron(params, torch.tanh), F.cross_entropy),
    "autoencoder": _Autoencoder,
    "vae": _Variational,
    "cnn": lambda params: Supervised(_Convolutions(params), F.cross_entropy, decay=1e-3),
    "cnn_batch_norm": lambda params: Supervised(_Normalised(params), F.cross_entropy, decay=1e-3),
    "adult": _classified,
    "california": _predicted,
    "california_raw": _predicted,
    "protein": _predicted,
    "mnist": lambda params: Supervised(Perceptron(params), F.cross_entropy),
}

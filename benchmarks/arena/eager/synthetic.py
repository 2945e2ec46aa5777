"""The small tasks with a known make, and the networks that are functions of a coordinate, in torch eager."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.arena.eager.pieces import OneOutput, Perceptron, parameter, tensor


class _Quadratic(nn.Module):
    """The quadratic of `workloads.synthetic.noisy_quadratic`, drawn again from the same seed."""

    def __init__(self, params: dict):
        super().__init__()
        rng = np.random.default_rng(1)
        basis = np.linalg.qr(rng.normal(size=(100, 100)))[0]
        curvature = np.logspace(-4, 0, 100)
        self.matrix = tensor((basis * curvature @ basis.T).astype(np.float32))
        self.root = tensor((0.3 * basis * np.sqrt(curvature)).astype(np.float32))
        self.centre = tensor(rng.normal(0, 3, 100).astype(np.float32))
        self.x = parameter(params["x"])

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        away = self.x - self.centre
        return 0.5 * away @ (self.matrix @ away) + batch["z"].mean(0) @ (away @ self.root)


class _Mixture(nn.Module):
    """Eight Gaussians with diagonal covariances."""

    def __init__(self, params: dict):
        super().__init__()
        self.mean, self.log_scale = parameter(params["mean"]), parameter(params["log_scale"])
        self.weight = parameter(params["weight"])

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        scaled = (batch["x"][:, None] - self.mean) * torch.exp(-self.log_scale)
        log_density = -0.5 * scaled.square().sum(-1) - self.log_scale.sum(-1) - math.log(2 * math.pi)
        return -torch.logsumexp(F.log_softmax(self.weight, -1) + log_density, -1).mean()


class _Factors(nn.Module):
    """A matrix as the product of two embeddings."""

    def __init__(self, params: dict):
        super().__init__()
        self.row, self.column = parameter(params["row_embed"]), parameter(params["column_embed"])

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        rows, columns = F.embedding(batch["row"], self.row), F.embedding(batch["column"], self.column)
        return F.mse_loss((rows * columns).sum(-1), batch["y"])


class _Physics(nn.Module):
    """-u'' + u = f with u(-1) = u(1) = 0; the derivatives by `torch.autograd.grad`, twice."""

    def __init__(self, params: dict):
        super().__init__()
        self.u = Perceptron(params, torch.tanh)
        self.ends = torch.tensor([[-1.0], [1.0]])

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        x = batch["x"][:, None]
        source = (math.pi**2 + 1) * torch.sin(math.pi * x) + 0.3 * (16 * math.pi**2 + 1) * torch.sin(4 * math.pi * x)
        x = x.clone().requires_grad_()
        u = self.u(x)
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
        return F.mse_loss(u - bend, source) / 100 + 10 * self.u(self.ends).square().sum()


MODELS = {
    "noisy_quadratic": _Quadratic,
    "mixture": _Mixture,
    "matrix_factors": _Factors,
    "ten_parameters": lambda params: OneOutput(Perceptron(params, torch.tanh), F.mse_loss),
    "siren": lambda params: OneOutput(Perceptron(params, torch.sin), F.mse_loss),
    "pinn": _Physics,
}

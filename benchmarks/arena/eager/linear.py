"""Generalised linear models in torch eager."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.arena.eager.pieces import OneOutput, Supervised, linear


def _logistic(params: dict) -> OneOutput:
    return OneOutput(linear(params), F.binary_cross_entropy_with_logits)


def _squared(params: dict) -> OneOutput:
    return OneOutput(linear(params), F.mse_loss)


def _softmax(params: dict) -> Supervised:
    return Supervised(linear(params["out"]), F.cross_entropy, decay=1e-3)


def _poisson(params: dict) -> OneOutput:
    return OneOutput(linear(params), _deviance)


def _deviance(rate: Tensor, count: Tensor) -> Tensor:
    """Half the Poisson deviance, zero where the rate is the count; exp is kept from overflowing."""
    return torch.mean(rate.clamp(max=30).exp() - count * rate + torch.xlogy(count, count) - count)


MODELS = {
    "logistic_raw": _logistic,
    "logistic_dollars": _logistic,
    "softmax_raw": _softmax,
    "linear_raw": _squared,
    "linear_small": _squared,
    "poisson": _poisson,
}

"""The methods of descenso as a `torch.optim.Optimizer`. Loads no JAX."""

from descenso.torch.descent import Descent
from descenso.torch.optimizer import Optimizer

__all__ = ["Descent", "Optimizer"]

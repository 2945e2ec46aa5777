"""The open workloads of fewer than 100,000 parameters, written again as a user would write them in torch eager.

`MODELS` maps a name to `build(params)`: the `torch.nn.Module` that starts from the params of the JAX workload, and
whose `forward(batch)` is the loss. The batch has the names of the workload's data, as tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from benchmarks.arena.eager import linear, networks, synthetic, text

MODELS: dict[str, Callable[[Any], nn.Module]] = {
    **linear.MODELS,
    **synthetic.MODELS,
    **networks.MODELS,
    **text.MODELS,
}

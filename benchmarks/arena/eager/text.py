"""Characters and words in torch eager."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.arena.eager.pieces import linear, parameter


class _Transformer(nn.Module):
    """One block of attention and one perceptron."""

    def __init__(self, params: dict):
        super().__init__()
        self.embed, self.place = parameter(params["embed"]), parameter(params["place_embed"])
        self.gain = parameter(params["gain"])
        self.mix, self.merge, self.widen, self.narrow, self.out = (
            linear(params[name]) for name in ("mix", "merge", "widen", "narrow", "out")
        )

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        text = batch["text"]
        before, after = text[:, :-1], text[:, 1:]
        x = F.embedding(before, self.embed) + self.place
        x = x + self._attend(self._normalise(x, 0))
        x = x + self.narrow(F.gelu(self.widen(self._normalise(x, 1)), approximate="tanh"))
        return F.cross_entropy(self.out(self._normalise(x, 2)).flatten(0, 1), after.flatten())

    def _normalise(self, x: Tensor, which: int) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.gain[which])

    def _attend(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        parts = (p.view(rows, length, 2, -1).transpose(1, 2) for p in self.mix(x).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(*parts, is_causal=True)
        return self.merge(mixed.transpose(1, 2).reshape(rows, length, width))


class _Recurrent(nn.Module):
    """`torch.nn.GRU`: its gates are those of the arena, in the same order."""

    def __init__(self, params: dict):
        super().__init__()
        self.embed = parameter(params["embed"])
        width = self.embed.shape[1]
        self.unit = nn.GRU(width, width, batch_first=True)
        for suffix, layer in (("ih_l0", params["inward"]), ("hh_l0", params["recur"])):
            with torch.no_grad():
                getattr(self.unit, f"weight_{suffix}").copy_(torch.tensor(np.array(layer["w"]).T))
                getattr(self.unit, f"bias_{suffix}").copy_(torch.tensor(np.array(layer["b"])))
        self.out = linear(params["out"])

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        text = batch["text"]
        states, _ = self.unit(F.embedding(text[:, :-1], self.embed))
        return F.cross_entropy(self.out(states).flatten(0, 1), text[:, 1:].flatten())


class _Words(nn.Module):
    """The mean of the embeddings of the words; word 0 is none."""

    def __init__(self, params: dict):
        super().__init__()
        self.embed, self.out = parameter(params["embed"]), linear(params["out"])

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        mean = F.embedding_bag(batch["x"], self.embed, mode="mean", padding_idx=0)
        return F.binary_cross_entropy_with_logits(self.out(mean)[:, 0], batch["y"])


MODELS = {"char_transformer": _Transformer, "char_gru": _Recurrent, "polarity": _Words}

"""A transformer and a residual network trained side by side by torch's AdamW and ours."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from descenso.torch import Optimizer

torch.set_num_threads(1)

STEPS = 200


class Transformer(nn.Module):
    """Two layers of attention that predict the next of 16 symbols."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(16, 24)
        self.place = nn.Parameter(torch.randn(12, 24) * 0.1)
        layer = nn.TransformerEncoderLayer(24, 3, 48, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(24, 16)
        mask = torch.triu(torch.full((12, 12), -torch.inf), 1)
        self.register_buffer("mask", mask)

    def forward(self, x):
        return self.out(self.layers(self.embed(x) + self.place, mask=self.mask))


class Residual(nn.Module):
    """A residual network with batch normalisation on 8 x 8 images.

    Smooth activations: where a ReLU flips the gradient jumps, and then two float32 runs of torch itself that start 1e-6
    apart are 4e-3 apart in loss after 200 steps.
    """

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(8, 8, 3, padding=1, bias=False),
                nn.BatchNorm2d(8),
                nn.SiLU(),
                nn.Conv2d(8, 8, 3, padding=1, bias=False),
                nn.BatchNorm2d(8),
            )
            for _ in range(2)
        )
        self.out = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = nn.functional.silu(x + block(x))
        return self.out(x.mean((2, 3)))


def text(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences that count up by a hidden stride."""
    generator = torch.Generator().manual_seed(step)
    first = torch.randint(16, (8, 1), generator=generator)
    stride = torch.randint(1, 4, (8, 1), generator=generator)
    x = (first + stride * torch.arange(13)) % 16
    return x[:, :-1], x[:, 1:]


def images(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a bright quadrant; which one is the label."""
    generator = torch.Generator().manual_seed(step)
    y = torch.randint(4, (16,), generator=generator)
    x = torch.randn(16, 1, 8, 8, generator=generator)
    for i, label in enumerate(y.tolist()):
        x[i, 0, 4 * (label // 2) :, 4 * (label % 2) :] += 0.5
    return x, y


def losses(make, batches, optimizer, dtype) -> list[float]:
    torch.manual_seed(0)
    model = make().to(dtype)
    optimizer = optimizer(model.parameters())
    found = []
    for step in range(STEPS):
        x, y = batches(step)
        out = model(x if x.dtype == torch.int64 else x.to(dtype))
        loss = nn.functional.cross_entropy(out.flatten(0, -2), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("make", "batches"), [(Transformer, text), (Residual, images)])
def test_adamw_follows_that_of_torch(make, batches, dtype, tolerance: float):
    ours = losses(make, batches, lambda p: Optimizer(p, "adamw", lr=1e-3), dtype)
    theirs = losses(make, batches, lambda p: torch.optim.AdamW(p, lr=1e-3), dtype)
    assert ours[-1] < 0.8 * ours[0]
    worst = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    assert worst <= tolerance, f"the losses differ by {worst:.2g}"

"""Steps that are compiled, or are a single call: they are those of torch, whatever the params look like."""

from __future__ import annotations

import os
import shutil

import pytest
import torch
from torch import Tensor

from descenso.torch import Optimizer, group

SHAPES = [(), (1,), (7, 3), (300,), (0,), (40, 50)]
SEES_MANY = {"recompile_limit": 1, "fail_on_recompile_limit_hit": True}


def params(dtype: torch.dtype) -> list[torch.nn.Parameter]:
    """Params of many shapes, the last with its axes swapped in memory."""
    torch.manual_seed(0)
    made = [torch.randn(shape, dtype=dtype) for shape in SHAPES]
    return [torch.nn.Parameter(p) for p in [*made, torch.randn(6, 5, dtype=dtype).mT]]


def steps(optimizer: torch.optim.Optimizer, count: int, *, change: bool = False) -> list[Tensor]:
    """What the params are after some steps by random gradients; now and then one has none."""
    (one,) = optimizer.param_groups
    for t in range(count):
        torch.manual_seed(t)
        for p in one["params"]:
            p.grad = torch.randn_like(p)
        if t % 5 == 3:
            one["params"][2].grad = None
        if change and t == count // 2:
            one["weight_decay"], one["lr"] = 0.1, 0.02
        optimizer.step()
    return [p.detach() for p in one["params"]]


def assert_same(ours: list[Tensor], theirs: list[Tensor], tolerance: float) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="torch compiles by a C++ compiler")
@pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method` is deprecated"
)  # torch's own, where it loads the compiler
def test_compiled_by_inductor():
    ours = Optimizer(params(torch.float32), "adamw", lr=0.01, compile=True)
    assert_same(steps(ours, 12), steps(torch.optim.AdamW(params(torch.float32), lr=0.01), 12), 5e-6)


def test_an_option_that_changes_reaches_a_compiled_step():
    ours = Optimizer(params(torch.float64), "adamw", lr=0.01, compile="aot_eager")
    theirs = torch.optim.AdamW(params(torch.float64), lr=0.01)
    assert_same(steps(ours, 10, change=True), steps(theirs, 10, change=True), 1e-12)


def test_every_compiled_method_has_code_of_its_own():
    """Of one piece of code torch compiles so many forms and then no more."""
    with torch._dynamo.config.patch(SEES_MANY):
        for name in ("momentum", "rmsprop", "adagrad"):
            steps(Optimizer([torch.nn.Parameter(torch.ones(5)) for _ in range(3)], name, compile="aot_eager"), 2)


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_plain_descent_is_one_addition(monkeypatch: pytest.MonkeyPatch, compile: bool, dtype: torch.dtype):
    """Nothing is compiled for it, and no entry is met twice, however large the param."""
    monkeypatch.setattr(group, "UNCUT", 100)
    monkeypatch.setattr(group, "STEADY", 2)
    ours = Optimizer(params(dtype), "sgd", lr=0.1, compile=compile)
    tolerance = 2e-6 if dtype == torch.float32 else 1e-12
    assert_same(steps(ours, 9), steps(torch.optim.SGD(params(dtype), lr=0.1), 9), tolerance)


def test_a_scale_that_changes_reaches_plain_descent():
    ours, theirs = Optimizer(params(torch.float64), "sgd", lr=0.1), torch.optim.SGD(params(torch.float64), lr=0.1)
    for optimizer in (ours, theirs):
        steps(optimizer, 24)
        optimizer.param_groups[0]["lr"] = 0.01
    assert_same(steps(ours, 2), steps(theirs, 2), 1e-12)

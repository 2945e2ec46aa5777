"""The torch optimizer without a learning rate: it gets down by itself, can be saved and copied, survives infinities."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from descenso._errors import ArgumentError
from descenso.torch import Descent, Optimizer

torch.set_num_threads(1)

TABLE = torch.randn(256, 6, generator=torch.Generator().manual_seed(3))
TARGET = torch.sin(2 * TABLE[:, :1]) + TABLE[:, 1:2] * TABLE[:, 2:3]
SCALES = torch.tensor([1.0, 10.0, 100.0, 1e3, 1e4])


def perceptron(dtype=torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)).to(dtype)


def loss_of(model: nn.Module, rows=slice(None)) -> torch.Tensor:
    dtype = next(model.parameters()).dtype
    return ((model(TABLE[rows].to(dtype)) - TARGET[rows].to(dtype)) ** 2).mean()


def batch(step: int) -> torch.Tensor:
    return torch.randint(0, len(TABLE), (32,), generator=torch.Generator().manual_seed(step))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, first: int = 0, factor: float = 1.0) -> None:
    """The ordinary loop."""
    for step in range(first, first + steps):
        optimizer.zero_grad()
        (factor * loss_of(model, batch(step))).backward()
        optimizer.step()


def answer_of(model: nn.Module, optimizer: Optimizer) -> float:
    with optimizer.evaluation(), torch.no_grad():
        return loss_of(model).item()


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def tensors(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [v.clone() for state in optimizer.state.values() for v in state.values()]


def test_a_perceptron_learns_without_an_argument():
    model = perceptron()
    before = loss_of(model).item()
    optimizer = Descent(model.parameters())
    train(model, optimizer, 300)
    assert answer_of(model, optimizer) < 0.05 * before


def test_a_convolution_and_an_embedding_learn():
    torch.manual_seed(0)
    image = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 1))
    words = nn.EmbeddingBag(200, 4)  # fifty times as long as wide: an embedding, no matrix
    codes = torch.randint(0, 200, (64, 5))
    pictures, labels = torch.randn(64, 1, 4, 4), torch.randn(64, 1)
    optimizer = Descent([*image.parameters(), *words.parameters()])
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = ((image(pictures) + words(codes).sum(1, keepdim=True) - labels) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


def test_badly_scaled_regression_from_zero():
    x = TABLE[:, :5] * SCALES
    y = x @ (1 / SCALES) + 4.0
    weights, offset = torch.zeros(5, requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = Descent([weights, offset])

    def loss() -> torch.Tensor:
        return ((x @ weights + offset - y) ** 2).mean()

    before = loss().item()
    for _ in range(1500):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    with optimizer.evaluation():
        assert loss().item() < 1e-3 * before


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_units_of_the_loss_change_nothing(factor: float):
    a, b = perceptron(torch.float64), perceptron(torch.float64)
    train(a, Descent(a.parameters()), 60)
    train(b, Descent(b.parameters()), 60, factor=factor)
    for x, y in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-8)


def test_a_run_saved_in_its_middle_goes_on_bit_for_bit():
    a = perceptron()
    first = Descent(a.parameters(), weight_decay=0.01)
    train(a, first, 30)
    file = io.BytesIO()
    torch.save({"model": a.state_dict(), "optimizer": first.state_dict()}, file)
    train(a, first, 30, first=30)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    b = perceptron()
    second = Descent(b.parameters(), weight_decay=0.01)
    b.load_state_dict(saved["model"])
    second.load_state_dict(saved["optimizer"])
    train(b, second, 30, first=30)
    assert same(a, b)
    assert all(map(torch.equal, tensors(first), tensors(second)))
    assert answer_of(a, first) == answer_of(b, second)


def test_a_copy_goes_its_own_way():
    model = perceptron()
    optimizer = Descent(model.parameters())
    train(model, optimizer, 20)
    twin, twins = copy.deepcopy((model, optimizer))
    train(model, optimizer, 20, first=20)
    assert not same(model, twin)
    train(twin, twins, 20, first=20)
    assert same(model, twin)


def test_a_closure_does_the_same_and_its_loss_comes_back():
    a, b = perceptron(), perceptron()
    train(a, Descent(a.parameters()), 10)
    optimizer = Descent(b.parameters())
    for step in range(10):

        def closure(step=step):
            optimizer.zero_grad()
            loss = loss_of(b, batch(step))
            loss.backward()
            return loss

        expected = loss_of(b, batch(step)).item()
        assert optimizer.step(closure).item() == expected
    assert same(a, b)


def test_evaluation_shows_the_average_and_puts_the_point_back():
    model = perceptron(torch.float64)
    optimizer = Descent(model.parameters())
    average = [p.detach().clone() for p in model.parameters()]
    for t in range(1, 31):
        train(model, optimizer, 1, first=t)
        average = [a + 9 / (t + 8) * (p.detach() - a) for a, p in zip(average, model.parameters(), strict=True)]
    point = copy.deepcopy(model)
    with optimizer.evaluation():
        for shown, expected in zip(model.parameters(), average, strict=True):
            torch.testing.assert_close(shown.detach(), expected, rtol=1e-12, atol=1e-14)
        with pytest.raises(ArgumentError, match="inside `evaluation"):
            optimizer.step()
    assert same(model, point)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_nonfinite_gradient_changes_nothing(value: float):
    a, b = perceptron(), perceptron()
    ours, other = Descent(a.parameters()), Descent(b.parameters())
    train(a, ours, 25)
    train(b, other, 25)
    before = copy.deepcopy(a)
    grad = next(a.parameters()).grad
    assert grad is not None
    grad[0, 0] = value
    ours.step()
    assert same(a, before)
    train(a, ours, 25, first=25)
    train(b, other, 25, first=25)
    assert same(a, b)
    assert all(map(torch.equal, tensors(ours), tensors(other)))


def test_a_point_without_finite_gradients_is_left():
    """Beyond x = 1.2 the loss is nan; the third such gradient in a row leads back to the average, before it."""
    x = torch.tensor([0.2], requires_grad=True)
    optimizer = Descent([x])
    beyond = []
    for step in range(300):
        optimizer.zero_grad()
        ((x - 1.0) ** 2 - 1e-3 * torch.sqrt(1.2 - x)).sum().backward()
        beyond.append(bool(torch.isnan(x.detach().sub(1.2).neg().sqrt()).any()))
        optimizer.step()
        if step == 100:
            with torch.no_grad():
                x += 0.5
    assert all(beyond[101:104])
    assert sum(beyond) % 3 == 0  # it may have got there by itself before, and come back
    assert not any(beyond[104:])
    assert abs(x.item() - 1.0) < 0.02


def test_scaled_half_precision_gradients():
    model = perceptron()
    optimizer = Descent(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    before = loss_of(model).item()
    for step in range(150):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = ((model(TABLE[batch(step)]) - TARGET[batch(step)]) ** 2).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert answer_of(model, optimizer) < 0.5 * before


def test_each_group_has_its_own_step_size_and_options():
    model = perceptron()
    groups = [
        {"params": list(model[:2].parameters()), "matrices": False, "weight_decay": 0.1},
        {"params": list(model[2:].parameters())},
    ]
    optimizer = Descent(groups)
    frozen = torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda _: 1.0, lambda _: 0.0])
    last = [p.clone() for p in model[2:].parameters()]
    train(model, optimizer, 5)
    frozen.step()
    assert all(map(torch.equal, last, model[2:].parameters()))
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    assert len(optimizer.state) == 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: Descent(p, weight_decay=-1.0), r"decay=-1.0. It must lie in \[0, inf\)"),
        (lambda p: Descent([{"params": p, "matrices": "no"}]), "matrices='no'. It must be True or False"),
        (lambda p: Descent([torch.zeros(2, dtype=torch.complex64, requires_grad=True)]), "is complex"),
    ],
)
def test_a_wrong_argument_is_named(make, words: str):
    with pytest.raises(ArgumentError, match=words):
        make(list(perceptron().parameters()))


def test_there_is_no_rate_to_give():
    with pytest.raises(TypeError, match="lr"):
        Descent(perceptron().parameters(), lr=0.1)  # pyrefly: ignore


def test_a_state_of_other_params_is_refused():
    model = perceptron()
    optimizer = Descent(model.parameters())
    train(model, optimizer, 2)
    with pytest.raises(ArgumentError, match="shape"):
        Descent([torch.zeros(3, requires_grad=True) for _ in range(6)]).load_state_dict(optimizer.state_dict())


def test_a_sparse_gradient_is_refused():
    words = nn.Embedding(10, 2, sparse=True)
    optimizer = Descent(words.parameters())
    words(torch.tensor([1])).sum().backward()
    with pytest.raises(ArgumentError, match="sparse"):
        optimizer.step()


def test_what_has_no_gradient_is_not_decayed():
    model, unused = perceptron(), nn.Parameter(torch.ones(3))
    model[0].requires_grad_(False)
    start = copy.deepcopy(model[0])
    optimizer = Descent([*model.parameters(), unused], weight_decay=0.1)
    train(model, optimizer, 3)
    assert same(model[0], start)
    assert torch.equal(unused, torch.ones(3))
    with optimizer.evaluation():
        assert same(model[0], start)
        shown = [p.clone() for p in model.parameters()]
    model.requires_grad_(False)  # frozen to be shown, it is averaged as before
    with optimizer.evaluation():
        assert all(map(torch.equal, shown, model.parameters()))


def test_a_group_may_be_empty():
    model = perceptron()
    optimizer = Descent([{"params": []}, {"params": model.parameters()}])
    before = loss_of(model).item()
    train(model, optimizer, 10)
    assert answer_of(model, optimizer) < before


def test_no_step_is_made_after_an_evaluation_within_another():
    model = perceptron()
    optimizer = Descent(model.parameters())
    train(model, optimizer, 2)
    with optimizer.evaluation():
        with optimizer.evaluation():
            pass
        with pytest.raises(ArgumentError, match="inside `evaluation"):
            optimizer.step()
    train(model, optimizer, 1)

"""Descent with a closure: two lanes on the same batches, the better one goes on, and what that may cost."""

from __future__ import annotations

import copy
import io
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from descenso._errors import ArgumentError
from descenso.torch import Descent, lanes
from descenso.torch.lanes import LESS, LOOKS, Lane, Trial

BEGIN, LENGTH = 30, 5
END = BEGIN + LENGTH + LOOKS


@pytest.fixture
def early(monkeypatch):
    """The first fork after 30 steps, of 5 steps; no second one within these tests."""
    monkeypatch.setattr(lanes, "SHARE", (LENGTH + 2 * LOOKS + 0.5) / BEGIN)
    monkeypatch.setattr(lanes, "EVERY", 100)
    monkeypatch.setattr(lanes, "FIRST", BEGIN)


@dataclass
class Task:
    """A regression with a matrix for Muon and an offset for Adam, a batch a step."""

    forks: bool = True
    calls: list[int] = field(default_factory=list)
    weights: Tensor = field(default_factory=lambda: torch.linspace(-1, 1, 64).reshape(8, 8).requires_grad_())
    offset: Tensor = field(default_factory=lambda: torch.zeros(8, requires_grad=True))

    def __post_init__(self):
        groups = [{"params": [self.weights]}, {"params": [self.offset], "weight_decay": 0.01}]
        self.optimizer = Descent(groups, forks=self.forks)

    @property
    def params(self) -> list[Tensor]:
        return [self.weights, self.offset]

    def loss(self, step: int) -> Tensor:
        x, noise = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(step))
        return ((x @ self.weights + self.offset - x.sin() - noise) ** 2).mean()

    def run(self, first: int, last: int) -> None:
        for step in range(first, last):

            def closure(step=step):
                self.calls.append(step)
                self.optimizer.zero_grad()
                loss = self.loss(step)
                loss.backward()
                return loss

            self.optimizer.step(closure)

    def plain(self, first: int, last: int) -> list[list[Tensor]]:
        """The points of steps without a closure."""
        points = []
        for step in range(first, last):
            self.optimizer.zero_grad()
            self.loss(step).backward()
            self.optimizer.step()
            points.append([p.detach().clone() for p in self.params])
        return points


def same(a: Task, b: Task) -> bool:
    return all(map(torch.equal, a.params, b.params)) and all(
        torch.equal(v, w)
        for p, q in zip(a.params, b.params, strict=True)
        for v, w in zip(a.optimizer.state[p].values(), b.optimizer.state[q].values(), strict=True)
    )


def test_all_calls_together_are_few_more_than_the_steps(monkeypatch):
    monkeypatch.setattr(lanes, "FIRST", 512)
    x = torch.ones(3, requires_grad=True)
    optimizer, calls = Descent([x]), 0

    def closure():
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    for step in range(1, 561):
        optimizer.step(closure)
        assert calls <= 1.05 * step
    assert calls == 560 + 9 + 2 * LOOKS
    assert [line.split(":")[0] for line in optimizer.findings] == ["step 529"]


def test_the_lane_with_the_lower_losses_goes_on(early):
    """Against two runs without forks from the same point, one with a quarter of `lr`."""
    task = Task()
    task.run(0, BEGIN)
    here = copy.deepcopy(task)
    other = copy.deepcopy(task)
    for group in other.optimizer.param_groups:
        group["lr"] = LESS
    means = []
    for lane in (here, other):
        mean = [p.detach().clone() for p in lane.params]
        for k, point in enumerate(lane.plain(BEGIN, BEGIN + LENGTH)):
            mean = [m + 3 / (k + 3) * (p - m) for m, p in zip(mean, point, strict=True)]
        means.append(mean)
    judged = copy.deepcopy(task)
    losses = []
    for mean in means:
        for p, m in zip(judged.params, mean, strict=True):
            p.data.copy_(m)
        losses.append([judged.loss(step).item() for step in range(BEGIN + LENGTH, END)])

    task.run(BEGIN, END - 1)
    trial = task.optimizer._forks.trial
    assert trial is not None
    for lane, expected in zip(trial.losses, losses, strict=True):
        torch.testing.assert_close(lane, expected[:-1], rtol=1e-4, atol=0)
    here.plain(BEGIN + LENGTH, END)
    task.run(END - 1, END)
    better = Trial(0, Lane([], {}), [], losses=losses).better
    assert task.optimizer._forks.factor == (LESS if better else 1)
    for p, q in zip(task.params, (other if better else here).params, strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_losses_decide_and_it_is_said(early, sign: int):
    """The gradient always points the same way, so the smaller steps end nearer; the closure says what is wanted."""
    x = torch.ones(4, requires_grad=True)
    optimizer, begun = Descent([x]), []

    def closure() -> Tensor:
        x.grad = torch.ones(4)
        return sign * (x.detach() - begun[0]).norm() if begun else torch.zeros(())

    for step in range(END):
        if step == BEGIN:
            begun.append(x.detach().clone())
        optimizer.step(closure)
        assert bool(optimizer.findings) == (step + 1 == END)
    did = "multiplied by 0.25" if sign == 1 else "kept"
    assert f"step {END}: step size {did}: loss " in optimizer.findings[0]
    before = x.detach().clone()
    size = optimizer.state[x]["0.4"].item()
    optimizer.step(closure)
    moved = (before - x.detach()).abs().max().item()
    assert moved <= (0.3 if sign == 1 else 1.2) * max(size, optimizer.state[x]["0.4"].item())
    assert moved > 0.1 * size


@pytest.mark.parametrize(
    ("other", "better"),
    [
        ([1.0, 2.0, 3.0, 4.0], False),
        ([0.9, 1.9, 2.8, 3.9], True),
        ([0.0, 2.5, 3.4, 3.9], False),
        ([1.1, 2.1, 3.2, 4.1], False),
        ([0.0, 0.0, 0.0, float("nan")], False),
        ([float("inf"), 0.0, 0.0, 0.0], False),
    ],
)
def test_lower_means_by_more_than_the_standard_error_on_the_same_batches(other: list[float], better: bool):
    assert Trial(0, Lane([], {}), [], losses=[[1.0, 2.0, 3.0, 4.0], other]).better is better


@pytest.mark.parametrize("at", [BEGIN + 2, BEGIN + LENGTH + 3])
def test_saved_in_the_middle_of_a_fork_it_goes_on_bit_for_bit(early, at: int):
    a = Task()
    a.run(0, at)
    assert a.optimizer._forks.trial is not None
    file = io.BytesIO()
    torch.save({"params": a.params, "optimizer": a.optimizer.state_dict()}, file)
    twin = copy.deepcopy(a)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    b = Task()
    with torch.no_grad():
        torch._foreach_copy_(b.params, saved["params"])
    b.optimizer.load_state_dict(saved["optimizer"])
    a.run(at, END + 5)
    for other in (b, twin):
        other.run(at, END + 5)
        assert same(a, other)
        assert a.optimizer.findings == other.optimizer.findings != []
        assert a.calls[-20:] == other.calls[-20:]


def test_until_it_is_decided_a_fork_changes_nothing(early):
    a, b = Task(), Task(forks=False)
    a.run(0, END - 1)
    b.run(0, END - 1)
    assert same(a, b)
    assert len(a.calls) == len(b.calls) + LENGTH + 2 * (LOOKS - 1)
    assert b.calls == list(range(END - 1))
    with a.optimizer.evaluation(), b.optimizer.evaluation():
        assert all(map(torch.equal, a.params, b.params))
    a.plain(END - 1, END + 5)  # without a closure it stays undecided
    b.plain(END - 1, END + 5)
    assert same(a, b)
    assert a.optimizer.findings == []


def test_several_processes_do_not_fork(early, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    task = Task()
    task.run(0, END)
    assert task.calls == list(range(END))


def test_a_closure_that_fails_leaves_the_lane_that_was_there(early):
    task, plain = Task(), Task(forks=False)
    task.run(0, BEGIN + 1)
    plain.run(0, BEGIN + 1)

    def closure():
        raise KeyError("no batch")

    with pytest.raises(KeyError):
        task.optimizer.step(closure)
    assert same(task, plain)
    task.run(BEGIN + 1, END)
    assert len(task.optimizer.findings) == 1


@pytest.mark.parametrize(
    ("value", "words"), [(None, "The closure returned None"), (torch.ones(32), r"a loss of shape \(32,\)")]
)
def test_a_closure_without_a_loss_is_named_at_the_first_step(value, words: str):
    x = torch.ones(2, requires_grad=True)
    x.grad = torch.ones(2)
    with pytest.raises(ArgumentError, match=words):
        Descent([x]).step(lambda: value)


def test_gradients_may_be_zeroed_outside_of_the_closure(early):
    inside, outside = Task(), Task()
    inside.run(0, END + 3)
    for step in range(END + 3):

        def closure(step=step):
            loss = outside.loss(step)
            loss.backward()
            return loss

        outside.optimizer.zero_grad()
        outside.optimizer.step(closure)
    assert outside.optimizer.findings == inside.optimizer.findings
    assert same(inside, outside)


def test_a_lane_without_finite_losses_is_left():
    trial = Trial(1, Lane([], {}), [[], []])
    trial.losses = [[float("nan")] * LOOKS, [1.0] * LOOKS]
    assert trial.better
    trial.losses.reverse()
    assert not trial.better

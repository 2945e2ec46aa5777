"""Methods by name, and what a wrong name, option or value gets."""

from __future__ import annotations

import math

import pytest

from descenso._errors import ArgumentError, MethodNameError
from descenso._types import Method
from descenso.averaging import EMA, Polynomial
from descenso.methods import METHODS, Descent, named
from descenso.rules import Adam, Gradient, Momentum, Nesterov, WeightDecay
from descenso.step_sizes import Constant, Schedule, StepDecay


@pytest.mark.parametrize("name", METHODS)
def test_every_name_works_without_options(name: str):
    method = named(name)
    assert isinstance(method, Method)
    assert method == named(name)
    assert hash(method) == hash(named(name))
    assert METHODS[name].__doc__


def test_options_reach_their_place():
    assert named("adamw", lr=0.1, betas=(0.8, 0.9), weight_decay=0.3) == Descent(
        WeightDecay(Adam(0.8, 0.9), 0.3), Constant(0.1)
    )
    assert named("sgd", lr=Schedule(0.1, 10)).step_size == Schedule(0.1, 10)
    assert named("adam", averaging=EMA(0.9)).averaging == EMA(0.9)
    assert named("dog").averaging == Polynomial()
    assert [named("sgd", **o).rule for o in ({}, {"momentum": 0.8}, {"momentum": 0.8, "nesterov": True})] == [
        Gradient(),
        Momentum(0.8),
        Nesterov(0.8),
    ]


def test_spelling_of_names_is_forgiven():
    assert named("AdamW") == named("adamw")
    assert named("Schedule-Free SGD") == named("schedule_free_sgd")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("adma", "adam"), ("adan", "adam"), ("nestrov", "nesterov"), ("l-bgfs", "lbfgs"), ("adamx", "adamax")],
)
def test_a_misspelt_name_gets_the_nearest(wrong: str, meant: str):
    with pytest.raises(MethodNameError, match=f'did you mean "{meant}"'):
        named(wrong)


def test_an_unknown_name_gets_the_list():
    with pytest.raises(MethodNameError, match=r"the names are sgd, .*, lbfgs"):
        named("zzzzz")


def test_an_unknown_option_gets_the_nearest():
    with pytest.raises(ArgumentError, match=r"'adam' has no option 'learning_rate'.*\n\n.*did you mean \"lr\""):
        named("adam", learning_rate=0.1)
    with pytest.raises(ArgumentError, match='did you mean "weight_decay"'):
        named("adam", weigth_decay=0.1)
    with pytest.raises(ArgumentError, match="its options are lr, betas"):
        named("adam", zzz=1)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("sgd", {"lr": -0.1}, r"Constant got value=-0.1. It must lie in \[0, inf\)"),
        ("sgd", {"lr": math.nan}, "Constant got value=nan"),
        ("adam", {"betas": (1.0, 0.9)}, r"Adam got b1=1.0. It must lie in \[0, 1\)"),
        ("adamw", {"weight_decay": -1}, "WeightDecay got decay=-1"),
        ("prodigy", {"growth_rate": 1.0}, r"Prodigy got growth=1.0. It must lie in \(1, inf\]"),
    ],
)
def test_a_value_out_of_range_is_named(name: str, options: dict, words: str):
    with pytest.raises(ArgumentError, match=words):
        named(name, **options)


def test_a_staircase_needs_a_step():
    with pytest.raises(ArgumentError, match="StepDecay got every=0"):
        StepDecay(0.1, 0)

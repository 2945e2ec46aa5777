"""Methods by name."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from inspect import signature

from descenso._errors import ArgumentError, MethodNameError
from descenso._types import Method
from descenso.methods import classics, free
from descenso.methods.barzilai_borwein import GlobalBarzilaiBorwein
from descenso.methods.bfgs import BFGS
from descenso.methods.lbfgs import LBFGS
from descenso.methods.newton_cg import NewtonCG
from descenso.methods.nonlinear_cg import NonlinearCG

METHODS: dict[str, Callable[..., Method]] = {
    "sgd": classics.sgd,
    "momentum": classics.momentum,
    "nesterov": classics.nesterov,
    "asgd": classics.asgd,
    "adagrad": classics.adagrad,
    "adadelta": classics.adadelta,
    "rmsprop": classics.rmsprop,
    "rprop": classics.rprop,
    "adam": classics.adam,
    "adamw": classics.adamw,
    "amsgrad": classics.amsgrad,
    "adamax": classics.adamax,
    "nadam": classics.nadam,
    "nadamw": classics.nadamw,
    "radam": classics.radam,
    "signsgd": classics.signsgd,
    "lion": classics.lion,
    "muon": classics.muon,
    "adafactor": classics.adafactor,
    "schedule_free_sgd": free.schedule_free_sgd,
    "schedule_free_adamw": free.schedule_free_adamw,
    "polyak": free.polyak,
    "dog": free.dog,
    "dowg": free.dowg,
    "adgd": free.adgd,
    "prodigy": free.prodigy,
    "mechanic": free.mechanic,
    "online": free.online,
    "bfgs": BFGS,
    "lbfgs": LBFGS,
    "newton_cg": NewtonCG,
    "nonlinear_cg": NonlinearCG,
    "barzilai_borwein": GlobalBarzilaiBorwein,
}
"""Every name that `method=` takes, and the factory or class behind it."""

_RATES = ("learning_rate", "step_size", "eta", "rate")


def named(name: str, **options) -> Method:
    """The method of that name.

    Upper case and hyphens are read as lower case and underscores. The options are the keywords of the factories in
    `descenso.methods.classics` and `descenso.methods.free`; every one has a default, `lr` too.

    Raises:
        MethodNameError: no method has that name; the message has the nearest ones.
        ArgumentError: the method has no such option, or its value is out of range.
    """
    key = known(name)
    taken = list(signature(METHODS[key]).parameters)
    for option in options:
        if option not in taken:
            raise ArgumentError(
                f"The method {key!r} has no option {option!r}.", hint=_nearest(option, taken, "its options are")
            )
    return METHODS[key](**options)


def known(name: str) -> str:
    """The name as `METHODS` spells it; raises MethodNameError if it has none like it."""
    key = name.lower().replace("-", "_").replace(" ", "_")
    if key not in METHODS:
        raise MethodNameError(f"There is no method {name!r}.", hint=_nearest(key, list(METHODS), "the names are"))
    return key


def _nearest(word: str, words: list[str], otherwise: str) -> str:
    if word in _RATES and "lr" in words:
        return 'did you mean "lr"?'
    close = get_close_matches(word, words, n=3, cutoff=0.6)
    close.sort(key=lambda other: sorted(other) != sorted(word))  # letters in the wrong order first
    if close:
        return "did you mean " + " or ".join(f'"{c}"' for c in close) + "?"
    return f"{otherwise} {', '.join(words)}"

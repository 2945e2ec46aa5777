"""Which method a param group has."""

from __future__ import annotations

from functools import lru_cache
from inspect import Parameter, signature
from typing import Any

from descenso._errors import ArgumentError
from descenso._types import Method
from descenso.methods import METHODS, named
from descenso.methods.named import known


def defaults_of(method: str | Method, lr: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a param group that sets none: those given, and the defaults of the name.

    Raises:
        MethodNameError: no method has that name.
        ArgumentError: an unknown option, an option of a method that is not a name, or what is neither.
    """
    if isinstance(method, Method):
        if options:
            raise ArgumentError(
                f"{type(method).__name__} is a method, and takes no option {next(iter(options))!r}.",
                hint="only a name takes options",
            )
        return {"method": method, "lr": 1.0 if lr is None else lr}
    if not isinstance(method, str):
        raise ArgumentError(f"`method` is a {type(method).__name__}. It must be a name or a method.")
    name = known(method)
    named(name, **options)
    own = {k: p.default for k, p in signature(METHODS[name]).parameters.items() if p.default is not Parameter.empty}
    rate = own.pop("lr", 1.0) if lr is None else lr
    own.pop("lr", None)
    return {"method": name, "lr": rate, **own, **options}


def method_of(group: dict[str, Any]) -> Method:
    """The method of a param group, made for the learning rate that the group had when it was added."""
    method = group["method"]
    if not isinstance(method, str):
        return method
    name = known(method)
    options = {k: _hashable(group[k]) for k in _options(name) if k in group and k != "lr"}
    if "lr" in _options(name):
        options["lr"] = group["built_lr"]
    return _made(name, tuple(options.items()))


@lru_cache(maxsize=256)
def _made(name: str, options: tuple) -> Method:
    return named(name, **dict(options))


def options_of(method: str | Method) -> tuple[str, ...]:
    """The options of a name, `lr` among them where it has one; of a method none but `lr`."""
    return _options(known(method)) if isinstance(method, str) else ("lr",)


@lru_cache(maxsize=256)
def _options(name: str) -> tuple[str, ...]:
    return tuple(signature(METHODS[name]).parameters)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

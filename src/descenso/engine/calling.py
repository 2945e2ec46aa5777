"""How a loss is called, checked against the parameters that it has."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from descenso._errors import ArgumentError


def takes_key(loss: Callable) -> bool:
    """Whether `loss` has a parameter named `key`."""
    signature = _signature(loss)
    return signature is not None and "key" in signature.parameters


def check_call(loss: Callable, *, batch: bool, second: str = "batch") -> None:
    """Raise ArgumentError where `loss(params)`, or with a batch `loss(params, batch)`, is no call that it takes.

    `second`: what the second argument is called in the message.
    """
    signature = _signature(loss)
    if signature is None:
        return
    given = ("params", second) if batch else ("params",)
    key = {"key": None} if second == "batch" and takes_key(loss) else {}
    try:
        signature.bind(*given, **key)
    except TypeError as why:
        call = f"loss({', '.join((*given, *(f'{name}={name}' for name in key)))})"
        raise ArgumentError(
            f"`loss` cannot be called as `{call}`: {why}.", hint=_hint(signature, batch, second)
        ) from None


def _hint(signature: inspect.Signature, batch: bool, second: str) -> str:
    takes = [p.name for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes = [name for name in takes if name != "key"]
    if second != "batch":
        return f"let it take {second}, what its minimum depends on, as its second argument"
    if batch and len(takes) < 2:
        return "let it take a batch of the data as its second argument, or leave `data` out"
    if not batch and len(takes) == 2:
        return "pass `data`, whose rows its second argument is"
    return "a parameter for random numbers is called `key`; constants are closed over, as in functools.partial"


def _signature(loss: Callable) -> inspect.Signature | None:
    try:
        return inspect.signature(loss)
    except (TypeError, ValueError):  # built-ins without a signature
        return None

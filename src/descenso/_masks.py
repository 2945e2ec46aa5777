"""Masks: which leaves a rule or a method is for. A mask is one boolean per leaf, in the order of the leaves."""

from __future__ import annotations

from typing import TypeAlias

from descenso._errors import ArgumentError
from descenso._types import Leaves

Mask: TypeAlias = tuple[bool, ...]
"""One boolean per leaf. A tuple, so that what holds it can be compared and hashed."""


def check_mask(owner: object, mask: Mask, leaves: Leaves) -> None:
    """Raise ArgumentError unless the mask has one entry per leaf."""
    if len(mask) != len(leaves):
        raise ArgumentError(
            f"{type(owner).__name__} got a mask of {len(mask)} entries. "
            f"It needs one for each of the {len(leaves)} leaves of the params.",
            hint="a leaf is an array of the params, in the order of `jax.tree.leaves`",
        )


def split(leaves: tuple, mask: Mask) -> tuple[tuple, tuple]:
    """The leaves that the mask names, and the others."""
    chosen = tuple(leaf for leaf, m in zip(leaves, mask, strict=True) if m)
    return chosen, tuple(leaf for leaf, m in zip(leaves, mask, strict=True) if not m)


def merge(chosen: tuple, others: tuple, mask: Mask) -> tuple:
    """The inverse of `split`."""
    first, second = iter(chosen), iter(others)
    return tuple(next(first) if m else next(second) for m in mask)

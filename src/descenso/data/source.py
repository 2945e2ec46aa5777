"""Data in memory: rows that can be gathered by number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descenso._errors import DataError


@dataclass(frozen=True)
class Source:
    """Arrays with the same number of rows.

    Attributes:
        arrays: each of shape (rows, ...), in a dtype that the engine computes in.
        names: where each array stands in what the caller gave, for messages.
    """

    arrays: tuple[np.ndarray, ...]
    names: tuple[str, ...]

    @property
    def rows(self) -> int:
        return len(self.arrays[0])


def in_memory(arrays: list, names: list[str], *, wide: bool) -> Source:
    """Check the arrays and put them in 32-bit dtypes (64-bit ones are kept where `wide`).

    Raises:
        DataError: no arrays, no rows, unequal lengths, values that are no numbers or do not fit the dtype.
    """
    if not arrays:
        raise DataError("`data` holds no arrays.", hint="pass e.g. (X, y), or leave `data` out for a loss(params)")
    kept = tuple(_numbers(a, name, wide) for a, name in zip(arrays, names, strict=True))
    lengths = {name: len(a) for a, name in zip(kept, names, strict=True)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} has {n:,}" for name, n in lengths.items())
        raise DataError(f"The arrays of the data differ in length: {shown} rows. All need the same number of rows.")
    if not len(kept[0]):
        raise DataError("The data has no rows.", hint="check what was read, or the filter before it")
    return Source(kept, tuple(names))


def _numbers(array, name: str, wide: bool) -> np.ndarray:
    a = np.asarray(array)
    if a.ndim == 0:
        raise DataError(f"{name} of the data is a single value. It needs rows as its first dimension.", column=name)
    if a.dtype == bool or a.dtype.kind in "V":  # bfloat16 and the like are of kind V to numpy
        return a
    if a.dtype.kind not in "iuf":
        raise DataError(
            f"{name} of the data has dtype {a.dtype}. It must hold numbers.",
            hint="encode text and dates as numbers first",
            column=name,
        )
    if wide or a.dtype.itemsize <= 4:
        return a
    return narrow(a, name)


def narrow(a: np.ndarray, name: str) -> np.ndarray:
    """A 64-bit array in 32 bits, or a DataError where a value does not fit."""
    target = np.dtype(f"{a.dtype.kind}4")
    limit = np.finfo(target).max if a.dtype.kind == "f" else np.iinfo(target).max
    over = np.isfinite(a) & (np.abs(a) > limit) if a.dtype.kind == "f" else (a > limit) | (a < -limit - 1)
    if over.any():
        at = tuple(int(i[0]) for i in np.nonzero(over))
        example = a[at].item()
        raise DataError(
            f"{name} holds {example!r} at index {at} ({int(over.sum()):,} such values), which does not fit {target}.",
            hint="rescale it, or compute in 64 bits: jax.config.update('jax_enable_x64', True)",
            column=name,
            row=at[0] + 1 if at else None,
            count=int(over.sum()),
            example=example,
        )
    return a.astype(target)

"""Data in memory: rows that can be gathered by number."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from descenso._errors import DataError

_GAPS = "leave these rows out, or fill the gaps: the mask would be lost"
_ROWS = "data are arrays in a pytree: make np.asarray(rows) of a list of rows, and a.toarray() of a sparse matrix"


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
        root = re.split(r"[.\[]", names[0])[0]
        raise DataError(
            f"`{root}` has no rows. It needs at least one.", hint="check what was read, or the filter before it"
        )
    return Source(kept, tuple(names))


def _numbers(array, name: str, wide: bool) -> np.ndarray:
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise DataError(f"{name} has {np.ma.count_masked(array):,} masked values.", hint=_GAPS, column=name)
    try:
        a = np.asarray(array)
    except (TypeError, ValueError) as why:
        raise DataError(
            f"{name}, a {type(array).__name__}, is no array of numbers: {str(why).rstrip('.')}.", column=name
        ) from why
    if a.ndim == 0:
        what = f"a {type(array).__name__}" if a.dtype.kind == "O" else "a single value"
        raise DataError(f"{name} is {what}. It needs rows as its first dimension.", hint=_ROWS, column=name)
    if a.dtype == bool or (a.dtype.kind == "V" and a.dtype.names is None):  # bfloat16 and the like are of kind V
        return a
    if a.dtype.kind not in "iuf":
        raise DataError(
            f"{name} has dtype {a.dtype}. It must hold numbers.",
            hint="encode text and dates as numbers first, leave gaps out, and give each column of a record an array",
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

"""Data that is read as it is needed, as the caller names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descenso._errors import ArgumentError
from descenso.data.memory import as_bytes


@dataclass(frozen=True)
class Streamed:
    """Rows that need not fit into memory: pass it to `minimize` as its data.

    The rows come in the order of `data.windows`: shuffled in blocks, then within a window of blocks. Where they are
    larger than a window and sorted by an array that has one number a row (their target, say), they are shuffled first:
    arrays in memory by a permutation, all else once into a cache on disk, with twice their size needed there for the
    time of it. A finding says so.

    Args:
        data: a pytree of arrays with rows as first dimension: memory maps (`np.load(path, mmap_mode="r")`), or
            whatever has `shape` and `dtype` and gives an array for `a[first:last]`.
        memory: how much of them may be in memory at once, as "2GB" or in bytes. Data of half of it are read whole. It
            decides how far rows are shuffled, so the same run needs the same amount.
        columns: the names of the columns of the inputs, where they have any.
        notes: sentences about what was seen in the data.
        cache: the folder to keep shuffled rows in; by default one in the user's cache folder.
    """

    data: Any
    memory: int | str = "1GB"
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    cache: str | Path | None = None

    def __post_init__(self):
        as_bytes(self.memory)

    @classmethod
    def table(
        cls,
        source: Any,
        *,
        target: str | None = None,
        columns: Sequence[str] | None = None,
        memory: int | str = "1GB",
        cache: str | Path | None = None,
        filesystem: Any = None,
    ) -> Streamed:
        """The rows of a table of numbers, however many, as batches `(inputs, target)`.

        The table is read once, and every value looked at; its rows are kept as float32 in a cache, which is used again
        as long as the files are what they were.

        Args:
            source: a file, a folder, a pattern such as `part-*.parquet`, an address such as `s3://bucket/part-*` or a
                list of these: Parquet, ORC, Arrow, svmlight or CSV (plain, .gz, .xz, .bz2, .zst). Or a table of
                pandas, polars or DuckDB (anything with `__arrow_c_stream__`), or an iterator of record batches.
            target: the column to predict; without one a batch is `inputs` alone.
            columns: the columns of the inputs; None takes all others.
            memory: see `Streamed`.
            cache: the folder to keep the rows in; by default one in the user's cache folder.
            filesystem: of `pyarrow.fs` or fsspec, that the files are in; None for this machine or that of the address.

        Raises:
            ArgumentError: an argument is not what it must be.
            DataError: a part cannot be read, parts do not agree, a value is no number, missing or infinite.
        """
        from descenso.data.numbers import cached

        if isinstance(columns, str) or (columns is not None and len(set(columns)) < len(columns)):
            raise ArgumentError(
                f"`columns` is {columns!r}. It must be a list of names, each of them once.",
                hint=f"columns=[{columns!r}]" if isinstance(columns, str) else None,
            )
        made = cached(source, target, columns, None if cache is None else Path(cache), filesystem)
        data = made.inputs if made.target is None else (made.inputs, made.target)
        return cls(data, memory, made.columns, made.notes)

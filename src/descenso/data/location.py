"""Which files an address stands for.

An address is a path of this machine, or what Arrow's file systems understand: `s3://bucket/part-*.parquet`, `gs://`,
`hdfs://`, `file://`.
"""

from __future__ import annotations

import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
from pyarrow import fs

from descenso._errors import ArgumentError, TableError

_MAGIC = set("*?[")


@dataclass(frozen=True)
class Location:
    """One file.

    Attributes:
        name: as the caller wrote it.
        system: the file system of Arrow's that it is in, None for this machine.
        path: where it is there.
    """

    name: str
    system: Any = None
    path: str = ""

    def open(self) -> BinaryIO:
        return cast(BinaryIO, self.system.open_input_file(self.path)) if self.system else open(self.name, "rb")

    @property
    def source(self) -> Any:
        """What Arrow's readers take."""
        return self.system.open_input_file(self.path) if self.system else self.name

    @property
    def is_file(self) -> bool:
        return self.system.get_file_info(self.path).is_file if self.system else os.path.isfile(self.name)

    def status(self) -> tuple[str, int, int]:
        """What it is called anywhere, its bytes, and when it was changed, in nanoseconds."""
        if self.system is None:
            status = os.stat(self.name)
            return os.path.abspath(self.name), status.st_size, status.st_mtime_ns
        found = self.system.get_file_info(self.path)
        return f"{self.system.type_name}:{self.path}", found.size or 0, found.mtime_ns or 0


def located(source: str | Path, system: Any = None) -> list[Location]:
    """The files that a path, a folder, a pattern or an address stands for, in the order of their names.

    Args:
        source: what the caller wrote.
        system: a file system of `pyarrow.fs` or fsspec to look in; None for this machine, or what an address names.

    Raises:
        TableError: there is none.
        ArgumentError: no such file system.
    """
    name = os.fspath(source)
    if system is None and "://" in name:
        system, path = _system_of(name)
    elif system is not None:
        system, path = (
            fs.PyFileSystem(fs.FSSpecHandler(system)) if not isinstance(system, fs.FileSystem) else system,
            name,
        )
    else:
        system, path = fs.LocalFileSystem(), name
    local = isinstance(system, fs.LocalFileSystem)
    with reading(name):
        found = _matching(system, path)
    if not found:
        raise TableError(f"{name}: there is no file here. At least one is needed.", file=name, count=0)
    if local:
        return [Location(p) for p in found]
    prefix = name[: len(name) - len(path)] if name.endswith(path) else ""
    return [Location(prefix + p, system, p) for p in found]


def _system_of(address: str) -> tuple[Any, str]:
    try:
        return fs.FileSystem.from_uri(address)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ArgumentError(
            f"{address}: there is no such file system ({error}).",
            hint="it begins with s3://, gs://, hdfs:// or file://",
        ) from None


def _matching(system: Any, path: str) -> list[str]:
    here = system.get_file_info(path)
    if here.is_file:
        return [path]
    if here.type == fs.FileType.Directory:
        inside = system.get_file_info(fs.FileSelector(path))
        return sorted(i.path for i in inside if i.is_file and not i.base_name.startswith((".", "_")))
    if not _MAGIC & set(path):
        return [path]  # opening it will say what is wrong
    parts = path.split("/")
    fixed = next(i for i, part in enumerate(parts) if _MAGIC & set(part))
    base = "/".join(parts[:fixed]) or ("/" if path.startswith("/") else ".")
    deep = fixed < len(parts) - 1
    inside = system.get_file_info(fs.FileSelector(base, allow_not_found=True, recursive=deep))
    names = [i.path.removeprefix("./") if base == "." else i.path for i in inside if i.is_file]
    return sorted(n for n in names if _fits(n.split("/"), parts))


def _fits(name: list[str], pattern: list[str]) -> bool:
    """Whether a path is of a pattern; `**` stands for any number of folders."""
    if not pattern or not name:
        return not pattern and not name
    if name[0].startswith(".") and not pattern[0].startswith("."):
        return False
    if pattern[0] == "**":
        return any(_fits(name[i:], pattern[1:]) for i in range(len(name)))
    return fnmatchcase(name[0], pattern[0]) and _fits(name[1:], pattern[1:])


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what the system and the decompressors raise into a TableError that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise not_a_file(path) from error
    except PermissionError as error:
        raise TableError(f"{path}: reading it is not permitted.", file=path) from error
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise TableError(
            f"{path}: the compressed data is damaged or cut short ({error}).", hint="fetch the file again", file=path
        ) from error
    except OSError as error:
        raise TableError(f"{path}: it cannot be read ({error}).", file=path) from error


def not_a_file(path: str) -> TableError:
    """The error for a path that is no regular file."""
    if os.path.isdir(path):
        return TableError(f"{path}: this is a folder. It must be one file.", file=path)
    if os.path.exists(path):
        return TableError(f"{path}: this is a device or a pipe. It must be a regular file.", file=path)
    hint = "examples are written as example:breast-cancer" if path.startswith("example") else "check the spelling"
    return TableError(f"{path}: there is no such file.", hint=hint, file=path)

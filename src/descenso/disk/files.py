"""Writing a folder so that it is there as a whole or not at all, power cuts included.

The files are written into a hidden sibling and flushed to the disk, then the sibling, then it is renamed, then the
parent is flushed. Until the rename nothing of it can be mistaken for a checkpoint; after the last flush nothing can
undo it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

from descenso.disk.owner import Owner

_HIDDEN = ".tmp-"
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_PIECE = 1 << 24  # bytes handed to one write
_numbers = count()


@contextmanager
def named_if_full(path: Path) -> Iterator[None]:
    """Say for which file or folder there is no room: an error of writing alone names none."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in _FULL:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def write_file(path: Path, pieces: Iterable[Any]) -> dict[str, Any]:
    """Write a new file and flush it to the disk; returns its length and digest.

    Raises:
        OSError: the file exists, the disk is full, and so on.
    """
    digest, length = sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        for piece in pieces:
            view = memoryview(piece)
            digest.update(view)
            length += len(view)
            _write_all(descriptor, view)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return {"bytes": length, "sha256": digest.hexdigest()}


def _write_all(descriptor: int, view: memoryview) -> None:
    while len(view):
        view = view[os.write(descriptor, view[:_PIECE]) :]


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hidden(folder: Path) -> Path:
    """A new name in `folder` that no reader looks at, and that says who made it."""
    return folder / f"{_HIDDEN}{Owner.this()}~{next(_numbers)}"


def publish(prepared: Path, final: Path) -> None:
    """Make a prepared folder appear as `final`, for good."""
    if final.exists():
        raise FileExistsError(f"{final} exists already")
    flush_folder(prepared)
    os.rename(prepared, final)
    flush_folder(final.parent)


def remove(folder: Path) -> None:
    """Take a folder away: first out of sight, so that half of it is never seen."""
    out_of_sight = hidden(folder.parent)
    os.rename(folder, out_of_sight)
    shutil.rmtree(out_of_sight, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what dead processes left half written. The leavings of a living one, or of another machine, stay."""
    for left in folder.glob(f"{_HIDDEN}*"):
        owner = Owner.of(left.name.removeprefix(_HIDDEN).rpartition("~")[0])
        if owner is not None and owner.dead:
            shutil.rmtree(left, ignore_errors=True)

"""Arrays on disk that were costly to make, kept under the name of what they were made of, and used while whole."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from descenso._errors import DataError
from descenso.data.blocks import Blocks, path_of
from descenso.data.location import Location, reading
from descenso.data.shuffle import shuffled
from descenso.disk.canonical import Broken, canonical, sealed, unsealed
from descenso.disk.files import hidden, named_if_full, publish, sweep, write_file

FORMAT = 3
_MANIFEST = "manifest.json"
_KEPT = 30 * 86_400  # seconds without use
_EDGE = 1 << 16  # bytes at either end of a file that are looked at to tell whether it has changed

Kept = tuple[dict[str, Blocks], dict[str, Any]]
"""Arrays by name, and what else was written down with them, in JSON."""


def default_folder() -> Path:
    """Where caches are kept: the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "descenso" / "rows"


def tidied(folder: Path | None) -> Path:
    """The folder for caches, made where it is not there, without those that are old or were left half made."""
    folder = folder or default_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(folder)
    _forget_old(folder)
    return folder


def name_of(content: Any) -> str:
    """What a cache of this content is called."""
    return sha256(canonical(content)).hexdigest()[:32]


def prints(files: list[Location]) -> list[list[Any]]:
    """What tells whether files are what they were: path, length, time, and the bytes at both ends."""
    return [_print_of(where) for where in files]


def _print_of(where: Location) -> list[Any]:
    try:
        with reading(where.name), where.open() as file:
            path, size, changed = where.status()
            head = file.read(_EDGE)
            file.seek(max(size - _EDGE, 0))
            edges = sha256(head + file.read(_EDGE)).hexdigest()
    except DataError:
        return [where.name]  # reading it will say what is wrong
    return [path, size, changed, edges]


def opened(folder: Path, name: str) -> Kept | None:
    """What is kept under a name, whole as far as its manifest and the lengths of its files say; else None."""
    folder = folder / name
    try:
        manifest = unsealed((folder / _MANIFEST).read_bytes())
        parts = {name: _blocks(folder, name, entry) for name, entry in manifest["arrays"].items()}
        about = dict(manifest["about"])
    except (OSError, Broken, KeyError, TypeError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    os.utime(folder)
    return parts, about


def _blocks(folder: Path, name: str, entry: dict[str, Any]) -> Blocks:
    dtype = np.dtype(entry["dtype"])
    path = path_of(folder, name, dtype)
    found = Blocks(path, tuple(entry["shape"]), entry["block"], tuple(entry["checksums"]), dtype)
    if path.stat().st_size != dtype.itemsize * int(np.prod(found.shape, dtype=np.int64)):
        raise Broken("a file has another length")
    return found


def _is_kept(entry: os.DirEntry[str]) -> bool:
    """Whether it was made by `keep`: the folder may hold things of the user's too."""
    return re.fullmatch("[0-9a-f]{32}", entry.name) is not None and os.path.isfile(Path(entry.path, _MANIFEST))


def _forget_old(folder: Path) -> None:
    for entry in os.scandir(folder):
        if _is_kept(entry) and time.time() - entry.stat().st_mtime > _KEPT:
            shutil.rmtree(entry.path, ignore_errors=True)


def keep(folder: Path, name: str | None, make: Callable[[Path], Kept]) -> Kept:
    """Make arrays in a hidden folder, then keep it; nothing is left of it where that fails.

    Args:
        folder: of the caches.
        name: what to keep them under; None for one that follows from their content.
        make: writes each array into the folder that it is given, at `path_of(folder, NAME, dtype)`.
    """
    prepared = hidden(folder)
    prepared.mkdir(mode=0o700)
    try:
        with named_if_full(folder):
            arrays, about = make(prepared)
            manifest = {"format": FORMAT, "about": about, "arrays": {k: _told(a) for k, a in arrays.items()}}
            write_file(prepared / _MANIFEST, [sealed(manifest)])
        name = name or name_of(manifest)
        if (folder / name).exists():  # somebody else was quicker, or the same rows came in a stream before
            shutil.rmtree(prepared)
        else:
            publish(prepared, folder / name)
    except BaseException:
        shutil.rmtree(prepared, ignore_errors=True)
        raise
    made = opened(folder, name)
    assert made is not None
    return made


def _told(blocks: Blocks) -> dict[str, Any]:
    form = {"shape": list(blocks.shape), "dtype": blocks.dtype.str}
    return {**form, "block": blocks.block, "checksums": list(blocks.checksums)}


def in_random_order(arrays: dict[str, Blocks], folder: Path) -> dict[str, Blocks]:
    """The same rows in random order, in the same files."""
    (folder / "shuffled").mkdir()
    made = shuffled(arrays, next(iter(arrays.values())).block, folder / "shuffled")
    out = {}
    for name, blocks in made.items():
        os.replace(blocks.path, arrays[name].path)
        out[name] = replace(blocks, path=arrays[name].path)
    (folder / "shuffled").rmdir()
    return out

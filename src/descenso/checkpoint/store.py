"""A folder of checkpoints: save the next, keep the last few and the best, load the newest that is whole."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from descenso._errors import CheckpointError
from descenso.checkpoint.arrays import pieces, read_arrays
from descenso.disk.canonical import Broken, sealed, unsealed
from descenso.disk.files import hidden, publish, remove, sweep, write_file

FORMAT = 1
_PREFIX = "checkpoint-"
_ARRAYS, _MANIFEST = "arrays.safetensors", "manifest.json"
_LARGEST_MANIFEST = 1 << 26  # bytes


class Saved(NamedTuple):
    """A checkpoint that was read and found whole.

    path: its folder. body: what the manifest says beside the digests. arrays: by name, read-only.
    """

    path: Path
    body: dict[str, Any]
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Store:
    """The checkpoints of one run, in one folder. Only the holder of the folder's lock may save.

    Args:
        folder: where they are; made if it is not there.
        keep: how many of the last to keep, >= 1; the one of the lowest score is kept too.
    """

    folder: Path
    keep: int = 3

    def names(self) -> list[Path]:
        """All checkpoints, oldest first, whole or not."""
        found = [p for p in self.folder.glob(f"{_PREFIX}*") if p.name.removeprefix(_PREFIX).isdecimal()]
        return sorted(found, key=_number)

    def save(self, arrays: dict[str, np.ndarray], body: dict[str, Any]) -> Path:
        """Write one more checkpoint; when this returns, it outlives a power cut.

        Args:
            arrays: by name, of any dtype the engine knows.
            body: plain numbers, text, lists and dicts; `score`, where there, says how good it is (lower is better).

        Raises:
            CheckpointError: it could not be written; those before it are as they were.
        """
        earlier = self.names()
        final = self.folder / f"{_PREFIX}{_number(earlier[-1]) + 1 if earlier else 0:08d}"
        prepared = hidden(self.folder)
        try:
            os.mkdir(prepared)
            files = {_ARRAYS: write_file(prepared / _ARRAYS, pieces(arrays))}
            write_file(prepared / _MANIFEST, [sealed({"format": FORMAT, "files": files, "body": body})])
            publish(prepared, final)
            self._prune([*earlier, final])
        except OSError as error:
            shutil.rmtree(prepared, ignore_errors=True)
            raise CheckpointError(_failed(self.folder, error, earlier), hint=_REMEDY) from error
        except BaseException:
            shutil.rmtree(prepared, ignore_errors=True)
            raise
        return final

    def newest(self) -> tuple[Saved | None, list[str]]:
        """The newest checkpoint that is whole, and a sentence on each newer one that is not.

        Raises:
            CheckpointError: there are checkpoints and none is whole, or the newest is of a later format.
        """
        rejected = []
        for path in reversed(self.names()):
            try:
                return load(path), rejected
            except Broken as why:
                rejected.append(f"{path.name}: {why}")
        if rejected:
            listed = "\n".join(f"  {line}" for line in rejected)
            raise CheckpointError(
                f"{self.folder}: none of the {len(rejected)} checkpoints is whole. One at least must be.\n{listed}",
                hint="restore the folder from a copy, or start afresh in another folder",
            )
        return None, rejected

    def sweep(self) -> None:
        """Remove what earlier writers, now dead, left half written."""
        sweep(self.folder)

    def _prune(self, names: list[Path]) -> None:
        """Remove all but the last few and the best."""
        old = names[: -self.keep]
        if not old:
            return
        scores = {path: _score(path) for path in names}
        best = min(reversed(names), key=lambda path: scores[path])  # the newest of equals
        for path in old:
            if path != best:
                remove(path)


def load(path: Path) -> Saved:
    """Read a checkpoint and check every byte of it.

    Raises:
        Broken: it is not whole; the message says what is wrong.
        CheckpointError: it was written by a later version of descenso.
    """
    manifest = read_manifest(path)
    expected = manifest["files"][_ARRAYS]
    blob = _read(path / _ARRAYS, expected["bytes"])
    if sha256(blob).hexdigest() != expected["sha256"]:
        raise Broken(f"{_ARRAYS} differs from its digest")
    return Saved(path, manifest["body"], read_arrays(blob))


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint, checked against its own digest; the arrays are not looked at."""
    text = _read(path / _MANIFEST)
    try:
        inner = unsealed(text)
    except Broken as why:
        raise Broken(f"{_MANIFEST}: {why}") from None
    if not isinstance(inner, dict) or type(inner.get("format")) is not int or inner["format"] < 1:
        raise Broken(f"{_MANIFEST} names no format")
    if inner["format"] > FORMAT:
        raise CheckpointError(
            f"{path}: written in format {inner['format']} by a later version of descenso. This one reads {FORMAT}.",
            hint="pip install --upgrade descenso",
        )
    if not _is_manifest(inner):
        raise Broken(f"{_MANIFEST} does not say what it must")
    return inner


def _is_manifest(inner: dict[str, Any]) -> bool:
    files = inner.get("files")
    return (
        inner.keys() == {"format", "files", "body"}
        and isinstance(inner["body"], dict)
        and isinstance(files, dict)
        and files.keys() == {_ARRAYS}
        and isinstance(files[_ARRAYS], dict)
        and files[_ARRAYS].keys() == {"bytes", "sha256"}
    )


def _read(path: Path, length: int | None = None) -> bytes:
    """A whole file, of exactly `length` bytes where that is known; nothing is read of one that is too long."""
    try:
        size = path.stat().st_size
        if length is None and size > _LARGEST_MANIFEST:
            raise Broken(f"{path.name} has {size:,} bytes")
        if length is not None and size != length:
            raise Broken(f"{path.name} has {size:,} bytes in place of {length:,}")
        return path.read_bytes()
    except OSError as error:
        raise Broken(f"{path.name} cannot be read ({error.strerror})") from None


def _number(path: Path) -> int:
    return int(path.name.removeprefix(_PREFIX))


def _score(path: Path) -> float:
    try:
        score = read_manifest(path)["body"].get("score")
    except (Broken, CheckpointError):
        return float("inf")
    return score if score is not None and isfinite(score) else float("inf")


_REMEDY = "make room or mend the folder, then start the same run again: it goes on from the last good checkpoint"


def _failed(folder: Path, error: OSError, earlier: list[Path]) -> str:
    kept = f"{earlier[-1].name} is kept" if earlier else "there was none before"
    return f"{folder}: a checkpoint could not be written ({error.strerror or error}); {kept}."

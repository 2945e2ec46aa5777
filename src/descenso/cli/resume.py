"""`descenso fit --checkpoint DIR` and `descenso resume DIR`: a fit that outlives what stops it."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from descenso._errors import ArgumentError, CheckpointError
from descenso.cli.rows import Request
from descenso.data.examples import is_example
from descenso.data.memory import share_of_free
from descenso.disk.canonical import Broken, canonical, parse
from descenso.disk.files import flush_folder, write_file
from descenso.watch.limits import Budget

_NAME = "request.json"
_FREE = ("every", "out", "cache", "budget seconds")  # what another command for the same run may change
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """A stretch of time such as 30s, 5m or 1h, in seconds.

    Raises:
        ArgumentError: it is none, or not above 0.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip())
    if found is None or found[2] not in _UNITS or not float(found[1]) > 0:
        raise ArgumentError(f"--every is {text!r}. It must be a time above 0, such as 30s, 5m or 1h.")
    return float(found[1]) * _UNITS[found[2]]


def remember(request: Request) -> Request:
    """Write the arguments of a fit beside its checkpoints, so that DIR alone is enough to go on.

    Returns:
        The request with its memory settled: as it was before, or by what is free now. The order of rows hangs on it.

    Raises:
        ArgumentError: DIR holds something else, or the arguments of another fit; the message names what differs.
        OSError: it cannot be written to.
    """
    folder = request.checkpoint
    if folder is None:
        return settled(request, None)
    if (folder / _NAME).exists():
        request = settled(request, recall(folder).memory)
        _check_same(folder, _plain(request))
        return request
    if folder.is_dir() and any(folder.iterdir()):
        raise ArgumentError(f"{folder}: this folder holds other things than a fit.", hint="choose another --checkpoint")
    folder.mkdir(parents=True, exist_ok=True)
    request = settled(request, None)
    text = {"format": 1, "request": _plain(request)}
    hidden = folder / f".{_NAME}.{os.getpid()}"
    write_file(hidden, [canonical(text)])
    os.replace(hidden, folder / _NAME)
    flush_folder(folder)
    return request


def settled(request: Request, memory: int | None) -> Request:
    """The request with so much memory, or a quarter of what is free, where it says nothing of it."""
    return replace(request, memory=request.memory or memory or share_of_free())


def recall(folder: Path) -> Request:
    """The arguments of the fit whose checkpoints are in a folder.

    Raises:
        CheckpointError: it holds none, or what it holds is damaged.
    """
    path = folder / _NAME
    try:
        text = parse(path.read_bytes())
        fields: dict[str, Any] = dict(text["request"])
        cache = fields.get("cache")
        fields |= {"out": Path(fields["out"]), "checkpoint": folder, "cache": None if cache is None else Path(cache)}
        table = fields["table"]
        fields |= {"table": (table,) if isinstance(table, str) else tuple(table), "drop": tuple(fields["drop"])}
        fields["budget"] = Budget(**fields["budget"])
        return Request(**fields)
    except OSError as error:
        raise CheckpointError(
            f"{path}: there is no fit to go on with ({error.strerror}).",
            hint="name the folder that was given to `descenso fit --checkpoint`",
        ) from error
    except (Broken, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: the arguments of the fit cannot be read ({error}).",
            hint="give the command of `descenso fit` again, with another --checkpoint",
        ) from error


def _check_same(folder: Path, now: dict[str, Any]) -> None:
    # seconds only cut a run short: those of this command hold
    then, now = (_named_budget(request) for request in (_plain(recall(folder)), now))
    changed = [name for name in now if now[name] != then[name] and name not in _FREE]
    if changed:
        listed = "\n".join(f"  {name}: {then[name]}, now {now[name]}" for name in changed)
        raise ArgumentError(
            f"{folder}: the checkpoints are of a fit with other arguments:\n{listed}",
            hint="give the same arguments, or another --checkpoint",
        )


def _named_budget(request: dict[str, Any]) -> dict[str, Any]:
    """The request with each limit of its budget under a name of its own."""
    limits = {f"budget {name}": limit for name, limit in request["budget"].items()}
    return {k: v for k, v in request.items() if k != "budget"} | limits


def _plain(request: Request) -> dict[str, Any]:
    """The request in JSON; its paths hold from any folder, so that the run can be gone on with from any."""
    absolute = {name: os.path.abspath(v) for name in ("out", "cache") if (v := getattr(request, name)) is not None}
    absolute["valid"] = None if request.valid is None else _from_anywhere(request.valid)
    absolute["table"] = list(map(_from_anywhere, request.table))
    return {**asdict(request), **absolute, "drop": list(request.drop), "checkpoint": None}


def _from_anywhere(path: str) -> str:
    return path if is_example(path) or "://" in path else os.path.abspath(path)

"""JSON with one spelling for each value, so that a file can be compared with what it says byte for byte."""

from __future__ import annotations

import json
from hashlib import sha256
from math import isfinite
from typing import Any

_FLOAT = "float"  # {"float": "inf"} stands for a number that JSON has no word for


class Broken(Exception):
    """What was read is not what was written; the message says in which way."""


def canonical(value: Any) -> bytes:
    """The one spelling of `value`: sorted keys, no spaces, ASCII, a newline at the end."""
    text = json.dumps(_spelled(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode() + b"\n"


def parse(text: bytes) -> Any:
    """The value that `canonical` spelled as exactly these bytes.

    Raises:
        Broken: these bytes are not what `canonical` makes of any value: trailing bytes, repeated keys, spaces.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object)
        same = canonical(value) == text
    except (ValueError, RecursionError) as error:
        raise Broken(f"no JSON of ours ({error})") from None
    if not same:
        raise Broken("JSON that was not written by descenso, or was changed since")
    return value


def sealed(value: Any) -> bytes:
    """`value` and its digest, spelled as one."""
    return canonical({"manifest": value, "sha256": sha256(canonical(value)).hexdigest()})


def unsealed(text: bytes) -> Any:
    """What `sealed` was given.

    Raises:
        Broken: these bytes are not what it made of anything.
    """
    outer = parse(text)
    if not isinstance(outer, dict) or outer.keys() != {"manifest", "sha256"}:
        raise Broken("no manifest")
    if sha256(canonical(outer["manifest"])).hexdigest() != outer["sha256"]:
        raise Broken("it differs from its digest")
    return outer["manifest"]


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dict; a repeated key is refused, since readers disagree on which value counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _object(pairs: list[tuple[str, Any]]) -> Any:
    found = unique_keys(pairs)
    return float(found[_FLOAT]) if found.keys() == {_FLOAT} else found


def _spelled(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        return {_FLOAT: str(float(value))}
    if isinstance(value, dict):
        return {k: _spelled(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_spelled(v) for v in value]
    return value

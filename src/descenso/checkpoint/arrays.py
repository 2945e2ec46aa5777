"""Named arrays as the bytes of a safetensors file, and back, strictly.

The layout is the public one: the length of a JSON header in 8 bytes, little-endian; the header; the values end to end.
It is written here an array at a time, so that saving needs no second copy of the state, and read here because a reader
that lets anything through would undo the digests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod
from typing import Any

import ml_dtypes
import numpy as np

from descenso.disk.canonical import Broken, unique_keys

_LARGEST_HEADER = 1 << 24  # bytes; a hundred thousand arrays need less
_DTYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "U64": np.uint64,
    "I64": np.int64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


def pieces(arrays: dict[str, np.ndarray]) -> Iterator[memoryview]:
    """The bytes of the file, a piece at a time.

    Raises:
        TypeError: an array of a dtype that the format does not have.
    """
    wide_first = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))  # so that each is aligned
    header: dict[str, Any] = {}
    end = 0
    for name in wide_first:
        a = arrays[name]
        if a.dtype not in _NAMES:
            raise TypeError(f"{name} has dtype {a.dtype}, which a safetensors file cannot hold.")
        header[name] = {"dtype": _NAMES[a.dtype], "shape": list(a.shape), "data_offsets": [end, end + a.nbytes]}
        end += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield memoryview(len(text).to_bytes(8, "little") + text)
    for name in wide_first:
        yield np.ascontiguousarray(arrays[name].reshape(-1)).view(np.uint8).data


def read_arrays(blob: bytes) -> dict[str, np.ndarray]:
    """The arrays in the bytes of a file; they share its memory and cannot be written to.

    Raises:
        Broken: anything that `pieces` would not have written: a header that is too long or no JSON, a repeated key,
            an unknown dtype, values that overlap, leave a gap or do not fill the file.
    """
    header, values = _header(blob)
    out: dict[str, np.ndarray] = {}
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (start, stop) = np.dtype(_DTYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
        if start != end or stop - start != prod(shape) * dtype.itemsize:
            raise Broken(f"array {name!r} does not lie where it must in the file")
        try:
            out[name] = np.frombuffer(values[start:stop], dtype).reshape(shape)
        except ValueError as error:
            raise Broken(f"array {name!r} cannot be had from the file ({error})") from None
        end = stop
    if end != len(values):
        raise Broken(f"{len(values) - end:,} bytes follow the last array")
    return out


def _header(blob: bytes) -> tuple[dict[str, dict], memoryview]:
    length = int.from_bytes(blob[:8], "little")
    if len(blob) < 8 or length > min(_LARGEST_HEADER, len(blob) - 8):
        raise Broken(f"the header of the arrays claims {length:,} bytes")
    try:
        header = json.loads(blob[8 : 8 + length], object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise Broken(f"the header of the arrays is no JSON ({error})") from None
    if not isinstance(header, dict) or not all(map(_is_entry, header.values())):
        raise Broken("the header of the arrays does not describe arrays")
    return header, memoryview(blob)[8 + length :]


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"dtype", "shape", "data_offsets"}
        and isinstance(entry["dtype"], str)
        and entry["dtype"] in _DTYPES
        and _are_counts(entry["shape"])
        and _are_counts(entry["data_offsets"])
        and len(entry["data_offsets"]) == 2
    )


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 62 for n in value)

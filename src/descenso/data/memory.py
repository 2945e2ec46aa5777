"""Amounts of memory."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from descenso._errors import ArgumentError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_LEAST = 1 << 26  # bytes
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def as_bytes(amount: int | str) -> int:
    """An amount such as "2GB", "512 MiB" or a number of bytes, in bytes.

    Raises:
        ArgumentError: it is none, or not above 0.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", str(amount).strip())
    if found is None or found[2].upper() not in _UNITS or not float(found[1]) > 0:
        raise ArgumentError(f'`memory` is {amount!r}. It must be an amount above 0, such as "2GB" or 2_000_000_000.')
    return int(float(found[1]) * _UNITS[found[2].upper()])


def share_of_free() -> int:
    """A quarter of the memory that is free, rounded down to a power of two so that it is the same most of the time."""
    quarter = max(_free() // 4, _LEAST)
    return 1 << (quarter.bit_length() - 1)


def _free() -> int:
    """The bytes that this process may still take, as far as the system says; 4 GB where it does not."""
    found = [_available(), *map(_left_in_group, _GROUPS), _allowed()]
    return min((n for n in found if n is not None), default=1 << 32)


def _available() -> int | None:
    with suppress(OSError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024
    with suppress(ValueError, OSError, AttributeError):  # half of all there is, where nothing says what is free
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return None


def _left_in_group(names: tuple[str, str]) -> int | None:
    with suppress(OSError, ValueError):  # "max" is no limit
        limit, used = (int(Path(name).read_text()) for name in names)
        return max(limit - used, 0)
    return None


def _allowed() -> int | None:
    """The soft limit of the data segment; what is used of it already is not asked."""
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return None if limit == resource.RLIM_INFINITY else limit

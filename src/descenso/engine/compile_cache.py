"""Compiled code kept between processes and between runs."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import jax

_KEPT = 32


def keep_on_disk() -> None:
    """Switch on JAX's persistent compilation cache, in the user's cache directory, unless the user has chosen one.

    The cache holds native code, so its directory is readable by the user alone. A directory that cannot be made or
    that somebody else owns is left unused: the run then only compiles again.
    """
    config: Any = jax.config  # its options are attributes that only run time knows
    if config.jax_compilation_cache_dir or not config.jax_enable_compilation_cache:
        return
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "descenso" / "jax"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            return
        folder.chmod(0o700)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


class Remembered:
    """What was made for the last few keys, each beside the trace of the loss it was made for.

    A loss may close over arrays that were changed since; so what is remembered is used only if the `trace` of the loss
    is the same as then.
    """

    def __init__(self) -> None:
        self._found: OrderedDict[Hashable, tuple[Any, Any]] = OrderedDict()

    def trace(self, key: Hashable) -> Any | None:
        """The trace that belongs to `key`, or None."""
        try:
            return self._found.get(key, (None, None))[0]
        except TypeError:  # a loss or a fixed leaf that cannot be hashed
            return None

    def get(self, key: Hashable, trace: Any, make: Callable[[], Any]) -> Any:
        """What belongs to `key` and `trace`, made if it is not there."""
        known = self.trace(key)
        if known is not None and (known is trace or known.same_as(trace)):
            self._found.move_to_end(key)
            return self._found[key][1]
        made = make()
        try:
            self._found[key] = (trace, made)
        except TypeError:
            return made
        if len(self._found) > _KEPT:
            self._found.popitem(last=False)
        return made

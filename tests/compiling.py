"""How the tests compile: quickly, for that is most of their time, and they say nothing of speed.

XLA's plain code generator and none of LLVM's optimizations compile a loop in a quarter of the time.
`JAX_DISABLE_MOST_OPTIMIZATIONS=0 sh scripts/test` compiles as users do.
"""

from __future__ import annotations

import os

import jax

_SWITCH = "JAX_DISABLE_MOST_OPTIMIZATIONS"
_FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"


def quickly() -> None:
    """Compile quickly from here on, and in every process that is started from here, unless `_SWITCH` is set."""
    if _SWITCH in os.environ:
        return
    os.environ[_SWITCH] = "1"
    jax.config.update("jax_disable_most_optimizations", True)
    # XLA ends the process at a flag that it does not know: a later one compiles slower until it was looked at
    if jax.__version_info__ < (0, 11):
        os.environ["XLA_FLAGS"] = " ".join([_FLAGS, *os.environ.get("XLA_FLAGS", "").split()])


def as_users() -> dict[str, str]:
    """The environment of a process that compiles as users do."""
    flags = os.environ.get("XLA_FLAGS", "").removeprefix(_FLAGS).strip()
    return {**os.environ, _SWITCH: "0", "XLA_FLAGS": flags}

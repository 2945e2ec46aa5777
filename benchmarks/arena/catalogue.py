"""Every workload by name: the open ones, the sealed ones, and which of them need the data sets of DESCENSO_DATA."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.arena import sealed, tables
from benchmarks.arena.workload import Workload
from benchmarks.arena.workloads import digits, fields, linear, synthetic, tabular, text

BUNDLED: dict[str, Callable[[], Workload]] = {
    **linear.WORKLOADS,
    **synthetic.WORKLOADS,
    **digits.WORKLOADS,
    **fields.WORKLOADS,
}
"""Open workloads that need no file."""
FILED: dict[str, Callable[[], Workload]] = {**tabular.WORKLOADS, **text.WORKLOADS}
"""Open workloads on the data sets of DESCENSO_DATA."""
SEALED: dict[str, Callable[[], Workload]] = sealed.WORKLOADS
"""Workloads that ours is run on once."""
SEALED_WITHOUT_FILES = ("flow_moons", "recall")
QUICK = ("linear_raw", "softmax_raw", "matrix_factors", "autoencoder", "cnn")
"""Five of different kinds, for a run of three minutes."""


def available(only: list[str] | None = None, seal: bool = False) -> tuple[list[str], list[str]]:
    """The names to run and the names left out because DESCENSO_DATA is not set.

    Raises:
        KeyError: a name in `only` that is no open workload (or no sealed one, with `seal`).
    """
    known = SEALED if seal else {**BUNDLED, **FILED}
    names = list(known) if only is None else only
    unknown = [name for name in names if name not in known]
    if unknown:
        raise KeyError(f"no workload named {', '.join(unknown)}. There are: {', '.join(known)}.")
    if tables.folder() is not None:
        return names, []
    left_out = [name for name in names if _needs_files(name)]
    return [name for name in names if name not in left_out], left_out


def _needs_files(name: str) -> bool:
    return name in FILED or (name in SEALED and name not in SEALED_WITHOUT_FILES)


def make(name: str) -> Workload:
    """The workload of that name."""
    return {**BUNDLED, **FILED, **SEALED}[name]()

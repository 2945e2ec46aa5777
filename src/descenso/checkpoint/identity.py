"""What makes two runs the same run: the configuration, the data, the loss, and the machine they ran on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

import descenso
from descenso._types import Leaves
from descenso.driver.prepare import Prepared
from descenso.engine.objective import Trace
from descenso.watch.limits import Budget, Stop

_WHOLE = 1 << 28  # bytes of an array up to which every one is looked at
_SAMPLES, _SAMPLE = 256, 1 << 16  # stretches of a larger one, and bytes of each
_LINE, _DIGEST = 80, 64  # characters of a value that is told, and of a digest
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True)
class Identity:
    """Three dicts of plain values; each key is a field that a message can name.

    Attributes:
        configuration: what was asked for. A run that differs in it is another run.
        data: what it learns from; the same holds.
        loss: the traced loss. One that differs may still be meant to be the same.
        environment: where it runs. A difference leaves the order of the rows as it was, but not every bit.
    """

    configuration: dict[str, Any]
    data: dict[str, Any]
    loss: dict[str, Any]
    environment: dict[str, Any]


def identify(ready: Prepared, budget: Budget, stop: Stop, watch: Any) -> Identity:
    """The identity of a run that is ready for its first step; see `minimize` for the other arguments."""
    engine, tree = ready.engine, ready.engine.objective.tree
    configuration = {
        "method": _method(engine.method, ready.leaves),
        "batch_size": engine.batch_size,
        "larger batches": ready.may_grow or None,
        "seed": engine.seed,
        # seconds only cut a run short: they do not change where it goes
        "budget": {k: v for k, v in asdict(budget).items() if k != "seconds"},
        "stop": asdict(stop),
        "horizon": ready.pilot.horizon if ready.pilot else None,
        "watch.every": getattr(watch, "every", None),
        "escape": ready.certify if ready.escape else False,
        "bounds": None if engine.bounds is None else [[_print_of(leaf) for leaf in side] for side in engine.bounds],
        "params": [[name, *_form(leaf)] for name, leaf in zip(tree.names, ready.leaves, strict=True)],
        "precision": str(jnp.result_type(float)),
    }
    rows, own = engine.objective.split(engine.data)
    if engine.stream is not None:
        order = engine.stream.order(0)
        configuration["window"] = [order.block, order.span]
        rows = tuple(engine.stream.arrays)
    configuration["arrays of the loss"] = [_print_of(a) for a in own]
    data = {"data": [_print_of(a) for a in rows], "validate": [_print_of(a) for a in ready.validation or ()]}
    return Identity(configuration, data, _loss(engine.trace), environment())


def environment() -> dict[str, Any]:
    """All that may change the last bits of a sum."""
    device = jax.devices()[0]
    return {
        "descenso": descenso.__version__,
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "numpy": np.__version__,
        "platform": device.platform,
        "device": device.device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "threads": _threads(),
        "matmul precision": str(getattr(jax.config, "jax_default_matmul_precision", None)),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def _threads() -> int:
    asked = os.environ.get("NPROC", "")
    if asked.isdecimal():
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _method(method: Any, leaves: Leaves) -> str:
    """Its name and options; of one that hides them in functions, as optax does, what it computes."""
    text = _ADDRESS.sub("", repr(method))
    hidden = getattr(method, "text", None)
    return text if hidden is None else f"{text} {sha256(_ADDRESS.sub('', hidden(leaves)).encode()).hexdigest()}"


def _loss(trace: Trace) -> dict[str, Any]:
    text = sha256(_ADDRESS.sub("", trace.text).encode()).hexdigest()
    return {"text": text, "constants": [c.hex() if isinstance(c, bytes) else _print_of(c) for c in trace.constants]}


def _form(array: Any) -> list[Any]:
    return [list(array.shape), str(array.dtype)]


def _print_of(array: Any) -> list[Any]:
    """Shape, dtype and digest of an array: of all its bytes, or of stretches of them spread over its rows."""
    digest = sha256()
    for part in _looked_at(array):
        digest.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
    return [*_form(array), digest.hexdigest()]


def _looked_at(array: Any) -> Iterable[np.ndarray]:
    host = np.asarray(array) if isinstance(array, jax.Array) else array
    size = int(np.prod(host.shape, dtype=np.int64)) * np.dtype(host.dtype).itemsize
    if size <= _WHOLE:
        yield np.asarray(host)
        return
    rows = host.shape[0]
    each = max(1, _SAMPLE * rows // size)
    for i in range(_SAMPLES):
        at = i * (rows - each) // (_SAMPLES - 1)
        yield np.asarray(host[at : at + each])


def difference(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A phrase for each field that is not what it was: `seed: 0, now 1`."""
    fields = [f for f in sorted({*then, *now}) if then.get(f) != now.get(f)]
    return [f"{f}: {_short(then.get(f), now.get(f))}" for f in fields]


def _short(then: Any, now: Any) -> str:
    """What differs, a field within a field named too, cut to a line."""
    if isinstance(then, dict) and isinstance(now, dict):
        return "; ".join(difference(then, now))
    if _is_print(then) and _is_print(now):
        then, now = ([tuple(a[0]), a[1], "values"] for a in (then, now))
        i = next((i for i in (0, 1) if then[i] != now[i]), None)
        return "other values" if i is None else f"{('shape', 'dtype')[i]} {then[i]}, now {now[i]}"
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        i = next(i for i, pair in enumerate(zip(then, now, strict=True)) if pair[0] != pair[1])
        return f"entry {i}: {_short(then[i], now[i])}"
    a, b = str(then), str(now)
    # long texts from where they part on
    same = next((i for i, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), min(len(a), len(b)))
    begin = max(0, same - 20) if max(len(a), len(b)) > _LINE else 0
    return f"{_cut(a, begin)}, now {_cut(b, begin)}"


def _is_print(value: Any) -> bool:
    return isinstance(value, list) and list(map(type, value)) == [list, str, str] and len(value[2]) == _DIGEST


def _cut(text: str, begin: int) -> str:
    text = ("..." if begin else "") + text[begin:]
    return text if len(text) <= _LINE else text[: _LINE - 3] + "..."

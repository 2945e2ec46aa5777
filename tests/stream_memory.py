"""Train on a table of so many rows and print the most memory that the process had, in MB.

python stream_memory.py ROWS FOLDER
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
import pyarrow as pa

import descenso
from descenso import Budget, Streamed
from descenso.methods.named import named

_COLUMNS = 19


def batches(rows: int) -> Iterator[pa.RecordBatch]:
    names = [*(f"x{i}" for i in range(_COLUMNS)), "y"]
    for first in range(0, rows, 50_000):
        x = np.random.default_rng(first).normal(size=(50_000, _COLUMNS)).astype(np.float32)
        yield pa.RecordBatch.from_arrays([*map(pa.array, x.T), pa.array(x.sum(axis=1))], names=names)


if __name__ == "__main__":
    data = Streamed.table(batches(int(sys.argv[1])), target="y", memory="40MB", cache=sys.argv[2])
    loss = lambda p, batch: jnp.mean((batch[0] @ p - batch[1]) ** 2)  # noqa: E731
    start = np.zeros(_COLUMNS, np.float32)
    result = descenso.minimize(
        loss, start, data, method=named("adam", lr=0.02), batch_size=512, budget=Budget(epochs=1)
    )
    assert np.allclose(result.params, 1, atol=0.05)
    assert [f for f in result.findings if f.kind == "stream"]
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

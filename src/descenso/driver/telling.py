"""Telling the caller how a run stands, a few times a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from descenso.driver.spending import Spending
from descenso.engine.engine import Engine
from descenso.result import Finding, Progress
from descenso.watch.stop import Validation

_EVERY = 0.1  # seconds


@dataclass
class Teller:
    """Calls `progress`, if there is one, at most ten times a second."""

    progress: Callable[[Progress], None] | None
    spending: Spending
    last: tuple[float, int] = (0.0, 0)

    def tell(
        self, engine: Engine, step: int, sums: np.ndarray, findings: list[Finding], validation: Validation | None
    ) -> None:
        """`engine` makes the steps from here on; `sums` are those of the records since the last look."""
        now, rows = self.spending.seconds, engine.position(step)
        then, rows_then = self.last
        if self.progress is None or now - then < _EVERY:
            return
        self.last = now, rows
        finite = sums[sums[:, 4] > 0]
        loss, _, step_size = finite[-1, :3] / finite[-1, 4] if len(finite) else (np.nan,) * 3
        fraction = self.spending.fraction(step)
        self.progress(
            Progress(
                step=step,
                epoch=engine.epochs(step),
                loss=float(loss),
                validation=validation.seen[-1] if validation and validation.seen else None,
                step_size=float(step_size),
                rows_per_second=max(rows - rows_then, 0) / (now - then),
                note=findings[-1].message if findings else "",
                seconds=now,
                fraction=fraction,
                seconds_left=now / fraction - now if fraction else None,
            )
        )

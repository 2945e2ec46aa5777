"""How many steps fit into one compiled call, so that it lasts long enough to be worth it and short enough to answer."""

from __future__ import annotations

from dataclasses import dataclass

_TARGET = 0.25  # seconds a chunk: its overhead of about half a millisecond is lost in it, and Ctrl-C is answered
_GROWTH = 4  # how much longer the next chunk may be than the last: the first ones hold compilation and warm-up


@dataclass
class Pace:
    """Sizes chunks by the time that the last one took. Their size never changes what a run computes."""

    steps: int = 64

    def measure(self, steps: int, seconds: float) -> None:
        """Take note of a chunk of `steps` that took `seconds`."""
        fitting = int(_TARGET * steps / max(seconds, 1e-6))
        self.steps = max(1, min(fitting, _GROWTH * max(steps, self.steps)))

"""What a look at the records can say. Only the driver acts on it."""

from __future__ import annotations

from dataclasses import dataclass

from descenso.result import Reason


@dataclass(frozen=True)
class Continue:
    """All is well; `note` says what was seen all the same, or is empty."""

    note: str = ""


@dataclass(frozen=True)
class Recover:
    """Go back to the last good state and step smaller.

    shrink: the factor on the scale, in (0, 1). why: what was seen, in a sentence. to_start: whether no state since the
    start is good. rise: by how much the loss has risen, 0 where that is not what was seen.
    """

    why: str
    shrink: float = 0.25
    to_start: bool = False
    rise: float = 0.0


@dataclass(frozen=True)
class Stop:
    """End the run. why: the evidence, in a sentence."""

    reason: Reason
    why: str


Verdict = Continue | Recover | Stop

"""Signals during a run: Ctrl-C asks for the best so far, a second one raises; SIGTERM asks to leave with all saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

TERMINATED = 128 + signal.SIGTERM
"""The exit status of a process that SIGTERM ended: 143."""


@dataclass
class Interrupt:
    """Whether the user has asked for the end; `terminated` where it was SIGTERM."""

    asked: bool = False
    terminated: bool = False


@contextmanager
def watching(*, terminate: bool = False) -> Iterator[Interrupt]:
    """Yields an `Interrupt` that the first SIGINT sets; a second SIGINT raises KeyboardInterrupt.

    With `terminate`, SIGTERM sets it too. The caller's own handling is put back at the end. Outside the main thread,
    where Python delivers no signals, and where a signal is not handled by Python or is ignored, nothing is changed.
    """
    asked = Interrupt()

    def on_interrupt(number, frame):
        if asked.asked:
            raise KeyboardInterrupt
        asked.asked = True

    def on_terminate(number, frame):
        asked.asked = asked.terminated = True

    wanted = {signal.SIGINT: on_interrupt} | ({signal.SIGTERM: on_terminate} if terminate else {})
    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in wanted} if here else {}
    taken = {number: old for number, old in before.items() if old not in (None, signal.SIG_IGN)}
    for number in taken:
        signal.signal(number, wanted[number])
    try:
        yield asked
    finally:
        for number, old in taken.items():
            signal.signal(number, old)

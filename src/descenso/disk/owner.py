"""Which process made a file, and whether it still lives."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process. Its start time tells it from a later one with the same number.

    Attributes:
        host: the name of its machine.
        pid: its number there.
        started: when it started, in the system's clock ticks; 0 where the system does not say.
    """

    host: str
    pid: int
    started: int

    @classmethod
    def this(cls) -> Owner:
        pid = os.getpid()
        return cls(socket.gethostname().replace("~", "-") or "localhost", pid, _start_time(pid) or 0)

    @classmethod
    def of(cls, text: str) -> Owner | None:
        """The owner that `str` wrote as `text`, None if it is none."""
        host, *numbers = text.split("~")
        if len(numbers) != 2 or not all(n.isdecimal() for n in numbers):
            return None
        return cls(host, int(numbers[0]), int(numbers[1]))

    def __str__(self) -> str:
        return f"{self.host}~{self.pid}~{self.started}"

    @property
    def dead(self) -> bool:
        """Whether it surely lives no more; of a process on another machine nothing is known."""
        if self.host != Owner.this().host:
            return False
        started = _start_time(self.pid)
        if started is None:
            return not _exists(self.pid)
        return started != self.started


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, None where there is no such file."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])  # the name before it, in brackets, may hold spaces


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""One writer for a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from descenso._errors import CheckpointError
from descenso.disk.owner import Owner

_NAME = ".lock"


@dataclass(frozen=True)
class Lock:
    """The right to write to a folder, held until `release` or until the process dies, whatever it dies of."""

    descriptor: int

    @classmethod
    def take(cls, folder: Path) -> Lock:
        """Raises CheckpointError where another run holds it or the folder cannot be written to."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise CheckpointError(
                f"{folder}: checkpoints cannot be written here ({error.strerror}).",
                hint="name a folder that can be written to",
            ) from error
        if not _try(descriptor):
            holder = os.pread(descriptor, 256, 0).decode(errors="replace")
            os.close(descriptor)
            raise CheckpointError(
                f"{folder}: another run writes its checkpoints here ({_told(holder)}). Each needs a folder of its own.",
                hint="wait for it or end it, or name another folder",
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(Owner.this()).encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        os.close(self.descriptor)


def _told(holder: str) -> str:
    owner = Owner.of(holder)
    return f"process {owner.pid} on {owner.host}" if owner else "a process that has not said its name"


def _try(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

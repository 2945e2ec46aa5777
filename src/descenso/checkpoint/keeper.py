"""When a run is written to disk, and what it goes on from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import isfinite
from numbers import Integral
from pathlib import Path
from time import perf_counter
from typing import Any

from descenso._errors import ArgumentError, CheckpointError
from descenso.checkpoint.identity import Identity, difference, identify
from descenso.checkpoint.lock import Lock
from descenso.checkpoint.snapshot import Snapshot, pack, unpack
from descenso.checkpoint.store import Saved, Store
from descenso.disk.canonical import Broken
from descenso.driver.prepare import Prepared
from descenso.engine.chunk import RunState
from descenso.result import Finding
from descenso.watch.limits import Budget, Stop

RESUME = ("auto", "must", "never")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")  # a Path makes one slash of the two


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a run is written to disk. It changes nothing of what the run computes.

    Raises ArgumentError where an argument is not what it must be.

    Args:
        folder: a folder for this run alone; made if it is not there.
        every: seconds from one checkpoint to the next, > 0.
        steps: a checkpoint at each multiple of so many steps as well, >= 1, or None.
        keep: how many of the last to keep, >= 1. The best is kept as well: the one of the lowest validation loss,
            without validation of the lowest loss.
    """

    folder: str | Path
    every: float = 30.0
    steps: int | None = None
    keep: int = 3

    def __post_init__(self):
        where = str(self.folder) if isinstance(self.folder, (str, Path)) else ""
        if not where or _ADDRESS.match(where) or "\0" in where:
            raise ArgumentError(
                f"Checkpoint got folder={self.folder!r}. It must be the name of a folder on a file system.",
                hint='e.g. "runs/seven"',
            )
        if not isinstance(self.every, (int, float)) or not self.every > 0:
            raise ArgumentError(f"Checkpoint got every={self.every!r}. It must be a number of seconds above 0.")
        if self.steps is not None and not _is_count(self.steps):
            raise ArgumentError(f"Checkpoint got steps={self.steps!r}. It must be a whole number from 1, or None.")
        if not _is_count(self.keep):
            raise ArgumentError(f"Checkpoint got keep={self.keep!r}. It must be a whole number from 1.")


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


@contextmanager
def keeping(
    plan: Checkpoint | None, ready: Prepared, budget: Budget, stop: Stop, watch: Any
) -> Iterator[Keeper | None]:
    """Yields the keeper of a run that is ready for its first step; None without a plan."""
    if plan is None:
        yield None
        return
    keeper = Keeper(plan, identify(ready, budget, stop, watch))
    try:
        yield keeper
    finally:
        keeper.close()


def as_checkpoint(checkpoint: Any, resume: str) -> Checkpoint | None:
    """The argument of `minimize` as a Checkpoint.

    Raises:
        ArgumentError: it is neither a folder nor a Checkpoint, or `resume` is no such word.
    """
    if resume not in RESUME:
        raise ArgumentError(f'`resume` is {resume!r}. It must be "auto", "must" or "never".')
    if checkpoint is None:
        if resume == "must":
            raise ArgumentError('`resume` is "must", but there is no `checkpoint` to go on from.')
        return None
    if isinstance(checkpoint, (str, Path)):
        return Checkpoint(checkpoint)
    if not isinstance(checkpoint, Checkpoint):
        raise ArgumentError(f"`checkpoint` is a {type(checkpoint).__name__}. It must be a folder or a Checkpoint.")
    return checkpoint


@dataclass
class Keeper:
    """Writes the checkpoints of one run; the only one that may, while it is open.

    Args:
        plan: where and how often.
        identity: what the run is.

    Attributes:
        resumed: how often the run was resumed.
        moves: how its environment has changed since it began, a phrase for each change.
        spoiled: whether the run was cut short where an undisturbed one would not have been; it is not written then.
        saved_at: when the last checkpoint was written, by `perf_counter`.
    """

    plan: Checkpoint
    identity: Identity
    resumed: int = 0
    moves: list[str] = field(default_factory=list)
    spoiled: bool = False
    saved_at: float = field(default_factory=perf_counter)

    def __post_init__(self):
        folder = Path(self.plan.folder)
        self.lock = Lock.take(folder)
        self.store = Store(folder, self.plan.keep)
        self.store.sweep()

    def due(self, step: int) -> bool:
        """Whether a checkpoint should be written after step `step`."""
        on_step = self.plan.steps is not None and step % self.plan.steps == 0
        return on_step or perf_counter() - self.saved_at >= self.plan.every

    def most(self, step: int) -> int:
        """How many steps may be made at once from `step` on, so that none that asks for a checkpoint is passed."""
        return self.plan.steps - step % self.plan.steps if self.plan.steps else 2**31

    def save(self, snapshot: Snapshot, score: float) -> None:
        """Raises CheckpointError where it cannot be written."""
        if self.spoiled:
            return
        arrays, numbers = pack(snapshot)
        told = {"step": numbers["stretch"][0] if numbers["stretch"] else numbers["cursor"], "resumed": self.resumed}
        told["moves"] = self.moves
        score_or_none = score if isfinite(score) else None
        self.store.save(arrays, {**told, "score": score_or_none, "numbers": numbers, **asdict(self.identity)})
        self.saved_at = perf_counter()

    def found(self, resume: str, like: Callable[[dict[str, Any]], RunState]) -> tuple[Snapshot, list[Finding]] | None:
        """What to go on from and what is to be said of it, or None for a run that starts.

        Args:
            resume: "auto" goes on where there is something to go on from, "must" refuses where there is not, "never"
                refuses where there is.
            like: gives, for the numbers of a checkpoint, a state of the form that it holds.

        Raises:
            CheckpointError: all checkpoints are broken, or they are of another run.
        """
        if resume == "never" and self.store.names():
            raise CheckpointError(
                f'{self.store.folder}: there are checkpoints here already, and `resume` is "never".',
                hint='name another folder, or go on from them with resume="auto"',
            )
        saved, rejected = self.store.newest()
        if saved is None:
            if resume == "must":
                raise CheckpointError(f'{self.store.folder}: there is no checkpoint here, and `resume` is "must".')
            return None
        self._check_same(saved)
        try:
            snapshot = unpack(saved.arrays, saved.body["numbers"], like(saved.body["numbers"]))
        except Broken as why:
            raise CheckpointError(f"{saved.path}: {why}.") from None
        self.resumed = saved.body["resumed"] + 1
        self.moves = saved.body["moves"] + difference(saved.body["environment"], self.identity.environment)
        return snapshot, self._told(saved, rejected)

    def _check_same(self, saved: Saved) -> None:
        # the data first: of others the number of steps, say, is another too
        changed = {
            name: difference(saved.body[name], getattr(self.identity, name)) for name in ("data", "configuration")
        }
        lines = [f"  {line}" for name in changed for line in changed[name]]
        if lines:
            names = " and ".join(name for name in changed if changed[name])
            raise CheckpointError(
                "\n".join([f"{saved.path}: the checkpoint is of a run with another {names}:", *lines])
                + "\nTo go on from it, everything must be as it was.",
                hint="change it back, or start a run of its own in another folder",
            )

    def _told(self, saved: Saved, rejected: list[str]) -> list[Finding]:
        step = saved.body["step"]
        times = f", for the {self.resumed}th time" if self.resumed > 3 else ", again" if self.resumed > 1 else ""
        findings = [
            Finding("resumed", step, f"went on from {saved.path.name} of step {step:,}{times}: {self._exact()}")
        ]
        findings += [Finding("resumed", step, f"not used: {why}") for why in rejected]
        if changed := difference(saved.body["loss"], self.identity.loss):
            which = "its text" if any(line.startswith("text") for line in changed) else "a constant in it"
            findings.append(Finding("resumed", step, f"the loss is not the one the run began with: {which} differs"))
        return findings

    def _exact(self) -> str:
        """What can be promised of the run as a whole."""
        if self.moves:
            return f"order-exact (the same batches, not the same last bits), since {'; '.join(self.moves)}"
        here = self.identity.environment
        if here["platform"] == "cpu" and here["threads"] > 1:
            return "order-exact; bit-exact as far as XLA's sums over several threads are (NPROC=1 makes sure)"
        return "bit-exact: as if it had never stopped"

    def close(self) -> None:
        """Let another run write here."""
        self.lock.release()

"""Run in a process of its own, which loads no JAX and so may fork: what the tests of the store do to it.

python checkpoint_faults.py crash FOLDER [MUTANT]     every crash point of a save, as JSON
python checkpoint_faults.py trace FOLDER [MUTANT]     the calls of a save in order, as JSON
python checkpoint_faults.py write FOLDER              save for ever, saying each number once it is safe
python checkpoint_faults.py hold FOLDER               hold the lock until killed
python checkpoint_faults.py limit FOLDER BYTES        save large checkpoints where no file may be longer than BYTES
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from descenso._errors import CheckpointError
from descenso.checkpoint import store
from descenso.checkpoint.lock import Lock
from descenso.checkpoint.store import Store
from descenso.disk import files

CALLS = ("mkdir", "open", "write", "fsync", "close", "rename", "unlink", "rmdir")


def content(number: int) -> tuple[dict[str, np.ndarray], dict]:
    return {"a": np.full(1000, number, np.float32), "b": np.asarray(number, np.int32)}, {"number": number}


def number_of(saved: store.Saved) -> int:
    """The number that a checkpoint was saved with; its parts must agree."""
    number = saved.body["number"]
    assert (saved.arrays["a"] == number).all()
    assert saved.arrays["b"] == number
    return number


def in_place() -> None:
    """Write where the checkpoint will be read from."""
    store.hidden = lambda folder: folder / f"checkpoint-{len(Store(folder).names()):08d}"
    store.publish = lambda prepared, final: files.flush_folder(prepared)


def delete_first() -> None:
    """Remove the old before the new is there."""
    save = Store.save

    def emptied(self, arrays, body):
        for path in self.names():
            shutil.rmtree(path)
        return save(self, arrays, body)

    Store.save = emptied


def unflushed_file() -> None:
    fsync = os.fsync
    os.fsync = lambda descriptor: fsync(descriptor) if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() else None


def unflushed_folder() -> None:
    flush = files.flush_folder
    files.flush_folder = lambda folder: None if folder.name.startswith(".tmp-") else flush(folder)


def unflushed_parent() -> None:
    flush = files.flush_folder
    files.flush_folder = lambda folder: flush(folder) if folder.name.startswith(".tmp-") else None


def renamed_first() -> None:
    def publish(prepared: Path, final: Path) -> None:
        os.rename(prepared, final)
        files.flush_folder(final)
        files.flush_folder(final.parent)

    store.publish = publish


MUTANTS = {
    f.__name__: f for f in (in_place, delete_first, unflushed_file, unflushed_folder, unflushed_parent, renamed_first)
}


def crashing(at: int, when: str) -> None:
    """Patch the calls of `os` so that the process ends at call number `at`: before it, half-way through, or after."""
    seen = 0

    def patched(name, call):
        def wrapper(*args, **keywords):
            nonlocal seen
            seen += 1
            if seen != at:
                return call(*args, **keywords)
            if when == "half" and name == "write":
                call(args[0], args[1][: len(args[1]) // 2])
            elif when == "after":
                call(*args, **keywords)
            os._exit(9)

        return wrapper

    for name in CALLS:
        setattr(os, name, patched(name, getattr(os, name)))


def fresh(folder: Path) -> Store:
    """A store that holds two checkpoints, of which it keeps two: the next save removes one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = Store(folder, keep=2)
    for number in (0, 1):
        made.save(*content(number))
    return made


def crash(folder: Path, mutant: str | None) -> None:
    """For every call of a save, and each way to end at it: the newest checkpoint, and what was rejected."""
    os.fsync = lambda descriptor: None  # what was written outlives a process without it; `trace` is for the rest
    outcomes = []
    for at in range(1, 10_000):
        ended = 0
        for when in ("before", "half", "after"):
            made = fresh(folder)
            if (pid := os.fork()) == 0:
                if mutant:
                    MUTANTS[mutant]()
                crashing(at, when)
                made.save(*content(2))
                os._exit(0)
            ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            outcomes.append([at, when, ended, *newest(made)])
        if ended == 0:
            break
    print(json.dumps(outcomes))


def newest(made: Store) -> tuple[int | None, list[str]]:
    try:
        saved, rejected = made.newest()
    except CheckpointError as error:
        return None, [str(error)]
    return (number_of(saved) if saved else None), rejected


def trace(folder: Path, mutant: str | None) -> None:
    """The calls of a save that removes an old checkpoint: [name, path it is about, path it leads to or ""]."""
    made = fresh(folder)
    calls, paths = [], {}

    def patched(name, call):
        def wrapper(*args, **keywords):
            value = call(*args, **keywords)
            about = paths.get(args[0], "") if isinstance(args[0], int) else os.path.basename(os.fspath(args[0]))
            if name == "open":
                paths[value] = about
            calls.append([name, about, os.path.basename(args[1]) if name == "rename" else ""])
            return value

        return wrapper

    for name in CALLS:
        setattr(os, name, patched(name, getattr(os, name)))
    if mutant:
        MUTANTS[mutant]()
    made.save(*content(2))
    print(json.dumps(calls))


def write(folder: Path) -> None:
    lock = Lock.take(folder)
    made = Store(folder, keep=2)
    made.sweep()
    number = -1 if (saved := made.newest()[0]) is None else number_of(saved)
    while True:
        number += 1
        made.save(*content(number))
        print(number, flush=True)
        assert lock.descriptor >= 0


def hold(folder: Path) -> None:
    Lock.take(folder)
    print(os.getpid(), flush=True)
    sys.stdin.read()


def limit(folder: Path, length: int) -> None:
    """Save until it fails; prints the number of the last that was safe, and the message."""
    if length:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (length, length))
    made = Store(folder, keep=100)
    for number in range(1000):
        try:
            made.save(
                {"a": np.full(1000 + 20_000 * number, number, np.float32), "b": np.asarray(number)}, {"number": number}
            )
        except CheckpointError as error:
            print(json.dumps([number - 1, str(error), *newest(made)]))
            return


if __name__ == "__main__":
    command, where, *rest = sys.argv[1:]
    if command in ("crash", "trace"):
        globals()[command](Path(where), rest[0] if rest else None)
    elif command == "limit":
        limit(Path(where), int(rest[0]))
    else:
        globals()[command](Path(where))

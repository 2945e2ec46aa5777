"""The peers' results, kept as JSON so that a run need not tune them again."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

import jax
import numpy as np
import optax

FOLDER = Path(__file__).parent / "tuned"


@dataclass(frozen=True)
class PeerResult:
    """One peer on one workload, at its best rate.

    Attributes:
        rate: the rate it was run at.
        tried: how many runs it took to find that rate, all rates and seeds; 1 a seed where it was not tuned.
        tuned: whether the rate was tuned.
        curves: the judged loss at every 2 % of the steps, shape (seeds, marks).
        rates: the median final loss at each rate that ran on all seeds.
    """

    rate: float
    tried: int
    tuned: bool
    curves: list[list[float]]
    rates: dict[str, float] = field(default_factory=dict)

    @property
    def final(self) -> float:
        """The median over seeds of the loss at the end."""
        return float(np.median([curve[-1] for curve in self.curves]))


@dataclass(frozen=True)
class Tuned:
    """All peers on one workload.

    Attributes:
        workload, steps, batch, size: what was run: name, N, rows a batch, parameters.
        seeds: drawn when it was tuned.
        initial: the median over seeds of the loss at the start, I.
        peers: by name.
        made: date, machine and versions.
    """

    workload: str
    steps: int
    batch: int
    size: int
    seeds: list[int]
    initial: float
    peers: dict[str, PeerResult]
    made: str

    @property
    def best(self) -> str:
        """The tuned peer that ends lowest."""
        names = [name for name, peer in self.peers.items() if peer.tuned]
        return min(names, key=lambda name: self.peers[name].final)

    @property
    def best_final(self) -> float:
        """Its final loss, B."""
        return self.peers[self.best].final


def provenance() -> str:
    """Where and with what a result was made."""
    machine = f"{platform.system()} {platform.machine()}"
    return f"{date.today().isoformat()}, {machine}, jax {jax.__version__}, optax {optax.__version__}"


def path(name: str, folder: Path = FOLDER) -> Path:
    """The file of a workload."""
    return folder / f"{name}.json"


def save(result: Tuned, folder: Path = FOLDER) -> None:
    """Write the file of a workload; six digits a loss, one curve a line. An inf is kept as the word "inf"."""
    tree = asdict(result)
    for peer in tree["peers"].values():
        peer["curves"] = [" ".join(f"{v:.6g}" for v in curve) for curve in peer["curves"]]
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path(result.workload, folder).with_suffix(".part")
    temporary.write_text(json.dumps(tree, indent=1) + "\n")
    temporary.replace(path(result.workload, folder))


def load(name: str, folder: Path = FOLDER) -> Tuned | None:
    """What `save` wrote, or None where the workload has not been tuned."""
    if not path(name, folder).exists():
        return None
    tree = json.loads(path(name, folder).read_text())
    for peer in tree["peers"].values():
        peer["curves"] = [[float(v) for v in line.split()] for line in peer["curves"]]
    tree["peers"] = {name: PeerResult(**peer) for name, peer in tree["peers"].items()}
    return Tuned(**tree)

"""Twenty-nine smooth losses without data, with their starts: quadratics, regressions, a network, and 22 from CUTEst.

CUTEst's come from sif2jax (`pip install --no-deps sif2jax`, then equinox), a module at a time: importing the
package builds every problem, which takes a minute.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

CUTEST = [
    "ROSENBR",
    "BEALE",
    "BROWNBS",
    "HELIX",
    "BARD",
    "BOX3",
    "KOWOSB",
    "BROWNDEN",
    "BIGGS6",
    "OSBORNEB",
    "JENSMP",
    "CHNROSNB",
    "CUBE",
    "CLIFF",
    "SNAIL",
    "HAIRY",
    "HUMPS",
    "ENGVAL2",
    "TRIGON1",
    "HEART6LS",
    "EXPFIT",
    "PALMER1D",
]
_ROOM = "sif2jax.cutest._unconstrained_minimisation"


class Smooth(NamedTuple):
    """A loss of one vector, to be computed in the dtype of that, and where to start (float64)."""

    name: str
    loss: Callable
    start: np.ndarray


def problems() -> list[Smooth]:
    """All twenty-nine, always the same."""
    rng = np.random.default_rng(0)
    return [*_quadratics(rng), *_logistic(rng), _network(rng), *_cutest()]


def _quadratics(rng: np.random.Generator) -> list[Smooth]:
    return [_quadratic(rng, condition) for condition in (1e2, 1e4, 1e6, 1e8)]


def _quadratic(rng: np.random.Generator, condition: float, n: int = 50) -> Smooth:
    turn = np.linalg.qr(rng.normal(size=(n, n)))[0]
    spread = np.logspace(0, np.log10(condition), n) / condition
    matrix, goal = turn * spread @ turn.T, rng.normal(size=n)

    def loss(x):
        gap = x - jnp.asarray(goal, x.dtype)
        return 0.5 * gap @ jnp.asarray(matrix, x.dtype) @ gap

    return Smooth(f"quadratic {condition:.0e}", loss, np.zeros(n))


def _logistic(rng: np.random.Generator) -> Iterator[Smooth]:
    for name, scale, ridge in (("logistic", 1.0, 1e-3), ("logistic, raw", 1e2, 1e-6)):
        x = rng.normal(size=(500, 30)) * np.logspace(0, np.log10(scale), 30)
        margin = x @ rng.normal(size=30) / np.linalg.norm(x, axis=1) * 2 + rng.normal(size=500)
        signed = x * np.sign(margin)[:, None]

        def loss(w, signed=signed, ridge=ridge):
            return jnp.mean(jnp.logaddexp(0.0, -(jnp.asarray(signed, w.dtype) @ w))) + 0.5 * ridge * w @ w

        yield Smooth(name, loss, np.zeros(30))


def _network(rng: np.random.Generator) -> Smooth:
    x = rng.uniform(-1, 1, size=(64, 2))
    y = np.sin(3 * x[:, 0]) * x[:, 1]

    def loss(p):
        first, shift, second = p[:32].reshape(2, 16), p[32:48], p[48:64]
        out = jnp.tanh(jnp.asarray(x, p.dtype) @ first + shift) @ second + p[64]
        return jnp.mean((out - jnp.asarray(y, p.dtype)) ** 2) + 1e-5 * p @ p

    return Smooth("network 65", loss, 0.5 * rng.normal(size=65))


def _cutest() -> Iterator[Smooth]:
    root = stubbed("sif2jax", "sif2jax.cutest", _ROOM)
    files = sorted(root.joinpath(*_ROOM.split(".")[1:]).glob("*.py"))
    sources = {path.stem: path.read_text() for path in files}
    for name in CUTEST:
        module = next(stem for stem, text in sources.items() if re.search(rf"^class {name}\(", text, re.M))
        problem = getattr(import_module(f"{_ROOM}.{module}"), name)()
        start = np.asarray(problem.y0, np.float64).ravel()
        yield Smooth(name, lambda y, p=problem: p.objective(y, p.args), start)


def stubbed(*packages: str) -> Path:
    """The folder of sif2jax, whose packages are put in place but not run: only the modules asked for are imported."""
    root = _folder()
    for name in packages:
        stub = ModuleType(name)
        stub.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = stub
    return root


def _folder() -> Path:
    found = find_spec("sif2jax")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("sif2jax is missing: pip install --no-deps sif2jax; pip install equinox")
    return Path(next(iter(found.submodule_search_locations)))

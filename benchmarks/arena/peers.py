"""Whom descenso is measured against: optax's rules, tuned by grid, and the ones that claim to need no tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import optax
from optax import contrib

Schedule = Callable[[Any], Any]


@dataclass(frozen=True)
class Peer:
    """One contender of the peers.

    Args:
        name: how the tables call it.
        build: `build(schedule, b2)` makes the optax transformation; the schedule already holds the rate.
        rate: the rate as it comes, or None where the rate is tuned.
        cosine: whether the rate rises over the first 5 % of the steps and then falls to 0 along a cosine.
        b2: decay of Adam's second moment, where `build` has use for it.
        average: whether the polynomial average (gamma = 8) of the params is judged instead of the params.
        own: `own(state, params)`, the point that the rule itself says to evaluate at, or None.
        middle: where a tuned grid is centred, in half decades: the rate 10^(middle / 2).
    """

    name: str
    build: Callable[[Schedule, Any], optax.GradientTransformation]
    rate: float | None = None
    cosine: bool = False
    b2: float = 0.999
    average: bool = False
    own: Callable[[Any, Any], Any] | None = None
    middle: int = -5


def _sgd(schedule, b2):
    return optax.sgd(schedule, momentum=0.9)


def _adamw(schedule, b2):
    return optax.adamw(schedule, b2=b2, weight_decay=1e-4)


def _nadamw(schedule, b2):
    return optax.nadamw(schedule, b2=b2, weight_decay=1e-4)


def _muon(schedule, b2):
    """Muon for matrices, AdamW for the rest, embeddings and the last layer; one rate, as Muon's updates are given
    the root mean square of AdamW's (arXiv:2502.16982)."""
    return contrib.muon(schedule, consistent_rms=0.2, adam_b2=b2, muon_weight_dimension_numbers=_hidden)


def _hidden(params):
    def mark(path, leaf):
        name = jax.tree_util.keystr(path)
        hidden = leaf.ndim == 2 and "embed" not in name and "out" not in name
        return contrib.MuonDimensionNumbers() if hidden else None

    return jax.tree_util.tree_map_with_path(mark, params)


def _prodigy(schedule, b2):
    return contrib.prodigy(schedule)


def _schedule_free(schedule, b2):
    return contrib.schedule_free_adamw()


def _mechanic(schedule, b2):
    return contrib.mechanize(optax.adam(schedule))


def _dog(schedule, b2):
    return contrib.dog(schedule)


def _momo(schedule, b2):
    return contrib.momo_adam(schedule)


TUNED = (
    Peer("adamw99_average", _adamw, b2=0.99, average=True),
    Peer("adamw_cosine", _adamw, cosine=True),
    Peer("adamw_constant", _adamw),
    Peer("nadamw_cosine", _nadamw, cosine=True),
    Peer("nadamw_constant", _nadamw),
    Peer("sgd_cosine", _sgd, cosine=True, middle=-3),
    Peer("sgd_constant", _sgd, middle=-3),
    Peer("muon_cosine", _muon, cosine=True),
    Peer("muon_average", _muon, b2=0.99, average=True),
)
"""Each gets its best rate of a grid, which no user knows beforehand."""

AS_THEY_COME = (
    Peer("prodigy_cosine", _prodigy, rate=1.0, cosine=True),
    Peer("prodigy", _prodigy, rate=1.0),
    Peer("schedule_free", _schedule_free, rate=1.0, own=contrib.schedule_free_eval_params),
    Peer("mechanic_cosine", _mechanic, rate=1.0, cosine=True),
    Peer("dog_average", _dog, rate=1.0, average=True),
    Peer("momo_adam", _momo, rate=0.01),
    Peer("adamw_0.001", _adamw, rate=1e-3),
    Peer("adam99_0.01_average", _adamw, rate=1e-2, b2=0.99, average=True),
)
"""No search: what a user gets from the defaults. The last one is the control: Adam and the average,
without a search."""

FAIR = TUNED[:2]
"""What is tuned again when the units of a workload change."""

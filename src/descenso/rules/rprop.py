"""Rprop."""

from __future__ import annotations

from dataclasses import dataclass

from descenso._namespace import zeros
from descenso._ranges import check_ranges
from descenso._types import Leaves, Namespace, State


@dataclass(frozen=True)
class Rprop:
    """A step length for every entry, from the signs of its gradient alone.

        delta_t = grow delta_{t-1}       where g_t has the sign of g_{t-1}
        delta_t = shrink delta_{t-1}     where the sign changed; g_t counts as 0 there, in this step and the next
        d_t = sign(g_t) delta_t          delta kept in [smallest, largest], delta_0 = 1

    Args:
        shrink: factor on a change of sign, in (0, 1).
        grow: factor while the sign stays, >= 1.
        smallest, largest: limits of delta, in units of the step size, > 0.

    State: previous gradients and lengths: leaves shaped as params. Memory: 2 x params.
    Use: full batches only; noise flips the signs.
    Source: Riedmiller and Braun 1993, IEEE ICNN, 586-591, in the form of torch.optim.Rprop.
    """

    shrink: float = 0.5
    grow: float = 1.2
    smallest: float = 1e-4
    largest: float = 5e3

    def __post_init__(self):
        check_ranges(self, shrink="(0, 1)", grow="[1, inf)", smallest="(0, inf)", largest="(0, inf)")

    def init(self, params: Leaves, *, xp: Namespace) -> State:
        return zeros(params, xp), tuple(z + 1 for z in zeros(params, xp))

    def direction(self, grads: Leaves, params: Leaves, state: State, *, xp: Namespace) -> tuple[Leaves, State]:
        previous, lengths = state
        agreement = tuple(xp.sign(g) * xp.sign(p) for g, p in zip(grads, previous, strict=True))
        lengths = tuple(self._resize(delta, s, xp) for delta, s in zip(lengths, agreement, strict=True))
        used = tuple(xp.where(s < 0, xp.zeros_like(g), g) for g, s in zip(grads, agreement, strict=True))
        direction = tuple(xp.sign(g) * delta for g, delta in zip(used, lengths, strict=True))
        return direction, (used, lengths)

    def _resize(self, delta, agreement, xp: Namespace):
        delta = xp.where(agreement > 0, self.grow * delta, xp.where(agreement < 0, self.shrink * delta, delta))
        delta = xp.where(delta > self.largest, self.largest, delta)
        return xp.where(delta < self.smallest, self.smallest, delta)

"""What a descent of a NumPy function came to rest on, and going on from there: below a saddle, or to a finer end."""

from __future__ import annotations

from descenso.interop import evidence
from descenso.interop.function import OutOfCalls
from descenso.interop.walk import VANISHED, Walk
from descenso.result import Reason
from descenso.watch.verdict import Stop

_SADDLES = 5  # that a descent may leave
_FINER, _FINEST = 1e-3, 1e-3 * VANISHED  # what a gradient that counts as zero is multiplied by, and down to where


def to_the_end(walk: Walk) -> Stop:
    """Why the walk ended; `walk.at` is then the answer."""
    try:
        return _onward(walk)
    except OutOfCalls:
        return walk.spent(walk.f.nfev, "evaluation")


def _onward(walk: Walk) -> Stop:
    """Down, and on from each saddle, and once from where the loss still falls though its gradient has vanished."""
    ended, saddles = walk.down(), 0
    while ended.reason is Reason.CONVERGED and walk.limits.curvature:
        try:
            found = evidence.curved(walk.f, walk.at)
        except OutOfCalls:
            return Stop(ended.reason, f"{ended.why}; no evaluation was left to look at the curvature")
        walk.curvature = found.lowest, found.largest
        if found.way is None:
            finer = walk.vanished * _FINER
            doubted = found.verdict in evidence.DOUBTED and walk.limits.gtol is None
            if doubted and found.verdict == "not stationary" and finer >= _FINEST:
                walk.vanished = finer
                ended = walk.down()
                continue
            left = f"; {saddles} saddle{'s' * (saddles > 1)} left on the way" if saddles else ""
            why = f"{ended.why}; {'but ' * doubted}{found.told}{left}"
            return Stop(Reason.PLATEAU if doubted else Reason.CONVERGED, why)
        if walk.moves >= walk.limits.moves:
            return walk.spent(walk.moves, "move")
        below = evidence.beside(walk.f, walk.at, found.way) if saddles < _SADDLES else None
        if below is None:
            told = f"the gradient is zero, and no minimum is there: the loss falls along a direction of {found.told}"
            return Stop(Reason.PLATEAU, told)
        saddles += 1
        ended = walk.accept(below) or walk.down()
    return ended

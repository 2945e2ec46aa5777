"""The loop of a NumPy function: one evaluation, one step of a method, until it has arrived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from descenso._namespace import step_if_finite
from descenso._types import Evaluation, Leaves, Method, State
from descenso.interop import evidence
from descenso.interop.function import Function, Point
from descenso.result import Reason
from descenso.watch.verdict import Stop

VANISHED = 1e-8
"""Of the largest gradient norm: what counts as zero."""

_SHARPEN = 1e-4  # of the same: below it, forward differences are not good enough
_STEEP = 0.1  # of the same: a loss whose gradient stays above it may have no floor
_LOOK = 8  # moves from one look for a floor to the next


@dataclass(frozen=True)
class Limits:
    """How far to go.

    gtol: the largest absolute entry of the gradient that counts as zero; None takes 1e-8 of the largest norm seen.
    moves: accepted points. calls: of the function, those of finite differences as well. curvature: whether to look at
    the curvature where the gradient is zero, and to leave saddles.
    """

    gtol: float | None
    moves: int
    calls: float
    curvature: bool


@dataclass
class Walk:
    """A descent in progress.

    Args:
        f: the function.
        at: the point it has reached.
        methods: tried in this order; the next one goes on where no lower point is found by the one before.
        limits: how far to go.
        tell: is shown each accepted point, and says whether to stop there.

    Attributes:
        moves: accepted points so far, without the start. method: the name of the last method. stale: whether it
            holds gradients that better differences have replaced since. vanished: a share of the largest gradient
            norm that counts as zero. curvature: the lowest and the largest at the answer, None where it was not
            looked at.
    """

    f: Function
    at: Point
    methods: list[Method]
    limits: Limits
    tell: Callable[[Point], bool]
    moves: int = 0
    method: str = ""
    stale: bool = False
    largest: float = 0.0
    vanished: float = VANISHED
    curvature: tuple[float, float] | None = None

    def __post_init__(self):
        self.start, self.left = self.at, list(self.methods)
        self.f.calls = self.limits.calls  # those of the start are not refused: there is no answer without them

    @property
    def _rest(self) -> np.ndarray:
        """What of the gradient is left to descend on."""
        return evidence.resting(self.f, self.at)

    @property
    def _name(self) -> str:
        return "gradient" if self.f.box is None else "projected gradient"

    def down(self) -> Stop:
        """Why it ended, with all methods from the point that it stands at; `at` is then the answer."""
        if not self.at.finite:
            what = f"the loss at the start is {self.at.loss}"
            if np.isfinite(self.at.loss):
                what = "the gradient at the start is not finite"
            return Stop(Reason.NONFINITE, what)
        self.largest = max(self.largest, float(np.linalg.norm(self._rest)))
        self.left = list(self.methods)
        ended = self._arrived()
        if ended is None and self.moves >= self.limits.moves:
            return self.spent(self.moves, "move")
        while ended is None:
            ended = self._descend(self.left[0])
        return ended

    def _descend(self, method: Method) -> Stop | None:
        """Why it ended; None where it goes on with the first of the methods that are left."""
        self.method = type(method).__name__
        params = (self.at.x.copy(),)
        state = method.init(params, xp=np)
        if self.f.box is not None and (within := getattr(method, "within", None)) is not None:
            low, high = self.f.box
            state = within(state, (low,), (high,), xp=np)
        seen = {self.at.x.tobytes(): self.at}
        while True:
            x = params[0]
            point = seen[x.tobytes()] if x.tobytes() in seen else self.f.at(x)
            seen[x.tobytes()] = point
            if point.loss == -np.inf:
                return Stop(Reason.UNBOUNDED, f"the loss is -inf at {_short(x)}")
            params, state = self._step(method, point, params, state)
            answer = method.eval_params(params, state)[0]
            if not np.array_equal(answer, self.at.x):
                if (ended := self.accept(seen.get(answer.tobytes()) or self.f.at(answer))) is not None:
                    return ended
                if not np.array_equal(self.at.x, answer):
                    return None  # it stands elsewhere now: the method begins anew from there
                seen = {answer.tobytes(): self.at}
            if getattr(state, "stalled", False):
                return self._stalled()

    def _step(self, method: Method, point: Point, params: Leaves, state: State) -> tuple[Leaves, State]:
        extra = {}
        if getattr(method, "needs_product", False):
            extra["product"] = lambda v: (self.f.product(params[0], v[0]),)
        evaluation = Evaluation(np.float64(point.loss), (point.grads,))
        with np.errstate(all="ignore"):
            return step_if_finite(method, evaluation, params, state, scale=np.float64(1.0), xp=np, **extra)[:2]

    def accept(self, point: Point) -> Stop | None:
        """Stand at the point; why the descent is over there, None if it is not."""
        self.at = point
        self.moves += 1
        norm = float(np.linalg.norm(self._rest))
        self.largest = max(self.largest, norm)
        if self.tell(self.at):
            return Stop(Reason.INTERRUPTED, "the callback raised StopIteration")
        if (ended := self._arrived()) is not None:
            return ended
        if self.moves % _LOOK == 0 and norm >= _STEEP * self.largest and (ended := self._bottomless()) is not None:
            return ended
        if self.moves >= self.limits.moves:
            return self.spent(self.moves, "move")
        if norm <= _SHARPEN * self.largest:
            self._sharpen()
        return None

    def _arrived(self) -> Stop | None:
        if not self._small():
            return None
        if self._sharpen():
            self.at = self.f.at(self.at.x)
            if not self._small():
                return None
        if not self.f.exact and not self.at.grads.any():
            if (to := self.f.refit(self.at, stalled=False)) is not None:
                return self._refitted(to)
            if self.f.stencil.flat:
                told = f"`fun` does not change within differences of h = {self.f.stencil.flat:.2g}"
                return Stop(Reason.PLATEAU, told)
        norm = float(np.linalg.norm(self._rest))
        if self.limits.gtol is not None:
            entry = float(np.abs(self._rest).max())
            told = f"no entry of the {self._name} is above {entry:.3g}, gtol {self.limits.gtol:g}"
        elif self.moves == 0 or self.largest == 0:
            told = f"the {self._name} is zero{'' if self.moves else ' at the start'}"
        else:
            share = f"{self.vanished:g} of the largest seen, {self.largest:.3g}"
            told = f"the {self._name} norm fell to {norm:.3g}, below {share}"
        blurred = f" ({evidence.rests(self.f, self.at, self.largest)[1]})" if self.f.blurred else ""
        return Stop(Reason.CONVERGED, told + blurred)

    def _refitted(self, to: Point) -> Stop | None:
        """Go on from a point with other differences; why it is over there, None if it is not."""
        self.largest = float(np.linalg.norm(evidence.resting(self.f, to)))  # what was seen before were those of noise
        if not np.array_equal(to.x, self.at.x):
            return self.accept(to) if self.moves < self.limits.moves else None
        self.at = to
        return self._arrived()

    def _small(self) -> bool:
        if self.limits.gtol is not None:
            return bool(np.abs(self._rest).max() <= self.limits.gtol)
        return bool(np.linalg.norm(self._rest) <= self.vanished * self.largest)

    def _sharpen(self) -> bool:
        sharper = self.f.sharpen()
        self.stale = self.stale or sharper
        return sharper

    def _bottomless(self) -> Stop | None:
        fell = evidence.bottomless(self.f, self.start, self.at)
        return Stop(Reason.UNBOUNDED, fell) if fell else None

    def spent(self, count: int, what: str) -> Stop:
        """The ending where no more moves or evaluations are allowed."""
        made = f"{count:,} {what} was" if count == 1 else f"{count:,} {what}s were"
        return Stop(Reason.BUDGET, f"{made} made, and the {self._name} norm is {np.linalg.norm(self._rest):.3g}")

    def _stalled(self) -> Stop | None:
        """No lower point was found: at rest, or on with what is left to try, or stuck."""
        if self._sharpen():
            self.at = self.f.at(self.at.x)
        if self.stale:  # what the method holds was measured more coarsely
            self.stale = False
            return self._arrived()
        norm = float(np.linalg.norm(self._rest))
        at_rest, noise = evidence.rests(self.f, self.at, self.largest)
        if not self.f.exact and (self.f.blurred or not at_rest):
            if (to := self.f.refit(self.at, stalled=True)) is not None:
                return self._refitted(to)
            at_rest, noise = evidence.rests(self.f, self.at, self.largest)
        if at_rest and not self.f.stencil.random:
            told = f"the {self._name} norm {norm:.3g} cannot be told from zero ({noise})"
            asked = "" if self.limits.gtol is None else f"; gtol {self.limits.gtol:g} lies below that"
            return Stop(Reason.CONVERGED, told + asked)
        if len(self.left) > 1:
            self.left.pop(0)
            return None
        told = f"no lower loss was found along the gradient, whose norm is {norm:.3g} ({noise})"
        chance = evidence.noisy(self.f, self.at)
        told = f"{chance}; {told}" if chance else told + evidence.doubt_of_jac(self.f, self.at)
        return self._bottomless() or Stop(Reason.PLATEAU, told)


def _short(x: np.ndarray) -> str:
    return np.array2string(x, precision=3, threshold=6)

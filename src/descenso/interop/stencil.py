"""How far apart the values are that a gradient is differenced from, and what makes them differ but the gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descenso.interop import differences
from descenso.interop.differences import CENTRAL, EPS, FORWARD, Box, Loss

_LONGER, _LONGEST = 10.0, 1.0  # from one length of a step to the next; the last, as a share of max(1, |x_i|)
_CLEAR = 10.0  # times the noise: a change of the loss that tells something
_FITS = 50  # that the steps may be fitted anew in a run


@dataclass
class Stencil:
    """Forward or central differences, and the length of their steps.

    A loss that is rounded more coarsely than float64, or noisy, does not change or changes at random over the usual
    steps. Longer ones are then taken, ten times as long until a change stands out of the noise by a factor of ten.

    Args:
        scheme: "auto" (forward differences, central ones once they are asked for), "2-point" or "3-point".
        asked: the length of a step as a share of max(1, |x_i|), kept to; None takes the usual ones.
        box: low and high (n,), outside which nothing is asked.

    Attributes:
        central: whether both sides of a point are asked. coarse: the share of longer steps, None with the usual ones.
        noise: how far two values differ for no reason but rounding to coarser numbers, or chance; 0 where that is the
        rounding of float64. random: whether two calls at one point differ. flat: the longest step within which no value
        differed, 0 where one did.
    """

    scheme: str
    asked: float | None
    box: Box | None
    coarse: float | None = None
    noise: float = 0.0
    random: bool = False
    flat: float = 0.0
    fits: int = 0

    def __post_init__(self):
        self.central = self.scheme == "3-point"

    @property
    def share(self) -> float:
        """The step as a share of max(1, |x_i|)."""
        return self.coarse or self.asked or (CENTRAL if self.central else FORWARD)

    @property
    def told(self) -> str:
        """What is to be said of the steps, in words."""
        if self.random or not self.coarse:
            return ""
        return f"; they are taken over h = {self.share:.1g} max(1, |x|), since `fun` jumps by about {self.noise:.1g}"

    def gradient(self, f: Loss, x: np.ndarray, loss: float) -> np.ndarray:
        """The gradient (n,) by differences."""
        difference = differences.central if self.central else differences.forward
        return difference(f, x, loss, self.share, self.box)

    def sharpen(self) -> bool:
        """Go from forward to central differences; False where there is nothing better than what is there."""
        if self.central or self.scheme != "auto":
            return False
        self.central = True
        return True

    def error(self, f: Loss, x: np.ndarray, loss: float, grads: np.ndarray) -> float:
        """How far the norm of such a gradient may be wrong: by noise or rounding, and forward ones by curvature."""
        rounding = differences.rounding(x, loss, self.share)
        if self.noise:
            each = self.noise / 2 if self.central else self.noise
            return max(rounding, each * float(np.linalg.norm(1 / differences.steps(x, self.share))))
        if self.central:
            return rounding
        return rounding + float(np.linalg.norm(differences.central(f, x, loss, box=self.box) - grads))

    def look(self, f: Loss, x: np.ndarray, loss: float, way: np.ndarray) -> None:
        """Measure the noise at a point, where no lower one was found along `way` (n,)."""
        if f(x) != loss:
            again = [f(x) for _ in range(4)]
            self.random, self.noise = True, max(self.noise, float(np.ptp(again)))
        elif not self.noise:
            self.noise = _jitter(f, x, way / (np.linalg.norm(way) or 1.0), self.share, self.box)

    def fit(self, f: Loss, x: np.ndarray, loss: float, stalled: bool) -> np.ndarray | None:
        """Fit the length of the steps to a point, where all differences are 0 or the search has `stalled`.

        Returns:
            From where to go on: x itself where the steps have changed, or a point (n,) among those asked that is lower
            by more than the noise, preferred where the gradient led nowhere; None where there is neither.
        """
        usual, self.flat = self.asked or (FORWARD if self.scheme == "2-point" else CENTRAL), 0.0
        share, seen, points, values, known = usual, 0.0, [], np.zeros(0), np.array([loss])
        while (points := _around(x, share, self.box)) and self.fits < _FITS:
            values = np.array([f(point) for point in points])
            values = np.where(np.isfinite(values), values, loss)
            known = np.concatenate([known, values])
            seen = float(np.abs(values - loss).max())
            if seen and not self.noise and share == usual:
                return None
            if seen and not self.random:
                self.noise = min(self.noise or np.inf, _grain(known))
            if (seen and seen >= _CLEAR * self.noise) or self.asked or share * _LONGER > _LONGEST:
                break
            share *= _LONGER
        else:
            return None
        self.fits += 1
        if not seen:
            self.flat = float(np.abs(np.subtract(points, x)).max())
            return None
        changed = not self.asked and share != self.share
        if changed:
            self.coarse, self.central = share, self.central or self.scheme == "auto"
        lowest = int(values.argmin())
        if values[lowest] < loss - self.noise and (stalled or not changed):
            return points[lowest]
        return x if changed else None


def _around(x: np.ndarray, share: float, box: Box | None) -> list[np.ndarray]:
    """The points a step away along each axis, those within the box that are not x itself."""
    points = [differences.moved(x, i, way * h) for i, h in enumerate(differences.steps(x, share)) for way in (1, -1)]
    if box is not None:
        points = [np.clip(point, *box) for point in points]
    return [point for point in points if not np.array_equal(point, x)]


def _grain(values: np.ndarray) -> float:
    """The smallest difference among values that is more than their rounding in float64."""
    gaps = np.diff(np.unique(values))
    real = gaps[gaps > 4 * EPS * np.abs(values).max()]
    return float(real.min() if len(real) else gaps.max())


def _jitter(f: Loss, x: np.ndarray, way: np.ndarray, share: float, box: Box | None) -> float:
    """How far the loss jumps about along a line where it should be smooth; 0 where that is its rounding in float64.

    It is read off the third differences of seven values a step apart, which a smooth loss has none of; those of a kink
    shrink with the steps. Source: Moré and Wild 2011, "Estimating computational noise", equation 2.6.
    """
    sizes = []
    for t in (share, share / 100):
        points = [x + k * t * max(1.0, float(np.abs(x).max())) * way for k in range(-3, 4)]
        if box is not None and not all(np.array_equal(point, np.clip(point, *box)) for point in points):
            return 0.0
        values = np.array([f(point) for point in points])
        if not np.isfinite(values).all():
            return 0.0
        sizes.append((float(np.sqrt(np.mean(np.diff(values, 3) ** 2) / 20)), float(np.ptp(values))))
    (wide, _), (near, spread) = sizes
    rounded = wide <= 100 * EPS * float(np.abs(values).max())
    return 0.0 if rounded or (spread and near < wide / 10) else wide

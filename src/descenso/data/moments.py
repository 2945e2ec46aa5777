"""Mean and spread of numbers that come some at a time."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, inf, ldexp, nan, sqrt

import numpy as np


@dataclass(frozen=True)
class Moments:
    """What is kept of the numbers seen so far; each is a field over `size`, so that none overflows.

        n = n_a + n_b,  d = mean_b - mean_a
        mean = mean_a + d n_b / n,  square = square_a + square_b + d^2 n_a n_b / n

    Attributes:
        n: how many there are.
        size: a power of two above all of them, 0.0 of no numbers or of zeros.
        mean, square: their mean, and the sum of the squares of their distances from it.
        least, most: the smallest and the largest of them, as they are.

    Source: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
    """

    n: int = 0
    size: float = 0.0
    mean: float = 0.0
    square: float = 0.0
    least: float = inf
    most: float = -inf

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """Of those values that are not NaN."""
        v = values[~np.isnan(values)].astype(np.float64)
        if not v.size:
            return cls()
        least, most = float(v.min()), float(v.max())
        exponent = min(frexp(max(abs(least), abs(most)))[1], 1023)
        if least == most == 0.0:
            return cls(len(v), 0.0, 0.0, 0.0, least, most)
        v /= (size := ldexp(1.0, exponent))
        mean = float(v.mean())
        return cls(len(v), size, mean, float(np.square(v - mean).sum()), least, most)

    def with_more(self, other: Moments) -> Moments:
        """Of these numbers and those."""
        if not (self.n and other.n):
            return self if self.n else other
        size, n = max(self.size, other.size), self.n + other.n
        a, b = (m._in_units_of(size) for m in (self, other))
        d = b.mean - a.mean
        mean = a.mean + d * (b.n / n)
        square = a.square + b.square + d * d * (a.n * (b.n / n))
        return Moments(n, size, mean, square, min(a.least, b.least), max(a.most, b.most))

    def _in_units_of(self, size: float) -> Moments:
        ratio = self.size / size if size else 0.0
        return Moments(self.n, size, self.mean * ratio, self.square * ratio * ratio, self.least, self.most)

    @property
    def mean_and_deviation(self) -> tuple[float, float]:
        """In the units of the numbers, 0.0 of none; the deviation is 0.0 where they differ by rounding alone."""
        spread = sqrt(self.square / self.n) if self.n else 0.0
        differ = self.least < self.most and spread > 1e-15 * sqrt(self.n) * max(abs(self.least), abs(self.most)) / (
            self.size or 1.0
        )
        return self.mean * self.size, (spread if differ else 0.0) * self.size


@dataclass
class Together:
    """The correlation of two columns of numbers, over the rows that have both, some rows at a time."""

    n: int = 0
    size: tuple[float, ...] = (0.0, 0.0)
    mean: tuple[float, ...] = (0.0, 0.0)
    squares: tuple[float, ...] = (0.0, 0.0, 0.0)

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Take note of pairs, none of them NaN."""
        if not len(x):
            return
        a, b = Moments.of(x), Moments.of(y)
        self._scale(a.size, b.size)
        u, v = (w.astype(np.float64) / (s or 1.0) for w, s in zip((x, y), self.size, strict=True))
        mean = (float(u.mean()), float(v.mean()))
        u, v = u - mean[0], v - mean[1]
        n, d, e = self.n + len(u), mean[0] - self.mean[0], mean[1] - self.mean[1]
        weight = self.n * (len(u) / n)
        # no matrix product: the threads of one wait for each other longer than so short a sum takes
        new = tuple(float(np.einsum("i,i", a, b)) for a, b in ((u, u), (u, v), (v, v)))
        between = (d * d, d * e, e * e)
        self.squares = tuple(o + w + weight * t for o, w, t in zip(self.squares, new, between, strict=True))
        self.mean = (self.mean[0] + d * (len(u) / n), self.mean[1] + e * (len(u) / n))
        self.n = n

    def _scale(self, *sizes: float) -> None:
        """Put what was seen into units that hold the new values too."""
        wanted = tuple(max(a, b) for a, b in zip(self.size, sizes, strict=True))
        p, q = (a / b if b else 0.0 for a, b in zip(self.size, wanted, strict=True))
        self.mean = (self.mean[0] * p, self.mean[1] * q)
        self.squares = (self.squares[0] * p * p, self.squares[1] * p * q, self.squares[2] * q * q)
        self.size = wanted

    @property
    def correlation(self) -> float:
        """In [-1, 1], NaN where one of them is constant."""
        x, both, y = self.squares
        return both / sqrt(x * y) if x > 0 and y > 0 else nan

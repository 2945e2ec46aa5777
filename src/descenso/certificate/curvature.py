"""The curvature at a point: all of it, or its extremes with the level that they prove."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np

from descenso.certificate.surface import Surface

DENSE = 512  # params up to which all eigenvalues are found
_KEPT = 1 << 27  # numbers that the basis of Lanczos may hold
_RESTARTS = 8  # fresh directions after a space that the Hessian does not leave
_SHORT = 0.01  # of the length of the params: the longest Newton step that the Hessian is compared over
_PROBES = 3  # directions that the uncertainty of the Hessian is measured along


@dataclass(frozen=True)
class Curvature:
    """Eigenvalues of the Hessian H at a point, or of S H S where all are found.

    S is diagonal and brings the rows of H to one size: by Sylvester's law of inertia S H S has as many negative, zero
    and positive eigenvalues as H, and they can be told apart where the params have unlike units.

    Attributes:
        values: (k,), ascending.
        vectors: (k, n), the direction in params that belongs to each value, S u; orthonormal where S is 1.
        doubt: values within it are zero: rounding, and what H changes over the Newton step.
        level: what is proved, S being 1: no eigenvalue of H is below -`level`, with probability `sure`.
        floor: no eigenvalue of S H S is below it, with probability `sure`.
        lowest, largest: the extreme curvatures seen, of H itself.
        sure: the probability.
        complete: whether all n eigenvalues are here.
        products: Hessian-vector products that it took.
    """

    values: np.ndarray
    vectors: np.ndarray
    doubt: float
    level: float
    floor: float
    lowest: float
    largest: float
    sure: float
    complete: bool
    products: int

    @property
    def negative(self) -> int:
        """How many values are surely below zero."""
        return int(np.sum(self.values < -self.doubt))

    @property
    def positive(self) -> int:
        return int(np.sum(self.values > self.doubt))

    @property
    def flat(self) -> int:
        """How many values are zero to within the doubt."""
        return len(self.values) - self.negative - self.positive

    @property
    def ceiling(self) -> float:
        """No eigenvalue is above it, by the same proof that holds for `floor`."""
        return float(self.values[-1] + (self.values[0] - self.floor))

    def settle(self, gradient: np.ndarray) -> np.ndarray:
        """The Newton step (n,) in the directions of positive curvature: back to the floor of a curved valley."""
        rising = self.values > self.doubt
        v = self.vectors[rising]
        return -((v @ gradient) / self.values[rising]) @ v


def curvature(surface: Surface, step: np.ndarray, rng: np.random.Generator, products: int, delta: float) -> Curvature:
    """All eigenvalues up to 512 params, else the Ritz values of `products` steps of Lanczos.

    Args:
        surface: the loss around the point.
        step: the Newton step H^-1 g (n,): the stationary point is about x - step.
        rng: draws the start, so that no direction is left out by design.
        products: Hessian-vector products of Lanczos.
        delta: the probability that Lanczos may miss a curvature below the level it states.
    """
    if np.linalg.norm(step) > _SHORT * surface.scale:  # too far for the model that it comes from
        step = np.zeros_like(step)
    near = surface.x - step + 4 * surface.eps * surface.x * rng.standard_normal(surface.n)
    if surface.n <= DENSE:
        return _all(surface, near, rng)
    return _extremes(surface, near, rng, products, delta)


def _all(surface: Surface, near: np.ndarray, rng: np.random.Generator) -> Curvature:
    h = surface.products(np.eye(surface.n))
    h = (h + h.T) / 2
    if not np.isfinite(h).all():
        return _unknown(surface.n, surface.n)
    probes = rng.choice([-1.0, 1.0], size=(_PROBES, surface.n))
    s = _sizes(h, np.abs(surface.products(probes, at=near) - probes @ h).max(0))
    values, u = np.linalg.eigh(h * s * s[:, None])
    # |E v|^2 for random signs v is on average the squared Frobenius norm of E
    change = s * (surface.products(s * probes, at=near) - (s * probes) @ h)
    norms = np.linalg.norm(change, axis=1)
    size = float(np.abs(values).max())
    if not np.isfinite(norms).all():
        return _unknown(surface.n, surface.n)
    doubt = max(3 * float(np.median(norms)), 4 * surface.eps * size)
    plain = np.linalg.eigvalsh(h)
    floor = float(values[0]) - doubt
    level = max(-floor, 0.0) * float(np.max(1 / s**2))
    found = values, u.T * s, doubt, level, floor, float(plain[0]), float(plain[-1])
    return Curvature(*found, 1.0, True, surface.n + 2 * _PROBES)


def _sizes(h: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The diagonal of S (n,): every row of S H S has 1 as its largest entry, but rows that are noise are left small.

    Source: Ruiz 2001, "A scaling algorithm to equilibrate both rows and columns norms in matrices".
    """
    rows = np.abs(h).max(axis=1)
    seen = rows > 10 * noise
    s = np.full(len(h), 1 / np.sqrt(rows.max() or 1.0))
    s[seen] = 1 / np.sqrt(rows[seen])
    for _ in range(20):
        rows = np.abs(h * s * s[:, None]).max(axis=1)
        s[seen] /= np.sqrt(rows[seen])
    return s


def _extremes(surface: Surface, near: np.ndarray, rng: np.random.Generator, products: int, delta: float) -> Curvature:
    """The Ritz values of k products; the smallest is above the smallest eigenvalue by at most

        eps_H = M (ln(2.75 n / delta^2) / (2 (k - 1)))^2,  M the largest |Ritz value|, 5 % added,

    with probability 1 - delta over the start. Lanczos on M - H, whose eigenvalues lie in [0, 2 M], misses its largest
    by a share e with probability at most 1.648 sqrt(n) exp(-sqrt(e) (2 k - 1)); set to delta this gives a gap of
    eps_H / 2, and the other half is kept against M itself being an estimate.
    Source: Kuczynski and Wozniakowski 1992, theorem 4.2; as Royer, O'Neill and Wright 2020 use it.
    """
    n, most = surface.n, max(2, min(products, surface.n, _KEPT // surface.n))
    basis, alphas, betas, closed = _lanczos(surface, rng, most)
    if not np.isfinite(alphas).all():
        return _unknown(n, len(alphas))
    k = len(alphas)
    values, y = np.linalg.eigh(np.diag(alphas) + np.diag(betas[: k - 1], 1) + np.diag(betas[: k - 1], -1))
    vectors = y.T @ basis
    size = float(np.abs(values).max())
    change = surface.products(vectors[:1], at=near) - surface.products(vectors[:1])
    doubt = max(3 * float(np.linalg.norm(change)), 10 * surface.eps * size)
    whole = k == n
    unseen = 0.0 if whole or closed else 1.05 * size * (log(2.75 * n / delta**2) / (2 * (k - 1))) ** 2
    floor = float(values[0]) - doubt - unseen
    found = values, vectors, doubt, max(-floor, 0.0), floor, float(values[0]), float(values[-1])
    return Curvature(*found, 1.0 if whole else 1 - delta, whole, k + 2)


def _lanczos(surface: Surface, rng: np.random.Generator, most: int) -> tuple:
    """Orthonormal basis (k, n), diagonal (k,) and off-diagonal (k,) of T, and whether a space was closed.

    Every new vector is made orthogonal to all earlier ones, twice. Where nothing is left of it, H does not leave the
    space: what the start can see has been seen, and a fresh start orthogonal to it shows what occurs more than once.
    Source: Lanczos 1950; Parlett 1980, "The Symmetric Eigenvalue Problem", chapter 13.
    """
    basis = np.zeros((most, surface.n), np.float32 if surface.eps > 1e-10 and surface.n > 1 << 16 else np.float64)
    alphas, betas, size, restarts = [], [], 0.0, 0
    q = rng.standard_normal(surface.n)
    q /= np.linalg.norm(q)
    for k in range(most):
        basis[k] = q
        w = surface.products(q[None])[0]
        alphas.append(float(q @ w))
        if not np.isfinite(alphas[-1]):
            break
        size = max(size, float(np.linalg.norm(w)))
        w = _outside(basis[: k + 1], w)
        betas.append(float(np.linalg.norm(w)))
        if betas[-1] <= 10 * surface.eps * size:
            betas[-1], restarts = 0.0, restarts + 1
            if restarts > _RESTARTS or k + 1 == surface.n:
                break
            w = _outside(basis[: k + 1], rng.standard_normal(surface.n))
        q = w / np.linalg.norm(w)
    return basis[: len(alphas)], np.array(alphas), np.array(betas), restarts > 0


def _outside(basis: np.ndarray, w: np.ndarray) -> np.ndarray:
    """What of `w` is orthogonal to the rows of `basis`."""
    for _ in range(2):
        w = w - (basis @ w) @ basis
    return w


def _unknown(n: int, products: int) -> Curvature:
    """The curvature where products are not finite: nothing is known."""
    empty = np.zeros((0, n))
    return Curvature(np.zeros(0), empty, np.inf, np.inf, -np.inf, np.nan, np.nan, 0.0, False, products)

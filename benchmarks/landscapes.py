"""Functions with many minima, whose least value over all of space is known, turned and shifted at random.

Formulas after Jamil and Yang 2013 (arXiv:1308.4008), Hansen et al. 2009 (INRIA RR-6829, for the sum of peaks), Wales
and Doye 1997 (J. Phys. Chem. A 101, for the cluster's energy).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial


@dataclass(frozen=True)
class Landscape:
    """f over [-half, half]^D: `value(z)` is 0 at the minimiser z = 0, and above 0 elsewhere."""

    name: str
    size: int
    half: float
    value: Callable

    def turned(self, rng: np.random.Generator) -> tuple[Callable, np.ndarray, np.ndarray]:
        """The function of x, and the bounds of x: the minimiser lies anywhere in the middle 80 % of the box.

        Two of them are the same code with other arrays, so that it is compiled once.
        """
        Q = jnp.asarray(np.linalg.qr(rng.normal(size=(self.size, self.size)))[0])
        at = jnp.asarray(rng.uniform(-0.8, 0.8, self.size) * self.half)
        bound = np.full(self.size, self.half)
        return Partial(self._of, Q, at), -bound, bound

    def _of(self, Q, at, x):
        return self.value(Q @ (x - at))


def ackley(z):
    r = jnp.sqrt(jnp.mean(z**2) + 1e-20)
    return -20 * jnp.exp(-0.2 * r) - jnp.exp(jnp.mean(jnp.cos(2 * jnp.pi * z))) + 20 + jnp.e


def rastrigin(z):
    return jnp.sum(z**2 + 10 * (1 - jnp.cos(2 * jnp.pi * z)))


def griewank(z):
    i = jnp.sqrt(jnp.arange(1, z.size + 1))
    return 1 + jnp.sum(z**2) / 4000 - jnp.prod(jnp.cos(z / i))


def levy(z):
    w = 1 + z / 4
    inner = (w[:-1] - 1) ** 2 * (1 + 10 * jnp.sin(jnp.pi * w[:-1] + 1) ** 2)
    last = (w[-1] - 1) ** 2 * (1 + jnp.sin(2 * jnp.pi * w[-1]) ** 2)
    return jnp.sin(jnp.pi * w[0]) ** 2 + jnp.sum(inner) + last


def alpine(z):
    return jnp.sum(jnp.sqrt((z * jnp.sin(z) + 0.1 * z) ** 2 + 1e-12) - 1e-6)


def styblinski_tang(z):
    x = z - 2.903534
    return jnp.sum(x**4 - 16 * x**2 + 5 * x) / 2 / z.size + 39.16616570377142


def salomon(z):
    r = jnp.sqrt(jnp.sum(z**2) + 1e-20)
    return 1 - jnp.cos(2 * jnp.pi * r) + 0.1 * r


def qing(z):
    i = jnp.arange(1, z.size + 1)
    return jnp.sum(((z + jnp.sqrt(i)) ** 2 - i) ** 2)


def rosenbrock(z):
    x = z + 1
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def schaffer(z):
    r = z[:-1] ** 2 + z[1:] ** 2
    return jnp.sum(0.5 + (jnp.sin(jnp.sqrt(r + 1e-20)) ** 2 - 0.5) / (1 + 0.001 * r) ** 2)


def drop_wave(z):
    r = jnp.sum(z**2)
    return 1 - (1 + jnp.cos(12 * jnp.sqrt(r + 1e-20))) / (0.5 * r + 2)


def whitley(z):
    x = z + 1
    y = 100 * (x[:, None] ** 2 - x[None]) ** 2 + (1 - x[None]) ** 2
    return jnp.sum(y**2 / 4000 - jnp.cos(y) + 1)


def penalized(z):
    y = 1 + z / 4
    inner = (y[:-1] - 1) ** 2 * (1 + 10 * jnp.sin(jnp.pi * y[1:]) ** 2)
    return jnp.pi / z.size * (10 * jnp.sin(jnp.pi * y[0]) ** 2 + jnp.sum(inner) + (y[-1] - 1) ** 2)


def cosine_mixture(z):
    return jnp.sum(z**2) + 0.1 * jnp.sum(1 - jnp.cos(5 * jnp.pi * z))


def bohachevsky(z):
    a, b = z[:-1], z[1:]
    return jnp.sum(a**2 + 2 * b**2 - 0.3 * jnp.cos(3 * jnp.pi * a) - 0.4 * jnp.cos(4 * jnp.pi * b) + 0.7)


def weierstrass(z):
    k = jnp.arange(12)
    wave = lambda v: jnp.sum(0.5**k * jnp.cos(2 * jnp.pi * 3.0**k * v), -1)  # noqa: E731
    return jnp.sum(wave(z[:, None] + 0.5) - wave(jnp.array([0.5])))


def griewank_rosenbrock(z):
    x = z + 1
    s = 100 * (x[:-1] ** 2 - x[1:]) ** 2 + (x[:-1] - 1) ** 2
    return jnp.mean(s / 4000 - jnp.cos(s) + 1)


def himmelblau(z):
    x, y = z[0] + 3, z[1] + 2
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2 + 0.05 * jnp.sum(z**2)


def six_hump_camel(z):
    x, y = z[0] + 0.08984201, z[1] - 0.71265640
    return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2 + 1.0316284535


def easom(z):
    return 1 - jnp.prod(jnp.cos(z) * jnp.exp(-(z**2)))


def peaks(size: int, seed: int, count: int = 21) -> Callable:
    rng = np.random.default_rng(seed)
    at = jnp.asarray(np.vstack([np.zeros(size), rng.uniform(-4, 4, (count - 1, size))]))
    height = jnp.asarray(np.r_[10.0, np.linspace(1.1, 9.1, count - 1)])
    sharp = jnp.asarray(np.r_[1.0, 10 ** rng.uniform(-1, 1, count - 1)])
    top = lambda z: jnp.max(height * jnp.exp(-sharp * jnp.sum((z - at) ** 2, 1) / (2 * size)))  # noqa: E731
    return lambda z: (10 - top(z)) ** 2


def cluster(atoms: int, least: float) -> Callable:
    """The Lennard-Jones energy of so many atoms, less the least known."""
    i, j = np.triu_indices(atoms, 1)

    def value(z):
        p = z.reshape(atoms, 3)
        d2 = jnp.sum((p[i] - p[j]) ** 2, 1) + 1e-6
        s = 1 / d2**3
        energy = 4 * jnp.sum(s * s - s) - least
        return jnp.where(energy > 1e3, 1e3 + 1e3 * jnp.log(jnp.maximum(energy, 1e3) / 1e3), energy)

    return value


LANDSCAPES = [
    Landscape("ackley", 5, 30, ackley),
    Landscape("ackley", 10, 30, ackley),
    Landscape("rastrigin", 3, 5.12, rastrigin),
    Landscape("rastrigin", 5, 5.12, rastrigin),
    Landscape("rastrigin", 10, 5.12, rastrigin),
    Landscape("griewank", 5, 100, griewank),
    Landscape("griewank", 10, 100, griewank),
    Landscape("levy", 5, 10, levy),
    Landscape("levy", 10, 10, levy),
    Landscape("alpine", 3, 10, alpine),
    Landscape("styblinski_tang", 5, 5, styblinski_tang),
    Landscape("styblinski_tang", 10, 5, styblinski_tang),
    Landscape("salomon", 3, 20, salomon),
    Landscape("qing", 5, 10, qing),
    Landscape("rosenbrock", 10, 3, rosenbrock),
    Landscape("schaffer", 2, 20, schaffer),
    Landscape("schaffer", 3, 20, schaffer),
    Landscape("drop_wave", 2, 5.12, drop_wave),
    Landscape("whitley", 3, 5, whitley),
    Landscape("penalized", 10, 10, penalized),
    Landscape("cosine_mixture", 5, 1.5, cosine_mixture),
    Landscape("bohachevsky", 3, 50, bohachevsky),
    Landscape("weierstrass", 3, 0.5, weierstrass),
    Landscape("griewank_rosenbrock", 4, 5, griewank_rosenbrock),
    Landscape("himmelblau", 2, 6, himmelblau),
    Landscape("six_hump_camel", 2, 3, six_hump_camel),
    Landscape("easom", 2, 10, easom),
    Landscape("peaks", 2, 5, peaks(2, 3)),
    Landscape("peaks", 5, 5, peaks(5, 4)),
    Landscape("cluster of 5", 15, 2, cluster(5, -9.103852)),
]

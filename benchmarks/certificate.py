"""Random saddles and minima of known curvature, certified: how many saddles above the stated level pass as minima.

    python -m benchmarks.certificate [count] [effort] [--narrow]

The Hessians have eigenvalues log-uniform in 1e-6..1; half of the surfaces are saddles with one or two negative
curvatures log-uniform in 1e-4..1. Half of them are axis-aligned, a quarter are bent by a cubic and a quartic term, and
n goes up to 1,500. float64, or float32 with `--narrow`.
"""

from __future__ import annotations

import sys
from collections import Counter
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np

from descenso.certificate import Verdict, certify

SIZES = (2, 5, 20, 100, 300, 700, 1500)  # few shapes, so that the time goes into certificates and not into compiling


def surface(i: int) -> tuple[np.ndarray, tuple]:
    """Surface i: its curvatures (n,), and the arrays of its loss, the last its stationary point."""
    rng = np.random.default_rng([7, i])
    n = SIZES[int(rng.integers(len(SIZES)))]
    values = 10.0 ** rng.uniform(-6, 0, n)
    if i % 2:
        values[: rng.integers(1, min(3, n))] = -(10.0 ** rng.uniform(-4, 0))
    values = rng.permutation(values)
    mirror = rng.standard_normal(n) * (i % 4 >= 2)  # a reflection turns the axes; none where it is zero
    mirror /= max(np.linalg.norm(mirror), 1e-300)
    bent = np.array(float(i % 8 >= 6))
    return values, (values, mirror, bent, rng.standard_normal(n))


def loss(own: tuple, x: jax.Array) -> jax.Array:
    """sum_i c_i d_i^2 / 2 in reflected coordinates d, with d_i d_(i+1) d_(i+2) and d_i^4 added where it is bent."""
    values, mirror, bent, centre = own
    d = x - centre
    d = d - 2 * mirror * (mirror @ d)
    return values @ d**2 / 2 + bent * (jnp.sum(d * jnp.roll(d, 1) * jnp.roll(d, 2)) / 10 + jnp.sum(d**4) / 4)


def main(count: int, effort: str, wide: bool) -> None:
    told, false, blind, alarms, costs, started = Counter(), 0, 0, 0, {}, perf_counter()
    largest_missed = 0.0
    with jax.enable_x64(wide):
        for i in range(count):
            values, own = surface(i)
            found = certify(jax.tree_util.Partial(loss, own), jnp.asarray(own[3]), effort=effort, seed=i)
            low = values.min()
            told["saddle" if low < 0 else "minimum", str(found.verdict)] += 1
            costs.setdefault(len(values), []).append(found.cost)
            if found.is_minimum and low < 0:
                blind += 1
                largest_missed = max(largest_missed, -low)
                false += low < -found.level
            alarms += low > 0 and found.verdict is Verdict.SADDLE
    print(f"{count} surfaces, {effort}, {'float64' if wide else 'float32'}, {perf_counter() - started:.0f} s")
    for (kind, verdict), times in sorted(told.items()):
        print(f"  {kind:8} called {verdict:28} {times}")
    print(f"  saddles above the stated level called minima: {false}")
    print(f"  saddles below the stated level called minima: {blind} (largest curvature {largest_missed:.2g})")
    print(f"  minima called saddles: {alarms}")
    print("  gradients, median by n:", {n: round(float(np.median(c))) for n, c in sorted(costs.items())})


if __name__ == "__main__":
    words = [w for w in sys.argv[1:] if not w.startswith("--")]
    main(int(words[0]) if words else 2000, words[1] if len(words) > 1 else "quick", "--narrow" not in sys.argv)

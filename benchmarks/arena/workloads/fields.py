"""Networks that are functions of a coordinate: a SIREN on a picture and a physics-informed network."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.arena.layers import dense, perceptron, squared, stack
from benchmarks.arena.workload import Workload


def siren() -> Workload:
    """Sines of sines on a made-up picture of 32 x 32, with a sharp edge and a little noise."""
    rng = np.random.default_rng(17)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 32)] * 2), -1).reshape(-1, 2)
    u, v = grid.T
    picture = np.sin(6 * u + 2 * v) + 0.5 * np.sin(9 * v - 3 * u**2) + 0.6 * (u**2 + v**2 < 0.4)
    data = {"x": grid.astype(np.float32), "y": (picture + rng.normal(0, 0.02, len(grid))).astype(np.float32)}

    def init(key):
        a, b, c, d = jax.random.split(key, 4)
        first = {
            "w": jax.random.uniform(a, (2, 32), minval=-10, maxval=10),
            "b": jax.random.uniform(b, (32,), minval=-3, maxval=3),
        }
        return {"hidden": [first, dense(c, 32, 32, 2.0)], "out": dense(d, 32, 1, 1.0)}

    def loss(params, batch):
        return squared(perceptron(params, batch["x"], jnp.sin)[:, 0], batch["y"])

    return Workload("siren", loss, init, data, data, 128, 3000)


def pinn() -> Workload:
    """-u'' + u = f with u(-1) = u(1) = 0, asked at random points; judged on an even grid."""
    rng = np.random.default_rng(23)

    def source(x):
        return (jnp.pi**2 + 1) * jnp.sin(jnp.pi * x) + 0.3 * (16 * jnp.pi**2 + 1) * jnp.sin(4 * jnp.pi * x)

    def init(key):
        params = stack(key, [1, 20, 20, 1], 1.0)
        params["hidden"][0]["w"] *= 3
        return params

    def solution(params, x):
        return perceptron(params, x[None], jnp.tanh)[0]

    def second_derivative(params, x):
        def slope(t):
            return jax.jvp(lambda s: solution(params, s), (t,), (1.0,))[1]

        return jax.jvp(slope, (x,), (1.0,))[1]

    def loss(params, batch):
        x = batch["x"]
        u = jax.vmap(lambda t: solution(params, t))(x)
        residual = -jax.vmap(lambda t: second_derivative(params, t))(x) + u - source(x)
        ends = solution(params, jnp.float32(-1)) ** 2 + solution(params, jnp.float32(1)) ** 2
        return jnp.mean(residual**2) / 100 + 10 * ends

    data = {"x": rng.uniform(-1, 1, 4000).astype(np.float32)}
    held = {"x": np.linspace(-1, 1, 201, dtype=np.float32)}
    return Workload("pinn", loss, init, data, held, 48, 2000, features=False)


WORKLOADS = {f.__name__: f for f in (siren, pinn)}

"""What the loop costs: descenso beside torch eager, scikit-learn and a hand-written jitted loop, at the same updates.

    python -m benchmarks.engine [--repeats N]

Needs torch and scikit-learn; the data is scikit-learn's digits. Torch runs on one thread, which is its fastest for
models as small as these; the others as they come.
Final losses are compared, so that a contestant that did something else is noticed.
"""

from __future__ import annotations

import argparse
import os

import jax
import jax.numpy as jnp
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import descenso
from benchmarks.timing import in_turn, machine, ratio, show
from descenso import Budget, Descent, Stop, rules, step_sizes
from descenso.data.batches import Order

RATE, BATCH = 1e-3, 64
TO_THE_END = Stop(floor=False, gradient=1e-30)


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def bench_rosenbrock(repeats: int, steps: int = 20_000) -> None:
    """Plain gradient descent on two params: all overhead."""
    start, rate = np.array([-1.2, 1.0], np.float32), 1e-3
    method = Descent(rules.Gradient(), step_sizes.Constant(rate))
    ends = {}

    def ours():
        result = descenso.minimize(rosenbrock, start, method=method, stop=TO_THE_END, budget=Budget(steps=steps))
        ends["minimize"] = result.params

    @jax.jit
    def hand(x):
        def step(x, _):
            loss, g = jax.value_and_grad(rosenbrock)(x)
            return x - rate * g, loss

        return jax.lax.scan(step, x, None, length=steps)

    def by_hand():
        ends["jitted loop"] = jax.block_until_ready(hand(start)[0])

    def in_torch():
        x = torch.tensor(start, requires_grad=True)
        optimizer = torch.optim.SGD([x], lr=rate)
        for _ in range(steps):
            optimizer.zero_grad()
            rosenbrock(x).backward()
            optimizer.step()
        ends["torch"] = x.detach().numpy()

    quick = in_turn({"minimize": ours, "jitted loop": by_hand}, 5 * repeats)
    slow = in_turn({"minimize": ours, "torch": in_torch}, max(2, repeats // 2))
    show(f"Rosenbrock, gradient descent, {steps:,} steps", quick | {"torch": slow["torch"]}, "minimize")
    print(f"  ends: { {k: np.round(np.asarray(v), 5).tolist() for k, v in ends.items()} }")
    print(f"  torch / minimize = {ratio(slow, 'torch', 'minimize'):.0f} (target >= 500)")


def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y.astype(np.int32)


def cross_entropy(logits, y):
    return jnp.mean(jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, y[:, None], -1)[:, 0])


def mlp_loss(params, batch):
    (w1, b1, w2, b2), (X, y) = params, batch
    return cross_entropy(jax.nn.relu(X @ w1 + b1) @ w2 + b2, y)


def mlp_start(hidden: int = 100):
    rng = np.random.default_rng(0)
    w1 = rng.normal(size=(64, hidden)) * (2 / 64) ** 0.5
    w2 = rng.normal(size=(hidden, 10)) * (1 / hidden) ** 0.5
    return tuple(a.astype(np.float32) for a in (w1, np.zeros(hidden), w2, np.zeros(10)))


def bench_digits(repeats: int, epochs: int = 50) -> None:
    """An MLP 64-100-10 with Adam: small matrices, many steps."""
    (X, y), start = digits(), mlp_start()
    steps = round(epochs * len(X) / BATCH)
    order = Order(len(X), 0).take(0, steps * BATCH).reshape(steps, BATCH)
    method = Descent(rules.Adam(), step_sizes.Constant(RATE))
    losses = {}

    def ours():
        result = descenso.minimize(
            mlp_loss, start, (X, y), method=method, batch_size=BATCH, stop=TO_THE_END, budget=Budget(steps=steps)
        )
        losses["minimize"] = result.loss

    adam = rules.Adam()
    data = (jnp.asarray(X), jnp.asarray(y))

    @jax.jit
    def hand(params, data, order):
        def step(carry, rows):
            params, state = carry
            loss, g = jax.value_and_grad(mlp_loss)(params, tuple(a[rows] for a in data))
            d, state = adam.direction(g, params, state, xp=jnp)
            return (tuple(p - RATE * u for p, u in zip(params, d, strict=True)), state), loss

        (params, _), trace = jax.lax.scan(step, (params, adam.init(params, xp=jnp)), order)
        return params, trace

    def by_hand():
        losses["jitted loop"] = float(mlp_loss(hand(start, data, order)[0], data))

    Xt, yt = torch.tensor(X), torch.tensor(y, dtype=torch.long)

    def in_torch():
        w = [torch.tensor(p, requires_grad=True) for p in start]
        optimizer = torch.optim.Adam(w, lr=RATE)
        for batch in order:
            rows = torch.from_numpy(batch)
            optimizer.zero_grad()
            logits = torch.relu(Xt[rows] @ w[0] + w[1]) @ w[2] + w[3]
            torch.nn.functional.cross_entropy(logits, yt[rows]).backward()
            optimizer.step()
        losses["torch"] = float(mlp_loss(tuple(p.detach().numpy() for p in w), data))

    def in_sklearn():
        MLPClassifier(
            100, learning_rate_init=RATE, batch_size=BATCH, max_iter=epochs, alpha=0, tol=0, n_iter_no_change=10**6
        ).fit(X, y)

    import warnings

    warnings.filterwarnings("ignore", module="sklearn")
    seconds = in_turn(
        {"minimize": ours, "jitted loop": by_hand, "torch": in_torch, "scikit-learn": in_sklearn}, repeats
    )
    show(f"digits MLP 64-100-10, Adam, batch {BATCH}, {steps:,} steps", seconds, "minimize")
    print(f"  losses: { {k: float(f'{v:.6g}') for k, v in losses.items()} }; scikit-learn starts its own way")
    print(f"  torch / minimize = {ratio(seconds, 'torch', 'minimize'):.1f} (target >= 10)")


def conv_loss(params, batch):
    (k1, k2, w, b), (X, y) = params, batch
    conv = lambda x, k: jax.nn.relu(  # noqa: E731
        jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
    )
    h = conv(conv(X.reshape(-1, 1, 8, 8), k1), k2)
    h = h.reshape(*h.shape[:2], 4, 2, 4, 2).max((3, 5)).reshape(len(X), -1)
    return cross_entropy(h @ w + b, y)


def bench_conv(repeats: int, steps: int = 100) -> None:
    """Two convolutions and a linear layer with Adam: where XLA on CPU is at its worst inside a loop."""
    X, y = digits()
    rng = np.random.default_rng(0)
    shapes = ((16, 1, 3, 3), (32, 16, 3, 3), (512, 10), (10,))
    scales = ((2 / 9) ** 0.5, (2 / 144) ** 0.5, (1 / 512) ** 0.5, 0)
    start = tuple((rng.normal(size=s) * c).astype(np.float32) for s, c in zip(shapes, scales, strict=True))
    order = Order(len(X), 0).take(0, steps * BATCH).reshape(steps, BATCH)
    method = Descent(rules.Adam(), step_sizes.Constant(RATE))
    losses = {}

    def ours():
        result = descenso.minimize(
            conv_loss, start, (X, y), method=method, batch_size=BATCH, stop=TO_THE_END, budget=Budget(steps=steps)
        )
        losses["minimize"] = result.loss

    Xt, yt = torch.tensor(X).reshape(-1, 1, 8, 8), torch.tensor(y, dtype=torch.long)

    def in_torch():
        w = [torch.tensor(p, requires_grad=True) for p in start]
        optimizer = torch.optim.Adam(w, lr=RATE)
        for batch in order:
            rows = torch.from_numpy(batch)
            optimizer.zero_grad()
            h = torch.relu(torch.conv2d(torch.relu(torch.conv2d(Xt[rows], w[0], padding=1)), w[1], padding=1))
            logits = torch.max_pool2d(h, 2).flatten(1) @ w[2] + w[3]
            torch.nn.functional.cross_entropy(logits, yt[rows]).backward()
            optimizer.step()
        losses["torch"] = float(conv_loss(tuple(p.detach().numpy() for p in w), (X, y)))

    seconds = in_turn({"minimize": ours, "torch": in_torch}, repeats)
    show(f"digits conv net, Adam, batch {BATCH}, {steps} steps", seconds, "minimize")
    print(f"  losses: { {k: float(f'{v:.6g}') for k, v in losses.items()} }")
    print(f"  minimize / torch = {ratio(seconds, 'minimize', 'torch'):.2f} (target <= 1.5)")


def bench_chunk(repeats: int) -> None:
    """The same steps in chunks of the default length and in chunks four times as long: what a return costs."""
    from descenso.driver.pace import Pace
    from descenso.driver.prepare import prepare
    from descenso.engine.engine import Engine

    (X, y), start = digits(), mlp_start()
    method = Descent(rules.Adam(), step_sizes.Constant(RATE))
    ready = prepare(mlp_loss, start, (X, y), method, BATCH, Budget(), None, 0)
    engine: Engine = ready.engine
    state = engine.start(ready.leaves)
    pace, clock = Pace(), 0.0
    from time import perf_counter

    for _ in range(6):
        steps = min(pace.steps, engine.longest)
        clock = perf_counter()
        engine.advance(state, steps, stride=-(-steps // 256))
        pace.measure(steps, perf_counter() - clock)
    default = min(pace.steps, engine.longest // 4)
    whole = 4 * default

    def chunks(length):
        def run():
            at = state
            for _ in range(whole // length):
                at, *_ = engine.advance(at, length, stride=-(-length // 256))

        return run

    seconds = in_turn(
        {"default chunk": chunks(default), "four in one": chunks(whole), "a tenth": chunks(max(default // 10, 1))},
        3 * repeats,
    )
    show(
        f"{whole:,} steps of the digits MLP in chunks of {default:,}, {whole:,} and {max(default // 10, 1):,}",
        seconds,
        "four in one",
    )
    print(f"  default chunk / four in one = {ratio(seconds, 'default chunk', 'four in one'):.3f} (target <= 1.02)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    versions = f"jax {jax.__version__}, torch {torch.__version__}"
    print(f"{machine()}; {versions}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    bench_rosenbrock(repeats)
    bench_digits(repeats)
    bench_conv(repeats)
    bench_chunk(repeats)


if __name__ == "__main__":
    main()

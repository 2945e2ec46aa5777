"""What a step costs: the torch optimizer beside torch's own three, and a method in a scan beside optax.

    python -m benchmarks.methods [--repeats N] [--no-compile]

Needs torch and optax, and a C++ compiler unless --no-compile. One thread, and its processor time, the least of N calls
in turn: on a shared machine wall time says more about the neighbours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax
import torch

from benchmarks.timing import machine
from descenso._types import Evaluation
from descenso.methods import named
from descenso.torch import Optimizer
from descenso.torch.group import STEADY

SHAPES = {"100 of 1,000": [1_000] * 100, "20 of 500,000": [500_000] * 20}
TORCH = {
    "adam": ({}, torch.optim.Adam),
    "adamw": ({}, torch.optim.AdamW),
    "sgd": ({"lr": 1e-3}, torch.optim.SGD),
    "sgd, momentum": ({"lr": 1e-3, "momentum": 0.9}, torch.optim.SGD),
}
OPTAX = {
    "sgd": optax.sgd(1e-3),
    "momentum": optax.sgd(1e-3, momentum=0.9),
    "adam": optax.adam(1e-3),
    "adamw": optax.adamw(1e-3, weight_decay=1e-2),
    "lion": optax.lion(1e-3, weight_decay=0.0),
}


def least(contestants: dict[str, Callable[[], object]], repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    """The least time of each, called in turn, in milliseconds."""
    times = dict.fromkeys(contestants, float("inf"))
    for _ in range(repeats):
        for name, run in contestants.items():
            start = clock()
            run()
            times[name] = min(times[name], 1e3 * (clock() - start))
    return times


def params(sizes: list[int]) -> list[torch.nn.Parameter]:
    torch.manual_seed(0)
    made = [torch.nn.Parameter(torch.randn(n)) for n in sizes]
    for p in made:
        p.grad = torch.randn_like(p)
    return made


def bench_torch(repeats: int, compiled: bool) -> None:
    print("\n| torch step | tensors | single | foreach | fused | ours | / foreach | ours compiled | / fused |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (options, theirs) in TORCH.items():
        for shapes, sizes in SHAPES.items():
            contestants = {
                "single": theirs(params(sizes), **options, foreach=False).step,
                "foreach": theirs(params(sizes), **options, foreach=True).step,
                "fused": theirs(params(sizes), **options, fused=True).step,
                "ours": Optimizer(params(sizes), name.split(",")[0], **options).step,
            }
            if compiled:
                contestants["compiled"] = Optimizer(params(sizes), name.split(",")[0], compile=True, **options).step
            for run in contestants.values():
                for _ in range(STEADY + 2):  # from there on ours is a traced program
                    run()
            t = least(contestants, repeats, time.thread_time)
            cells = [f"{t[k]:.2f} ms" for k in ("single", "foreach", "fused", "ours")]
            cells.append(f"{t['ours'] / t['foreach']:.2f}")
            cells += [f"{t['compiled']:.2f} ms", f"{t['compiled'] / t['fused']:.2f}"] if compiled else ["", ""]
            print(f"| {name} | {shapes} | {' | '.join(cells)} |", flush=True)


def bench_optax(repeats: int, steps: int = 100) -> None:
    print(f"\n| {steps} steps in a scan | params | optax | ours | ours / optax |")
    print("|---|---|---|---|---|")
    for sizes in ([1_000] * 20, [50_000] * 20):
        start = tuple(jax.random.normal(jax.random.key(i), (n,)) for i, n in enumerate(sizes))
        for name, transformation in OPTAX.items():
            runs = {"optax": _optax_scan(transformation, steps), "ours": _our_scan(named(name, lr=1e-3), steps)}
            contestants = {k: partial(_finish, run, start) for k, run in runs.items()}
            least(contestants, 2, time.process_time)
            t = least(contestants, repeats, time.process_time)
            ratio = t["ours"] / t["optax"]
            print(f"| {name} | {sum(sizes):,} | {t['optax']:.2f} ms | {t['ours']:.2f} ms | {ratio:.2f} |", flush=True)


def _finish(run: Callable, start: tuple) -> None:
    jax.block_until_ready(run(start))


def _gradient(leaves: tuple) -> tuple:
    return tuple(jnp.sin(x) for x in leaves)


def _our_scan(method, steps: int):
    @jax.jit
    def run(leaves):
        def step(carry, _):
            leaves, state = carry
            evaluation = Evaluation(jnp.float32(0), _gradient(leaves))
            leaves, state, _ = method.step(evaluation, leaves, state, scale=jnp.float32(1), xp=jnp)
            return (leaves, state), None

        return jax.lax.scan(step, (leaves, method.init(leaves, xp=jnp)), None, length=steps)[0]

    return run


def _optax_scan(transformation: optax.GradientTransformation, steps: int):
    @jax.jit
    def run(leaves):
        def step(carry, _):
            leaves, state = carry
            updates, state = transformation.update(_gradient(leaves), state, leaves)
            return (optax.apply_updates(leaves, updates), state), None

        return jax.lax.scan(step, (leaves, transformation.init(leaves)), None, length=steps)[0]

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}, torch {torch.__version__}, jax {jax.__version__}, optax {optax.__version__}")
    bench_torch(arguments.repeats, not arguments.no_compile)
    bench_optax(arguments.repeats)


if __name__ == "__main__":
    main()

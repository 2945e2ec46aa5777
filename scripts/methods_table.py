"""Write docs/methods.md from the docstrings of the methods and their slots.

python scripts/methods_table.py            write the file
python scripts/methods_table.py --check    say whether it is current, by the exit status
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from inspect import Parameter, getdoc, signature
from pathlib import Path
from typing import NamedTuple

from descenso.methods import METHODS

PAGE = Path(__file__).parent.parent / "docs" / "methods.md"

ROOMS = {
    "rules": "Which way: `descenso.rules`",
    "step_sizes": "How far: `descenso.step_sizes`",
    "averaging": "Which point: `descenso.averaging`",
    "methods": "Whole methods, and what goes around one: `descenso.methods`",
}

HEAD = """\
# Methods

<!-- written by scripts/methods_table.py from the docstrings; change those -->

`method=` of `minimize` takes a name of the first table, a method made of the slots of the tables after it, or any optax
transformation. `"auto"` needs none of this page.

```python
import jax.numpy as jnp
import optax

from descenso import Budget, Descent, averaging, minimize, rules, step_sizes
from descenso.methods import named


def loss(params):
    return jnp.sum((params - 3.0) ** 2)


budget = Budget(steps=200)
minimize(loss, jnp.zeros(2), method="adamw", budget=budget)
minimize(loss, jnp.zeros(2), method=named("adamw", lr=0.1, weight_decay=0.0), budget=budget)
falling = step_sizes.Schedule(0.1, 200, warmup=20)
minimize(loss, jnp.zeros(2), method=Descent(rules.Lion(), falling, averaging.EMA(0.9)), budget=budget)
minimize(loss, jnp.zeros(2), method=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1)), budget=budget)
```

An optax transformation is handed the params as the loss has them, and the loss as `value`; one that asks for
`value_fn` does not fit, and one whose answer is not where it stands, as `optax.contrib.schedule_free`, is better taken
from the first table. The other way round `descenso.interop.optax.to_optax(method)` makes any method of this page,
`newton_cg` aside, a transformation.

Notation: x params, g gradient, d direction, eta step size, f loss, t = 1, 2, ... the step, |.| the Euclidean norm over
all leaves. Memory counts copies of the params, beside the params and their gradient.
"""


COST = """\
## What a step costs

Measured by `python -m benchmarks.methods --repeats 40` on 2026-11-24: AMD EPYC, two shared cores of which one thread is
used, Python 3.11.7, torch 2.13.0, jax 0.10.2, optax 0.2.8. Processor time, the least of 40 calls in turn, on a
machine with much other work on it: a tenth more or less is noise. The rows of 1,000,000 params: 2026-11-29, 8 calls.

Aimed at: at most 1.1 of foreach, 1.0 of fused with `compile=True`, 1.0 of optax. Missed: fused, on small tensors by
AdamW and SGD, most by SGD with momentum, and on large ones by up to .07; optax by up to .07 for SGD, AdamW and Lion
on 20,000 params, by .02 for momentum and Lion on 1,000,000.

| torch step | tensors | single | foreach | fused | ours | / foreach | ours compiled | / fused |
|---|---|---|---|---|---|---|---|---|
| adam | 100 of 1,000 | 2.35 ms | 1.51 ms | 0.60 ms | 0.74 ms | 0.49 | 0.56 ms | 0.94 |
| adam | 20 of 500,000 | 16.90 ms | 33.22 ms | 6.01 ms | 23.73 ms | 0.71 | 6.44 ms | 1.07 |
| adamw | 100 of 1,000 | 2.77 ms | 1.98 ms | 0.66 ms | 0.99 ms | 0.50 | 0.74 ms | 1.12 |
| adamw | 20 of 500,000 | 18.42 ms | 35.08 ms | 6.31 ms | 26.24 ms | 0.75 | 6.61 ms | 1.05 |
| sgd | 100 of 1,000 | 0.22 ms | 0.15 ms | 0.12 ms | 0.14 ms | 0.99 | 0.14 ms | 1.18 |
| sgd | 20 of 500,000 | 2.83 ms | 3.09 ms | 3.00 ms | 2.85 ms | 0.92 | 2.89 ms | 0.96 |
| sgd, momentum | 100 of 1,000 | 0.93 ms | 0.59 ms | 0.27 ms | 0.37 ms | 0.63 | 0.42 ms | 1.57 |
| sgd, momentum | 20 of 500,000 | 5.87 ms | 7.56 ms | 4.56 ms | 6.30 ms | 0.83 | 4.66 ms | 1.02 |

| 100 steps in a scan | params | optax | ours | ours / optax |
|---|---|---|---|---|
| sgd | 20,000 | 5.29 ms | 5.66 ms | 1.07 |
| momentum | 20,000 | 7.16 ms | 6.97 ms | 0.97 |
| adam | 20,000 | 17.63 ms | 16.80 ms | 0.95 |
| adamw | 20,000 | 17.66 ms | 17.81 ms | 1.01 |
| lion | 20,000 | 14.72 ms | 15.61 ms | 1.06 |
| sgd | 1,000,000 | 847.04 ms | 821.30 ms | 0.97 |
| momentum | 1,000,000 | 658.02 ms | 673.69 ms | 1.02 |
| adam | 1,000,000 | 1788.00 ms | 1754.55 ms | 0.98 |
| adamw | 1,000,000 | 1772.54 ms | 1753.03 ms | 0.99 |
| lion | 1,000,000 | 1796.28 ms | 1825.34 ms | 1.02 |
"""


class Row(NamedTuple):
    """What one docstring says."""

    name: str
    formula: str
    memory: str
    use: str
    source: str


def row(cls: type) -> Row:
    """The row of a class; raises ValueError where its docstring lacks a part."""
    text = getdoc(cls) or ""
    body = re.split(r"\n(?:Args|State|Attributes):", text)[0].split("\n")
    formula = [line.strip() for line in body if line.startswith("    ") and line.strip()]
    parts = {key: _part(text, key) for key in ("Memory", "Use", "Source")}
    missing = [key for key, value in {"formula": formula, **parts}.items() if not value]
    if missing:
        raise ValueError(f"The docstring of {cls.__name__} has no {', '.join(missing)}.")
    code = "<br>".join(f"`{re.sub(r' {2,}', '  ', line)}`" for line in formula)
    return Row(f"`{cls.__name__}`", code, parts["Memory"], parts["Use"], parts["Source"])


def _part(text: str, key: str) -> str:
    """What follows `key:`, up to the next part or an empty line; Memory to the end of its first sentence."""
    found = re.search(rf"(?:^|[\s;]){key}: (.*?)(?=\n(?:[A-Z][a-z]+:|\n)|\Z)", text, re.DOTALL)
    words = " ".join(found.group(1).split()) if found else ""
    words = words.split(" Memory: ")[0]
    return words.rstrip(".") if key != "Memory" else re.split(r"\.(?: |$)", words)[0]


def slots(room: str) -> list[type]:
    """The classes of a room that can stand in a method, by name."""
    module = import_module(f"descenso.{room}")
    found = [getattr(module, name) for name in module.__all__]
    return sorted((c for c in found if isinstance(c, type)), key=lambda c: c.__name__.lower())


def names() -> str:
    lines = ["| name | what it is | options and their defaults |", "|---|---|---|"]
    for name, factory in METHODS.items():
        what = (getdoc(factory) or "").split("\n")[0].rstrip(".")
        options = [_option(p) for p in signature(factory).parameters.values() if _is_plain(p.default)]
        lines.append(f"| `{name}` | {what} | {', '.join(options)} |")
    return "\n".join(lines)


def _is_plain(default: object) -> bool:
    return default is None or isinstance(default, (int, float, str, tuple))


def _option(parameter: Parameter) -> str:
    return f"`{parameter.name}={parameter.default!r}`"


def table(room: str) -> str:
    lines = ["| | formula | memory | when to use it | source |", "|---|---|---|---|---|"]
    for cls in slots(room):
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row(cls)) + " |")
    return "\n".join(lines)


def page() -> str:
    """The whole of docs/methods.md."""
    parts = [HEAD, "## Names\n\n" + names()]
    parts += [f"## {title}\n\n{table(room)}" for room, title in ROOMS.items()]
    parts.append(COST)
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def main() -> int:
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.exists() and PAGE.read_text() == page() else 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())

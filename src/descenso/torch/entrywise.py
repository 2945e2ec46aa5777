"""Which methods treat every entry of the params by itself.

Their steps may be made on any cut of the params: blocks that stay in the processor's cache, or many small params in one
vector. Whatever is not on the list steps with all params of a group at once.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any

from descenso import averaging, methods, rules, step_sizes

ENTRYWISE = (
    methods.Descent,
    methods.L2,
    methods.ClipValue,
    rules.AdaDelta,
    rules.AdaGrad,
    rules.Adam,
    rules.AdaMax,
    rules.Chain,
    rules.Gradient,
    rules.Lion,
    rules.Momentum,
    rules.NAdam,
    rules.Nesterov,
    rules.RAdam,
    rules.RMSProp,
    rules.Rprop,
    rules.Sign,
    rules.WeightDecay,
    step_sizes.Constant,
    step_sizes.Exponential,
    step_sizes.InverseSquareRoot,
    step_sizes.InverseTime,
    step_sizes.OneCycle,
    step_sizes.PolynomialDecay,
    step_sizes.Schedule,
    step_sizes.StepDecay,
    step_sizes.Then,
    step_sizes.WarmRestarts,
    step_sizes.Warmup,
    step_sizes.WarmupStableDecay,
    averaging.EMA,
    averaging.ElasticNet,
    averaging.L1,
    averaging.Last,
    averaging.NonNegative,
    averaging.Polynomial,
    averaging.ScheduleFree,
)


@lru_cache(maxsize=256)
def is_entrywise(part: Any) -> bool:
    """Whether a method, and every slot in it, treats each entry by itself. One with a mask does not."""
    if not is_dataclass(part):
        return True
    if not isinstance(part, ENTRYWISE) or getattr(part, "mask", None) is not None:
        return False
    return all(is_entrywise(getattr(part, field.name)) for field in fields(part))


@lru_cache(maxsize=256)
def needs_loss(part: Any) -> bool:
    """Whether a method, or a slot in it, looks at the loss and not only at its gradient."""
    if not is_dataclass(part):
        return False
    if getattr(part, "line_search", False) or isinstance(part, (step_sizes.Polyak, step_sizes.PolyakLevel)):
        return True
    return any(needs_loss(getattr(part, field.name)) for field in fields(part))

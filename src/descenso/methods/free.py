"""Methods without a learning rate to choose, under their usual names: factories of methods."""

from __future__ import annotations

from math import inf

from descenso._types import Averaging, Method, Rule
from descenso.averaging import Last, Polynomial, ScheduleFree
from descenso.methods.classics import LR, Betas, decoupled, size_of
from descenso.methods.descent import Descent
from descenso.methods.mechanic import Mechanic
from descenso.methods.online import Online
from descenso.methods.prodigy import Prodigy
from descenso.rules import Adam, ByShape, Gradient
from descenso.step_sizes import AdGD, DoG, DoWG, Polyak, PolyakLevel, Warmup


def polyak(floor: float | None = None, cap: float = inf, averaging: Averaging | None = None) -> Method:
    """Polyak's step size; without a `floor` it is estimated."""
    size = PolyakLevel(cap=cap) if floor is None else Polyak(floor, cap)
    return Descent(Gradient(), size, averaging or Last())


def dog(first: float = 1e-6, averaging: Averaging | None = None) -> Method:
    """Distance over gradients, averaged."""
    return Descent(Gradient(), DoG(first), averaging or Polynomial())


def dowg(averaging: Averaging | None = None) -> Method:
    """Distance over weighted gradients."""
    return Descent(Gradient(), DoWG(), averaging or Last())


def adgd(averaging: Averaging | None = None) -> Method:
    """Adaptive gradient descent, for a loss that is the same at every step."""
    return Descent(Gradient(), AdGD(), averaging or Last())


def schedule_free_sgd(lr: LR = 1.0, momentum: float = 0.9, weight_decay: float = 0.0, warmup_steps: int = 0) -> Method:
    """Schedule-free gradient descent."""
    return decoupled(Gradient(), _warmed(lr, warmup_steps), weight_decay, ScheduleFree(momentum))


def schedule_free_adamw(
    lr: LR = 2.5e-3,
    *,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    warmup_steps: int = 0,
) -> Method:
    """Schedule-free AdamW; `betas[0]` is how near to the average the gradient is taken."""
    rule = Adam(0.0, betas[1], eps)
    return decoupled(rule, _warmed(lr, warmup_steps), weight_decay, ScheduleFree(betas[0]))


def _warmed(lr: LR, steps: int) -> LR:
    return Warmup(size_of(lr), steps) if steps else lr


def prodigy(
    lr: LR = 1.0,
    *,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    d0: float = 1e-6,
    d_coef: float = 1.0,
    growth_rate: float = inf,
    use_bias_correction: bool = False,
    averaging: Averaging | None = None,
) -> Method:
    """Prodigy; `lr` multiplies its estimate of the distance."""
    return Prodigy(
        size_of(lr), *betas, eps, d0, d_coef, growth_rate, weight_decay, use_bias_correction, averaging or Last()
    )


def mechanic(rule: Rule | None = None, lr: LR = 1.0, s_decay: float = 1e-2, s_init: float = 1e-6) -> Method:
    """Mechanic around a rule, by default Adam."""
    return Mechanic(Adam() if rule is None else rule, size_of(lr), s_decay, s_init)


def online(weight_decay: float = 0.0, matrices: bool = True, output_axis: int = -1) -> Method:
    """A step size that follows what the gradients prove, without a horizon; Muon for matrices, Adam for the rest."""
    return Online(ByShape(matrices=matrices, output_axis=output_axis), decay=weight_decay)

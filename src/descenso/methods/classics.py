"""The classics under their usual names and options: factories of methods.

The options are those of torch.optim where it has the method. `lr` is a number or any step size; `averaging` is any of
`descenso.averaging`, by default the last point. `weight_decay` is what torch makes of it: a penalty (`L2`) for sgd and
most others, decoupled (`WeightDecay`) for the names that end in w, lion, muon and the schedule-free.
"""

from __future__ import annotations

from descenso._masks import Mask
from descenso._types import Averaging, Method, Rule, StepSize
from descenso.averaging import Last, Polynomial
from descenso.methods.descent import Descent
from descenso.methods.l2 import L2
from descenso.rules import (
    AdaDelta,
    Adafactor,
    AdaGrad,
    Adam,
    AdaMax,
    Chain,
    Gradient,
    Lion,
    Momentum,
    Muon,
    NAdam,
    Nesterov,
    RAdam,
    RMSProp,
    Rprop,
    Sign,
    WeightDecay,
)
from descenso.step_sizes import Constant, InverseSquareRoot, InverseTime

LR = float | StepSize
Betas = tuple[float, float]


def size_of(lr: LR) -> StepSize:
    """`lr` as a step size."""
    return Constant(lr) if isinstance(lr, (int, float)) else lr


def penalised(rule: Rule, lr: LR, weight_decay: float, averaging: Averaging | None) -> Method:
    """A descent whose weight decay is a penalty."""
    method = Descent(rule, size_of(lr), averaging or Last())
    return L2(method, weight_decay) if weight_decay else method


def decoupled(
    rule: Rule, lr: LR, weight_decay: float, averaging: Averaging | None, mask: Mask | None = None
) -> Descent:
    """A descent whose weight decay never enters the moments."""
    return Descent(WeightDecay(rule, weight_decay, mask) if weight_decay else rule, size_of(lr), averaging or Last())


def sgd(
    lr: LR = 1e-2,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    averaging: Averaging | None = None,
) -> Method:
    """Gradient descent, with momentum if asked for."""
    rule = (Nesterov(momentum) if nesterov else Momentum(momentum)) if momentum else Gradient()
    return penalised(rule, lr, weight_decay, averaging)


def momentum(
    lr: LR = 1e-2, *, momentum: float = 0.9, weight_decay: float = 0.0, averaging: Averaging | None = None
) -> Method:
    """Gradient descent with heavy-ball momentum."""
    return penalised(Momentum(momentum), lr, weight_decay, averaging)


def nesterov(
    lr: LR = 1e-2, *, momentum: float = 0.9, weight_decay: float = 0.0, averaging: Averaging | None = None
) -> Method:
    """Gradient descent with Nesterov momentum."""
    return penalised(Nesterov(momentum), lr, weight_decay, averaging)


def asgd(
    lr: LR = 1e-2,
    *,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: int = 1_000_000,
    weight_decay: float = 0.0,
) -> Method:
    """Averaged gradient descent: lr / (1 + lambd lr t)^alpha, and the mean of the points after step t0."""
    size = InverseTime(lr, lambd * lr, alpha) if isinstance(lr, (int, float)) else lr
    return penalised(WeightDecay(Gradient(), lambd), size, weight_decay, Polynomial(0.0, start=t0 + 1))


def adagrad(
    lr: LR = 1e-2,
    *,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
    averaging: Averaging | None = None,
) -> Method:
    """AdaGrad."""
    size = InverseTime(lr, lr_decay) if lr_decay and isinstance(lr, (int, float)) else lr
    return penalised(AdaGrad(eps, initial_accumulator_value), size, weight_decay, averaging)


def adadelta(
    lr: LR = 1.0, *, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0, averaging: Averaging | None = None
) -> Method:
    """AdaDelta."""
    return penalised(AdaDelta(rho, eps), lr, weight_decay, averaging)


def rmsprop(
    lr: LR = 1e-2,
    *,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    averaging: Averaging | None = None,
) -> Method:
    """RMSProp, with momentum after the scaling if asked for."""
    rule = RMSProp(alpha, eps, centered)
    return penalised(Chain(rule, Momentum(momentum)) if momentum else rule, lr, weight_decay, averaging)


def rprop(
    lr: LR = 1e-2,
    *,
    etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50.0),
    averaging: Averaging | None = None,
) -> Method:
    """Rprop; `lr` is the first length, and the limits `step_sizes` are absolute."""
    unit = lr if isinstance(lr, (int, float)) and lr else 1.0
    rule = Rprop(etas[0], etas[1], step_sizes[0] / unit, step_sizes[1] / unit)
    return penalised(rule, lr, 0.0, averaging)


def adam(
    lr: LR = 1e-3,
    *,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    averaging: Averaging | None = None,
) -> Method:
    """Adam."""
    return penalised(Adam(*betas, eps, amsgrad), lr, weight_decay, averaging)


def adamw(
    lr: LR = 1e-3,
    *,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    amsgrad: bool = False,
    mask: Mask | None = None,
    averaging: Averaging | None = None,
) -> Method:
    """Adam with decoupled weight decay, on the leaves of `mask`."""
    return decoupled(Adam(*betas, eps, amsgrad), lr, weight_decay, averaging, mask)


def amsgrad(
    lr: LR = 1e-3,
    *,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    averaging: Averaging | None = None,
) -> Method:
    """Adam whose second moment may only grow."""
    return penalised(Adam(*betas, eps, True), lr, weight_decay, averaging)


def adamax(
    lr: LR = 2e-3,
    *,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    averaging: Averaging | None = None,
) -> Method:
    """AdaMax."""
    return penalised(AdaMax(*betas, eps), lr, weight_decay, averaging)


def nadam(
    lr: LR = 2e-3,
    *,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float | None = 4e-3,
    averaging: Averaging | None = None,
) -> Method:
    """NAdam; `momentum_decay` None is that of optax."""
    return penalised(NAdam(*betas, eps, momentum_decay), lr, weight_decay, averaging)


def nadamw(
    lr: LR = 2e-3,
    *,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    momentum_decay: float | None = 4e-3,
    mask: Mask | None = None,
    averaging: Averaging | None = None,
) -> Method:
    """NAdam with decoupled weight decay, on the leaves of `mask`."""
    return decoupled(NAdam(*betas, eps, momentum_decay), lr, weight_decay, averaging, mask)


def radam(
    lr: LR = 1e-3,
    *,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    averaging: Averaging | None = None,
) -> Method:
    """RAdam."""
    return penalised(RAdam(*betas, eps), lr, weight_decay, averaging)


def signsgd(
    lr: LR = 1e-3, *, momentum: float = 0.0, weight_decay: float = 0.0, averaging: Averaging | None = None
) -> Method:
    """The sign of the gradient, or with momentum of its decaying sum (Signum)."""
    rule = Chain(Momentum(momentum), Sign()) if momentum else Sign()
    return decoupled(rule, lr, weight_decay, averaging)


def lion(
    lr: LR = 1e-4,
    *,
    betas: Betas = (0.9, 0.99),
    weight_decay: float = 0.0,
    mask: Mask | None = None,
    averaging: Averaging | None = None,
) -> Method:
    """Lion."""
    return decoupled(Lion(*betas), lr, weight_decay, averaging, mask)


def muon(
    lr: LR = 1e-3,
    *,
    weight_decay: float = 0.1,
    momentum: float = 0.95,
    nesterov: bool = True,
    hidden: Mask | None = None,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    mask: Mask | None = None,
    averaging: Averaging | None = None,
) -> Method:
    """Muon on the leaves of `hidden`, by default all with two axes; Adam with `betas` and `eps` on the others."""
    rule = Muon(momentum, nesterov, hidden=hidden, rest=Adam(*betas, eps))
    return decoupled(rule, lr, weight_decay, averaging, mask)


def adafactor(
    lr: LR = 1e-2,
    *,
    beta2_decay: float = -0.8,
    eps: tuple[float, float] = (1e-15, 1e-3),
    d: float = 1.0,
    weight_decay: float = 0.0,
    averaging: Averaging | None = None,
) -> Method:
    """Adafactor, with steps of min(lr, 1 / sqrt(t)) times the size of the params."""
    size = InverseSquareRoot(lr, lr**-2) if isinstance(lr, (int, float)) and lr else lr
    return decoupled(Adafactor(beta2_decay, *eps, d), size, weight_decay, averaging)

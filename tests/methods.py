"""Every method of the package, each made the way a test can run it to a minimum.

A module in rules/, step_sizes/, averaging/ or methods/ that no case touches fails `test_methods.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from descenso._types import Method
from descenso.averaging import EMA, L1, Between, ElasticNet, Last, NonNegative, Polynomial, ScheduleFree
from descenso.methods import (
    BFGS,
    L2,
    LBFGS,
    Accumulate,
    ClipNorm,
    ClipValue,
    Descent,
    Freeze,
    GlobalBarzilaiBorwein,
    Mechanic,
    NonlinearCG,
    Online,
    Prodigy,
    ZClip,
    named,
)
from descenso.methods.bounded import bounded
from descenso.methods.in_units import InUnits
from descenso.methods.projected import ProjectedLBFGS
from descenso.rules import (
    AdaDelta,
    Adafactor,
    AdaGrad,
    Adam,
    AdaMax,
    ByShape,
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
from descenso.step_sizes import (
    AdGD,
    BarzilaiBorwein,
    Constant,
    DoG,
    DoWG,
    Exponential,
    InverseSquareRoot,
    OneCycle,
    Polyak,
    PolyakLevel,
    PolynomialDecay,
    Schedule,
    StepDecay,
    Then,
    WarmRestarts,
    Warmup,
    WarmupStableDecay,
)

STEPS = 500
SMOOTH = ("valley", "network")


@dataclass(frozen=True)
class Case:
    """A method and what is asked of it in STEPS steps.

    problems: those of the zoo that it must solve, down to a hundredth of the way from the start.
    noise: the share of the way that may be left on the noisy problem; None where noise is not for this method.
    scale, steps: how the array libraries are compared: smaller or fewer steps where the method amplifies rounding.
    """

    name: str
    method: Method
    problems: tuple[str, ...] = SMOOTH
    noise: float | None = 0.05
    scale: float = 1.0
    steps: int = 200


LAST = (False, False, False, True)
"""The mask of the last leaf of the network."""
BOX = Between((-3.0,) * 4, (3.0,) * 4)
"""Bounds of the leaves of the network."""


def fall(peak: float) -> Schedule:
    """Linearly to zero over the whole run."""
    return Schedule(peak, STEPS, shape="linear")


CASES = [
    Case("gradient", Descent(Gradient(), Constant(0.8)), (*SMOOTH, "logistic"), noise=0.3),
    Case("momentum", Descent(Momentum(), fall(0.2))),
    Case("nesterov", Descent(Nesterov(), fall(0.2))),
    Case("adagrad", Descent(AdaGrad(), Constant(0.5))),
    Case("adadelta", Descent(AdaDelta(eps=1e-4), fall(1.0)), scale=0.03),
    Case("rmsprop", Descent(RMSProp(), fall(0.03)), scale=0.03),
    Case("rmsprop centered", Descent(RMSProp(centered=True), fall(0.01))),
    Case("rmsprop momentum", Descent(Chain(RMSProp(), Momentum()), fall(0.003))),
    Case("rprop", Descent(Rprop(), Constant(0.01)), (*SMOOTH, "rosenbrock"), noise=None),
    Case("adam", Descent(Adam(), fall(0.1)), (*SMOOTH, "logistic")),
    Case("amsgrad", Descent(Adam(amsgrad=True), fall(0.1))),
    Case("adamw", Descent(WeightDecay(Adam(), 1e-4), fall(0.1))),
    Case("adamax", Descent(AdaMax(), fall(0.1))),
    Case("nadam", Descent(NAdam(), fall(0.1)), scale=0.03),
    Case("nadam constant momentum", Descent(NAdam(psi=None), fall(0.1))),
    Case("radam", Descent(RAdam(), fall(0.1))),
    Case("sign", Descent(Sign(), fall(0.01))),
    Case("lion", Descent(Lion(), fall(0.01))),
    Case("muon", Descent(Muon(), fall(0.05)), scale=0.03),
    Case("adafactor", Descent(Adafactor(), fall(0.1)), scale=0.03),
    Case("schedule", Descent(Gradient(), Schedule(1.0, STEPS, warmup=50)), scale=0.03),
    Case("step decay", Descent(Momentum(), StepDecay(0.1, 300))),
    Case("exponential", Descent(Momentum(), Exponential(0.1, 0.1, every=500))),
    Case("inverse square root", Descent(Momentum(), Warmup(InverseSquareRoot(0.2, 100), 100)), noise=0.3),
    Case("inverse time", named("asgd", lr=0.8, t0=250)),
    Case("polynomial decay", Descent(Momentum(), PolynomialDecay(0.2, STEPS, 2.0))),
    Case("one cycle", Descent(Momentum(), OneCycle(0.2, STEPS))),
    Case("warm restarts", Descent(Momentum(), WarmRestarts(0.2, 71, 2.0)), noise=0.3),
    Case("warmup stable decay", Descent(Momentum(), WarmupStableDecay(0.1, STEPS, 50))),
    Case("then", Descent(Momentum(), Then(Constant(0.1), 250, PolynomialDecay(0.1, 250)))),
    Case("polyak", Descent(Gradient(), Polyak(1.0)), ("valley",)),
    Case("polyak level", Descent(Gradient(), PolyakLevel()), (*SMOOTH, "logistic"), noise=0.3, scale=0.03),
    Case("dog", Descent(Gradient(), DoG(1e-3), Polynomial())),
    Case("dowg", Descent(Gradient(), DoWG()), noise=0.1),
    Case("adgd", Descent(Gradient(), AdGD()), (*SMOOTH, "logistic"), noise=None, scale=0.03),
    Case("barzilai borwein", Descent(Gradient(), BarzilaiBorwein()), (*SMOOTH, "rosenbrock"), noise=None, scale=0.03),
    Case("barzilai borwein long", Descent(Gradient(), BarzilaiBorwein("long")), noise=None, scale=0.03),
    Case("polynomial", Descent(Gradient(), Constant(0.8), Polynomial())),
    Case("ema", Descent(Gradient(), Constant(0.8), EMA(0.98))),
    Case("schedule free sgd", named("schedule_free_sgd", lr=3.0, warmup_steps=50)),
    Case("schedule free adamw", named("schedule_free_adamw", lr=0.1, warmup_steps=50)),
    Case("l1", Descent(Gradient(), fall(0.8), Last(L1(1e-4)))),
    Case("elastic net", Descent(Gradient(), fall(0.8), Polynomial(proximal=ElasticNet(1e-4, 1e-4)))),
    Case("non-negative", Descent(Gradient(), fall(0.8), ScheduleFree(proximal=NonNegative(LAST))), (), noise=None),
    Case("between", bounded(Descent(Gradient(), fall(0.8), ScheduleFree()), BOX), (), noise=None),
    Case("prodigy", Prodigy(fall(1.0), d0=1e-3)),
    Case("mechanic", Mechanic(Adam(), fall(1.0), first=1e-3), noise=0.1, scale=0.03),
    Case("online", Online(ByShape(narrow=2)), (*SMOOTH, "logistic", "rosenbrock"), scale=0.03),
    Case("by shape", Descent(ByShape(narrow=2, output_axis=0), fall(0.05)), scale=0.03),
    Case("clip norm", ClipNorm(Descent(Momentum(), fall(0.2)), 0.5)),
    Case("clip value", ClipValue(Descent(Momentum(), fall(0.2)), 0.5)),
    Case("zclip", ZClip(Descent(Momentum(), fall(0.2)))),
    Case("accumulate", Accumulate(Descent(Momentum(), fall(0.2)), 3), noise=0.3),
    Case("l2", L2(Descent(Momentum(), fall(0.2)), 1e-4)),
    Case("in units", InUnits(Descent(Momentum(), fall(0.2 / 2**10)), 2.0**10)),
    Case("freeze", Freeze(Descent(Adam(), fall(0.1)), LAST), ("network",), noise=None),
    Case("lbfgs", LBFGS(), (*SMOOTH, "logistic", "rosenbrock"), noise=None, steps=20),
    Case("nonlinear cg", NonlinearCG(), (*SMOOTH, "logistic", "rosenbrock"), noise=None, steps=20),
    Case("global bb", GlobalBarzilaiBorwein(), (*SMOOTH, "logistic", "rosenbrock"), noise=None, steps=20),
    Case("projected lbfgs", ProjectedLBFGS(LAST), ("network",), noise=None, steps=20),
    Case("bfgs", BFGS(), (*SMOOTH, "logistic", "rosenbrock"), noise=None, steps=20),
    Case("projected lbfgs", ProjectedLBFGS((False, False, False, False)), ("network",), noise=None, steps=20),
]

"""How far: the step size of an update."""

from descenso.step_sizes.adgd import AdGD
from descenso.step_sizes.barzilai_borwein import BarzilaiBorwein
from descenso.step_sizes.constant import Constant
from descenso.step_sizes.dog import DoG
from descenso.step_sizes.dowg import DoWG
from descenso.step_sizes.exponential import Exponential
from descenso.step_sizes.inverse_square_root import InverseSquareRoot
from descenso.step_sizes.inverse_time import InverseTime
from descenso.step_sizes.one_cycle import OneCycle
from descenso.step_sizes.polyak import Polyak
from descenso.step_sizes.polyak_level import PolyakLevel
from descenso.step_sizes.polynomial_decay import PolynomialDecay
from descenso.step_sizes.schedule import Schedule
from descenso.step_sizes.step_decay import StepDecay
from descenso.step_sizes.then import Then
from descenso.step_sizes.warm_restarts import WarmRestarts
from descenso.step_sizes.warmup import Warmup
from descenso.step_sizes.warmup_stable_decay import WarmupStableDecay

__all__ = [
    "AdGD",
    "BarzilaiBorwein",
    "Constant",
    "DoG",
    "DoWG",
    "Exponential",
    "InverseSquareRoot",
    "InverseTime",
    "OneCycle",
    "Polyak",
    "PolyakLevel",
    "PolynomialDecay",
    "Schedule",
    "StepDecay",
    "Then",
    "WarmRestarts",
    "Warmup",
    "WarmupStableDecay",
]

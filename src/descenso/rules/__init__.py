"""Which way: the rules that turn gradients into a direction."""

from descenso.rules.adadelta import AdaDelta
from descenso.rules.adafactor import Adafactor
from descenso.rules.adagrad import AdaGrad
from descenso.rules.adam import Adam
from descenso.rules.adamax import AdaMax
from descenso.rules.by_shape import ByShape
from descenso.rules.chain import Chain
from descenso.rules.gradient import Gradient
from descenso.rules.lion import Lion
from descenso.rules.momentum import Momentum
from descenso.rules.muon import Muon
from descenso.rules.nadam import NAdam
from descenso.rules.nesterov import Nesterov
from descenso.rules.radam import RAdam
from descenso.rules.rmsprop import RMSProp
from descenso.rules.rprop import Rprop
from descenso.rules.sign import Sign
from descenso.rules.weight_decay import WeightDecay

__all__ = [
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adafactor",
    "Adam",
    "ByShape",
    "Chain",
    "Gradient",
    "Lion",
    "Momentum",
    "Muon",
    "NAdam",
    "Nesterov",
    "RAdam",
    "RMSProp",
    "Rprop",
    "Sign",
    "WeightDecay",
]

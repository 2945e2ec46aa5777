"""Whole methods of descent, and what can be put around them."""

from descenso.methods.accumulate import Accumulate
from descenso.methods.barzilai_borwein import GlobalBarzilaiBorwein
from descenso.methods.bfgs import BFGS, quasi_newton
from descenso.methods.clip import ClipNorm, ClipValue
from descenso.methods.descent import Descent
from descenso.methods.freeze import Freeze
from descenso.methods.l2 import L2
from descenso.methods.lbfgs import LBFGS
from descenso.methods.mechanic import Mechanic
from descenso.methods.named import METHODS, named
from descenso.methods.newton_cg import NewtonCG
from descenso.methods.nonlinear_cg import NonlinearCG
from descenso.methods.online import Online
from descenso.methods.prodigy import Prodigy
from descenso.methods.zclip import ZClip

__all__ = [
    "BFGS",
    "L2",
    "LBFGS",
    "METHODS",
    "Accumulate",
    "ClipNorm",
    "ClipValue",
    "Descent",
    "Freeze",
    "GlobalBarzilaiBorwein",
    "Mechanic",
    "NewtonCG",
    "NonlinearCG",
    "Online",
    "Prodigy",
    "ZClip",
    "named",
    "quasi_newton",
]

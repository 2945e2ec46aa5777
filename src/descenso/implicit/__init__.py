"""The minimum as a function of what the loss depends on: it can be compiled, batched and differentiated."""

from descenso.implicit.solution import Argmin, Solution, argmin

__all__ = ["Argmin", "Solution", "argmin"]

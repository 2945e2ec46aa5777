"""Which point is the answer: averaging of the points visited, and the proximal map after each update."""

from descenso.averaging.between import Between
from descenso.averaging.ema import EMA
from descenso.averaging.last import Last
from descenso.averaging.polynomial import Polynomial
from descenso.averaging.proximal import L1, ElasticNet, NonNegative
from descenso.averaging.schedule_free import ScheduleFree

__all__ = ["EMA", "L1", "Between", "ElasticNet", "Last", "NonNegative", "Polynomial", "ScheduleFree"]

"""Out of local minima: many descents that share what they have found, and the minima that they ended in.

lanes: several descents side by side, compiled. elites: where the next one starts. box: the space that they search.
basins: the minima told apart, and an estimate of what has not been seen. explore: all of it, from a prepared run.
"""

from descenso.restarts.basins import Basin
from descenso.restarts.explore import Explored, explore, rows_of

__all__ = ["Basin", "Explored", "explore", "rows_of"]

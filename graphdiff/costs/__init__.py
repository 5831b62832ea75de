"""What a graph costs, and what its derivatives will cost."""

from graphdiff.costs import rates
from graphdiff.costs.graph import MODES, Cost, cost, graph_cost, per_direction, predict

__all__ = ["MODES", "Cost", "cost", "graph_cost", "per_direction", "predict", "rates"]

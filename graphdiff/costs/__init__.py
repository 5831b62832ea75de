"""What a graph costs, and what its derivatives will cost."""

from graphdiff.costs import rates
from graphdiff.costs.derivatives import MODES, per_direction, predict
from graphdiff.costs.graph import cost, graph_cost
from graphdiff.costs.node import Cost

__all__ = ["MODES", "Cost", "cost", "graph_cost", "per_direction", "predict", "rates"]

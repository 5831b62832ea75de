"""How a graph is walked, and how it becomes another library's or a pickle."""

from graphdiff.graph.graph import Graph, collector_paused, kind_of, without_collector
from graphdiff.graph.walks import evaluated, inside, opened, raise_stale, reachable, run_kernel, topological_order

__all__ = [
    "Graph",
    "collector_paused",
    "evaluated",
    "inside",
    "kind_of",
    "opened",
    "raise_stale",
    "reachable",
    "run_kernel",
    "topological_order",
    "without_collector",
]

"""How a graph is walked, and how it becomes another library's or a pickle."""

from graphdiff.graph.graph import Graph, collector_paused, kind_of, raise_stale, topological_order, without_collector

__all__ = ["Graph", "collector_paused", "kind_of", "raise_stale", "topological_order", "without_collector"]

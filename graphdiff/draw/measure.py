"""What a node costs: operations, bytes and seconds."""

from __future__ import annotations

from statistics import median
from time import perf_counter

from graphdiff.backend import working_on
from graphdiff.costs import graph_cost
from graphdiff.costs.node import node_cost
from graphdiff.errors import GraphError
from graphdiff.graph import Graph
from graphdiff.op import Composite
from graphdiff.tensor import Tensor

__all__ = ["flops_of", "seconds_of"]

_RUNS = 7


def flops_of(node: Tensor) -> int:
    """Return the floating-point operations of computing a node from its operands."""
    if isinstance(node.op, Composite):
        return graph_cost(Graph(node, inputs=list(dict.fromkeys(node.inputs)))).flops
    return node_cost(node).flops


def seconds_of(graph: Graph) -> dict[Tensor, float]:
    """Return how long each node takes to compute from its operands: the median of a few runs of its kernel.

    Raises
    ------
    GraphError
        A node has no value.
    """
    found: dict[Tensor, float] = {}
    for node in graph:
        if node.op is None:
            continue
        if not node.has_value:
            raise GraphError(f"{node.describe()} has no value, and no time to measure: draw a graph of variables")
        kernel = node.op.kernel(node.backend)
        values = [operand.value for operand in node.inputs]
        times = []
        with working_on(node.backend):
            for _ in range(_RUNS):
                start = perf_counter()
                kernel(*values, **node.attributes)
                node.backend.synchronize()
                times.append(perf_counter() - start)
        found[node] = median(times)
    return found

"""What a graph or a function costs, and its whole Jacobian in each mode."""

from __future__ import annotations

from graphdiff.arguments import require_function
from graphdiff.costs.derivatives import Counted
from graphdiff.costs.node import Cost
from graphdiff.graph import Graph
from graphdiff.guard import guarded
from graphdiff.host import is_real_floating
from graphdiff.op import as_tensor
from graphdiff.tensor import Tensor, variable
from graphdiff.tree import flatten, map_leaves
from graphdiff.typing import Function

__all__ = ["cost", "graph_cost"]


def graph_cost(graph: Graph, mode: str = "value") -> Cost:
    """Return what a graph, or the whole Jacobian of its outputs by its inputs, costs; nothing of it is built.

    Parameters
    ----------
    graph : Graph
    mode : {"value", "forward", "batched forward", "reverse", "batched reverse", "finite differences"}
        Forward and reverse take one pass per element of inputs or outputs; batched ones take all together. Each
        includes the value.

    Returns
    -------
    Cost

    Raises
    ------
    GraphError
        No such mode.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable(2.0)
    >>> g = gd.Graph(gd.sin(x) * x)
    >>> g.cost().multiplications, g.cost().transcendental
    (1, 1)
    >>> g.cost("reverse").multiplications
    4
    """
    return Counted(graph.outputs, graph.inputs).of(mode)


@guarded
def cost(function: Function[object] | Graph | Tensor, *arguments: object, mode: str = "value") -> Cost:
    """Return what a function costs at these arguments, or its whole Jacobian by them; see `Graph.cost`.

    Parameters
    ----------
    function : callable, Graph or Tensor
    *arguments : array, number, Tensor or nested structure
    mode : str
        As in `Graph.cost`.

    Examples
    --------
    >>> import numpy as np, graphdiff as gd
    >>> gd.cost(lambda x: x @ x, np.ones(10))
    Cost(multiplications=10, additions=9, transcendental=0, calls=1, nbytes=168, peak_memory=88, stored=0)
    """
    if isinstance(function, (Graph, Tensor)):
        return graph_cost(function if isinstance(function, Graph) else Graph(function), mode)
    require_function(function, "cost")
    fresh = map_leaves(lambda leaf: variable(as_tensor(leaf).value), list(arguments))
    outputs = [as_tensor(output) for output in flatten(function(*fresh))[0]]
    leaves = [leaf for leaf in flatten(fresh)[0] if is_real_floating(leaf.dtype)]
    return Counted(outputs, leaves).of(mode)

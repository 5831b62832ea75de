"""A graph simplified before it is looked at: what the chain rule writes as 1·x + 0 becomes x."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from graphdiff.graph import Graph
from graphdiff.plan.identities import simpler
from graphdiff.plan.passes import attribute_key, operand_key
from graphdiff.tensor import Tensor
from graphdiff.typing import Tree

__all__ = ["Simplified", "simplified"]


@dataclass
class Simplified:
    """A graph's simpler form.

    Attributes
    ----------
    graph : Graph
        Of new nodes where something changed; the graph that it was made of is left as it is.
    stands : dict of Tensor to Tensor
        What stands for a node that changed.
    """

    graph: Graph
    stands: dict[Tensor, Tensor] = field(default_factory=dict)

    def of(self, node: Tensor | None) -> Tensor | None:
        """Return what stands for a node, or the node."""
        return None if node is None else self.stands.get(node, node)


def simplified(outputs: Tree[Tensor] | Graph) -> Simplified:
    """Apply the identities of planning to a graph, and compute once what is written twice.

    Named nodes stay: what one is equal to is shown under its name. Leaves stay too, and so does the user's graph.

    Parameters
    ----------
    outputs : Tensor, nested structure of Tensors, or Graph

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable(2.0, name="x")
    >>> slope = gd.adjoints((x * gd.sin(x)).named("y"))[x]
    >>> len(gd.Graph(slope)), len(simplified(slope).graph)
    (8, 5)
    """
    made = Simplified(outputs if isinstance(outputs, Graph) else Graph(outputs))
    size = None
    while len(made.graph) != size:
        size = len(made.graph)
        made = _once(made)
    return made


def _once(before: Simplified) -> Simplified:
    graph = before.graph
    sources = frozenset(graph.inputs)
    new: dict[Tensor, Tensor] = {}
    seen: dict[Hashable, Tensor] = {}
    for node in graph:
        if node.op is None or node in sources:
            continue
        operands = tuple([new.get(operand, operand) for operand in node.inputs])
        key = node.op.name, tuple(map(_key, operands)), attribute_key(node.attributes)
        made = seen[key] if key in seen else _simpler(node, operands)
        if node.name and made.name != node.name:
            # A leaf or a node with a name of its own cannot take another: the operation stays.
            made = _again(node, operands, node) if made.op is None or made.name else _again(made, made.inputs, node)
        if node.op.pure:
            seen.setdefault(key, made)
        if made is not node:
            new[node] = made
    if not new:
        return before
    stands = {node: new.get(stand, stand) for node, stand in before.stands.items()} | new
    cut = graph.inputs if any(leaf.op is not None for leaf in graph.inputs) else None
    return Simplified(Graph([new.get(output, output) for output in graph.outputs], cut), stands)


def _key(operand: Tensor) -> Hashable:
    """Return what is equal for operands that are; a name tells one literal from another."""
    key: Hashable = id(operand) if operand.name else operand_key(operand)
    return key


def _simpler(node: Tensor, operands: tuple[Tensor, ...]) -> Tensor:
    made = simpler(node, operands)
    if made is None:
        changed = any(new is not old for new, old in zip(operands, node.inputs, strict=True))
        return _again(node, operands, node) if changed else node
    # Rules that are written for planning leave values for later.
    return _again(made, made.inputs, made) if made.op is not None and made.has_value != node.has_value else made


def _again(node: Tensor, operands: tuple[Tensor, ...], like: Tensor) -> Tensor:
    """Return the node's op over other operands, with the name, scope and line of `like`."""
    assert node.op is not None
    made = node.op.node(operands, node.attributes)
    made.name, made.scope, made._code, made._instruction = like.name, like.scope, like._code, like._instruction
    return made

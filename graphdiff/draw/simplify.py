"""A graph rewritten before it is looked at: 1·x + 0 becomes x, and composites the ops that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from graphdiff.errors import GraphError
from graphdiff.graph import Graph, topological_order
from graphdiff.op import Composite
from graphdiff.plan.identities import simpler
from graphdiff.plan.passes import attribute_key, operand_key
from graphdiff.tensor import Tensor
from graphdiff.typing import Operation, Tree

__all__ = ["Simplified", "open_composites", "simplified"]


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
    seen: dict[Hashable, Tensor] = {}

    def rule(node: Tensor, op: Operation, operands: tuple[Tensor, ...]) -> Tensor:
        key = op.name, tuple(map(_key, operands)), attribute_key(node.attributes)
        made = seen[key] if key in seen else _simpler(node, operands)
        if node.name and made.name != node.name:
            # A leaf or a node with a name of its own cannot take another: the operation stays.
            made = _again(node, operands, node) if made.op is None or made.name else _again(made, made.inputs, node)
        if op.pure:
            seen.setdefault(key, made)
        return made

    stands = _rebuilt(graph, rule)
    if not stands:
        return before
    cut = graph.inputs if any(leaf.op is not None for leaf in graph.inputs) else None
    outputs = [stands.get(output, output) for output in graph.outputs]
    return Simplified(Graph(outputs, cut), _composed(before.stands, stands))


def _key(operand: Tensor) -> Hashable:
    """Return what is equal for operands that are; a name tells one literal from another."""
    key: Hashable = id(operand) if operand.name else operand_key(operand)
    return key


def _simpler(node: Tensor, operands: tuple[Tensor, ...]) -> Tensor:
    made = simpler(node, operands)
    if made is None:
        return _over(node, operands)
    # Rules that are written for planning leave values for later.
    return _again(made, made.inputs, made) if made.op is not None and made.has_value != node.has_value else made


def open_composites(
    outputs: Sequence[Tensor], chosen: bool | str | Iterable[str]
) -> tuple[dict[Tensor, Tensor], set[str]]:
    """Return what stands for each node that changes once composites are opened, and the scopes of what is in them.

    Parameters
    ----------
    outputs : sequence of Tensor
    chosen : True, or names of ops
        Which: all, within each other too, or those of these names.

    Raises
    ------
    GraphError
        The graph has no composite of that name.
    """
    names = {chosen} if isinstance(chosen, str) else None if isinstance(chosen, bool) else set(chosen)
    graph = Graph(outputs)
    stands: dict[Tensor, Tensor] = {}
    opened: set[str] = set()
    taken: set[str] = set()

    def rule(node: Tensor, op: Operation, operands: tuple[Tensor, ...]) -> Tensor:
        if not isinstance(op, Composite) or (names is not None and op.name not in names):
            return _over(node, operands)
        opened.add(op.name)
        made = op.open(operands, node.attributes)
        _place(made, operands, _fresh(f"{node.scope}/{op.symbol}".strip("/"), taken))
        if made not in frozenset(operands):
            made.name = node.name
        return made

    while step := _rebuilt(graph, rule):
        stands = _composed(stands, step)
        graph = Graph([step.get(output, output) for output in graph.outputs])
        if names is not None:
            break  # what is opened may hold composites again: only `True` opens those too
    for name in sorted((names or set()) - opened):
        present = sorted({node.op.name for node in Graph(outputs) if isinstance(node.op, Composite)})
        raise GraphError(f"expand: the graph has no composite {name!r}; it has {', '.join(present) or 'none'}")
    return stands, taken


def _fresh(scope: str, taken: set[str]) -> str:
    """Return a scope's name that no other composite has."""
    fresh, copy = scope, 2
    while fresh in taken:
        fresh, copy = f"{scope} {copy}", copy + 1
    taken.add(fresh)
    return fresh


def _place(made: Tensor, operands: tuple[Tensor, ...], scope: str) -> None:
    """Put what a composite opened to into a scope of its own."""
    given = frozenset(operands)
    for inner in topological_order([made], boundary=given):
        if inner not in given and inner.op is not None:
            inner.scope = scope


def _rebuilt(graph: Graph, rule: Callable[[Tensor, Operation, tuple[Tensor, ...]], Tensor]) -> dict[Tensor, Tensor]:
    """Return what stands for each node that changes, from the leaves up.

    Parameters
    ----------
    graph : Graph
    rule : callable
        Returns what stands for a node with its op, over operands that have been rebuilt.
    """
    sources = frozenset(graph.inputs)
    stands: dict[Tensor, Tensor] = {}
    for node in graph:
        if node.op is not None and node not in sources:
            made = rule(node, node.op, tuple([stands.get(operand, operand) for operand in node.inputs]))
            if made is not node:
                stands[node] = made
    return stands


def _composed(before: Mapping[Tensor, Tensor], after: Mapping[Tensor, Tensor]) -> dict[Tensor, Tensor]:
    """Return what stands for nodes after two steps."""
    return {node: after.get(stand, stand) for node, stand in before.items()} | dict(after)


def _over(node: Tensor, operands: tuple[Tensor, ...]) -> Tensor:
    """Return the node over other operands; itself where they are its own."""
    changed = any(new is not old for new, old in zip(operands, node.inputs, strict=True))
    return _again(node, operands, node) if changed else node


def _again(node: Tensor, operands: tuple[Tensor, ...], like: Tensor) -> Tensor:
    """Return the node's op over other operands, with the name, scope and line of `like`."""
    assert node.op is not None
    made = node.op.node(operands, node.attributes)
    made.name, made.scope, made._code, made._instruction = like.name, like.scope, like._code, like._instruction
    return made

"""Composites opened: a graph in which each is replaced by the ops it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphdiff.draw.simplify import composed, over, rebuilt
from graphdiff.errors import GraphError
from graphdiff.graph import Graph, topological_order
from graphdiff.op import Composite
from graphdiff.tensor import Tensor
from graphdiff.typing import Operation

__all__ = ["open_composites"]


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
            return over(node, operands)
        opened.add(op.name)
        made = op.open(operands, node.attributes)
        _place(made, operands, _fresh(f"{node.scope}/{op.symbol}".strip("/"), taken))
        if made not in frozenset(operands):
            made.name = node.name
        return made

    while step := rebuilt(graph, rule):
        stands = composed(stands, step)
        graph = Graph([step.get(output, output) for output in graph.outputs])
        if names is not None:
            break  # what is opened may hold composites again: only `True` opens those too
    for name in sorted((names or set()) - opened):
        present = sorted({op.name for node in Graph(outputs) if isinstance(op := node.op, Composite)})
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

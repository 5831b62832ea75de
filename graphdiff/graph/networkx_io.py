"""Graphs from NetworkX: the way back of `Graph.to_networkx`, and the way in for graphs that are put together there."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, cast

from graphdiff.backend import get_backend, use_backend
from graphdiff.errors import GraphDiffError, GraphError
from graphdiff.graph import Graph
from graphdiff.op import OPS, Elementwise
from graphdiff.tensor import Tensor, constant, placeholder, variable
from graphdiff.tree import unflatten
from graphdiff.typing import ArrayLike, Attributes, DTypeLike, Shape

if TYPE_CHECKING:
    import networkx

__all__ = ["from_networkx"]

_KINDS = ("variable", "constant", "placeholder", "op")


class _Held(TypedDict, total=False):
    """What is read of a node's attributes."""

    kind: str
    op: str | None
    attributes: Attributes | None
    name: str | None
    scope: str
    shape: Shape
    dtype: DTypeLike | None
    value: ArrayLike | None
    backend: str
    inputs: tuple[int, ...]


def from_networkx(view: networkx.MultiDiGraph[Hashable]) -> Graph:
    """Build a graph from a NetworkX multigraph such as `Graph.to_networkx` returns.

    Parameters
    ----------
    view : networkx.MultiDiGraph
        Of every node the attributes are read that `Graph.to_networkx` writes. An op node needs `op`, an op's name, and
        takes `attributes`; a leaf needs `value` or, as a placeholder, `shape`. Everything else may be missing: a leaf
        with a value counts as a variable, one without as a placeholder, nodes without users as the outputs. An edge
        goes from an operand to its user and needs `position` where the user has several.

    Returns
    -------
    Graph
        Of new nodes, values of ops computed anew.

    Raises
    ------
    GraphError
        The edges have a cycle, leave a position out or have it twice; a node has no op or an unknown one, too many or
        too few operands, or operands that do not fit together. The message names the node.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable(3.0, name="x")
    >>> again = gd.Graph.from_networkx(gd.Graph(x / x).to_networkx())
    >>> [(operand.name, node.op.name, position) for operand, node, position in again.edges]
    [('x', 'divide', 0), ('x', 'divide', 1)]

    >>> import networkx
    >>> view = networkx.MultiDiGraph()
    >>> view.add_node("a", value=2.0)
    >>> view.add_node("square", op="power")
    >>> view.add_node("two", value=2, kind="constant")
    >>> _ = view.add_edge("a", "square", position=0), view.add_edge("two", "square", position=1)
    >>> gd.Graph.from_networkx(view).evaluate().item()
    4.0
    """
    import networkx

    if not view.is_directed():
        raise GraphError("the edges of a graph go from operands to their users: give a networkx.MultiDiGraph")
    if not view:
        raise GraphError("the graph has no nodes")
    place = {key: index for index, key in enumerate(view)}
    try:
        # Of the topological orders that of the view, if it is one: sums are then added in the same order as before.
        order = list(networkx.lexicographical_topological_sort(view, place.__getitem__))
    except networkx.NetworkXUnfeasible:
        cycle = " → ".join(repr(edge[0]) for edge in networkx.find_cycle(view))
        raise GraphError(f"the graph has a cycle: {cycle} → …; a node cannot depend on itself") from None
    made: dict[Hashable, Tensor] = {}
    for key in order:
        held = cast(_Held, view.nodes[key])
        operands = [made[operand] for operand in _operands(view, key)]
        made[key] = _rebuilt(key, held, operands)
    outputs = _placed(view, made, "outputs")
    whole = bool(outputs) and len(outputs) == view.graph.get("outputs")
    outputs = outputs or [made[key] for key in view if not view.out_degree(key)]
    if whole and "structure" in view.graph:
        result = unflatten(view.graph["structure"], outputs)
    else:  # put together elsewhere, or a part of a graph
        result = outputs if len(outputs) > 1 else outputs[0]
    return Graph(result, _placed(view, made, "inputs") or None)


def _operands(view: Any, key: Hashable) -> list[Hashable]:
    """Return the operands of a node in their order."""
    edges = [(operand, data.get("position")) for operand, _, data in view.in_edges(key, data=True)]
    if len(edges) == 1 and edges[0][1] is None:
        return [edges[0][0]]
    positions = [position for _, position in edges]
    if any(position not in positions for position in range(len(edges))):
        listed = ", ".join(map(repr, positions))
        raise GraphError(
            f"node {key!r} has {len(edges)} operands at the positions {listed}: there must be one edge for each of "
            f"position={', '.join(map(str, range(len(edges))))}, two edges where an operand is used twice"
        )
    return [operand for operand, _ in sorted(edges, key=lambda edge: edge[1])]


def _rebuilt(key: Hashable, held: _Held, operands: list[Tensor]) -> Tensor:
    kind = held.get("kind", "op" if operands or held.get("op") else "variable" if _has_value(held) else "placeholder")
    if kind not in _KINDS:
        raise GraphError(f"node {key!r} is of the kind {kind!r}; there are {', '.join(_KINDS)}")
    if kind == "op" and not operands and held.get("inputs"):
        kind = "variable" if _has_value(held) else "placeholder"  # an inner node at which the graph was cut
    try:
        node = _op_node(key, held, operands) if kind == "op" else _leaf(key, kind, held, operands)
    except GraphError:
        raise
    except (GraphDiffError, TypeError, ValueError) as error:
        raise GraphError(f"node {key!r} cannot be built: {error}") from error
    if held.get("name") is not None:
        node.name = held["name"]
    node.scope = held.get("scope", "")
    return node


def _op_node(key: Hashable, held: _Held, operands: list[Tensor]) -> Tensor:
    name = held.get("op")
    if name is None:
        raise GraphError(f"node {key!r} has operands but no op: give it op=…, such as op='add'")
    op = OPS.get(name)
    if op is None:
        near = difflib.get_close_matches(str(name), OPS, 3, 0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else "an op of your own must be declared first"
        raise GraphError(f"node {key!r}: there is no op {name!r}; {hint}")
    wanted = len(op.partials) if isinstance(op, Elementwise) else max(1, len(operands))
    if len(operands) != wanted:
        raise GraphError(f"node {key!r}: {name} takes {wanted} operands, and {len(operands)} edges lead to the node")
    return op.node(tuple(operands), dict(held.get("attributes") or {}))


def _leaf(key: Hashable, kind: str, held: _Held, operands: list[Tensor]) -> Tensor:
    if operands:
        raise GraphError(f"node {key!r} is a {kind}, and {len(operands)} edges lead to it: a leaf has no operands")
    dtype = held.get("dtype")
    with use_backend(get_backend(held.get("backend", "numpy"))):
        if kind == "placeholder":
            return placeholder(held.get("shape", ()), dtype or "float64")
        value = held.get("value")
        if value is None:
            raise GraphError(f"node {key!r} is a {kind} and has no value: give it value=…, or kind='placeholder'")
        return (variable if kind == "variable" else constant)(value, dtype=dtype)


def _has_value(held: _Held) -> bool:
    return held.get("value") is not None


def _placed(view: Any, made: Mapping[Hashable, Tensor], attribute: str) -> list[Tensor]:
    """Return the nodes that say their places among the graph's inputs or outputs, in that order."""
    places = [(place, made[key]) for key, held in view.nodes(data=attribute) for place in held or ()]
    return [node for _, node in sorted(places, key=lambda entry: entry[0])]

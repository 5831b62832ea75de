"""The graph of single numbers: every element of every tensor a vertex, with partial derivatives on its edges."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, TypeAlias

from graphdiff.backend import working_on
from graphdiff.differentiate.batch import batch
from graphdiff.differentiate.masked import Masked
from graphdiff.differentiate.zeros import exposed, still
from graphdiff.elimination.vertices import Vertices, of_networkx
from graphdiff.errors import GraphError
from graphdiff.graph import Graph, topological_order
from graphdiff.host import is_real_floating
from graphdiff.op import GRAPH, OPS, Composite, Elementwise, Linear, Multilinear
from graphdiff.tensor import Tensor, placeholder
from graphdiff.typing import Array, Namespace

__all__ = ["ScalarGraph", "elements", "local_matrix", "vertices_of", "whole_partial"]

LIMIT = 50_000
"""Elements of all tensors together; beyond, a scalar graph is no sensible way."""

PartialAt: TypeAlias = "tuple[Tensor, int, int | tuple[int, int]]"
"""(node, position, element): where to find a partial derivative."""
Term: TypeAlias = "float | PartialAt"
"""1, -1, another number, or where to find it."""


def elements(tensor: Tensor) -> list[Any]:
    """Return the elements of a tensor of any shape, row by row, as Python numbers."""
    result: list[object] = GRAPH.reshape(tensor, (-1,)).tolist()
    return result


class ScalarGraph:
    """The graph between leaves and outputs with one vertex per number.

    Composites are opened. What only moves numbers about (indexing, stacking, reshaping, casts) makes no vertices.

    Parameters
    ----------
    outputs, leaves : sequence of Tensor

    Attributes
    ----------
    vertices : Vertices
        Each named by its node, or (node, index among its elements).
    sources, sinks : list of list of int
        Per leaf, and per output, the vertices of its elements; -1 where an output's depends on no leaf.
    terms : dict of (int, int) to list
        Per edge what adds up to its partial derivative.

    Raises
    ------
    GraphError
        The tensors have too many elements.
    """

    def __init__(self, outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> None:
        self.outputs, self.leaves = list(outputs), list(leaves)
        self._names: list[Hashable] = []
        self._elements: dict[Tensor, list[int]] = {}
        self._terms: dict[tuple[int, int], list[Term]] = {}
        for leaf in self.leaves:
            if leaf not in self._elements:
                self._elements[leaf] = self._made(leaf)
        count = len(self._names)
        with working_on(self.outputs[0].backend):
            self._walk(topological_order(self.outputs, boundary=frozenset(self.leaves)))
        self._finish(count)

    def _made(self, node: Tensor) -> list[int]:
        start = len(self._names)
        if start + node.size > LIMIT:
            raise GraphError(
                f"the scalar graph exceeds {LIMIT:,} vertices at {node.describe()}: elimination is for functions "
                'written in numbers; take mode="forward" or "reverse"'
            )
        self._names += [node] if node.size == 1 else [(node, index) for index in range(node.size)]
        return list(range(start, len(self._names)))

    def _walk(self, order: Sequence[Tensor]) -> None:
        for node in order:
            if node in self._elements or node.op is None or not is_real_floating(node.dtype):
                continue
            if not any(operand in self._elements for operand in node.inputs):
                continue
            op = node.op
            if isinstance(op, Composite):
                opened = op.open(node.inputs, node.attributes)
                self._walk(topological_order([opened], boundary=frozenset(node.inputs)))
                if opened in self._elements:
                    self._elements[node] = self._elements[opened]
            elif op.keeps == "places":
                self._elements[node] = self._elements[node.inputs[0]]
            elif op.keeps == "elements":
                self._elements[node] = self._moved(node)
            elif op is OPS["where"] and node.inputs[0].has_value:
                self._elements[node] = self._chosen(node)
            else:
                self._compute(node)

    def _of(self, operand: Tensor) -> list[int]:
        return self._elements.get(operand) or [-1] * operand.size

    def _spread(self, operand: Tensor, shape: tuple[int, ...]) -> list[int]:
        """Return the operand's vertices, broadcast to a shape."""
        own = self._of(operand)
        if operand.shape == shape:
            return own
        places = GRAPH.reshape(GRAPH.arange(operand.size), operand.shape)
        return [own[place] for place in elements(GRAPH.broadcast_to(places, shape))]

    def _moved(self, node: Tensor) -> list[int]:
        own: list[int] = []
        operands = []
        for operand in node.inputs:
            if is_real_floating(operand.dtype):
                places = GRAPH.arange(len(own), len(own) + operand.size)
                operands.append(GRAPH.reshape(places, operand.shape))
                own += self._of(operand)
            else:
                operands.append(still(operand))
        return [own[place] for place in elements(node.op.node(tuple(operands), node.attributes))]  # type: ignore[union-attr]

    def _chosen(self, node: Tensor) -> list[int]:
        condition, first, second = node.inputs
        taken = elements(GRAPH.broadcast_to(still(condition), node.shape))
        pairs = zip(taken, self._spread(first, node.shape), self._spread(second, node.shape), strict=True)
        return [one if choice else other for choice, one, other in pairs]

    def _compute(self, node: Tensor) -> None:
        links: list[tuple[int, int, Term]] = []
        term: Term
        for position, operand in enumerate(node.inputs):
            if operand not in self._elements:
                continue
            if isinstance(node.op, Elementwise):
                partial = node.op.partials[position]
                if partial is not None:
                    for row, tail in enumerate(self._spread(operand, node.shape)):
                        term = partial if partial.__class__ is int else (node, position, row)
                        links.append((tail, row, term))
            elif node.op is OPS["where"]:
                if position:
                    for row, tail in enumerate(self._spread(operand, node.shape)):
                        links.append((tail, row, (node, position, row)))
            else:
                links += self._local(node, position)
        links = [link for link in links if link[0] >= 0]
        if not links:
            return
        made = self._elements[node] = self._made(node)
        fed = set()
        for tail, row, term in links:
            self._terms.setdefault((tail, made[row]), []).append(term)
            fed.add(row)
        self._elements[node] = [v if row in fed else -1 for row, v in enumerate(made)]

    def _local(self, node: Tensor, position: int) -> list[tuple[int, int, Term]]:
        """Return the links from one operand: which elements depend on which, by what."""
        own, width = self._of(node.inputs[position]), node.inputs[position].size
        op = node.op
        if isinstance(op, (Linear, Multilinear)):
            # The structure is that of the op over ones; for linear ops these are the coefficients too.
            stand_ins = tuple(
                GRAPH.ones(operand.shape, dtype=operand.dtype) if is_real_floating(operand.dtype) else still(operand)
                for operand in node.inputs
            )
            pattern = elements(local_matrix(node, position, stand_ins))
        else:
            pattern = [1.0] * (node.size * width)
        links: list[tuple[int, int, Term]] = []
        for row in range(node.size):
            for column, tail in enumerate(own):
                entry = pattern[row * width + column]
                if entry == 0:
                    continue
                if not isinstance(op, Linear):
                    links.append((tail, row, (node, position, (row, column))))
                else:
                    links.append((tail, row, int(entry) if entry in (1, -1) else entry))
        return links

    def _finish(self, count: int) -> None:
        """Give outputs that others use a vertex of their own, and drop what leads to no output."""
        used = {tail for tail, _ in self._terms} | set(range(count))
        sinks: list[list[int]] = []
        ends: dict[int, int] = {-1: -1}
        for number, output in enumerate(self.outputs):
            for v in self._of(output):
                if v in used and v not in ends:
                    ends[v] = len(self._names)
                    self._names.append(("output", number, v))
                    self._terms[v, ends[v]] = [1]
                ends.setdefault(v, v)
            sinks.append([ends[v] for v in self._of(output)])
        wanted = set(ends.values())
        for tail, head in sorted(self._terms, key=lambda edge: -edge[1]):
            if head in wanted:
                wanted.add(tail)
        keep = [v for v in range(len(self._names)) if v in wanted or v < count]
        new = {old: v for v, old in enumerate(keep)} | {-1: -1}
        self.terms = {(new[tail], new[head]): terms for (tail, head), terms in self._terms.items() if head in wanted}
        self.sources = [[new[v] for v in self._elements[leaf]] for leaf in self.leaves]
        self.sinks = [[new[v] for v in each] for each in sinks]
        units = [edge for edge, terms in self.terms.items() if len(terms) == 1 and terms[0] in (1, -1)]
        self.vertices = Vertices([self._names[v] for v in keep], self.terms, units)

    def _is_at_risk(self) -> bool:
        """Whether a zero of what was not chosen may meet an infinite partial derivative."""
        order = topological_order(self.outputs, boundary=frozenset(self.leaves))
        return bool(exposed(order))

    def factors(self, F: Namespace) -> dict[tuple[int, int], Any]:
        """Return every edge's partial derivative: a number of Python where it is constant, else a scalar of `F`."""
        known: dict[tuple[Tensor, int], Array | float] = {}
        found: dict[tuple[int, int], Array | float | None] = {}
        at_risk = self._is_at_risk()
        for edge, terms in self.terms.items():
            total: Array | float | None = None
            for term in terms:
                value: Any = _partial(F, term, known) if isinstance(term, tuple) else term
                if at_risk and isinstance(term, tuple):
                    value = Masked(F, value, value != 0 if term[0].op and term[0].op.chooses else None)
                total = value if total is None else total + value
            found[edge] = total
        return found


def local_matrix(node: Tensor, position: int, operands: Sequence[Tensor]) -> Tensor:
    """Return the derivative of an op's output by one operand as a matrix, by pushing all unit tangents at once."""
    operand = operands[position]
    seed = placeholder(operand.shape, operand.dtype)
    moved: list[Tensor | None] = [None] * len(operands)
    moved[position] = seed
    op = node.op
    assert op is not None
    own = all(given is operand for given, operand in zip(operands, node.inputs, strict=True))
    out = node if own else op.node(tuple(operands), node.attributes)
    tangent = op.tangent(GRAPH, moved, out, operands, node.attributes)
    if tangent is None:
        return GRAPH.zeros((node.size, operand.size), dtype=operand.dtype)
    if tangent.shape != node.shape:
        tangent = GRAPH.broadcast_to(tangent, node.shape)
    rows = GRAPH.reshape(GRAPH.eye(operand.size, dtype=operand.dtype), (operand.size, *operand.shape))
    (wide,) = batch([tangent], {seed: rows}, operand.size)
    return GRAPH.matrix_transpose(GRAPH.reshape(wide, (operand.size, node.size)))


def _partial(F: Namespace, term: PartialAt, known: dict[tuple[Tensor, int], Any]) -> Any:
    """Return one element of an op's partial derivative, computed once per node and operand."""
    node, position, element = term
    whole = known.get((node, position))
    if whole is None:
        whole = known[node, position] = whole_partial(F, node, position)
    if not getattr(whole, "shape", ()):
        return whole
    return whole[element] if isinstance(element, tuple) or len(whole.shape) == 1 else F.reshape(whole, (-1,))[element]


def whole_partial(F: Namespace, node: Tensor, position: int) -> Any:
    """Return the derivative of a node by one operand, in numbers or graph as `F` has them.

    Of elementwise ops and `where` it is a vector with one entry per element of the node, a scalar where there is one
    element, or a number of Python; of all other ops a matrix of shape (elements of the node, elements of the operand).
    """
    op = node.op
    values = node.inputs if F.is_graph else [operand._value for operand in node.inputs]
    if op is OPS["where"]:
        mask = F.astype(values[0], node.dtype)
        whole = mask if position == 1 else 1 - mask
    elif isinstance(op, Elementwise):
        partial: Any = op.partials[position]
        whole = partial(F, node if F.is_graph else node._value, *values, **node.attributes)
    elif F.is_graph:
        return local_matrix(node, position, node.inputs)
    else:
        return local_matrix(node, position, [still(operand) for operand in node.inputs])._value
    if not hasattr(whole, "shape"):
        return whole
    if tuple(whole.shape) != node.shape:
        whole = F.broadcast_to(whole, node.shape)
    return whole if not whole.shape else F.reshape(whole, (node.size,) if node.size != 1 else ())


def vertices_of(graph: object) -> Vertices:
    """Return a `Graph` or a NetworkX directed graph as `Vertices`.

    Raises
    ------
    GraphError
        It is neither, or has a cycle, or no path leads from an input to an output.
    """
    if isinstance(graph, Vertices):
        return graph
    if isinstance(graph, Tensor):
        graph = Graph(graph)
    if isinstance(graph, Graph):
        found = ScalarGraph(graph.outputs, graph.inputs).vertices
    elif hasattr(graph, "is_directed") and hasattr(graph, "edges"):
        found = of_networkx(graph)
    else:
        raise GraphError(f"elimination_order takes a gd.Graph or a networkx.DiGraph, not {type(graph).__name__}")
    if not any(found.before):
        raise GraphError("no path leads from an input to an output: there is no Jacobian to accumulate")
    return found

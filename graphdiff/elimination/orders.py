"""Orders in which to eliminate vertices, edges or faces of a computational graph, and their multiplications."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from typing import Any, cast

from graphdiff.arguments import truth, whole
from graphdiff.elimination.edges import EdgeGraph, Factor, Token
from graphdiff.elimination.faces import FaceGraph
from graphdiff.elimination.scalar_graph import vertices_of
from graphdiff.elimination.search.cache import cache_file, remember, remembered
from graphdiff.elimination.search.edges_faces import GRAPHS, Step, anneal_in_parallel, exact, replayed, steps_of
from graphdiff.elimination.search.vertices import TIES, markowitz, search_vertices
from graphdiff.elimination.vertices import Vertices
from graphdiff.errors import GraphError

__all__ = ["GRAPHS", "PLURALS", "EliminationOrder", "elimination_order", "graph_after", "operations"]

METHODS = ("forward", "reverse", "markowitz", "search")
PLURALS = {"vertex": "vertices", "edge": "edges", "face": "faces"}

TINY = 8
"""Up to so many vertices the best sequence of edges or faces is looked for exactly."""


class EliminationOrder(Sequence[Any]):
    """The order in which the vertices between inputs and outputs, or edges or faces, are eliminated.

    Attributes
    ----------
    vertices : tuple
        What is eliminated, in turn: vertices; or edges as (tail, head, side), to be replaced at the side ``"front"``
        by paths through the head, at ``"back"`` through the tail; or faces as (tail, via, head).
    multiplications : int
        The literature's count: a vertex takes predecessors × successors as it is eliminated, an edge the successors of
        its head or the predecessors of its tail, a face one.
    multiplications_without_units : int
        The same, products with an edge of partial derivative 1 or -1 left out.
    method : str
    optimal : bool
        Whether it is known that no order takes fewer multiplications.
    numbers : tuple
        The same by the vertices' places among all vertices, inputs first, in the order of computation; faces by pairs
        of numbers of edges.
    kind : {"vertex", "edge", "face"}
    """

    def __init__(
        self,
        vertices: Iterable[Any],
        multiplications: int,
        without_units: int,
        method: str,
        optimal: bool,
        numbers: Sequence[Any] = (),
        kind: str = "vertex",
    ) -> None:
        self.kind = kind
        self.numbers = tuple(numbers)
        self.vertices = tuple(vertices)
        self.multiplications = multiplications
        self.multiplications_without_units = without_units
        self.method = method
        self.optimal = optimal

    def __len__(self) -> int:
        return len(self.vertices)

    def __getitem__(self, index: Any) -> Any:
        return self.vertices[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.vertices)

    def __repr__(self) -> str:
        best = ", optimal" if self.optimal else ""
        what = PLURALS[self.kind]
        return f"EliminationOrder({self.method}: {len(self)} {what}, {self.multiplications} multiplications{best})"


def elimination_order(
    graph: object,
    method: str = "markowitz",
    *,
    kind: str = "vertex",
    ties: str = "lowest",
    time_limit: float = 3.0,
    seed: int = 0,
    cache: bool = True,
) -> EliminationOrder:
    """Return an order in which to eliminate the vertices between inputs and outputs, with its cost.

    Eliminating a vertex multiplies each of its in-edges by each of its out-edges. When all are gone, the edges from
    inputs to outputs are the Jacobian. Topological order is forward mode, its opposite reverse mode.

    An edge or a face (a pair of edges) can also be eliminated by itself. Every vertex order is an order of edges too,
    and every order of edges one of faces: the best of faces is no dearer than the best of edges, nor that than the best
    of vertices.

    Parameters
    ----------
    graph : Graph or networkx.DiGraph
        Sources are inputs, sinks are outputs. An edge of a NetworkX graph may carry ``partial=1`` or ``-1``. On a
        `Graph` copies (casts, reshapes) are no vertices, and an output that others use is eliminated too.
    method : {"forward", "reverse", "markowitz", "search"}
        ``"markowitz"`` takes the vertex of least cost each time; ``"search"`` anneals, from the best greedy order,
        or, where there are few vertices, finds the optimum.
    kind : {"vertex", "edge", "face"}
        What is eliminated one by one. For edges ``"markowitz"`` takes the cheapest edge; of faces, which all cost one
        multiplication, it takes those of the vertex that it would take. A search of edges spends half of its time on
        vertices first, one of faces on edges, and begins with what they found.
    ties : {"lowest", "highest", "random"}
        Which of several cheapest vertices ``"markowitz"`` takes; of edges it takes the first.
    time_limit : float
        Seconds for ``"search"``.
    seed : int
        For random ties and for the search.
    cache : bool
        Whether ``"search"`` looks into, and adds to, the orders kept on disk (in GRAPHDIFF_CACHE_DIR, or the
        platform's folder for caches) by the graph's structure. GRAPHDIFF_CACHE=0 switches it off everywhere.

    Returns
    -------
    EliminationOrder

    Raises
    ------
    GraphError
        No such method, a cycle, no path from an input to an output, a time limit below 0.

    Notes
    -----
    A. Griewank and A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, chapters 9 and 10: vertex elimination and
    the Markowitz rule. U. Naumann, Optimal accumulation of Jacobian matrices by elimination methods on the dual
    computational graph, Mathematical Programming 99, 2004: edges and faces. To find the best vertex order is
    NP-complete (M. Bentert et al., arXiv 2506.17521).

    Examples
    --------
    >>> import networkx, graphdiff as gd
    >>> bat = networkx.DiGraph([("x", "a"), ("y", "a"), ("a", "b"), ("b", "u"), ("b", "v"), ("b", "w")])
    >>> [gd.elimination_order(bat, method).multiplications for method in ("forward", "reverse", "markowitz")]
    [8, 9, 8]
    >>> order = gd.elimination_order(bat, kind="edge")
    >>> order, order[0]
    (EliminationOrder(markowitz: 6 edges, 8 multiplications), ('x', 'a', 'front'))
    """
    if not isinstance(kind, str) or kind not in PLURALS:
        raise GraphError(f"elimination_order eliminates the kinds {', '.join(PLURALS)}, not {kind!r}")
    if not isinstance(method, str) or method not in METHODS:
        raise GraphError(f"elimination_order has the methods {', '.join(METHODS)}, not {method!r}")
    if not isinstance(ties, str) or ties not in TIES:
        raise GraphError(f"ties go to the {', '.join(TIES)}, not {ties!r}")
    if not isinstance(time_limit, Real) or not time_limit >= 0:
        raise GraphError(f"a time limit is a number of seconds, not {time_limit!r}")
    seed, cache = whole(seed, "elimination_order: the seed"), truth(cache, "elimination_order: cache")
    vertices = vertices_of(graph)
    cached = cache and os.environ.get("GRAPHDIFF_CACHE", "1") != "0"
    order: list[Any]
    optimal = False
    if (method, kind) == ("search", "vertex"):
        order, optimal = search_vertices(vertices, seed, time_limit, cached)
    elif method == "search":
        order, optimal = _search_steps(vertices, kind, seed, time_limit, cached)
    elif (method, kind) == ("markowitz", "edge"):
        order = _cheapest_edges(vertices)
    else:
        order = _vertex_order(vertices, method, ties, seed)
        if kind != "vertex":
            order = steps_of(replayed(GRAPHS[kind](vertices), order))
    if kind == "vertex":
        names = [vertices.names[v] for v in order]
    else:
        names = _named(vertices, kind, order)
    return EliminationOrder(names, *operations(vertices, kind, order)[:2], method, optimal, order, kind)


def _vertex_order(vertices: Vertices, method: str, ties: str, seed: int) -> list[int]:
    if method == "markowitz":
        return markowitz(vertices, ties, random.Random(seed))
    return vertices.inner if method == "forward" else vertices.inner[::-1]


# Edges and faces -------------------------------------------------------------------------------------------------


def graph_after(graph: EdgeGraph | FaceGraph, steps: Sequence[Step]) -> EdgeGraph | FaceGraph:
    """Take the steps of an order of edges or faces on a graph, which is changed, and return it.

    Raises
    ------
    GraphError
        They are not steps of this graph, or leave something to eliminate.
    """
    for step in steps:
        graph.eliminate(*step)
    if graph.choices():
        raise GraphError("the steps do not eliminate everything between inputs and outputs")
    return graph


def _cheapest_edges(vertices: Vertices) -> list[Step]:
    graph = EdgeGraph(vertices)
    while graph.choices():
        graph.eliminate(*graph.cheapest())
    return steps_of(graph)


def _named(vertices: Vertices, kind: str, steps: Sequence[Any]) -> list[Any]:
    names = vertices.names
    if kind == "edge":
        return [(names[tail], names[head], side) for tail, head, side in steps]
    # Numbers stand for the same edges whenever the same steps are taken.
    graph = FaceGraph(vertices)
    found = []
    for first, second in steps:
        graph.eliminate(first, second)
        (tail, via), (_, head) = graph.ends[first], graph.ends[second]
        found.append((names[tail], names[via], names[head]))
    return found


class _Tally:
    """A factor that counts the multiplications in which neither operand is known to be 1 or -1, and the additions."""

    def __init__(self, total: list[int], unit: bool) -> None:
        self.total, self.unit = total, unit

    def __mul__(self, other: _Tally) -> _Tally:
        self.total[0] += not (self.unit or other.unit)
        return _Tally(self.total, self.unit and other.unit)

    def __add__(self, other: _Tally) -> _Tally:
        self.total[1] += 1
        return _Tally(self.total, False)


def operations(vertices: Vertices, kind: str, numbers: Sequence[Any]) -> tuple[int, int, int]:
    """Return the multiplications that an order takes, those by factors other than 1 and -1, and the additions."""
    if kind == "vertex":
        return vertices.count(numbers)
    total = [0, 0]
    edges = [(tail, head) for tail, heads in enumerate(vertices.after) for head in heads]
    tallies = {edge: _Tally(total, edge in vertices.units) for edge in edges}
    factor = cast(dict[tuple[int, int], Factor], tallies)
    multiplications = graph_after(GRAPHS[kind](vertices, factor), numbers).multiplications
    return multiplications, total[0], total[1]


def _search_steps(vertices: Vertices, kind: str, seed: int, time_limit: float, cache: bool) -> tuple[list[Any], bool]:
    """Return the best sequence of edges or faces found within the time, and whether it is known to be optimal."""

    def fits(steps: Sequence[Step]) -> bool:
        try:
            return bool(graph_after(GRAPHS[kind](vertices), steps))
        except (GraphError, IndexError):
            return False

    deadline = time.monotonic() + time_limit
    path = cache_file(vertices, kind)
    known = remembered(path, fits) if cache else None
    if known and (known["optimal"] or known["seconds"] >= time_limit):
        return [tuple(step) for step in known["order"]], bool(known["optimal"])
    tokens: list[Token]
    if kind == "edge":
        tokens = [*search_vertices(vertices, seed, time_limit / 2, cache)[0]]
    else:
        tokens = [*_search_steps(vertices, "edge", seed, time_limit / 2, cache)[0], *vertices.inner]
    graph = GRAPHS[kind](vertices)
    best = replayed(graph, tokens)
    if known:
        best = min(best, graph_after(graph.copy(), known["order"]), key=lambda each: each.multiplications)
    bounds = _bounds(vertices)
    optimal = best.multiplications <= sum(bounds)
    left = deadline - time.monotonic()
    if not optimal and len(vertices.inner) <= TINY:
        try:
            best = exact(graph, bounds, best.multiplications, time.monotonic() + 0.8 * left) or best
            optimal = True
        except TimeoutError:
            left = deadline - time.monotonic()
    if not optimal:
        found = [replayed(graph, each) for each in anneal_in_parallel(vertices, kind, tokens, seed, left)]
        best = min([best, *found], key=lambda each: each.multiplications)
        optimal = best.multiplications <= sum(bounds)
    steps = steps_of(best)
    if cache:
        remember(path, steps, time_limit, optimal)
    return steps, optimal


def _bounds(vertices: Vertices) -> list[int]:
    """Return how many multiplications each vertex takes at least, in every order of vertices, edges or faces."""
    graph, inner = EdgeGraph(vertices), frozenset(vertices.inner)
    return [graph.least_at(v) if v in inner else 0 for v in range(len(vertices.names))]

"""Elimination of edges and faces: counts by trying everything, exact Jacobians, the published example, wrong input."""

import itertools
import random
from functools import cache
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import graphdiff as gd
from graphdiff.elimination.edges import EdgeGraph
from graphdiff.elimination.faces import FaceGraph
from graphdiff.elimination.orders import EliminationOrder, graph_after
from graphdiff.elimination.search.edges_faces import anneal, anneal_in_parallel, replayed
from graphdiff.elimination.vertices import Vertices

LION = nx.DiGraph([("x", "a"), ("y", "a"), ("a", "b"), ("a", "p"), ("b", "p"), ("b", "q"), ("b", "r"), ("b", "s")])
"""Naumann's lion graph: Griewank and Walther, Evaluating Derivatives, 2nd ed. 2008, section 9.2."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHDIFF_CACHE_DIR", str(tmp_path))


@st.composite
def small_graphs(draw: Any, inner: int = 3) -> Vertices:
    """Two or three inputs, inner vertices, two outputs, of one to three predecessors each."""
    inputs, outputs = draw(st.integers(2, 3)), 2
    edges = []
    for v in range(inputs, inputs + inner + outputs):
        tails = st.sets(st.integers(0, min(v, inputs + inner) - 1), min_size=1, max_size=2 if v < inputs + inner else 3)
        edges += [(tail, v) for tail in draw(tails)]
    vertices = Vertices(range(inputs + inner + outputs), edges)
    assume(vertices.inner)
    return vertices


def edges_of(vertices: Vertices) -> list[tuple[int, int]]:
    return [(tail, head) for tail, heads in enumerate(vertices.after) for head in heads]


def cheapest_edges(vertices: Vertices) -> int:
    """Return the least cost over all sequences of edge eliminations, tried on sets of edges."""
    inner = set(vertices.inner)

    @cache
    def least(edges: frozenset) -> int:
        costs = []
        for tail, head in edges:
            heads, tails = [b for a, b in edges if a == head], [a for a, b in edges if b == tail]
            if head in inner:
                costs.append(len(heads) + least(pruned(edges - {(tail, head)} | {(tail, far) for far in heads})))
            if tail in inner:
                costs.append(len(tails) + least(pruned(edges - {(tail, head)} | {(far, head) for far in tails})))
        return min(costs, default=0)

    def pruned(edges: frozenset) -> frozenset:
        while dead := {
            (a, b)
            for a, b in edges
            if (a in inner and all(head != a for _, head in edges)) or (b in inner and all(t != b for t, _ in edges))
        }:
            edges -= dead
        return edges

    return least(pruned(frozenset(edges_of(vertices))))


def jacobian_by_paths(vertices: Vertices, factor: dict[tuple[int, int], int]) -> dict[tuple[int, int], int]:
    """Return the sum over all paths of the products of their edges' factors."""
    graph = nx.DiGraph(list(factor))
    found = {}
    for source, sink in itertools.product(graph, graph):
        if not graph.pred[source] and not graph.succ[sink]:
            paths = nx.all_simple_edge_paths(graph, source, sink)
            total = sum(int(np.prod([factor[edge] for edge in path], dtype=object)) for path in paths)
            if total:
                found[source, sink] = total
    return found


def test_the_lion_graph():
    """Vertices take 12 multiplications, edges 11, and faces no fewer (to prove that of faces takes ten seconds)."""
    limits = {"vertex": 10, "edge": 10, "face": 1}
    counts = {kind: gd.elimination_order(LION, "search", kind=kind, time_limit=limit) for kind, limit in limits.items()}
    assert [order.multiplications for order in counts.values()] == [12, 11, 11]
    assert counts["vertex"].optimal
    assert counts["edge"].optimal
    assert ("b", "p", "back") in counts["edge"]
    assert all(LION.has_edge(tail, head) or side for tail, head, side in counts["edge"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(small_graphs())
def test_the_search_is_exact_on_small_graphs(vertices):
    def best(kind: str, time_limit: float) -> EliminationOrder:
        return gd.elimination_order(vertices, "search", kind=kind, time_limit=time_limit)

    edge, face = best("edge", 20), best("face", 0.2)
    by_vertices = min(vertices.count(order)[0] for order in itertools.permutations(vertices.inner))
    assert edge.multiplications == cheapest_edges(vertices) <= by_vertices
    assert edge.optimal
    assert face.multiplications <= edge.multiplications


@settings(max_examples=80, deadline=None)
@given(small_graphs(inner=5), st.randoms(use_true_random=False))
def test_any_steps_give_the_jacobian(vertices, generator):
    """Exact in integers, in whatever order edges and faces go."""
    factor = {edge: generator.randrange(2, 100) for edge in edges_of(vertices)}
    expected = jacobian_by_paths(vertices, factor)
    for kind in (EdgeGraph, FaceGraph):
        graph = kind(vertices, dict(factor))
        taken = 0
        while steps := graph.choices():
            graph.eliminate(*generator.choice(steps))
            taken += 1
        assert graph.entries() == expected
        assert sum(graph.done) == graph.multiplications >= taken


@settings(max_examples=50, deadline=None)
@given(small_graphs(inner=6), st.randoms(use_true_random=False))
def test_a_vertex_order_costs_the_same_by_edges_and_faces(vertices, generator):
    order = list(vertices.inner)
    generator.shuffle(order)
    for kind in (EdgeGraph, FaceGraph):
        assert replayed(kind(vertices), order).multiplications == vertices.count(order)[0]
    orders = [gd.elimination_order(vertices, "reverse", kind=kind) for kind in ("vertex", "edge", "face")]
    assert len({order.multiplications for order in orders}) == 1
    assert orders[2].multiplications == len(orders[2])


@pytest.mark.parametrize("kind", [EdgeGraph, FaceGraph])
def test_annealing_keeps_its_books(kind):
    """Its best sequence costs what it says when counted afresh, and no more than the start."""
    generator = random.Random(3)
    edges = [(tail, v) for v in range(4, 30) for tail in generator.sample(range(min(v, 24)), 2)]
    vertices = Vertices(range(30), edges)
    start = vertices.inner
    tokens = anneal(kind(vertices), list(start), start, generator, 0.3)
    assert sorted(token for token in tokens if isinstance(token, int)) == sorted(start)
    found = replayed(kind(vertices), tokens)
    assert not found.choices()
    assert found.multiplications <= replayed(kind(vertices), start).multiplications


def test_products_by_one_are_counted_apart():
    x, y = gd.variable(2.0), gd.variable(3.0)
    graph = gd.Graph(gd.sin((x + y) * x))
    for kind in ("edge", "face"):
        order = gd.elimination_order(graph, "reverse", kind=kind)
        assert (order.multiplications, order.multiplications_without_units) == (4, 2)


def lion(x: Any) -> Any:
    a = gd.sin(x[0] * x[1])
    b = gd.exp(a)
    return gd.stack([a * b, gd.cos(b), gd.tanh(b), b * b])


POINT = np.array([0.3, 1.7])


@pytest.mark.parametrize("kind", ["edge", "face"])
@pytest.mark.parametrize("method", ["forward", "reverse", "markowitz", "search"])
def test_orders_are_run(kind, method):
    order = gd.elimination_order(gd.Graph(lion(gd.variable(POINT))), method, kind=kind, time_limit=0.2)
    truth = np.asarray(gd.jacobian(lion, mode="reverse")(POINT))
    by_order = gd.jacobian(lion, mode=order)
    for computed in (by_order(POINT), gd.compile(by_order)(POINT)):
        np.testing.assert_allclose(np.asarray(computed), truth, rtol=1e-13, atol=1e-15)
    second = gd.jacobian(by_order)(POINT)
    np.testing.assert_allclose(np.asarray(second), np.asarray(gd.jacobian(gd.jacobian(lion))(POINT)), rtol=1e-12)


@pytest.mark.parametrize("kind", ["edge", "face"])
def test_the_best_steps_are_kept_on_disk(kind, tmp_path):
    first = gd.elimination_order(LION, "search", kind=kind, time_limit=1)
    (kept,) = tmp_path.rglob(f"*-{kind}.json")
    assert list(gd.elimination_order(LION, "search", kind=kind, time_limit=1)) == list(first)
    kept.write_text('{"order": [[0, 99, "front"], [7, 7]], "seconds": 9, "optimal": true}')
    assert gd.elimination_order(LION, "search", kind=kind, time_limit=1).multiplications == 11


def test_a_time_limit_of_zero_gives_a_vertex_order():
    generator = random.Random(1)
    graph = nx.DiGraph([(tail, v) for v in range(4, 60) for tail in generator.sample(range(min(v, 50)), 2)])
    order = gd.elimination_order(graph, "search", kind="edge", time_limit=0, cache=False)
    assert order.multiplications <= gd.elimination_order(graph, "markowitz").multiplications


def test_wrong_input():
    with pytest.raises(gd.errors.GraphError, match="vertex, edge, face"):
        gd.elimination_order(LION, kind="path")
    vertices = Vertices(range(4), [(0, 1), (1, 2), (2, 3)])
    with pytest.raises(gd.errors.GraphError, match="no edge 0 → 2"):
        EdgeGraph(vertices).eliminate(0, 2, "front")
    with pytest.raises(gd.errors.GraphError, match="no edge 0 → 1 to be eliminated at its back"):
        EdgeGraph(vertices).eliminate(0, 1, "back")
    with pytest.raises(gd.errors.GraphError, match="no face"):
        FaceGraph(vertices).eliminate(0, 2)
    with pytest.raises(gd.errors.GraphError, match="do not eliminate everything"):
        graph_after(EdgeGraph(vertices), [(0, 1, "front")])


@pytest.mark.parametrize("kind", ["edge", "face"])
def test_an_order_of_another_function(kind):
    other = gd.elimination_order(gd.Graph(gd.sin(gd.exp(gd.variable(1.0)))), kind=kind)
    with pytest.raises(gd.errors.GraphError, match="not the ones"):
        gd.jacobian(lion, mode=other)(POINT)


@pytest.mark.parametrize("kind", ["edge", "face"])
def test_other_processes_search_too(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two, and what comes back from elsewhere eliminates everything at no greater cost than the start."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)
    edges = [(0, 2), (1, 2), (2, 3), (2, 4), (3, 4), (3, 5), (3, 6), (3, 7)]
    vertices = Vertices(range(8), edges)
    graph = {"edge": EdgeGraph, "face": FaceGraph}[kind](vertices)
    start = replayed(graph, list(vertices.inner)).multiplications
    found = [replayed(graph, each) for each in anneal_in_parallel(vertices, kind, vertices.inner, 0, seconds=1.1)]
    assert len(found) == 2
    for each in found:
        assert not each.choices()
        assert each.multiplications <= start

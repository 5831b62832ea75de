"""Elimination orders: the published counts, the search, exactness on small graphs, the cache, wrong input."""

import itertools
import json
import random
import time
from pathlib import Path

import networkx as nx
import pytest

import graphdiff as gd
from graphdiff.elimination.search import annealing
from graphdiff.elimination.search.vertices import Reduced
from graphdiff.elimination.vertices import Vertices

GRAPHS = json.loads((Path(__file__).parent / "data" / "jacobian_graphs.json").read_text())


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHDIFF_CACHE_DIR", str(tmp_path))
    return tmp_path


def published(name: str) -> nx.DiGraph:
    return nx.DiGraph([tuple(edge) for edge in GRAPHS[name]["edges"]])


def random_dag(generator: random.Random, inner: int, inputs: int = 3, outputs: int = 2) -> nx.DiGraph:
    graph = nx.DiGraph()
    for v in range(inputs, inputs + inner + outputs):
        earlier = list(range(min(v, inputs + inner)))
        for tail in generator.sample(earlier, min(len(earlier), generator.choice([1, 2, 2, 3]))):
            graph.add_edge(tail, v)
    return graph


@pytest.mark.parametrize(
    ("name", "counts"), [("roe_flux_1d", (620, 364, 407, 344)), ("robot_arm_6dof", (397, 301, 288, 221))]
)
def test_published_counts(name, counts):
    graph = published(name)
    found = [gd.elimination_order(graph, method).multiplications for method in ("forward", "reverse", "markowitz")]
    assert (*found, gd.elimination_order(graph, ties="highest").multiplications) == counts


@pytest.mark.parametrize(("name", "most"), [("roe_flux_1d", 310), ("robot_arm_6dof", 230)])
def test_a_search_beats_the_published_records(name, most):
    graph = published(name)
    order = gd.elimination_order(graph, "search", time_limit=3, cache=False)
    assert order.multiplications <= most
    assert sorted(order) == sorted(v for v in graph if graph.in_degree(v) and graph.out_degree(v))


def cheapest_by_trying_all(vertices: Vertices) -> int:
    return min(vertices.count(order)[0] for order in itertools.permutations(vertices.inner))


@pytest.mark.parametrize("seed", range(40))
def test_small_graphs_are_solved_exactly(seed):
    graph = random_dag(random.Random(seed), 6)
    order = gd.elimination_order(graph, "search", time_limit=10, cache=False)
    edges = list(graph.edges)
    vertices = Vertices(range(max(graph) + 1), edges)
    assert order.optimal
    assert order.multiplications == cheapest_by_trying_all(vertices)
    reduced = Reduced(vertices)
    assert sum(reduced.bounds()) + len(reduced.first) <= order.multiplications


@pytest.mark.parametrize("seed", range(10))
def test_annealing_keeps_its_books(seed):
    """The cost kept by increments is that of the order counted afresh, and no bound exceeds any order's share."""
    generator = random.Random(seed)
    vertices = Vertices(range(45), list(random_dag(generator, 40).edges))
    reduced = Reduced(vertices)
    start = list(range(len(reduced.members)))
    generator.shuffle(start)
    state = annealing.State(reduced.before, reduced.after, reduced.groups, start)
    best = annealing.anneal(state, generator, 0.05)
    assert state.cost == reduced.cost(state.order)
    assert vertices.count(reduced.expand(best))[0] == reduced.cost(best) + len(reduced.first)
    for order in (start, best):
        shares = annealing.State(reduced.before, reduced.after, reduced.groups, order)
        for group, bound in enumerate(reduced.bounds()):
            share = shares.sizes[group] * shares.into[group].bit_count() * shares.out[group].bit_count()
            assert bound <= share


def test_twenty_vertices_are_solved_exactly():
    for seed in range(3):
        order = gd.elimination_order(random_dag(random.Random(seed), 20, 4, 4), "search", time_limit=120, cache=False)
        assert order.optimal


def test_products_by_one_are_counted_apart():
    x, y = gd.variable(2.0), gd.variable(3.0)
    order = gd.elimination_order(gd.Graph(gd.sin((x + y) * x)), "reverse")
    assert [node.op.name for node in order] == ["multiply", "add"]
    assert order.multiplications == 4
    assert order.multiplications_without_units == 2


def test_copies_are_no_vertices_and_an_output_in_use_is_one():
    x = gd.variable(2.0)
    y = gd.exp(+x)
    assert gd.elimination_order(gd.Graph([y, gd.sin(y)])).multiplications == 2
    assert list(gd.elimination_order(gd.Graph([y, gd.sin(y)]))) == [y]


def test_the_best_order_is_kept_on_disk(own_cache):
    graph = published("robot_arm_6dof")
    first = gd.elimination_order(graph, "search", time_limit=0.5)
    (kept,) = own_cache.rglob("*.json")
    assert list(gd.elimination_order(graph, "search", time_limit=0.5)) == list(first)
    kept.write_text("damaged")
    assert gd.elimination_order(graph, "search", time_limit=0.5).multiplications <= 230


def test_the_cache_can_be_switched_off(own_cache, monkeypatch):
    gd.elimination_order(published("robot_arm_6dof"), "search", time_limit=0, cache=False)
    monkeypatch.setenv("GRAPHDIFF_CACHE", "0")
    gd.elimination_order(published("robot_arm_6dof"), "search", time_limit=0)
    assert not list(own_cache.rglob("*.json"))


@pytest.mark.parametrize(
    ("graph", "options", "message"),
    [
        (nx.DiGraph([(0, 1), (1, 2)]), {"method": "magic"}, "methods forward, reverse"),
        (nx.DiGraph([(0, 1), (1, 2)]), {"ties": "first"}, "ties go to"),
        (nx.DiGraph([(0, 1), (1, 2)]), {"method": "search", "time_limit": -1}, "seconds"),
        (nx.DiGraph([(0, 1), (1, 2)]), {"method": "search", "time_limit": float("nan")}, "seconds"),
        (nx.DiGraph([(0, 1), (1, 0)]), {}, "cycle"),
        (nx.Graph([(0, 1), (1, 2)]), {}, "directed"),
        (nx.DiGraph(), {}, "no path"),
        ([1, 2], {}, "not list"),
    ],
)
def test_wrong_input(graph, options, message):
    with pytest.raises(gd.errors.GraphError, match=message):
        gd.elimination_order(graph, **options)


def test_a_large_graph_keeps_near_its_time_limit():
    began = time.monotonic()
    graph = random_dag(random.Random(0), 800, 10, 10)
    order = gd.elimination_order(graph, "search", time_limit=0.5, cache=False)
    assert time.monotonic() - began < 10
    assert order.multiplications <= gd.elimination_order(graph, "reverse").multiplications

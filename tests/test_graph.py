"""Graph: order, edges, evaluation at other values, the NetworkX view."""

from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import DTypeError, GraphError, NoValueError, ShapeError
from graphdiff.graph import topological_order


def expression() -> tuple[gd.Variable, gd.Variable, gd.Tensor, gd.Tensor, gd.Tensor]:
    a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    c = (a + b).named("c")
    d = (b + 1).named("d")
    return a, b, c, d, (c * d).named("e")


def random_graph(seed: int, size: int = 60) -> list[gd.Tensor]:
    stream = np.random.default_rng(seed)
    nodes: list[gd.Tensor] = [gd.variable(float(x)) for x in stream.normal(size=3)]
    for _ in range(size):
        x, y = (nodes[i] for i in stream.integers(len(nodes), size=2))
        nodes.append([gd.add, gd.multiply, gd.maximum][stream.integers(3)](x, y))
    return nodes


@pytest.mark.parametrize("seed", range(5))
def test_inputs_come_before_their_users(seed: int) -> None:
    nodes = random_graph(seed)
    for order in (topological_order([nodes[-1]]), gd.Graph(nodes[-1]).nodes):
        place = {node: index for index, node in enumerate(order)}
        assert len(place) == len(order)
        assert order[-1] is nodes[-1]
        assert all(place[operand] < place[node] for node in order for operand in node.inputs)


@pytest.mark.parametrize("seed", range(5))
def test_the_nodes_are_those_below_the_output(seed: int) -> None:
    nodes = random_graph(seed)
    networkx = pytest.importorskip("networkx")
    whole = networkx.MultiDiGraph()
    whole.add_nodes_from(nodes)
    whole.add_edges_from((operand, node) for node in nodes for operand in node.inputs)
    assert set(gd.Graph(nodes[-1])) == networkx.ancestors(whole, nodes[-1]) | {nodes[-1]}


def test_nodes_inputs_outputs() -> None:
    a, b, c, d, e = expression()
    graph = gd.Graph({"e": e, "more": (d, [c])})
    assert graph.inputs == [a, b]
    assert [node.name for node in graph.outputs] == ["e", "d", "c"]
    assert [node.name for node in graph if node.recorded] == ["a", "b", "c", "d", "e"]
    assert len(graph) == 6  # with the constant 1
    assert c in graph
    assert (c + 1) not in graph
    assert repr(graph) == "Graph(6 nodes, 2 inputs, 3 outputs)"


def test_a_repeated_operand_keeps_both_edges() -> None:
    x = gd.variable(3.0)
    square = x * x
    graph = gd.Graph(square)
    assert graph.edges == [(x, square, 0), (x, square, 1)]
    view = graph.to_networkx()
    assert view.number_of_edges(x.serial, square.serial) == 2
    assert sorted(data["position"] for *_, data in view.edges(data=True)) == [0, 1]


def test_networkx_view_carries_what_nodes_hold() -> None:
    import networkx

    a, b, c, d, e = expression()
    x = gd.placeholder((2,), name="x")
    with gd.name_scope("top"):
        f = gd.sum(x * e, axis=0)
    view = gd.Graph(f).to_networkx()
    assert networkx.is_directed_acyclic_graph(view)
    assert list(view) == sorted(view)
    assert view.nodes[c.serial].pop("tensor") is c
    assert view.nodes[c.serial] == {
        "kind": "op",
        "backend": "numpy",
        "inputs": (),
        "outputs": (),
        "op": "add",
        "name": "c",
        "shape": (),
        "dtype": np.dtype("float64"),
        "value": 3.0,
        "attributes": {},
        "scope": "",
    }
    kinds = [(held["name"], held["kind"]) for _, held in view.nodes(data=True) if held["op"] is None]
    assert sorted(kinds, key=str) == [("a", "variable"), ("b", "variable"), ("x", "placeholder"), (None, "constant")]
    assert (view.nodes[a.serial]["inputs"], view.nodes[x.serial]["inputs"], view.nodes[f.serial]["outputs"]) == (
        (0,),
        (2,),
        (0,),
    )
    assert (view.nodes[x.serial]["value"], view.nodes[x.serial]["shape"]) == (None, (2,))
    assert view.nodes[f.serial]["attributes"]["axis"] == (0,)
    assert view.nodes[f.serial]["scope"] == "top"
    place = {node: index for index, node in enumerate(networkx.topological_sort(view))}
    assert place[b.serial] < place[d.serial] < place[e.serial] < place[f.serial]


def test_each_node_is_visited_once() -> None:
    # b = a + a, c = b + b: out of topological order, b's adjoint would be passed on before it is complete.
    a = gd.variable(3.0)
    b = a + a
    c = b + b
    assert topological_order([c]) == [a, b, c]
    assert gd.adjoints(c)[a].item() == 4.0
    assert gd.tangents(c, {a: 1.0})[c].item() == 4.0
    deep = a
    for _ in range(60):  # 2⁶⁰ paths
        deep = deep + deep
    assert gd.adjoints(deep)[a].item() == 2.0**60


def test_evaluate_at_other_values() -> None:
    a, b, c, d, e = expression()
    graph = gd.Graph(e)
    assert graph.evaluate() == 6.0
    assert graph.evaluate({a: 4.0}) == 10.0
    assert graph.evaluate({c: 10.0}) == 20.0  # an inner node
    assert graph.evaluate({c: 10.0, d: gd.constant(-1)}) == -10.0
    assert graph.evaluate({e: 7}) == 7.0
    assert e.item() == 6.0
    b.assign(3.0)
    assert graph.evaluate() == 20.0


def test_evaluate_returns_the_structure_of_the_outputs() -> None:
    x = gd.placeholder((2,), name="x")
    result = gd.Graph({"double": 2 * x, "rest": [x[0], (gd.sum(x),)]}).evaluate({x: [1.0, 5.0]})
    assert result["double"].tolist() == [2.0, 10.0]
    assert (result["rest"][0], result["rest"][1][0]) == (1.0, 6.0)


@pytest.mark.parametrize("given", [[1, 2], np.float32([1, 2]), gd.constant([1, 2]), gd.variable([1.0, 2.0])])
def test_what_is_fed_takes_the_dtype_of_its_placeholder(given: Any) -> None:
    x = gd.placeholder((2,), "float64")
    result = gd.Graph([x, x / 2]).evaluate({x: given})
    assert [(array.dtype, array.tolist()) for array in result] == [
        (np.dtype("float64"), [1.0, 2.0]),
        (np.dtype("float64"), [0.5, 1.0]),
    ]


def test_an_inner_input_cuts_the_graph() -> None:
    _a, _b, c, d, e = expression()
    graph = gd.Graph(e, inputs=[c, d])
    assert [node.name for node in graph] == ["c", "d", "e"]
    assert [(x.name, y.name) for x, y, _ in graph.edges] == [("c", "e"), ("d", "e")]
    assert graph.evaluate({c: 2.0, d: 5.0}) == 10.0


def test_errors() -> None:
    a, _b, _c, d, e = expression()
    x = gd.placeholder((2,), "int64", name="x")
    with pytest.raises(GraphError, match=r"not float"):
        gd.Graph([e, 2.0])
    with pytest.raises(GraphError, match=r"input 'a' float64"):
        gd.Graph(d, inputs=[a])
    with pytest.raises(GraphError, match=r"'a' float64.*not in the graph"):
        gd.Graph(d).evaluate({a: 1.0})
    with pytest.raises(NoValueError, match=r"'x' int64"):
        gd.Graph(x + 1).evaluate()
    with pytest.raises(ShapeError, match=r"'x' int64\[2\].*\[3\]"):
        gd.Graph(x + 1).evaluate({x: [1, 2, 3]})
    with pytest.raises(DTypeError, match=r"'x' int64\[2\].*float64"):
        gd.Graph(x + 1).evaluate({x: [0.5, 1.5]})

"""To NetworkX and back."""

from typing import Any

import networkx
import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import GraphError


def held(node: gd.Tensor, graph: gd.Graph) -> dict[str, Any]:
    """Return what a node is, without its operands."""
    return {
        "type": type(node).__name__,
        "op": node.op.name if node.op else None,
        "attributes": str(node.attributes),
        "name": node.name,
        "scope": node.scope,
        "signature": (node.shape, node.dtype, node.recorded),
        "value": node.numpy().tolist() if node.has_value else None,
        "outputs": [place for place, output in enumerate(graph.outputs) if output is node],
        "inputs": [place for place, leaf in enumerate(graph.inputs) if leaf is node],
    }


def as_multigraph(graph: gd.Graph) -> networkx.MultiDiGraph:
    """Return the graph for comparison, made without `to_networkx`."""
    made = networkx.MultiDiGraph()
    for node in graph.nodes:
        made.add_node(node.serial, held=held(node, graph))
        for position, operand in enumerate(node.inputs):
            made.add_edge(operand.serial, node.serial, key=position)
    return made


def same(one: gd.Graph, other: gd.Graph) -> bool:
    return networkx.is_isomorphic(
        as_multigraph(one),
        as_multigraph(other),
        node_match=lambda x, y: x["held"] == y["held"],
        edge_match=lambda x, y: set(x) == set(y),  # the positions of parallel edges
    )


def graphs() -> dict[str, gd.Graph]:
    x = gd.variable(3.0, name="x")
    w = gd.variable(np.arange(6.0).reshape(2, 3), name="w", dtype="float32")
    p = gd.placeholder((2,), "float32", name="p")
    square = gd.variable(np.arange(4.0).reshape(2, 2), name="s")
    with gd.name_scope("layer"), gd.name_scope("inner"):
        hidden = gd.tanh(w @ w.T).named("hidden")
    inner = (x * 2).named("inner")
    return {
        "x*x": gd.Graph(x * x),
        "x/x": gd.Graph(x / x),
        "x@x": gd.Graph(square @ square),
        "2-x": gd.Graph(2 - x),
        "leaf": gd.Graph(x),
        "attributes": gd.Graph(gd.sum(w[:, 1:][::-1], axis=1, keepdims=True)),
        "index": gd.Graph(w[np.array([1, 0, 1])]),
        "clip": gd.Graph(gd.clip(w, 1, 3) ** 2),
        "scopes": gd.Graph(gd.mean(hidden)),
        "placeholder": gd.Graph(gd.sum(p * w[:, 0])),
        "structure": gd.Graph({"a": x * x, "b": (x, [x + 1, x * x])}),
        "repeated": gd.Graph([inner, inner, x]),
        "second order": gd.Graph(gd.adjoints(gd.adjoints(gd.sin(x) * x)[x])[x]),
        "softmax": gd.Graph(gd.nn.softmax_cross_entropy(w, np.array([0, 2]))),
    }


@pytest.mark.parametrize("name", graphs())
@pytest.mark.parametrize("relabelled", [False, True])
def test_a_graph_comes_back_as_it_was(name: str, relabelled: bool) -> None:
    graph = graphs()[name]
    view = graph.to_networkx()
    if relabelled:  # as a program has them that reads graphs from a file
        view = networkx.convert_node_labels_to_integers(view)
    again = gd.Graph.from_networkx(view)
    assert not set(again.nodes) & set(graph.nodes)
    assert same(again, graph)
    assert again._structure == graph._structure
    assert [node.name for node in again.inputs] == [node.name for node in graph.inputs]


@pytest.mark.parametrize("seed", range(10))
def test_random_graphs_come_back_with_their_derivatives(seed: int) -> None:
    stream = np.random.default_rng(seed)
    nodes: list[gd.Tensor] = [gd.variable(x, name=f"x{i}") for i, x in enumerate(stream.normal(size=3))]
    for _ in range(40):
        left, right = (nodes[place] for place in stream.integers(len(nodes), size=2))
        nodes.append([gd.add, gd.subtract, gd.multiply, gd.arctan2][stream.integers(4)](left, right) * 0.5)
    graph = gd.Graph(nodes[-1])
    again = gd.Graph.from_networkx(graph.to_networkx())
    assert same(again, graph)
    for one, other in zip(graph.inputs, again.inputs):
        assert gd.adjoints(again.outputs[0])[other].item() == gd.adjoints(graph.outputs[0])[one].item()


def test_a_graph_cut_at_an_inner_node_has_an_input_there() -> None:
    x = gd.variable(3.0, name="x")
    inner = (x * 2).named("inner")
    again = gd.Graph.from_networkx(gd.Graph(gd.sin(inner) * x, inputs=[x, inner]).to_networkx())
    assert [(leaf.name, leaf.op, leaf.item()) for leaf in again.inputs] == [("x", None, 3.0), ("inner", None, 6.0)]
    assert again.evaluate() == np.sin(6.0) * 3


def test_a_graph_put_together_in_networkx() -> None:
    view = networkx.DiGraph()
    view.add_node("a", value=[1.0, 2.0])
    view.add_node("b", shape=(2,))
    view.add_node("product", op="multiply")
    view.add_node("total", op="sum", attributes={"axis": (0,), "keepdims": False})
    view.add_edge("b", "product", position=1)
    view.add_edge("a", "product", position=0)
    view.add_edge("product", "total")
    graph = gd.Graph.from_networkx(view)
    a, b = graph.inputs
    assert (type(a), b.has_value) == (gd.Variable, False)
    assert graph.evaluate({b: [10.0, 1.0]}) == 12.0


def test_a_part_of_a_graph() -> None:
    a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    c = a + b
    view = gd.Graph({"e": c * (b + 1)}).to_networkx()
    part = view.subgraph(networkx.ancestors(view, c.serial) | {c.serial})
    assert gd.Graph.from_networkx(part).evaluate() == 3.0


def leaf_and(**nodes: dict[str, Any]) -> networkx.MultiDiGraph:
    view = networkx.MultiDiGraph()
    view.add_node("x", value=2.0)
    for name, attributes in nodes.items():
        view.add_node(name, **attributes)
    return view


def joined(view: networkx.MultiDiGraph, *edges: tuple[str, str, int | None]) -> networkx.MultiDiGraph:
    for operand, user, position in edges:
        view.add_edge(operand, user, **({} if position is None else {"position": position}))
    return view


ADD, SIN = {"op": "add"}, {"op": "sin"}
TWO, THREE = {"value": [1.0] * 2}, {"value": [1.0] * 3}
BAD = {
    "cycle": (joined(leaf_and(y=ADD), ("x", "y", 0), ("y", "y", 1)), r"has a cycle: 'y' → …"),
    "undirected": (networkx.Graph([("x", "y")]), r"networkx\.MultiDiGraph"),
    "empty": (networkx.MultiDiGraph(), r"no nodes"),
    "no op": (joined(leaf_and(y={}), ("x", "y", 0)), r"'y' has operands but no op"),
    "unknown op": (joined(leaf_and(y={"op": "sinn"}), ("x", "y", 0)), r"'y'.*no op 'sinn'; did you mean sin"),
    "op of nothing": (leaf_and(y=SIN), r"'y': sin takes 1 operands, and 0 edges"),
    "too few": (joined(leaf_and(y=ADD), ("x", "y", 0)), r"'y': add takes 2 operands, and 1 edges"),
    "too many": (joined(leaf_and(y=SIN), ("x", "y", 0), ("x", "y", 1)), r"'y': sin takes 1 operands, and 2"),
    "half a product": (joined(leaf_and(y={"op": "matmul"}), ("x", "y", 0)), r"node 'y' cannot be built"),
    "twice": (joined(leaf_and(y=ADD), ("x", "y", 0), ("x", "y", 0)), r"positions 0, 0: .*position=0, 1"),
    "no position": (joined(leaf_and(y=ADD), ("x", "y", None), ("x", "y", None)), r"positions None, None"),
    "wrong position": (joined(leaf_and(y=ADD), ("x", "y", 1), ("x", "y", 2)), r"positions 1, 2"),
    "leaf": (joined(leaf_and(y={"kind": "variable"}), ("x", "y", 0)), r"a leaf has no operands"),
    "unknown kind": (leaf_and(y={"kind": "thing"}), r"kind 'thing'; there are variable"),
    "no value": (leaf_and(y={"kind": "constant"}), r"'y' is a constant and has no value"),
    "shapes": (joined(leaf_and(y=ADD, v=TWO, w=THREE), ("v", "y", 0), ("w", "y", 1)), r"'y' cannot .*broadcast"),
    "bad value": (leaf_and(y={"value": "text"}), r"node 'y' cannot be built"),
    "bad attribute": (joined(leaf_and(y={"op": "sum", "attributes": {"a": 3}}), ("x", "y", 0)), r"'y' cannot"),
}


@pytest.mark.parametrize(("view", "message"), BAD.values(), ids=BAD)
def test_bad_graphs_are_errors_that_name_the_node(view: networkx.Graph, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        gd.Graph.from_networkx(view)


def test_equal_values_are_different_nodes_to_networkx() -> None:
    x = gd.variable(0.0, name="x")
    y = gd.sin(gd.sin(gd.sin(x)))  # all zero
    view = gd.Graph(y).to_networkx()
    assert len(networkx.dag_longest_path(view)) == 4
    assert networkx.immediate_dominators(view, x.serial)[y.serial] == y.inputs[0].serial

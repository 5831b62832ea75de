"""Graphs simplified before they are looked at: the same numbers from fewer nodes, and nothing of the user's changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawings import labels
from hypothesis import given
from hypothesis import strategies as st

import graphdiff as gd
from graphdiff.differentiate.checkpoint import barrier
from graphdiff.draw.simplify import simplified
from graphdiff.errors import GraphError


def slopes() -> tuple[Any, Any, Any]:
    """Return x, and the first and the second derivative of x·sin x."""
    x = gd.variable(2.0, name="x")
    first = gd.adjoints((x * gd.sin(x)).named("y"))[x].named("y′")
    return x, first, gd.adjoints(first)[x].named("y″")


def test_second_derivatives_lose_products_with_one_and_keep_their_value() -> None:
    _, first, second = slopes()
    for slope in (first, second):
        made = simplified(slope)
        assert len(made.graph) < len(gd.Graph(slope))
        assert not any(node.op is None and node.size == 1 and not node.recorded for node in made.graph)
        np.testing.assert_allclose(made.graph.outputs[0].numpy(), slope.numpy(), rtol=1e-14)
    np.testing.assert_allclose(second.item(), 2 * np.cos(2.0) - 2 * np.sin(2.0), rtol=1e-14)


def test_what_is_written_twice_is_computed_once() -> None:
    x = gd.variable(0.5, name="x")
    made = simplified(gd.cos(x) * gd.cos(x) + 2.0 * gd.cos(x) + 2.0 * gd.cos(x)).graph
    assert [node.op.name for node in made if node.op].count("cos") == 1
    assert [node.op.name for node in made if node.op].count("multiply") == 2


def test_what_keeps_a_recomputation_apart_stays_twice() -> None:
    x = gd.variable([2.0], name="x")
    made = simplified(gd.sin(barrier(x)) + gd.sin(barrier(x))).graph
    assert [node.op.name for node in made if node.op].count("sin") == 2


def test_named_nodes_stay_and_the_users_graph_is_left_alone() -> None:
    x = gd.variable(3.0, name="x")
    inner = gd.sin(x)
    same = (inner * 1.0).named("same")
    whole = ((x * 1.0).named("one") + same).named("L")
    before = [(node.serial, node.name, node.inputs) for node in gd.Graph(whole)]
    made = simplified(whole).graph
    assert [(node.serial, node.name, node.inputs) for node in gd.Graph(whole)] == before
    assert inner.name is None
    by_name = {node.name: node for node in made}
    assert by_name["same"].op.name == "sin"
    assert by_name["one"].op.name == "multiply"  # x has a name already
    assert made.outputs[0].name == "L"


def test_a_graph_that_begins_at_inner_nodes_still_does() -> None:
    x = gd.variable(3.0, name="x")
    c = (x * 2.0).named("c")
    made = simplified(gd.Graph((c * 1.0 + gd.sin(c)).named("y"), inputs=[c])).graph
    assert [node.name for node in made.inputs] == ["c"]
    assert x not in made


@given(st.lists(st.sampled_from(["sin", "scale", "add", "negate", "one", "zero", "square"]), max_size=12))
def test_any_chain_keeps_value_and_derivative(steps: list[str]) -> None:
    apply = {
        "sin": gd.sin,
        "scale": lambda z: 0.5 * z,
        "add": lambda z: z + z,
        "negate": lambda z: -z,
        "one": lambda z: 1.0 * z,
        "zero": lambda z: z + 0.0,
        "square": lambda z: z * z,
    }
    x = gd.variable([0.3, -1.2], name="x")
    y = x
    for step in steps:
        y = apply[step](y)
    slope = gd.adjoints(gd.sum(y * y))[x]
    made = simplified([y, slope])
    np.testing.assert_allclose(made.of(y).numpy(), y.numpy(), rtol=1e-12)
    np.testing.assert_allclose(made.of(slope).numpy(), slope.numpy(), rtol=1e-12)


def test_pictures_tables_and_traces_simplify_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    x, _, second = slopes()
    assert len(labels(gd.draw(second))) == 1 + 12 + 5  # x, ops, literals
    drawing = gd.draw(second, simplify=True)
    assert len(labels(drawing)) == 7
    assert "1·" not in gd.draw(second, simplify=True, labels=["expression"]).source
    assert drawing.page().html.count('"kind":"op"') == 5
    gd.show(second, style="table", simplify=True)
    assert len(capsys.readouterr().out.splitlines()) == 2 + 7
    table = gd.trace(second, mode="forward", wrt=x, simplify=True)
    assert len(table) == 7
    np.testing.assert_allclose(table["y″"].derivative, -3 * np.sin(2.0) - 2 * np.cos(2.0), rtol=1e-14)


def test_placeholders_simplify_without_values() -> None:
    x = gd.placeholder((3,), "float64", name="x")
    made = simplified(gd.sum(x * 1.0 + gd.zeros(3))).graph
    assert [node.op.name for node in made if node.op] == ["sum"]
    assert not made.outputs[0].has_value


def test_a_tangent_may_start_at_a_node_that_changed() -> None:
    x = gd.variable(2.0, name="x")
    inner = 1.0 * gd.exp(x)
    drawing = gd.draw((inner * inner).named("y"), simplify=True, mode="forward", wrt=inner)
    assert "∂y/∂v₁" in drawing.source


def test_a_models_layers_are_not_simplified() -> None:
    with pytest.raises(GraphError, match=r"simplify is for a graph: draw the model's output"):
        gd.draw(gd.nn.MLP([2], in_features=2), simplify=True)

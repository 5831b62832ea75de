"""The names by which drawings, tables, traces and pages call the nodes of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from drawings import texts

import graphdiff as gd
from graphdiff.draw.names import names_of
from graphdiff.draw.page.content import content


def named(output: Any) -> dict[str, Any]:
    """Return the nodes below an output by the names that they get."""
    found = {name: node for node, name in names_of(gd.Graph(output).nodes).items()}
    assert len(found) == len(names_of(gd.Graph(output).nodes))
    return found


def linear(width: int, given: int, **options: Any) -> Any:
    return gd.nn.Linear(width, given, dtype="float64", **options)


def outcome(layers: Sequence[Any], given: int = 2) -> tuple[Any, Any]:
    model = gd.nn.Sequential(*layers)
    return model, gd.sum(model(gd.constant([[1.0] * given], name="x"))).named("L")


def test_parameters_are_numbered_by_layer() -> None:
    layers = [linear(3, 2), gd.nn.Activation("tanh"), linear(4, 3), linear(1, 4)]
    _, loss = outcome(layers)
    found = named(loss)
    for number, layer in zip("₁₂₃", (layers[0], layers[2], layers[3])):
        assert found[f"W{number}"] is layer.weight
        assert found[f"b{number}"] is layer.bias


def test_a_layer_without_a_bias_does_not_shift_the_biases_behind_it() -> None:
    layers = [linear(3, 2), linear(3, 3, bias=False), linear(1, 3)]
    found = named(outcome(layers)[1])
    assert found["W₃"] is layers[2].weight
    assert found["b₃"] is layers[2].bias
    assert "b₂" not in found


def test_kinds_of_layers_with_other_names_count_for_themselves() -> None:
    norms = [gd.nn.BatchNorm(3, dtype="float64").eval() for _ in range(2)]
    layers = [linear(3, 2), norms[0], linear(3, 3), norms[1]]
    found = named(outcome(layers)[1])
    assert found["W₂"] is layers[2].weight
    first = {node: name for name, node in found.items()}
    for parameter in norms[1].parameters():
        assert first[parameter] == f"{parameter.name}₂"


def test_the_order_is_that_of_the_computation() -> None:
    late, early = linear(2, 2), linear(2, 2)
    found = named(outcome([early, late])[1])
    assert found["W₁"] is early.weight


def test_without_scopes_equal_names_are_numbered_as_they_come() -> None:
    x = gd.variable(1.0, name="x")
    for _ in range(3):
        x = (x * 2).named("x")
    found = named(x)
    assert list(found) == ["x₁", "x₂", "x₃", "x₄"]
    assert found["x₄"] is x


def test_a_name_of_its_own_stays_as_it_is() -> None:
    x, y = gd.variable(1.0, name="x"), gd.variable(2.0, name="y′")
    assert set(named((x * y).named("L"))) == {"x", "y′", "L"}


def test_indices_meet_neither_figures_nor_names_that_are_there() -> None:
    nodes = [gd.variable(float(place), name=name) for place, name in enumerate(["x1", "x1", "W", "W", "W₁"])]
    assert {"x1_1", "x1_2", "W₁′", "W₂", "W₁"} < set(named(gd.stack(nodes)))


def test_unnamed_nodes_of_each_kind_are_counted_apart() -> None:
    x, k = gd.variable([1.0, 2.0]), gd.constant([3.0, 4.0])
    assert list(named(x * k + 1.0)) == ["x₁", "k₁", "v₁", "v₂"]
    assert list(named((gd.variable(1.0, name="v1") * 2) * 3)) == ["v1", "v₂", "v₃"]


@pytest.fixture(scope="module")
def loss() -> Any:
    return outcome([linear(2, 2, seed=0), gd.nn.Activation("tanh"), linear(1, 2, seed=1)])[1]


def test_pictures_tables_traces_and_pages_agree(loss: Any, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {"W₁", "b₁", "W₂", "b₂"}
    assert expected <= set(texts(gd.draw(loss)))
    assert "v₄ = v₃ @ W₂" in texts(gd.draw(loss, labels=["expression"]))
    gd.show(loss, style="table")
    assert expected <= {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    table = gd.trace(loss)
    assert table["v4"].expression == "v₄ = v₃ @ W₂"
    assert expected <= {row.name for row in table}
    assert "$v_{4} = v_{3}\\,W_{2}$" in table.latex()
    assert expected <= {node["name"] for node in content(loss)["nodes"]}


def test_a_trace_by_one_input_keeps_the_names_of_the_whole(loss: Any) -> None:
    weight = named(loss)["W₂"]
    assert [row.name for row in gd.trace(loss, wrt=weight)] == ["L", "v₅", "v₄", "W₂"]

"""Models drawn for inputs: what their layers make of them, and the loss behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawings import edges, labels, texts

import graphdiff as gd
from graphdiff.draw.page.content import content
from graphdiff.errors import DTypeError, GraphError, ShapeError

INPUTS = [[0.5, -1.0]]


def model() -> Any:
    return gd.nn.MLP([3, 2], "tanh", in_features=2, seed=1, dtype="float64")


def cross_entropy(output: Any) -> Any:
    return gd.nn.softmax_cross_entropy(output, [1])


def test_arrows_between_layers_carry_values_and_the_last_layer_shows_its_own() -> None:
    drawn = model()
    weights = [drawn.layers[0].weight.numpy(), drawn.layers[2].weight.numpy()]
    hidden = np.tanh(INPUTS @ weights[0])
    drawing = gd.draw(drawn, inputs=INPUTS)
    [told] = [label for origin, _, label in edges(drawing) if origin == "1 tanh"]
    np.testing.assert_allclose([float(each.replace("−", "-")) for each in told[2:-2].split(", ")], hidden[0], atol=1e-4)
    [last] = [label for label in labels(drawing) if label.startswith("2 Linear")]
    shown = last.split("\n")[-1][2:-2].replace("−", "-").split(", ")
    np.testing.assert_allclose(list(map(float, shown)), (hidden @ weights[1])[0], atol=1e-4)
    assert "1 × 2" in texts(drawing)  # not n: there is one example


def test_a_loss_stands_behind_the_layers_and_its_adjoints_reach_the_input() -> None:
    drawn = model()
    loss = cross_entropy(drawn(gd.constant(INPUTS)))
    drawing = gd.draw(drawn, inputs=INPUTS, loss=cross_entropy, colour="gradient")
    assert "loss = cross_entropy" in texts(drawing)
    assert drawing.outputs.item() == pytest.approx(loss.item(), rel=1e-12)
    x = gd.variable(INPUTS)
    found = np.abs(gd.adjoints(cross_entropy(drawn(x)))[x].numpy()).mean()
    [told] = [label for label in labels(drawing) if label.startswith("x")]
    assert float(told.split()[-1]) == pytest.approx(found, rel=0.05)


def test_the_page_of_a_model_has_values_and_steps() -> None:
    drawing = gd.draw(model(), inputs=INPUTS, loss=cross_entropy)
    nodes = {node["name"]: node for node in content(drawing.outputs)["nodes"]}
    assert {"x", "W₁", "b₁", "W₂", "b₂", "loss"} <= nodes.keys()
    assert nodes["x"]["value"]["data"] == INPUTS[0]
    assert nodes["x"]["editable"]
    assert all(node["value"] is not None for node in nodes.values())
    assert content(drawing.outputs)["live"]


def test_layers_before_the_first_weight_are_drawn_and_integers_are_taken() -> None:
    drawn = gd.nn.Sequential(gd.nn.Embedding(5, 2), gd.nn.Flatten(), gd.nn.Linear(3, 4))
    drawing = gd.draw(drawn, inputs=[[1, 2]])
    assert {"0 Embedding", "1 Flatten", "2 Linear"} <= set(texts(drawing))
    flat = gd.nn.Sequential(gd.nn.Flatten(), gd.nn.Linear(3, 4))
    assert "0 Flatten" in texts(gd.draw(flat, inputs=np.ones((1, 2, 2))))
    assert gd.draw(model(), inputs=[[1, 2]]).outputs.dtype == np.float64


def test_the_model_stays_as_it_is() -> None:
    drawn = gd.nn.Sequential(gd.nn.Linear(3, 2, dtype="float64"), gd.nn.BatchNorm(3, dtype="float64"))
    before = drawn.state()
    gd.draw(drawn, inputs=np.ones((4, 2)), loss=lambda y: gd.sum(y * y), colour="gradient")
    after = drawn.state()
    assert all(np.array_equal(before[path], after[path]) for path in before)
    assert all(parameter.grad is None for parameter in drawn.parameters())


def test_a_loss_of_its_own_name_keeps_it() -> None:
    drawing = gd.draw(model(), inputs=INPUTS, loss=lambda y: gd.sum(y).named("L"))
    assert "L = Σ" in texts(drawing)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"inputs": INPUTS, "input_shape": 2}, "inputs have a shape: give inputs=… or input_shape=…, not both"),
        ({"loss": cross_entropy}, "a loss is of an output with values: give inputs=… too"),
        ({"inputs": INPUTS, "loss": float}, "single element"),
        ({"inputs": INPUTS, "loss": lambda y: 3.0}, "the loss returns a Tensor of the model's output, not float"),
        ({"inputs": [[1.0, 2.0, 3.0]]}, "2 inputs was given"),
    ],
)
def test_what_cannot_be_drawn(options: dict[str, Any], told: str) -> None:
    with pytest.raises((GraphError, ShapeError, DTypeError), match=told):
        gd.draw(model(), **options)


def test_inputs_are_for_models() -> None:
    with pytest.raises(GraphError, match=r"input_shape, inputs and loss are for drawing a model"):
        gd.draw(gd.variable(1.0) * 2, inputs=[1.0])


def test_a_model_is_shown_as_text_too(capsys: pytest.CaptureFixture[str]) -> None:
    gd.show(model(), style="tree")
    assert capsys.readouterr().out.splitlines()[0] == "v₅ = v₄ + b₂  1 × 2"
    gd.show(model(), style="tree", inputs=INPUTS, loss=cross_entropy, adjoints=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("loss = cross_entropy(v₅, ")
    assert [line for line in lines if "x  1 × 2  [[0.5, −1]]  adjoint [[" in line]


def test_a_graph_is_shown_as_its_outputs_are(capsys: pytest.CaptureFixture[str]) -> None:
    y = gd.variable(2.0, name="x") * 3.0
    gd.show(gd.Graph(y))
    of_graph = capsys.readouterr().out
    gd.show(y)
    assert of_graph == capsys.readouterr().out
    with pytest.raises(GraphError, match=r"for drawing a model"):
        gd.show(y, inputs=[1.0])

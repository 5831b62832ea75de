"""Models of several inputs wherever a model is run on something: tables, drawings, the range test."""

from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import OpError, ShapeError

stream = np.random.default_rng(0)
A, B = stream.normal(size=(10, 3)).astype("float32"), stream.normal(size=(10, 5)).astype("float32")
Y = A[:, :2]


class Product(gd.nn.Module):
    """A layer of two inputs within a model."""

    def __init__(self) -> None:
        self.last = gd.nn.Linear(2, 4)

    def forward(self, a: Any, b: Any) -> Any:
        return self.last(a * b)


class Two(gd.nn.Module):
    def __init__(self) -> None:
        self.left, self.right, self.both = gd.nn.Linear(4, 3, seed=0), gd.nn.Linear(4, 5, seed=1), Product()

    def forward(self, a: Any, b: Any) -> Any:
        return self.both(gd.tanh(self.left(a)), gd.exp(self.right(b)))


GIVEN = [(A, B), {"a": A, "b": B}, {"b": B, "a": A}]
SHAPES = [((3,), (5,)), [3, (5,)], {"a": 3, "b": 5}, {"b": (5,), "a": (3,)}]


@pytest.mark.parametrize("shapes", SHAPES)
def test_a_summary_counts_each_layers_own(shapes: Any) -> None:
    table = gd.nn.summary(Two(), shapes)
    flops = {row["layer"]: row["flops"] for row in table}
    # 2·n·m for a product and m for the biases, or as the op itself counts it; what lies between layers is the model's.
    alone = {
        "left Linear": gd.nn.summary(gd.nn.Linear(4, 3), 3).totals["flops"],
        "right Linear": gd.nn.summary(gd.nn.Linear(4, 5), 5).totals["flops"],
        "both.last Linear": gd.nn.summary(gd.nn.Linear(2, 4), 4).totals["flops"],
    }
    assert {name: flops[name] for name in alone} == alone
    assert flops["both Product"] == 4
    assert flops["Two"] > 0
    assert table.totals["flops"] == sum(flops.values())
    assert table.totals["parameters"] == 4 * 3 + 4 + 4 * 5 + 4 + 4 * 2 + 2


@pytest.mark.parametrize("given", GIVEN)
def test_statistics_are_of_all_inputs(given: Any) -> None:
    model = Two()
    rows = {row["layer"]: row for row in gd.nn.statistics(model, given, Y, gd.nn.squared_error)}
    weight, bias = model.right.weight.numpy(), model.right.bias.numpy()
    assert rows["right Linear"]["activation_mean"] == pytest.approx(float((B @ weight + bias).mean()), rel=1e-5)
    assert rows["left Linear"]["weight_gradient"] > 0


@pytest.mark.parametrize("given", GIVEN)
def test_drawings_are_of_all_inputs(given: Any) -> None:
    model = Two()
    shown = gd.draw(model, inputs=given, loss=lambda y: gd.nn.squared_error(y, Y))
    np.testing.assert_allclose(shown.outputs.numpy(), float(gd.nn.squared_error(model(A, B), Y)), rtol=1e-6)
    assert "left Linear" in shown.source
    called = {leaf.name for leaf in gd.Graph(shown.outputs).inputs}
    assert called >= ({"a", "b"} if isinstance(given, dict) else {"x0", "x1"})


@pytest.mark.parametrize("shapes", SHAPES)
def test_drawings_are_of_several_shapes(shapes: Any) -> None:
    assert "right Linear" in gd.draw(Two(), input_shape=shapes).source


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("compiled", [False, True])
def test_the_range_test_counts_rows_of_arrays(given: Any, compiled: bool) -> None:
    sizes = set()

    def loss(output: Any, target: Any) -> Any:
        sizes.add(output.shape[0])
        return gd.nn.squared_error(output, target)

    model = Two()
    optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
    found = gd.optim.lr_range_test(model, loss, (given, Y), optimizer, batch_size=4, steps=10, compiled=compiled)
    assert sizes == {4}
    assert len(found.rates) > 2
    short = {"a": A[:7], "b": B} if isinstance(given, dict) else (A[:7], B)
    with pytest.raises(gd.errors.DataError, match="X has 7 rows and y has 10"):
        gd.optim.lr_range_test(model, loss, (short, Y), optimizer)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda model: gd.draw(model),
        lambda model: gd.draw(model, input_shape=3),
        lambda model: gd.draw(model, inputs=A),
        lambda model: gd.draw(model, inputs=(A, B, A)),
        lambda model: gd.draw(model, inputs={"a": A, "c": B}),
        lambda model: gd.nn.summary(model, 3),
        lambda model: gd.nn.summary(model, {"a": 3}),
        lambda model: gd.nn.statistics(model, A, Y, gd.nn.squared_error),
        lambda model: gd.optim.lr_range_test(
            model, gd.nn.squared_error, (A, Y), gd.optim.SGD(model.parameters(), lr=0.1)
        ),
    ],
)
def test_other_inputs_are_refused_with_how_the_model_is_called(wrong: Any) -> None:
    with pytest.raises(OpError, match=r"X is .*, and Two is called as Two\(a"):
        wrong(Two())
    with pytest.raises(ShapeError, match="there are 2 inputs, and 3 dtypes"):
        gd.nn.summary(Two(), ((3,), (5,)), dtype=["float32"] * 3)

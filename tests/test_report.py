"""Tables of a model's layers, and of activations and gradients."""

from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import GraphError, ShapeError

nn = gd.nn
X = np.random.default_rng(0).normal(size=(50, 4))
F64: Any = {"dtype": "float64"}


def deep(activation: str, init: Any) -> Any:
    return nn.MLP([20] * 10 + [1], activation, in_features=4, init=init, **F64)


def test_summary_of_an_mlp() -> None:
    table = nn.summary(nn.MLP([16, 3], in_features=4), (4,))
    assert [row["parameters"] for row in table] == [80, 0, 51]
    assert [row["output_shape"] for row in table] == [(16,), (16,), (3,)]
    assert [row["flops"] for row in table] == [(4 + 3) * 16 + 16, 0, (16 + 15) * 3 + 3]
    assert table.totals == {"parameters": 131, "statistics": 0, "flops": 224}
    assert len(table) == 3


def test_summary_of_every_kind_of_layer() -> None:
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(16),
        nn.BatchNorm(),
        nn.PReLU(16),
        nn.Residual(nn.Linear(16), nn.Activation("tanh")),
        nn.Highway(),
        nn.LayerNorm(),
        nn.Maxout(5),
        nn.Dropout(0.5),
        nn.Linear(3),
        nn.Activation("softmax"),
    )
    table = nn.summary(model, (2, 2), dtype="float64")
    model(X.reshape(50, 2, 2))
    assert table.totals["parameters"] == sum(leaf.size for leaf in model.parameters())
    assert table.totals["statistics"] == 32
    assert table.totals["flops"] == sum(row["flops"] for row in table)
    shapes = {row["layer"]: row["output_shape"] for row in table}
    assert shapes["layers.0 Flatten"] == (4,)
    assert shapes["layers.4.inner.layers.0 Linear"] == (16,)
    assert shapes["layers.7 Maxout"] == (5,)
    for row in table:
        assert row["layer"] in str(table)


def test_summary_leaves_the_model_alone() -> None:
    model = nn.Sequential(nn.Linear(3, **F64), nn.BatchNorm(**F64), nn.Dropout(0.5, seed=1))
    nn.summary(model, 4)
    assert model.layers[0].in_features is None
    assert model.training
    model(X)
    twin, state = nn.Dropout(0.5, seed=1), model.state()
    twin(np.ones((50, 3)))
    nn.summary(model, 4)
    nn.statistics(model, X, np.zeros((50, 3)), nn.squared_error)
    for path, array in model.state().items():
        np.testing.assert_array_equal(array, state[path])
    ones = np.ones((50, 3))
    np.testing.assert_array_equal(model.layers[2](ones).numpy(), twin(ones).numpy())


def test_summary_counts_shared_parameters_once() -> None:
    layer = nn.Linear(4, in_features=4)
    table = nn.summary(nn.Sequential(layer, nn.Activation("relu"), layer), 4)
    assert table.totals["parameters"] == 20
    assert table.totals["flops"] == 2 * ((4 + 3) * 4 + 4)


def test_summary_of_an_embedding() -> None:
    model = nn.Sequential(nn.Embedding(10, 3), nn.Flatten(), nn.Linear(2))
    assert nn.summary(model, 5, dtype="int64")[1]["output_shape"] == (15,)


def test_summary_errors() -> None:
    with pytest.raises(ShapeError, match="linear layer of 4 inputs"):
        nn.summary(nn.MLP([3], in_features=4), 5)
    with pytest.raises(ShapeError, match="shape of an example"):
        nn.summary(nn.MLP([3], in_features=4), -5)
    assert not nn.module.OBSERVERS


def test_statistics_are_those_of_activations_and_gradients() -> None:
    model = nn.MLP([6, 2], in_features=4, **F64)
    y = np.zeros((50, 2))
    table = nn.statistics(model, X, y, nn.squared_error)
    weight, bias, last, _ = (leaf.numpy() for leaf in model.parameters())
    before = X @ weight + bias
    hidden = np.maximum(before, 0)
    slope = 2 * (hidden @ last) / y.size
    expected = [(before, slope @ last.T * (before > 0)), (hidden, slope @ last.T), (hidden @ last, slope)]
    for row, (activation, gradient) in zip(table, expected, strict=True):
        for name, array in (("activation", activation), ("gradient", gradient)):
            np.testing.assert_allclose(row[f"{name}_mean"], array.mean(), rtol=1e-9, atol=1e-15)
            np.testing.assert_allclose(row[f"{name}_std"], array.std(), rtol=1e-9)
            assert row[f"{name}_zeros"] == (array == 0).mean()
    nn.squared_error(model(X), y).backward()
    parts = [leaf.grad.ravel() for leaf in model.layers[0].parameters()]
    np.testing.assert_allclose(table[0]["weight_gradient"], np.sqrt(np.mean(np.concatenate(parts) ** 2)), rtol=1e-9)
    assert [row["remark"] for row in table] == ["", "", ""]


def test_vanishing_and_exploding_gradients_are_seen() -> None:
    y = np.ones((50, 1))

    def remarks(model: Any) -> list[str]:
        return [row["remark"] for row in nn.statistics(model, X, y, nn.squared_error)]

    assert remarks(deep("sigmoid", "glorot_normal"))[0] == "vanishing"
    assert set(remarks(deep("relu", "he_normal"))) == {""}
    large = deep("relu", lambda shape, seed: nn.init.normal(shape, seed=seed, std=2.0))
    assert remarks(large)[0] == "exploding"
    dead = nn.MLP([3, 1], in_features=4, **F64)
    dead.layers[0].bias.assign([-1e3] * 3)
    assert remarks(dead)[1] == "dead"
    dead.layers[0].bias.assign([np.nan] * 3)
    assert remarks(dead)[1] == "not finite"


def test_statistics_print() -> None:
    text = str(nn.statistics(deep("sigmoid", "glorot_normal"), X, np.ones((50, 1)), nn.squared_error))
    assert "vanishing" in text
    assert "layers.20 Linear" in text
    assert max(map(len, text.splitlines())) < 120


def test_statistics_of_a_loss_without_the_model() -> None:
    with pytest.raises(GraphError, match="no parameter"):
        nn.statistics(nn.MLP([1], in_features=4, **F64), X, X, lambda output, y: gd.sum(gd.constant(y)))


@pytest.mark.parametrize("rows", [1, 64])
def test_summary_cost_and_plan_count_the_same_operations(rows: int) -> None:
    """Of products, k multiplications and k - 1 additions for each number; of biases one addition; of relu none."""
    model, x = nn.MLP([16, 3], in_features=4), np.ones((rows, 4), "float32")
    by_hand = rows * (16 * (4 + 3 + 1) + 3 * (16 + 15 + 1))
    compiled = gd.compile(lambda x: model(x))
    compiled(x)
    assert gd.cost(model, x).flops == compiled.plans[0].cost.flops == by_hand
    assert rows * nn.summary(model, 4).totals["flops"] == by_hand

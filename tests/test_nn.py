"""Layers and losses against NumPy in float64, extreme logits included."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphdiff as gd

stream = np.random.default_rng(5)
X = stream.normal(size=(5, 4))
erf = np.vectorize(__import__("math").erf)

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "gelu": lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2))),
    "gelu_tanh": lambda x: x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str) -> None:
    x = 2 * X
    np.testing.assert_allclose(gd.nn.Activation(name)(x).numpy(), ACTIVATIONS[name](x), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_of_extreme_arguments_has_a_finite_gradient(name: str) -> None:
    x = np.array([-1e4, -100.0, 100.0, 1e4])
    value, gradient = gd.value_and_grad(lambda x: gd.sum(gd.nn.Activation(name)(x)))(x)
    assert np.isfinite(value.item())
    ends = {"tanh": (0, 0), "sigmoid": (0, 0), "hard_tanh": (0, 0), "leaky_relu": (0.01, 1)}.get(name, (0, 1))
    np.testing.assert_allclose(gradient.numpy()[[0, 3]], ends, atol=1e-12)


def test_linear() -> None:
    layer = gd.nn.Linear(3, in_features=4, dtype="float64")
    weight, bias = layer.parameters()
    assert (weight.shape, bias.shape, bias.tolist()) == ((4, 3), (3,), [0.0, 0.0, 0.0])
    bias.assign([1.0, 2.0, 3.0])
    np.testing.assert_allclose(layer(X).numpy(), X @ weight.numpy() + [1, 2, 3], rtol=1e-13)
    np.testing.assert_allclose(layer(X[0]).numpy(), X[0] @ weight.numpy() + [1, 2, 3], rtol=1e-13)
    gd.sum(layer(X) * np.arange(3.0)).backward()
    np.testing.assert_allclose(weight.grad, np.outer(X.sum(0), np.arange(3.0)), rtol=1e-12)
    np.testing.assert_allclose(bias.grad, 5 * np.arange(3.0), rtol=1e-15)


def test_linear_without_bias_and_with_inferred_width() -> None:
    layer = gd.nn.Linear(3, bias=False, seed=7)
    out = layer(X.astype("float32"))
    assert (out.shape, out.dtype) == ((5, 3), np.float32)
    assert [path for path, _ in layer.named_parameters()] == ["weight"]


@pytest.mark.parametrize("inputs", [10, 1000])
def test_initial_weights_are_uniform_with_he_variance(inputs: int) -> None:
    weight = gd.nn.Linear(1000, in_features=inputs, seed=1, dtype="float64").parameters()[0].numpy()
    bound = np.sqrt(6 / inputs)
    assert 0.99 * bound < np.abs(weight).max() <= bound
    assert weight.var() == pytest.approx(2 / inputs, rel=0.05)
    assert abs(weight.mean()) < 4 * bound / np.sqrt(3 * weight.size)


def test_mlp_is_its_layers() -> None:
    model = gd.nn.MLP([6, 3], activation="tanh", in_features=4, dtype="float64", seed=2)
    first, second = model.layers[0], model.layers[2]
    hidden = np.tanh(X @ first.weight.numpy() + first.bias.numpy())
    np.testing.assert_allclose(model(X).numpy(), hidden @ second.weight.numpy() + second.bias.numpy(), rtol=1e-12)
    paths = [path for path, _ in model.named_parameters()]
    assert paths == ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"]
    assert {node.scope for node in gd.Graph(model(X)) if node.op} == {"linear0", "activation1", "linear2"}


def test_seeds() -> None:
    first, again, other = (gd.nn.MLP([3, 2], in_features=4, seed=seed).state() for seed in (0, 0, 1))
    for path in first:
        np.testing.assert_array_equal(first[path], again[path])
    assert not np.array_equal(first["layers.0.weight"], other["layers.0.weight"])
    one, two = (gd.nn.MLP([3, 2], in_features=4).state() for _ in range(2))  # as blocks of one network
    gd.random.seed()
    once_more = gd.nn.MLP([3, 2], in_features=4).state()
    assert all(np.array_equal(one[name], once_more[name]) for name in one)
    assert not np.array_equal(one["layers.0.weight"], two["layers.0.weight"])
    square = gd.nn.MLP([4, 4], in_features=4, seed=0).state()
    assert not np.array_equal(square["layers.0.weight"], square["layers.2.weight"])


def test_state_is_a_copy_and_loads_again() -> None:
    model, twin = (gd.nn.MLP([3, 2], in_features=4, seed=seed) for seed in (0, 1))
    state = model.state()
    twin.load_state(state)
    np.testing.assert_array_equal(twin(X).numpy(), model(X).numpy())
    state["layers.0.weight"][:] = 0
    np.testing.assert_array_equal(twin(X).numpy(), model(X).numpy())


def test_modules_nest() -> None:
    class Residual(gd.nn.Module):
        def __init__(self) -> None:
            self.scale = gd.variable(0.5, name="scale")
            self.inner = gd.nn.Sequential(gd.nn.Linear(4, in_features=4, dtype="float64"), gd.nn.Activation("relu"))

        def forward(self, x: Any) -> Any:
            return x + self.scale * self.inner(x)

    model = Residual()
    assert [path for path, _ in model.named_parameters()] == ["scale", "inner.layers.0.weight", "inner.layers.0.bias"]
    weight = model.inner.layers[0].weight.numpy()
    np.testing.assert_allclose(model(X).numpy(), X + 0.5 * np.maximum(X @ weight, 0), rtol=1e-12)


def test_modules_are_found_in_lists_and_dicts_at_any_depth() -> None:
    class Branches(gd.nn.Module):
        def __init__(self) -> None:
            self.branches = {"left": gd.nn.Linear(2, in_features=4), "right": [(gd.nn.Linear(2, in_features=4),)]}
            self.scales = {"all": gd.variable(2.0)}

        def forward(self, x: Any) -> Any:
            return self.scales["all"] * (self.branches["left"](x) + self.branches["right"][0][0](x))

    model = Branches()
    assert [path for path, _ in model.named_parameters()] == [
        "branches.left.weight",
        "branches.left.bias",
        "branches.right.0.0.weight",
        "branches.right.0.0.bias",
        "scales.all",
    ]
    assert not model.eval().branches["right"][0][0].training
    assert gd.nn.summary(model, 4).totals["parameters"] == 21


def test_shared_parameters_come_once_and_get_the_gradients_of_all_uses() -> None:
    layer = gd.nn.Linear(4, in_features=4, bias=False, dtype="float64")
    model = gd.nn.Sequential(layer, layer)
    assert [path for path, _ in model.named_parameters()] == ["layers.0.weight"]
    assert gd.nn.summary(model, 4).totals["parameters"] == 16
    weight = layer.weight.numpy().copy()
    gd.optim.SGD(model.parameters(), lr=0.1).minimize(gd.sum(model(X)))
    ones = np.ones((5, 4))
    slope = X.T @ ones @ weight.T + (X @ weight).T @ ones
    np.testing.assert_allclose(layer.weight.numpy(), weight - 0.1 * slope, rtol=1e-12)
    state = model.state()
    assert set(state) == {"layers.0.weight", "layers.1.weight"}
    layer.weight.assign(weight)
    model.load_state(state)
    np.testing.assert_array_equal(layer.weight.numpy(), state["layers.0.weight"])


def test_forward_takes_several_arguments() -> None:
    class Gate(gd.nn.Module):
        def forward(self, x: Any, gate: Any, *, scale: float = 1.0) -> Any:
            return scale * gd.multiply(x, gate)

    np.testing.assert_array_equal(Gate()(X, X, scale=2.0).numpy(), 2 * X * X)
    np.testing.assert_array_equal(gd.compile(Gate())(X, X).numpy(), X * X)
    with pytest.raises(NotImplementedError, match="Empty does not define forward"):
        type("Empty", (gd.nn.Module,), {})()(X)


def test_a_parameter_is_not_replaced_by_what_is_none() -> None:
    layer = gd.nn.Linear(3, in_features=4)
    for value in (np.zeros((4, 3)), layer.weight * 2.0, None):
        with pytest.raises(gd.errors.GraphError, match=r"'weight' of Linear is a variable.*weight\.assign"):
            layer.weight = value
    layer.weight -= 0.5 * layer.weight.numpy()
    assert layer.weight in layer.parameters()
    layer.weight = gd.variable(np.zeros((4, 3), "float32"))
    assert not layer(X).numpy().any()
    del layer.bias
    layer.bias = None
    assert layer.parameters() == [layer.weight]


def test_sequences_have_a_length_and_parts() -> None:
    model = gd.nn.MLP([8, 6, 3], in_features=4)
    assert len(model) == 5
    assert list(model) == model.layers
    assert model[-1] is model.layers[4]
    body, head = model[:-1], model[-1:]
    np.testing.assert_array_equal(head(body(X)).numpy(), model(X).numpy())
    assert body.parameters() + head.parameters() == model.parameters()
    with pytest.raises(IndexError):
        model[5]


def test_common_slips_are_told_of() -> None:
    with pytest.raises(gd.errors.ShapeError, match=r"of 3 inputs was given .*: its outputs.*Linear\(out_features, in"):
        gd.nn.Linear(4, 3)(X)
    with pytest.raises(gd.errors.ShapeError, match=r"of 3 inputs was given float64\[5, 4\]$"):
        gd.nn.Linear(2, 3)(X)
    with pytest.raises(gd.errors.GraphError, match=r"not function; gd\.nn\.Activation"):
        gd.nn.Sequential(gd.nn.Linear(2), gd.tanh)  # type: ignore[arg-type]


def test_modules_print_what_they_are() -> None:
    class Scale(gd.nn.Module):
        def __init__(self) -> None:
            self.factor = gd.variable([1.0, 2.0])

    model = gd.nn.Sequential(gd.nn.Linear(3, in_features=4), gd.nn.Residual(gd.nn.Dropout(0.5)), Scale())
    assert repr(model).splitlines() == [
        "Sequential(",
        "  layers.0: Linear(out_features=3, in_features=4, bias=True, dtype='float32')",
        "  layers.1: Residual(",
        "    inner: Sequential(",
        "      layers.0: Dropout(p=0.5)",
        "    )",
        "  )",
        "  layers.2: Scale(factor=float64[2])",
        ")",
    ]


# Losses

LABELS = np.array([2, 0, 1, 1, 2])
LOGITS = {
    "usual": 2 * stream.normal(size=(5, 3)),
    "large": stream.choice([-1e4, 0.0, 1e4], size=(5, 3)),
    "shifted": stream.normal(size=(5, 3)) + 1e4,
    "equal": np.zeros((5, 3)),
}


def reference(z: Any, targets: Any) -> tuple[float, Any]:
    """Return mean cross-entropy and its gradient, each row shifted by its maximum."""
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -np.sum(targets * log_p) / len(z), (np.exp(log_p) - targets) / len(z)


@pytest.mark.parametrize("kind", ["labels", "uint8 labels", "one-hot", "soft"])
@pytest.mark.parametrize("name", LOGITS)
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 2e-6)])
def test_softmax_cross_entropy(name: str, kind: str, dtype: str, rtol: float) -> None:
    z = LOGITS[name].astype(dtype)
    soft = (1 + np.arange(15.0).reshape(5, 3)) / (1 + np.arange(15.0).reshape(5, 3)).sum(1, keepdims=True)
    targets = soft if kind == "soft" else np.eye(3)[LABELS]
    given = {"labels": LABELS, "uint8 labels": LABELS.astype("uint8")}.get(kind, targets)
    expected, slope = reference(z.astype("float64"), targets)
    value, gradient = gd.value_and_grad(gd.nn.softmax_cross_entropy)(z, given)
    assert (value.dtype, gradient.dtype) == (dtype, dtype)
    np.testing.assert_allclose(value.item(), expected, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(gradient.numpy(), slope, rtol=0, atol=rtol)
    assert np.isfinite(gradient.numpy()).all()


def test_squared_error() -> None:
    target = stream.normal(size=(5, 4))
    value, gradient = gd.value_and_grad(gd.nn.squared_error)(X, target)
    np.testing.assert_allclose(value.item(), np.mean((X - target) ** 2), rtol=1e-14)
    np.testing.assert_allclose(gradient.numpy(), 2 * (X - target) / 20, rtol=1e-13)


def test_accuracy() -> None:
    logits = np.array([[3.0, 1.0], [0.0, 2.0], [5.0, 4.0], [1.0, 1.5]])
    assert gd.nn.accuracy(logits, [0, 1, 1, 1]) == 0.75
    assert gd.nn.accuracy(gd.constant(logits), np.array([1, 0, 1, 0])) == 0.0

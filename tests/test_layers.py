"""Layers: formulas, modes, state, and training steps that are the same eager and compiled."""

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import DataError, DTypeError, GraphError, OpError, ShapeError

nn = gd.nn
REFERENCES = json.loads((Path(__file__).parent / "references" / "nn.json").read_text())
X = np.random.default_rng(3).normal(size=(6, 4))
F64: Any = {"dtype": "float64"}
ROUND_TRIPS: list[Callable[[Any], Any]] = [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]

LAYERS: dict[str, Callable[[], Any]] = {
    "Linear": lambda: nn.Linear(3, **F64),
    "PReLU": lambda: nn.PReLU(4, **F64),
    "PReLU shared": lambda: nn.PReLU(**F64),
    "Maxout": lambda: nn.Maxout(3, 3, **F64),
    "Flatten": nn.Flatten,
    "Dropout": lambda: nn.Dropout(0.4, seed=2),
    "BatchNorm": lambda: nn.BatchNorm(**F64),
    "BatchNorm without affine": lambda: nn.BatchNorm(affine=False, **F64),
    "LayerNorm": lambda: nn.LayerNorm(**F64),
    "Residual": lambda: nn.Residual(nn.Linear(4, **F64), nn.Activation("tanh")),
    "Residual with shortcut": lambda: nn.Residual(nn.Linear(2, **F64), shortcut=nn.Linear(2, bias=False, **F64)),
    "Highway": lambda: nn.Highway(**F64),
    "Softmax": lambda: nn.Activation("softmax"),
    "LogSoftmax": lambda: nn.Activation("log_softmax", axis=0),
    "LeakyReLU": lambda: nn.Activation("leaky_relu", slope=0.2),
    "ELU": lambda: nn.Activation("elu", alpha=0.5),
}


def model_with(name: str) -> Any:
    """Return a layer between two linear ones, so that gradients flow through it."""
    model = nn.Sequential(nn.Linear(4, in_features=4, seed=1, **F64), LAYERS[name](), nn.Linear(2, seed=2, **F64))
    model(X)
    return model


def loss_of(model: Any, x: Any) -> Any:
    return gd.mean((model(x) - 1.0) ** 2)


@pytest.mark.parametrize("name", LAYERS)
def test_a_training_step_is_the_same_eager_and_compiled(name: str) -> None:
    eager = model_with(name)
    planned = copy.deepcopy(eager)
    losses = []
    for model, wrap in ((eager, lambda step: step), (planned, gd.compile)):
        optimizer = gd.optim.SGD(model.parameters(), lr=0.02, momentum=0.5)

        def step(x: Any, model: Any = model, optimizer: Any = optimizer) -> Any:
            loss = loss_of(model, x)
            optimizer.minimize(loss)
            return loss

        run = wrap(step)
        losses.append([float(run(X + k)) for k in range(5)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-9)
    for path, array in eager.state().items():
        np.testing.assert_allclose(planned.state()[path], array, rtol=1e-8, atol=1e-12, err_msg=path)
    np.testing.assert_allclose(gd.compile(planned.eval())(X).numpy(), eager.eval()(X).numpy(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "Dropout"])
def test_gradients(name: str) -> None:
    layer = LAYERS[name]()
    layer(X)
    values = [leaf.numpy() for leaf in layer.parameters()]
    state = layer.state()

    def function(x: Any, *parameters: Any) -> Any:
        return layer(x) * np.cos(np.arange(layer(x).size)).reshape(layer(x).shape)

    gd.check_grads(function, X)
    for mode in (layer.train, layer.eval) if values else ():
        mode()
        gd.sum(function(X)).backward()
        for leaf, value in zip(layer.parameters(), values, strict=True):
            step, along = 1e-6, np.sin(np.arange(leaf.size)).reshape(leaf.shape)
            ends = []
            for sign in (1, -1):
                leaf.assign(value + sign * step * along)
                ends.append(float(gd.sum(function(X))))
            leaf.assign(value)
            measured = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(np.sum(leaf.grad * along), measured, rtol=1e-6, atol=1e-8)
    assert state.keys() == layer.state().keys()


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
@pytest.mark.parametrize("name", LAYERS)
def test_copies_go_on_alike(name: str, round_trip: Callable[[Any], Any]) -> None:
    for made in (False, True):
        layer = LAYERS[name]()
        if made:
            layer(X)
        copied = round_trip(layer)
        for _ in range(2):
            np.testing.assert_array_equal(copied(X).numpy(), layer(X).numpy())
        for path, array in layer.state().items():
            np.testing.assert_array_equal(copied.state()[path], array)
        assert not set(copied.parameters()) & set(layer.parameters())


@pytest.mark.parametrize("name", LAYERS)
def test_lazy_layers_are_made_within_a_compiled_function(name: str) -> None:
    layer = LAYERS[name]()
    gd.random.seed()
    planned = LAYERS[name]()
    expected = layer(X).numpy()
    np.testing.assert_allclose(gd.compile(planned)(X).numpy(), expected, rtol=1e-12, atol=1e-14)
    for path, array in layer.state().items():
        np.testing.assert_allclose(planned.state()[path], array, rtol=1e-12, err_msg=path)


@pytest.mark.parametrize("name", ["batch_norm", "batch_norm_evaluating", "layer_norm", "prelu"])
def test_against_pytorch(name: str) -> None:
    noted = REFERENCES[name]
    x, *given = (np.array(values) for values in noted["inputs"])
    layer: Any = {"layer_norm": lambda: nn.LayerNorm(4, **F64), "prelu": lambda: nn.PReLU(4, **F64)}.get(
        name, lambda: nn.BatchNorm(4, **F64)
    )()
    for leaf, value in zip(layer.parameters(), given, strict=True):
        leaf.assign(value)
    if name == "batch_norm_evaluating":
        layer.running_mean.assign(REFERENCES["batch_norm"]["mean"])
        layer.running_variance.assign(REFERENCES["batch_norm"]["variance"])
        layer.eval()
    at = gd.variable(x)
    out = layer(at)
    gd.sum(out * np.arange(1.0, out.size + 1).reshape(out.shape)).backward()
    np.testing.assert_allclose(out.numpy(), noted["value"], rtol=1e-11, atol=1e-12)
    for leaf, gradient in zip([at, *layer.parameters()], noted["gradients"], strict=True):
        np.testing.assert_allclose(leaf.grad, gradient, rtol=1e-10, atol=1e-10)
    if name == "batch_norm":
        np.testing.assert_allclose(layer.running_mean.numpy(), noted["mean"], rtol=1e-12)
        np.testing.assert_allclose(layer.running_variance.numpy(), noted["variance"], rtol=1e-12)


# Modes


def test_compiled_functions_see_the_mode() -> None:
    model = nn.Sequential(nn.BatchNorm(4, **F64), nn.Dropout(0.5))
    run = gd.compile(model)
    for _ in range(3):
        assert (run(X).numpy() == 0).any()
        mean = model.layers[0].running_mean.numpy()
        model.eval()
        for _ in range(2):
            np.testing.assert_allclose(run(X).numpy(), model(X).numpy(), rtol=1e-12)
            assert (run(X).numpy() != 0).all()
        np.testing.assert_array_equal(model.layers[0].running_mean.numpy(), mean)
        model.train()
    assert len(run.plans) == 2  # one for either mode, made once


def test_the_mode_of_a_part() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Dropout(1.0))
    run = gd.compile(model)
    assert (run(X).numpy() == 0).all()
    model.layers[1].eval()
    assert 0 < (run(X).numpy() == 0).mean() < 1
    model.layers[0].eval()
    np.testing.assert_array_equal(run(X).numpy(), X)
    assert not model.layers[0].training
    assert model.training


def test_functions_without_switches_look_at_none() -> None:
    run = gd.compile(nn.MLP([3, 2], in_features=4, **F64))
    run(X)
    model = nn.MLP([3, 2], in_features=4, **F64).eval()
    run(X)
    assert len(run.plans) == 1
    assert not model.layers[0].training


# Dropout


def test_dropout() -> None:
    x = np.ones((400, 50))
    layer = nn.Dropout(0.3, seed=4)
    first, second = layer(x).numpy(), layer(x).numpy()
    for out in (first, second):
        np.testing.assert_allclose(np.unique(out), [0, 1 / 0.7])
        assert abs((out == 0).mean() - 0.3) < 5 * np.sqrt(0.21 / x.size)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(nn.Dropout(0.3, seed=4)(x).numpy(), first)
    planned = gd.compile(nn.Dropout(0.3, seed=4))
    np.testing.assert_allclose(planned(x).numpy(), first)
    np.testing.assert_allclose(planned(x).numpy(), second)
    assert (nn.Dropout(1.0)(x).numpy() == 0).all()
    assert nn.Dropout(0.5)(x.astype("float32")).dtype == np.float32


def test_dropouts_gradient_is_its_mask() -> None:
    x = gd.variable(X)
    out = nn.Dropout(0.5)(x)
    gd.sum(out).backward()
    np.testing.assert_allclose(x.grad, out.numpy() / X)


def test_dropouts_of_one_network_differ() -> None:
    x = np.ones((20, 20))
    model = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
    assert abs((model(x).numpy() == 0).mean() - 0.75) < 0.12
    assert [path for path, _ in model.named_streams()] == ["layers.0.stream", "layers.1.stream"]

    class Jitter(nn.Module):
        def __init__(self) -> None:
            self.rng = gd.random.generator(1)
            self.others = [gd.random.generator(2), gd.random.generator(3)]
            self.inner = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))

    assert [path for path, _ in Jitter().named_streams()] == ["rng", "others.0", "others.1", "inner.layers.1.stream"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(4, in_features=3),
        lambda: nn.Linear(4),
        lambda: nn.Maxout(4, in_features=3),
        lambda: nn.Highway(3),
        lambda: nn.Embedding(5, 3),
    ],
    ids=["Linear", "Linear inferred", "Maxout", "Highway", "Embedding"],
)
def test_layers_without_a_seed_differ_and_are_reproducible(make: Any) -> None:
    x = [[0, 1, 2]] if isinstance(make(), nn.Embedding) else np.ones((1, 3), "float32")

    def weights() -> list[Any]:
        layers = [make(), make()]
        for layer in reversed(layers):  # the order of the first calls does not matter
            layer(x)
        return [layer.parameters()[0].numpy().copy() for layer in layers]

    gd.random.seed(3)
    one, two = weights()
    assert not (one == two).any()
    gd.random.seed(3)
    np.testing.assert_array_equal(weights(), [one, two])
    gd.random.seed(4)
    assert not (weights()[0] == one).any()


@pytest.mark.parametrize("number", [-1, 0.5, "0"])
def test_a_seed_is_an_integer(number: Any) -> None:
    expected = nn.Linear(2, in_features=2).weight.numpy()
    gd.random.seed()
    with pytest.raises(gd.GraphDiffError, match="non-negative integer"):
        gd.random.seed(number)
    np.testing.assert_array_equal(nn.Linear(2, in_features=2).weight.numpy(), expected)  # nothing was changed


def test_blocks_within_blocks_differ() -> None:
    def block() -> nn.Sequential:
        return nn.Sequential(nn.Linear(3, in_features=3), nn.Activation("relu"))

    first, second = nn.Sequential(block(), block()).parameters()[::2]
    assert not (first.numpy() == second.numpy()).any()


def test_weights_and_biases_are_drawn_apart() -> None:
    layer = nn.Linear(4, in_features=1, init="glorot_normal", bias_init="normal", seed=0)
    ratios = layer.bias.numpy() / layer.weight.numpy()[0]
    assert np.ptp(ratios) > 1e-3


def test_every_run_of_a_program_begins_with_the_same_weights() -> None:
    program = "import graphdiff as gd; gd.nn.Linear(2); print(gd.nn.Linear(2, in_features=2).weight.tolist())"
    gd.nn.Linear(2)
    here = gd.nn.Linear(2, in_features=2).weight.tolist()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == f"{here}\n", done.stderr


# BatchNorm


def test_running_statistics_tend_to_the_data() -> None:
    stream = np.random.default_rng(0)
    layer = nn.BatchNorm(2, momentum=0.02, **F64)
    run = gd.compile(layer)
    for _ in range(600):
        run(stream.normal([1.0, -2.0], [0.5, 3.0], size=(50, 2)))
    np.testing.assert_allclose(layer.running_mean.numpy(), [1, -2], atol=0.25)
    np.testing.assert_allclose(layer.running_variance.numpy(), [0.25, 9], rtol=0.1)
    out = layer.eval()(stream.normal([1.0, -2.0], [0.5, 3.0], size=(5000, 2))).numpy()
    np.testing.assert_allclose(out.mean(0), 0, atol=0.1)
    np.testing.assert_allclose(out.std(0), 1, atol=0.1)


def test_state_has_running_statistics() -> None:
    model = nn.Sequential(nn.Linear(3, in_features=4, **F64), nn.BatchNorm(3, **F64))
    assert len(model.parameters()) == 4
    assert [path for path, _ in model.named_buffers()] == ["layers.1.running_mean", "layers.1.running_variance"]
    model(X)
    twin = nn.Sequential(nn.Linear(3, in_features=4, seed=9, **F64), nn.BatchNorm(3, **F64))
    twin.load_state(model.state())
    np.testing.assert_array_equal(twin.eval()(X).numpy(), model.eval()(X).numpy())
    state = model.state()
    del state["layers.1.running_mean"]
    with pytest.raises(GraphError, match="running_mean"):
        twin.load_state(state)


def test_a_single_example_leaves_running_statistics_alone() -> None:
    layer = nn.BatchNorm(4, **F64)
    np.testing.assert_array_equal(layer(X[:1]).numpy(), 0)
    assert layer.running_mean.tolist() == [0.0] * 4
    assert layer.running_variance.tolist() == [1.0] * 4


def test_graphs_on_placeholders_leave_running_statistics_alone() -> None:
    layer, x = nn.BatchNorm(4, **F64), gd.placeholder((6, 4))
    out = layer(x)
    np.testing.assert_allclose(gd.Graph(out).evaluate({x: X}), layer(X).numpy(), rtol=1e-12)


def test_batch_norm_of_more_axes() -> None:
    x = np.random.default_rng(0).normal(size=(3, 5, 4))
    layer = nn.BatchNorm(4, **F64)
    flat = nn.BatchNorm(4, **F64)
    np.testing.assert_allclose(layer(x).numpy().reshape(15, 4), flat(x.reshape(15, 4)).numpy(), rtol=1e-12)


def test_batch_norm_of_one_example_in_evaluation() -> None:
    layer = nn.BatchNorm(4, **F64)
    layer(X)
    expected = layer.eval()(X).numpy()
    np.testing.assert_allclose(layer(X[0]).numpy(), expected[0], rtol=1e-12)
    np.testing.assert_allclose(gd.vmap(layer)(X).numpy(), expected, rtol=1e-12)


# Others


def test_maxout() -> None:
    layer = nn.Maxout(2, 3, in_features=4, **F64)
    weight, bias = layer.parameters()
    bias.assign(np.arange(6.0))
    pieces = (X @ weight.numpy() + np.arange(6.0)).reshape(6, 2, 3)
    np.testing.assert_allclose(layer(X).numpy(), pieces.max(-1), rtol=1e-12)


def test_highway() -> None:
    layer = nn.Highway(4, "tanh", seed=3, **F64)
    transform, gate = (X @ part.weight.numpy() + part.bias.numpy() for part in (layer.transform, layer.gate))
    share = 1 / (1 + np.exp(-gate))
    np.testing.assert_allclose(layer(X).numpy(), share * np.tanh(transform) + (1 - share) * X, rtol=1e-12)
    assert layer.gate.bias.tolist() == [-2.0] * 4
    assert not np.array_equal(layer.gate.weight.numpy(), layer.transform.weight.numpy())


def test_residual() -> None:
    layer = nn.Residual(nn.Linear(4, in_features=4, **F64), nn.Activation("relu"))
    weight = layer.parameters()[0].numpy()
    np.testing.assert_allclose(layer(X).numpy(), X + np.maximum(X @ weight, 0), rtol=1e-12)
    assert [path for path, _ in layer.named_parameters()] == ["inner.layers.0.weight", "inner.layers.0.bias"]


def test_embedding() -> None:
    layer = nn.Embedding(5, 3, seed=1, **F64)
    table, chosen = layer.weight.numpy(), np.array([[0, 4], [4, 2]])
    np.testing.assert_array_equal(layer(chosen).numpy(), table[chosen])
    np.testing.assert_array_equal(gd.compile(layer)(chosen).numpy(), table[chosen])
    gd.sum(layer(chosen)).backward()
    np.testing.assert_array_equal(layer.weight.grad[:, 0], [1, 0, 1, 0, 2])
    assert copy.deepcopy(layer)(chosen).shape == (2, 2, 3)


def test_named_modules() -> None:
    model = nn.Sequential(nn.Residual(nn.Linear(4, in_features=4)), nn.Activation("relu"))
    paths = ["", "layers.0", "layers.0.inner", "layers.0.inner.layers.0", "layers.1"]
    assert [path for path, _ in model.named_modules()] == paths


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.Linear(3, in_features=5)(X), ShapeError, r"linear layer of 5 inputs .*float64\[6, 4\]"),
        (lambda: nn.BatchNorm(3)(X), ShapeError, r"batch normalisation of 3 features .*float64\[6, 4\]"),
        (lambda: nn.BatchNorm()(X[0]), ShapeError, r"batch normalisation takes \(examples, …, features\)"),
        (lambda: nn.BatchNorm()(X[:0]), ShapeError, "no statistics"),
        (lambda: nn.BatchNorm()(np.ones((2, 2), int)), DTypeError, r"batch normalisation .*int64\[2, 2\]"),
        (lambda: nn.BatchNorm(momentum=2), OpError, "momentum"),
        (lambda: nn.BatchNorm().parameters(), GraphError, "batch normalisation without features"),
        (lambda: nn.Highway().state(), GraphError, "highway layer without width"),
        (lambda: nn.LayerNorm(3)(X), ShapeError, "layer normalisation of 3 features"),
        (lambda: nn.LayerNorm(eps=-1), OpError, "eps"),
        (lambda: nn.Dropout(1.5), OpError, "probability"),
        (lambda: nn.Dropout(0.5)(np.ones(3, int)), DTypeError, "dropout takes real"),
        (lambda: nn.PReLU(3)(X), ShapeError, "PReLU of 3 features"),
        (lambda: nn.PReLU(0), ShapeError, "PReLU"),
        (lambda: nn.Maxout(0), ShapeError, "Maxout: out_features"),
        (lambda: nn.Maxout(2, in_features=3)(X), ShapeError, "3 inputs"),
        (lambda: nn.Highway(3)(X), ShapeError, "highway layer of width 3"),
        (lambda: nn.Residual(nn.Linear(3))(X), ShapeError, r"residual .*shortcut=gd.nn.Linear"),
        (lambda: nn.Flatten()(1.0), ShapeError, "flatten"),
        (lambda: nn.Embedding(5, 2)(X), DTypeError, "embedding picks rows by integers"),
        (lambda: nn.Embedding(5, 2)([0, 5]), DataError, r"embedding of 5 rows"),
        (lambda: nn.Embedding(5, 2)([-1]), DataError, r"embedding of 5 rows"),
        (lambda: nn.Embedding(0, 2), ShapeError, "Embedding: count is an integer that is at least 1"),
        (lambda: nn.Activation("relu", slope=1), OpError, "relu takes no options, not slope"),
        (lambda: nn.Activation("swish"), OpError, "swish"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()

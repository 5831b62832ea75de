"""ONNX files, run by onnxruntime."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphdiff as gd

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

nn = gd.nn
X = np.random.default_rng(3).normal(size=(7, 5)).astype("float32") * 2


def ran(path: Path, inputs: Any) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": inputs})[0]


def normalised() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm(4), nn.Dropout(0.5), nn.Linear(2, 4))
    for _ in range(3):
        model(X)
    return model


MODELS = {
    **{
        f"MLP {name}": nn.MLP([6, 4, 3], name, in_features=5)
        for name in ("relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "elu")
    },
    **{f"MLP {name}": nn.MLP([6, 3], name, in_features=5) for name in ("leaky_relu", "softplus", "hard_tanh")},
    "softmax": nn.Sequential(nn.Linear(3, 5), nn.Activation("softmax")),
    "log_softmax": nn.Sequential(nn.Linear(3, 5), nn.Activation("log_softmax")),
    "options": nn.Sequential(nn.Activation("elu", alpha=0.3), nn.Activation("leaky_relu", slope=0.2)),
    "batch normalisation and dropout": normalised(),
    "layer normalisation": nn.Sequential(nn.LayerNorm(5), nn.PReLU(5)),
    "maxout": nn.Sequential(nn.Maxout(3, 4, 5), nn.PReLU()),
    "residual": nn.Residual(nn.Linear(6, 5), nn.Activation("tanh"), shortcut=nn.Linear(6, 5, bias=False)),
    "highway": nn.Sequential(nn.Highway(5), nn.Highway(5, "tanh")),
}


@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_computes_what_the_model_does(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    path = gd.train.export_onnx(model, tmp_path / "m.onnx", 5)
    training = model.training
    expected = model.eval()(X).numpy()
    model.train(training)
    for rows in (7, 1):  # any size of batch
        got = ran(path, X[:rows])
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected[:rows], rtol=1e-6, atol=1e-6)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


def test_exporting_leaves_the_model_as_it_is(tmp_path: Path) -> None:
    model = normalised()
    before = model.state()
    gd.train.export_onnx(model, tmp_path / "m.onnx", (5,))
    assert model.training
    assert all(np.array_equal(value, before[name]) for name, value in model.state().items())


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    file = onnx.load(gd.train.export_onnx(nn.MLP([4, 2], in_features=5), tmp_path / "m.onnx", 5))
    assert file.opset_import[0].version == gd.train.onnx.OPSET
    assert [item.name for item in file.graph.initializer] == [
        *("layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"),
    ]
    assert [node.op_type for node in file.graph.node] == ["MatMul", "Add", "Relu", "MatMul", "Add", "Identity"]
    for value, width in ((file.graph.input[0], 5), (file.graph.output[0], 2)):
        axes = value.type.tensor_type.shape.dim
        assert (axes[0].dim_param, axes[1].dim_value) == ("batch", width)


def test_examples_of_several_axes_and_integers(tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(6, 4, 3)).astype("float32")
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 12))
    path = gd.train.export_onnx(model, tmp_path / "images.onnx", (4, 3))
    np.testing.assert_allclose(ran(path, images), model(images).numpy(), rtol=1e-6, atol=1e-6)
    words = np.array([[1, 2, 0], [3, 3, 4]])
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(2, 12))
    path = gd.train.export_onnx(model, tmp_path / "words.onnx", 3, dtype="int64")
    np.testing.assert_allclose(ran(path, words), model(words).numpy(), rtol=1e-6, atol=1e-6)
    assert np.isnan(ran(path, words - 1)).all()  # -1 is no row of an embedding, and no last one


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(3, 4),
        nn.MLP([8, 3], in_features=4),
        nn.Sequential(nn.Activation("tanh"), nn.Residual(nn.Linear(4, 4)), nn.Flatten()),
        nn.Maxout(2, in_features=4),
    ],
)
def test_the_first_layers_width_is_the_inputs(model: nn.Module, tmp_path: Path) -> None:
    told = gd.train.export_onnx(model, tmp_path / "told.onnx", 4)
    assert gd.train.export_onnx(model, tmp_path / "found.onnx").read_bytes() == told.read_bytes()


def test_double_precision(tmp_path: Path) -> None:
    model = nn.MLP([6, 3], "tanh", in_features=5, dtype="float64")
    inputs = X.astype("float64")
    path = gd.train.export_onnx(model, tmp_path / "m.onnx", 5, dtype="float64")
    np.testing.assert_allclose(ran(path, inputs), model(inputs).numpy(), rtol=1e-12)
    # Single-precision inputs are cast where they meet the weights, as NumPy does.
    path = gd.train.export_onnx(model, tmp_path / "m.onnx", 5)
    np.testing.assert_allclose(ran(path, X), model(X).numpy(), rtol=1e-12)


def test_other_ops_of_a_users_own_module(tmp_path: Path) -> None:
    class Own(nn.Module):
        def forward(self, x: Any) -> Any:
            norm = gd.sqrt(gd.sum(x * x, axis=1, keepdims=True)) + 0.0
            pieces = gd.concatenate([gd.where(x > 0, gd.log1p(0.0) + x**2, gd.sin(x)), gd.clip(x, -1, 0.5)], axis=1)
            return gd.logsumexp(pieces / norm, axis=1) + gd.max(x, axis=1) - gd.min(gd.mean(x, axis=1, keepdims=True))

    class Transposed(nn.Module):
        def forward(self, x: Any) -> Any:
            return gd.permute_dims(gd.square(x), (0, 2, 1)).astype("float64")

    images = np.abs(X).reshape(7, 5, 1)
    path = gd.train.export_onnx(Transposed(), tmp_path / "t.onnx", (5, 1))
    np.testing.assert_allclose(ran(path, images), Transposed()(images).numpy(), rtol=1e-6)
    path = gd.train.export_onnx(Own(), tmp_path / "m.onnx", 5)
    np.testing.assert_allclose(ran(path, X), Own()(X).numpy(), rtol=1e-5, atol=1e-6)


def test_scalers_are_part_of_the_file(tmp_path: Path) -> None:
    rows = X * [1, 10, 100, 1, 1] + [0, 1000, 0, 0, 5]
    model = nn.MLP([6, 2], in_features=5)
    saved = gd.train.Saved(
        model,
        gd.train.Standardise([0, 1, 2]).fit(rows),
        ["a", "b", "c", "d", "ü"],
        ["no", "yes"],
        gd.train.MinMax().fit(rows[:, :2]),
    )
    path = gd.train.export_onnx(saved, tmp_path / "m.onnx")
    inputs = rows.astype("float32")
    np.testing.assert_allclose(ran(path, inputs), saved(inputs), rtol=1e-6, atol=1e-6)
    facts = {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}
    assert facts == {"columns": ["a", "b", "c", "d", "ü"], "classes": ["no", "yes"]}
    with pytest.raises(gd.errors.ShapeError, match="scaler is of 5 columns"):
        gd.train.export_onnx(saved, tmp_path / "m.onnx", 4)


def saved_of(offset: float, *, target: bool) -> Any:
    """Return a model of a column, or of a target, of large numbers that differ little, and its inputs."""
    large = offset + np.arange(60.0)
    small = np.random.default_rng(0).normal(size=60)
    rows = np.stack([small, small if target else large], axis=1)
    scaled = gd.train.Standardise().fit(rows)
    predicted = gd.train.Standardise().fit((large if target else small)[:, None])
    model = nn.MLP([8, 1], "tanh", in_features=2, seed=0)
    return gd.train.Saved(model, scaled, ["a", "t"], None, predicted), rows


def test_columns_of_large_numbers_are_taken_as_double(tmp_path: Path) -> None:
    saved, rows = saved_of(1_700_000_000, target=False)
    path = gd.train.export_onnx(saved, tmp_path / "m.onnx")
    got = ran(path, rows)
    np.testing.assert_allclose(got, saved(rows), rtol=1e-6, atol=1e-6)
    assert len(np.unique(got)) == 60
    with pytest.raises(gd.errors.DTypeError, match=r"float32 would blur column 't'.*give dtype='float64'"):
        gd.train.export_onnx(saved, tmp_path / "m.onnx", dtype="float32")
    nameless = gd.train.Saved(saved.model, saved.scaler)
    with pytest.raises(gd.errors.DTypeError, match=r"float32 would blur column 1,"):
        gd.train.export_onnx(nameless, tmp_path / "m.onnx", dtype="float32")
    scaler = gd.train.MinMax().fit(rows)
    path = gd.train.export_onnx(gd.train.Saved(saved.model, scaler), tmp_path / "m.onnx")
    np.testing.assert_allclose(ran(path, rows), saved.model(scaler.transform(rows)).numpy(), rtol=1e-6, atol=1e-6)
    few, rows = saved_of(1000, target=False)  # which float32 tells apart
    path = gd.train.export_onnx(few, tmp_path / "m.onnx")
    np.testing.assert_allclose(ran(path, rows.astype("float32")), few(rows), rtol=1e-4, atol=1e-4)


def test_targets_of_large_numbers_are_double(tmp_path: Path) -> None:
    saved, rows = saved_of(1_700_000_000, target=True)
    inputs = rows.astype("float32")
    scaler = saved.target_scaler
    exact = saved.model(saved.scaler.transform(inputs)).numpy().astype("float64") * scaler.scale + scaler.shift
    np.testing.assert_allclose(saved(inputs), exact, rtol=1e-15)
    path = gd.train.export_onnx(saved, tmp_path / "m.onnx")
    np.testing.assert_allclose(ran(path, inputs) - 1_700_000_000, exact - 1_700_000_000, rtol=1e-4, atol=1e-4)


class Sized(nn.Module):
    """Makes something of the size of the batch."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def forward(self, x: Any) -> Any:
        return self.make(x, x.shape[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda x, n: x / n,
        lambda x, n: x * np.log(n),
        lambda x, n: x + 1 / n,
        lambda x, n: gd.sum(x, axis=0, keepdims=True) / float(n) + x,
        lambda x, n: x if n > 2 else x + 1,
        lambda x, n: x if n > 5 else gd.exp(x),
        lambda x, n: gd.sin(x) if n == 1 else x * 1,
        lambda x, n: x * 2 if n >= 1000 else x * 3,
        lambda x, n: x * min(n, 64),
        lambda x, n: x * max(n, 70),
        lambda x, n: x**n,
        lambda x, n: gd.clip(x, -n, n),
        lambda x, n: gd.concatenate([x, gd.full((n, 1), float(n), dtype="float32")], axis=1),
        lambda x, n: gd.reshape(x, (n, 5)) if n < 100 else gd.reshape(x, (n, 5, 1)),
        lambda x, n: x + np.arange(n, dtype="float32")[:, None],
        lambda x, n: gd.reshape(gd.sum(x, axis=0), (1, 5) if n < 50 else (5, 1)),
    ],
)
def test_numbers_made_of_the_size_of_the_batch_are_refused(make: Any, tmp_path: Path) -> None:
    with pytest.raises(gd.errors.OpError, match=r"batch|rows"):
        gd.train.export_onnx(Sized(make), tmp_path / "m.onnx", 5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "make",
    [
        lambda x, n: gd.reshape(x, (n, 5, 1)) * 2,
        lambda x, n: gd.reshape(x, (5 * n,)) + 1,
        lambda x, n: x - gd.mean(x, axis=0, keepdims=True),
        lambda x, n: gd.mean(x * 2, axis=1) if n else x,
    ],
)
def test_what_any_size_of_batch_has_alike_is_written(make: Any, tmp_path: Path) -> None:
    path = gd.train.export_onnx(Sized(make), tmp_path / "m.onnx", 5)
    for rows in (1, 2, 7):
        np.testing.assert_allclose(ran(path, X[:rows]), Sized(make)(X[:rows]).numpy(), rtol=1e-5, atol=1e-6)


class Two(nn.Module):
    def __init__(self) -> None:
        self.first, self.last = nn.Linear(4, 5), nn.Linear(2, 7)

    def forward(self, images: Any, facts: Any) -> Any:
        return self.last(gd.concatenate([gd.tanh(self.first(images)), facts], axis=1))


@pytest.mark.parametrize("shapes", [((5,), (3,)), [5, (3,)], {"facts": 3, "images": 5}])
def test_models_of_several_inputs(shapes: Any, tmp_path: Path) -> None:
    model, facts = Two(), X[:, :3] * 0.5
    path = gd.train.export_onnx(model, tmp_path / "m.onnx", shapes)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(["output"], {"images": X, "facts": facts})[0]
    np.testing.assert_allclose(got, model(X, facts).numpy(), rtol=1e-6, atol=1e-6)
    for given in (None, 5, ((5,), (3,), (1,)), {"images": 5, "words": 3}):
        with pytest.raises(gd.errors.OpError, match=r"X is .* array.*, and Two is called as Two\(images"):
            gd.train.export_onnx(model, tmp_path / "m.onnx", given)
    scaler = gd.train.Standardise().fit(X)
    with pytest.raises(gd.errors.ShapeError, match="scaler is of one input, not of 2"):
        gd.train.export_onnx(gd.train.Saved(model, scaler), tmp_path / "m.onnx", ((5,), (3,)))


class Unknown(nn.Module):
    def forward(self, x: Any) -> Any:
        return gd.cumsum(x, axis=1)


class Counting(nn.Module):
    def forward(self, x: Any) -> Any:
        return gd.sum(x, axis=0) / len(x) + gd.ones((len(x), 1), dtype="float32")


class Branching(nn.Module):
    def forward(self, x: Any) -> Any:
        return gd.exp(x) if len(x) % 2 else gd.sin(x)


class Sliced(nn.Module):
    def forward(self, x: Any) -> Any:
        return x[:, 1:]


def test_what_cannot_be_exported_is_named_and_leaves_the_file_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"before")
    errors = gd.errors
    for model, shape, error, message in [
        (nn.Sequential(nn.Linear(5, 5), Unknown()), 5, errors.OpError, "the op 'cumsum', used in layer 'unknown1'"),
        (Counting(), 5, errors.OpError, "depends on the batch"),
        (Branching(), 5, errors.OpError, "something else for another size of batch"),
        (Sliced(), 5, errors.OpError, "x.integers. only"),
        (nn.Linear(3), 5, errors.GraphError, "before its first call"),
        (nn.Linear(3, 4), 5, errors.ShapeError, "a linear layer of 4 inputs was given"),
        (nn.Linear(3), None, errors.GraphError, "give input_shape"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3, 4)), None, errors.GraphError, "give input_shape"),
        (nn.Sequential(nn.Embedding(9, 4), nn.Linear(3, 4)), None, errors.GraphError, "give input_shape"),
    ]:
        with pytest.raises(error, match=message):
            gd.train.export_onnx(model, path, shape)
    assert path.read_bytes() == b"before"
    with pytest.raises(errors.DataError, match="cannot write"):
        gd.train.export_onnx(nn.Linear(3, 4), tmp_path / "none" / "m.onnx", 4)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'graphdiff\[onnx\]'"):
        gd.train.export_onnx(nn.Linear(3, 4), path, 4)

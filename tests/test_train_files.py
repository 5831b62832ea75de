"""Models in files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.files.tensorfile import pack
from graphdiff.train.files import module_config

X = np.random.default_rng(5).normal(size=(7, 3))


class Twice(gd.nn.Module):
    """A module of a user's: it declares what it is made of."""

    def __init__(self, inner: gd.nn.Module, factor: float = 2.0) -> None:
        self.inner, self.factor = inner, factor

    def forward(self, x: Any) -> Any:
        return self.factor * self.inner(x)

    def config(self) -> dict[str, Any]:
        return {"inner": self.inner, "factor": self.factor}


class Silent(gd.nn.Module):
    def forward(self, x: Any) -> Any:
        return x


def _called(*layers: gd.nn.Module) -> gd.nn.Module:
    """Return layers that have found their sizes, and BatchNorm its statistics, in one call of a batch."""
    model = gd.nn.Sequential(*layers)
    model(3 * X + 1)
    return model.eval()


@pytest.mark.parametrize(
    "model",
    [
        _called(gd.nn.Linear(2, 3), gd.nn.BatchNorm(momentum=0.5), gd.nn.Dropout(0.25), gd.nn.PReLU(2)),
        _called(gd.nn.LayerNorm(eps=0.5, affine=False, dtype="float64"), gd.nn.Flatten(), gd.nn.Maxout(2, 4)),
        _called(gd.nn.Highway(activation="tanh"), gd.nn.Residual(gd.nn.Linear(2), shortcut=gd.nn.Linear(2))),
        _called(gd.nn.Residual(gd.nn.Linear(3), gd.nn.Activation("gelu")), gd.nn.Linear(2)),
        gd.nn.Linear(2, in_features=3),
        gd.nn.Linear(2, in_features=3, bias=False, dtype="float64"),
        gd.nn.MLP([4, 5, 2], "gelu", in_features=3, seed=9),
        gd.nn.Sequential(gd.nn.Linear(2, 3), gd.nn.Activation("tanh"), gd.nn.Sequential(gd.nn.Linear(1, 2))),
        Twice(gd.nn.MLP([4], in_features=3), 3.0),
    ],
)
def test_models_come_back_as_they_were(model: gd.nn.Module, tmp_path: Path) -> None:
    scaler = gd.train.Standardise([0, 2]).fit(X)
    target_scaler = gd.train.MinMax().fit(np.arange(4.0).reshape(2, 2) if model(X).shape[1] == 2 else X[:, :1])
    if model(X).shape[1] == 4:
        target_scaler = gd.train.MinMax().fit(X @ np.ones((3, 4)))
    columns = [{"name": "a"}, {"name": "ü", "categories": ["x", "y"]}, {"name": "c"}]
    path = gd.train.save(
        model, tmp_path / "m.safetensors", scaler=scaler, target_scaler=target_scaler, columns=columns, classes=[1, "b"]
    )
    saved = gd.train.load(path)
    assert type(saved.model) is type(model)
    assert [p.dtype for p in saved.model.parameters()] == [p.dtype for p in model.parameters()]
    assert np.array_equal(saved.model(X).numpy(), model(X).numpy())
    assert (saved.columns, saved.classes) == (columns, [1, "b"])
    assert np.array_equal(saved(X), target_scaler.inverse(model(scaler.transform(X)).numpy()))
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]
    assert module_config(saved.model) == module_config(model)


def test_many_rows_are_predicted_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Noting(gd.nn.Module):
        def forward(self, x: Any) -> Any:
            sizes.append(len(x))
            return gd.multiply(x, 2.0)

    saved = gd.train.files.Saved(Noting(), target_scaler=gd.train.Standardise().fit(X))
    whole = saved(X)
    monkeypatch.setattr(gd.train.measures, "BLOCK_ROWS", 3)
    np.testing.assert_array_equal(saved(X), whole)
    np.testing.assert_array_equal(saved(X.tolist()), whole)
    assert sizes == [7, 3, 3, 1, 3, 3, 1]


class Frame:
    """What there is of a DataFrame's ways here."""

    def __init__(self, **columns: Any) -> None:
        self.columns = list(columns)
        self._values = np.column_stack(list(columns.values()))

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self._values if dtype is None else self._values.astype(dtype)


def test_a_table_has_the_columns_of_the_model(tmp_path: Path) -> None:
    model = gd.nn.Linear(1, in_features=2)
    for columns in (["a", "b"], [{"name": "a", "kind": "numeric"}, {"name": "b", "kind": "numeric"}]):
        saved = gd.train.load(gd.train.save(model, tmp_path / "m", columns=columns))
        np.testing.assert_array_equal(saved(Frame(a=X[:, 0], b=X[:, 1])), saved(X[:, :2]))
        for wrong in (Frame(b=X[:, 1], a=X[:, 0]), Frame(a=X[:, 0], c=X[:, 1])):
            with pytest.raises(gd.errors.DataError, match=r"inputs are 'a', 'b', in this order, and X has"):
                saved(wrong)
    kinds: list[Any] = [{"name": "a", "kind": "categorical", "categories": ["x"]}, {"name": "b", "kind": "numeric"}]
    saved = gd.train.load(gd.train.save(model, tmp_path / "m", columns=kinds))
    assert saved(Frame(a_x=X[:, 0], b=X[:, 1])).shape == (7, 1)
    with pytest.raises(gd.errors.DataError, match="in this order"):
        saved(Frame(b=X[:, 1], a_x=X[:, 0]))
    unnamed = gd.train.load(gd.train.save(model, tmp_path / "m"))
    assert unnamed(Frame(b=X[:, 1], a=X[:, 0])).shape == (7, 1)


@pytest.mark.parametrize("scaled", [False, True])
def test_texts_are_refused(scaled: bool, tmp_path: Path) -> None:
    scaler = gd.train.Standardise().fit(X[:, :2]) if scaled else None
    saved = gd.train.load(gd.train.save(gd.nn.Linear(1, in_features=2), tmp_path / "m", scaler=scaler))
    for texts in ([["1", "2"]], np.array([[b"1", b"2"]])):
        with pytest.raises(gd.errors.DataError, match="X is text, and a network takes numbers"):
            saved(texts)
    with pytest.raises(gd.errors.DataError, match="X has 'red' in row 0, column 0"):
        saved(np.array([["red", 2.0]], dtype=object))
    with pytest.raises(gd.errors.DataError, match="X is text, and a scaler takes real numbers"):
        gd.train.Standardise().fit(X).transform([["1", "2", "3"]])


def test_files_without_a_checksum_are_read_and_others_checked(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    path = gd.train.save(gd.nn.Linear(1, 2), tmp_path / "m", notes={"ü": [1e300, "\n"]})
    with safe_open(path, "np") as opened:
        facts = json.loads(opened.metadata()["graphdiff"])
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    before = gd.train.load(path)
    save_file(arrays, path, {"graphdiff": json.dumps(facts)})
    np.testing.assert_array_equal(gd.train.load(path)([[1.0, 2.0]]), before([[1.0, 2.0]]))
    arrays["weight"] = arrays["weight"] + 1e-6
    save_file(arrays, path, {"graphdiff": json.dumps(facts)})
    with pytest.raises(gd.errors.DataError, match="m is damaged: its checksum"):
        gd.train.load(path)
    del facts["checksum"]  # as files of earlier versions
    save_file(arrays, path, {"graphdiff": json.dumps(facts)})
    assert gd.train.load(path).notes == {"ü": [1e300, "\n"]}


def test_an_embedding_comes_back(tmp_path: Path) -> None:
    layer = gd.nn.Embedding(5, 2)
    saved = gd.train.load(gd.train.save(layer, tmp_path / "m"))
    np.testing.assert_array_equal(saved.model([0, 4]).numpy(), layer.weight.numpy()[[0, 4]])


def test_layers_without_sizes_are_not_saved(tmp_path: Path) -> None:
    for layer in (gd.nn.BatchNorm(), gd.nn.Highway(), gd.nn.Maxout(2)):
        with pytest.raises(gd.errors.GraphError, match="before its first call"):
            gd.train.save(layer, tmp_path / "m")


def test_what_cannot_be_saved_leaves_the_file_before(tmp_path: Path) -> None:
    path = gd.train.save(gd.nn.Linear(1, 2), tmp_path / "m")
    before = path.read_bytes()
    for model, options, error, message in [
        (Silent(), {}, gd.errors.GraphError, "Silent does not declare config"),
        (gd.nn.Linear(1), {}, gd.errors.GraphError, "before its first call"),
        (gd.nn.Linear(1, 1), {"classes": [object()]}, gd.errors.DataError, "only text, numbers"),
        (gd.nn.Linear(1, 1), {"scaler": gd.train.MinMax()}, gd.errors.DataError, "not been fitted"),
    ]:
        with pytest.raises(error, match=message):
            gd.train.save(model, path, **options)  # type: ignore[arg-type]
    assert path.read_bytes() == before
    with pytest.raises(gd.errors.DataError, match=r"cannot write .*nowhere/m"):
        gd.train.save(gd.nn.Linear(1, 2), tmp_path / "nowhere" / "m")


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = gd.train.save(gd.nn.Linear(1, 2), tmp_path / "m")
    good = path.read_bytes()
    for length in [*range(0, 64, 7), len(good) // 2, len(good) - 1]:
        path.write_bytes(good[:length])
        with pytest.raises(gd.errors.DataError, match=r"/m is truncated or no model"):
            gd.train.load(path)
    with pytest.raises(gd.errors.DataError, match=r"there is no file .*/none"):
        gd.train.load(tmp_path / "none")
    with pytest.raises(gd.errors.DataError, match="cannot read"):
        gd.train.load(tmp_path)
    save_file({"a": np.zeros(2)}, path)
    with pytest.raises(gd.errors.DataError, match=r"/m is a safetensors file of another program"):
        gd.train.load(path)
    path.write_bytes(pack("checkpoint", {}, {}))
    with pytest.raises(gd.errors.DataError, match=r"/m is a graphdiff checkpoint, not a graphdiff model"):
        gd.train.load(path)
    linear: dict[str, Any] = {"out_features": 1, "in_features": 2}
    rest = {"scaler": None, "target_scaler": None, "columns": None, "classes": None, "notes": {}}
    for facts in [
        {},
        {"architecture": {"class": "Nothing", "config": {}}, **rest},
        {"architecture": {"class": "Linear", "config": {"sizes": 3}}, **rest},
        {"architecture": {"class": "Linear", "config": linear}, **rest},
        {"architecture": [], **rest},
    ]:
        path.write_bytes(pack("model", {}, facts))
        with pytest.raises(gd.errors.DataError, match=r"/m is no model that can be read"):
            gd.train.load(path)

"""Files that are damaged, or made to do harm: each ends in a DataError that names it, or in a right result."""

import contextlib
import json
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save as safetensors_bytes

import graphdiff as gd
from graphdiff.errors import DataError
from graphdiff.files.tensorfile import pack
from graphdiff.train.tabular.tables import read_table

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
TEXTS = ["x", "yy"] * 6
Content = dict[str, Any]


def model_file(path: Path) -> Callable[[], Content]:
    model = gd.nn.Sequential(gd.nn.Linear(4, 3), gd.nn.BatchNorm(4), gd.nn.Activation("tanh"), gd.nn.Linear(2, 4))
    gd.train.save(model, path, scaler=gd.train.Standardise().fit(X), columns=["a", "b", "c"], classes=[1, "y"])

    def read() -> Content:
        saved = gd.train.load(path)
        return {"output": saved(X).tolist(), "columns": saved.columns, "classes": saved.classes, "notes": saved.notes}

    return read


def checkpoint_file(path: Path) -> Callable[[], Content]:
    def train(epochs: int, resume: bool) -> Content:
        model = gd.nn.Linear(2, in_features=3, seed=0)
        optimizer = gd.optim.Adam(model.parameters(), lr=0.01)
        options: Any = {"validation": 0.3, "early_stopping": 5, "progress": False, "compiled": False}
        options |= {"checkpoint": path, "resume": resume, "epochs": epochs}
        history = gd.train.fit(model, gd.nn.squared_error, (X, X[:, :2]), optimizer, **options)
        return {"history": list(history), **{name: value.tolist() for name, value in model.state().items()}}

    train(2, resume=False)
    return lambda: train(3, resume=True)


def table_file(path: Path) -> Callable[[], Content]:
    columns = {"a": X[:, 0], "t": np.array(TEXTS), "n": np.arange(12)}
    if path.suffix == ".npz":
        (np.savez_compressed if path.stem == "small" else np.savez)(path, **columns)
    elif path.suffix == ".parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        compression = "zstd" if path.stem == "small" else "snappy"
        table = arrow.table({name: values.tolist() for name, values in columns.items()})
        parquet.write_table(table, path, compression=compression, write_page_checksum=True)
    else:
        rows = [f'{a:.3f},"{t}\n",{n}' for a, t, n in zip(*columns.values())]
        path.write_bytes("\n".join(["a,t,n", *rows]).encode("utf-16" if path.stem == "wide" else "utf-8"))

    def read() -> Content:
        table = read_table(path)
        return {name: list(map(str, values)) for name, values in table.columns.items()}

    return read


MADE = {"model": model_file, "checkpoint": checkpoint_file}
CHECKED = ["model.safetensors", "checkpoint.safetensors", "d.npz", "small.npz"]
"""Files that have checksums: what is damaged in them is found, or does not matter."""


def damaged(good: bytes, stream: np.random.Generator) -> Iterator[bytes]:
    """Yield a file cut short, and with bytes changed."""
    lengths = range(len(good))
    for length in stream.choice(lengths, 40, replace=False):
        yield good[:length]
    for _ in range(160):
        changed = bytearray(good)
        place = int(stream.integers(len(good)))
        if stream.random() < 0.3:
            changed[place : place + 4] = stream.choice([b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"[[[["])
        else:
            changed[place] ^= int(stream.integers(1, 256))
        yield bytes(changed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", [*CHECKED, "d.parquet", "small.parquet", "d.csv", "wide.csv"])
def test_damage_is_told_or_does_not_matter(name: str, seed: int, tmp_path: Path) -> None:
    path = tmp_path / name
    read = MADE.get(path.stem, table_file)(path)
    good = path.read_bytes()
    expected = read()
    told = 0
    for content in damaged(good, np.random.default_rng(seed)):
        path.write_bytes(content)
        try:
            found = read()
        except DataError as error:
            told += name in str(error)
            continue
        if name in CHECKED and content != good:
            assert json.dumps(found) == json.dumps(expected)
    assert told > 5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["d.npz", "small.npz"])
def test_no_bit_hides_an_array(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    read = table_file(path)
    good, expected = path.read_bytes(), read()
    directory = good.rindex(b"PK\1\2", 0, good.rindex(b"PK\1\2") - 60)  # the entries of the archive's directory
    for place in range(directory, len(good)):
        for bit in (0, 6):
            changed = bytearray(good)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            with contextlib.suppress(DataError):
                assert read() == expected


def peak_of(action: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds and bytes that something takes which ends in a DataError."""
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with pytest.raises(DataError):
            action()
        return time.perf_counter() - started, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def nested(depth: int) -> Any:
    inner: Any = {"class": "Linear", "config": {"out_features": 1, "in_features": 1}}
    for _ in range(depth):
        inner = {"class": "Sequential", "config": {"layers": [inner]}}
    return inner


REST = {"scaler": None, "target_scaler": None, "columns": None, "classes": None, "notes": {}}
LARGE = {"out_features": 20_000, "in_features": 20_000}


@pytest.mark.parametrize(
    "architecture",
    [
        {"class": "Linear", "config": LARGE},
        {"class": "Sequential", "config": {"layers": [{"class": "Linear", "config": LARGE}] * 3}},
        {"class": "MLP", "config": {"widths": [20_000, 20_000], "in_features": 20_000}},
        {"class": "BatchNorm", "config": {"features": 10**9}},
        {"class": "LayerNorm", "config": {"features": 10**9}},
        {"class": "PReLU", "config": {"features": 10**9}},
        {"class": "Embedding", "config": {"count": 10**6, "size": 10**4}},
        {"class": "Maxout", "config": {"out_features": 10**5, "in_features": 10**4, "pieces": 10}},
        {"class": "Highway", "config": {"features": 20_000}},
        {"class": "Linear", "config": {"out_features": 10**30, "in_features": 2}},
        {"class": "Linear", "config": {"out_features": "x" * 1000}},
        {"class": "Dropout", "config": {"p": [[[]]]}},
        nested(300),
    ],
    ids=lambda value: value["class"],
)
def test_a_small_model_file_takes_little(architecture: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(pack("model", {"weight": np.zeros((2, 2), "float32")}, {"architecture": architecture, **REST}))
    seconds, size = peak_of(lambda: gd.train.load(path))
    assert seconds < 2
    assert size < 2e7


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 200_000, "{}", "[1]", '"x"', '{"kind": "model"}', "9" * 9999]
)
def test_deep_and_strange_facts(text: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for facts in (text, f'{{"kind": "model", "version": 1, "facts": {text}}}'):
        path.write_bytes(safetensors_bytes({"a": np.zeros(2)}, {"graphdiff": facts}))
        with pytest.raises(DataError, match=r"m\.safetensors"):
            gd.train.load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("epoch", -1), ("epoch", 1.5), ("batch", "x"), ("loss", None), ("history", [[1]]), ("history", [{"loss": "x"}])]
    + [("best", [1]), ("best", ["x", 1]), ("callbacks", {"a": 1}), ("callbacks", 3), ("sizes", 3), ("sizes", None)]
    + [("options", []), ("streams", 1), ("history", 3)],
)
def test_a_checkpoint_of_strange_facts_changes_nothing(name: str, value: Any, tmp_path: Path) -> None:
    from graphdiff.files.tensorfile import unpack

    path = tmp_path / "c.safetensors"
    model = gd.nn.Sequential(gd.nn.Dropout(0.5, seed=1), gd.nn.Linear(2, in_features=3, seed=0))
    optimizer = gd.optim.Adam(model.parameters(), lr=0.01)
    options: Any = {"validation": 0.3, "early_stopping": 5, "progress": False, "checkpoint": path, "epochs": 2}
    gd.train.fit(model, gd.nn.squared_error, (X, X[:, :2]), optimizer, **options)
    arrays, facts = unpack(path, "checkpoint")
    path.write_bytes(pack("checkpoint", arrays, facts | {name: value}))
    model = gd.nn.Sequential(gd.nn.Dropout(0.5, seed=1), gd.nn.Linear(2, in_features=3, seed=0))
    optimizer = gd.optim.Adam(model.parameters(), lr=0.01)
    before = model.state(), optimizer.state()
    with pytest.raises(DataError, match=r"c\.safetensors"):
        gd.train.fit(model, gd.nn.squared_error, (X, X[:, :2]), optimizer, resume=True, **options | {"epochs": 3})
    for kept, now in zip(before, (model.state(), optimizer.state()), strict=True):
        assert all(np.array_equal(kept[path], now[path]) for path in kept)


def test_archives_that_become_too_large(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    shape = b"{'descr': '|u1', 'fortran_order': False, 'shape': (2000000000,), }"
    header = b"\x93NUMPY\1\0" + struct.pack("<H", 118) + shape
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as entry:
        entry.write(header.ljust(127) + b"\n")
        for _ in range(300):
            entry.write(bytes(1_000_000))
    assert path.stat().st_size < 1e6
    seconds, size = peak_of(lambda: read_table(path))
    assert (seconds < 1, size < 1e7) == (True, True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header.ljust(127) + b"\n" + bytes(100))
    seconds, size = peak_of(lambda: read_table(path))
    assert seconds < 1


def test_one_long_number_takes_no_more_than_itself(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("a,y\n0." + "3" * 100_000 + ",1\n" + "1.5,2\n" * 8000)
    tracemalloc.start()
    try:
        columns = read_table(path).columns
        assert tracemalloc.get_traced_memory()[1] < 40 * path.stat().st_size  # as text of one width it took 3 GB
    finally:
        tracemalloc.stop()
    assert columns["a"][:2].tolist() == [0.3333333333333333, 1.5]


def test_parquet_that_becomes_too_large(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "bomb.parquet"
    parquet.write_table(arrow.table({"a": np.zeros(60_000_000, "int8")}), path)
    assert path.stat().st_size < 1e6
    seconds, size = peak_of(lambda: read_table(path))
    assert (seconds < 1, size < 1e7) == (True, True)
    # A long text that is repeated is there once.
    long = arrow.DictionaryArray.from_arrays(arrow.array(np.zeros(100_000, "int32")), arrow.array(["x" * 100_000]))
    parquet.write_table(arrow.table({"a": long, "y": range(100_000)}), path)
    table = read_table(path)
    assert len(set(map(id, table.columns["a"]))) == 1


@pytest.mark.parametrize("read", [read_table, gd.train.load])
def test_paths_that_lead_nowhere(read: Callable[..., Any], tmp_path: Path) -> None:
    for path in (tmp_path / "a\0b", tmp_path / "a\0b.npz", tmp_path / "none.parquet", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(DataError):
            read(path)


def test_an_archive_that_is_encrypted_or_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    for content in (b"", b"PK", b"\x93NUMPY", zlib.compress(b"x" * 100), bytes(100)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"d\.npz is truncated or no NPZ"):
            read_table(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("note.txt", "no array")
    with pytest.raises(DataError, match="no array of NumPy's"):
        read_table(path)

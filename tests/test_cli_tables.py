"""`graphdiff train`, `predict` and `evaluate`."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import graphdiff as gd
from graphdiff.cli import main
from graphdiff.train.tabular.report import scores_of
from graphdiff.train.tabular.tables import read_table

QUICK = ["--epochs", "3", "--hidden", "8", "--lr", "0.01"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: Any) -> Any:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def write(path: str, header: str, rows: Any) -> str:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


def flowers(rows: int = 60) -> str:
    stream = np.random.default_rng(0)
    data = []
    for k in range(rows):
        kind = k % 3
        data.append(
            [round(kind + stream.normal() / 5, 3), ["dry", "wet"][k % 2], round(stream.normal(), 3), "abc"[kind]]
        )
    return write("flowers.csv", "length,soil,noise,species", data)


def houses(rows: int = 80) -> str:
    stream = np.random.default_rng(0)
    data = [(area, area * 2000 + stream.normal() * 100) for area in stream.uniform(20, 200, rows).round(1)]
    return write("houses.csv", "area,price", data)


def test_classes_from_a_table() -> None:
    flowers()
    result = run("train", "flowers.csv", "--target", "species", "--epochs", 30, "--hidden", "16", "--out", "o/p")
    assert result.exit_code == 0, result.output
    assert "classification of 'species' (3 different texts) from 3 columns; MLP 4-16-3" in result.output
    assert "48 rows to train on, 12 held out" in result.output
    assert re.search(r"learning rate [\d.]+, the best", result.output)
    out = Path("o/p")
    assert {file.name for file in out.iterdir()} == {"model.safetensors", "history.csv", "curves.png", "graph.svg"}
    assert ElementTree.parse(out / "graph.svg").getroot().tag.endswith("svg")
    assert len((out / "history.csv").read_text().splitlines()) == 31
    result = run("evaluate", out / "model.safetensors", "flowers.csv")
    assert result.exit_code == 0
    assert float(re.findall(r"accuracy ([\d.]+)", result.output)[0]) > 0.95
    assert run("predict", out / "model.safetensors", "flowers.csv", "-o", "p.csv").exit_code == 0
    with open("p.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["species"] for row in rows[:3]] == ["a", "b", "c"]
    assert all(abs(sum(float(row[f"p({name})"]) for name in "abc") - 1) < 1e-5 for row in rows)
    shown = run("predict", out / "model.safetensors", "flowers.csv")
    assert shown.output.encode() == Path("p.csv").read_bytes()
    saved = gd.train.load(out / "model.safetensors")
    assert saved.classes == ["a", "b", "c"]
    assert saved.columns is not None
    assert saved.columns[1] == {"name": "soil", "kind": "categorical", "categories": ["dry", "wet"]}


def test_numbers_from_a_table() -> None:
    houses()
    result = run("train", "houses.csv", "--target", "price", "--hidden", "16", "--epochs", 60)
    assert result.exit_code == 0, result.output
    assert "regression of 'price' (80 different numbers) from 1 columns" in result.output
    assert float(re.findall(r"R² ([\d.]+)", result.output)[0]) > 0.98
    predicted = run("predict", "model.safetensors", "houses.csv").output.splitlines()
    assert predicted[0] == "price"
    truth = [line.split(",")[1] for line in Path("houses.csv").read_text().splitlines()]
    assert float(predicted[7]) == pytest.approx(float(truth[7]), rel=0.3)
    assert "R²" in run("evaluate", "model.safetensors", "houses.csv").output


def test_parquet_and_npz_train_as_the_csv_does() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    flowers()
    table = arrow_csv.read_csv("flowers.csv")
    parquet.write_table(table, "flowers.parquet")
    np.savez("flowers.npz", **{name: np.array(table[name].to_pylist()) for name in table.column_names})
    weights = []
    for ending in ("csv", "parquet", "npz"):
        result = run("train", f"flowers.{ending}", "--target", "species", *QUICK, "--out", ending)
        assert result.exit_code == 0, result.output
        weights.append(gd.train.load(Path(ending) / "model.safetensors").model.state())
    for other in weights[1:]:
        assert all(np.array_equal(other[name], value) for name, value in weights[0].items())
    parquet.write_table(pyarrow.table({"a": [1.0, None], "y": [1, 2]}), "holes.parquet")
    assert "holes.parquet, row 2, column 'a'" in run("train", "holes.parquet", "--target", "y").output
    whole = Path("flowers.parquet").read_bytes()
    Path("flowers.parquet").write_bytes(whole[: len(whole) // 2])
    assert "flowers.parquet is truncated" in run("train", "flowers.parquet", "--target", "species").output


def test_arrays_of_two_axes_are_columns() -> None:
    X = np.random.default_rng(0).normal(size=(40, 3))
    np.savez("d.npz", X=X, y=(X[:, 0] > 0).astype(int))
    result = run("train", "d.npz", "--target", "y", *QUICK)
    assert "classification of 'y' (2 different whole numbers) from 3 columns" in result.output
    assert run("predict", "model.safetensors", "d.npz").output.splitlines()[0] == "y,p(0),p(1)"
    np.savez("objects.npz", X=np.array([{}, 1], dtype=object))
    assert "objects.npz is truncated or no NPZ" in run("train", "objects.npz", "--target", "y").output


ROWS = [[k, k * k % 7, "xy"[k % 2], k % 2] for k in range(20)]


def changed(row: int, column: int, value: Any) -> list[Any]:
    rows = [list(values) for values in ROWS]
    rows[row][column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(4, 3, ""), r"d\.csv, row 5 \(line 6\), column 'y': the target is missing"),
        (changed(4, 3, "nan"), r"d\.csv, row 5 \(line 6\), column 'y': the target is missing"),
        (changed(6, 0, "seven"), r"d\.csv, row 7 \(line 8\), column 'a': 'seven' is no number"),
        (changed(6, 1, "nan"), r"row 7 \(line 8\), column 'b': nan cannot be trained on"),
        (changed(6, 1, "-inf"), r"row 7 \(line 8\), column 'b': -inf cannot"),
        (changed(0, 1, ""), r"row 1 \(line 2\), column 'b': the value is missing"),
        (changed(0, 2, ""), r"row 1 \(line 2\), column 'c': the value is missing"),
        ([[*row[:3], 1] for row in ROWS], r"column 'y': there is a single class, 1"),
        ([[*row[:3], "only"] for row in ROWS], r"column 'y': there is a single class, 'only'"),
        ([*ROWS[:3], [1, 2]], r"d\.csv, row 4 \(line 5\): 2 values for 4 columns"),
        ([], r"d\.csv has no rows below its header"),
        ([[k, k, f"text {k}", k % 2] for k in range(300)], r"column 'c': 300 different texts in 300 rows are too many"),
    ],
)
def test_bad_tables_are_refused_before_training(rows: Any, message: str) -> None:
    write("d.csv", "a,b,c,y", rows)
    result = run("train", "d.csv", "--target", "y", *QUICK, "--out", "out")
    assert result.exit_code == 1
    assert re.search(message, result.output), result.output
    assert list(Path("out").iterdir()) == []


def test_other_bad_input() -> None:
    write("d.csv", "a,b,c,y", ROWS)
    Path("empty.csv").write_bytes(b"")
    Path("binary.csv").write_bytes(b"\xff\xfe\x00")
    Path("latin.csv").write_bytes("a,y\n1,2\n3,4\nÄ,5\n".encode("latin-1"))
    write("one.csv", "a,y", [[1, 2]])
    write("twice.csv", "a,a,y", [[1, 2, 3]])
    Path("file").write_text("precious")
    for arguments, code, message in [
        (["empty.csv", "--target", "y"], 1, "empty.csv is empty"),
        (["binary.csv", "--target", "y"], 1, "binary.csv is no CSV in UTF-8: line 1"),
        (["latin.csv", "--target", "y"], 1, "latin.csv is no CSV in UTF-8: line 4"),
        (["one.csv", "--target", "y"], 1, "one.csv has a single row"),
        (["twice.csv", "--target", "y"], 1, "several columns 'a'"),
        (["none.csv", "--target", "y"], 1, "there is no file none.csv"),
        (["d.csv", "--target", "z"], 1, "d.csv has no column 'z'; it has 'a', 'b', 'c', 'y'"),
        (["d.csv", "--target", "y", "--ignore", "a,q"], 1, "has no column 'q'"),
        (["d.csv", "--target", "y", "--ignore", "a,b,c"], 1, "no column besides 'y'"),
        (["d.csv", "--target", "y", "--out", "file"], 1, "cannot write to file"),
        (["d.csv", "--target", "y", "--checkpoint", "file"], 1, "cannot write to file"),
        (["d.csv", "--target", "y", "--lr", "0"], 2, "'0' is neither a positive number nor auto"),
        (["d.csv", "--target", "y", "--optimizer", "magic"], 2, "'magic' is not one of"),
        (["d.csv", "--target", "y", "--hidden", "a"], 2, "no list of positive widths"),
        (["d.csv", "--target", "y", "--backend", "abacus"], 1, "no backend 'abacus'"),
        (["d.csv", "--target", "c", "--task", "regression"], 1, "column 'c': 'x' is no number"),
        (["d.csv"], 2, "Missing option '--target'"),
    ]:
        result = run("train", *arguments)
        assert (result.exit_code, message in result.output) == (code, True), (arguments, result.output)
        assert "Traceback" not in result.output
    assert Path("file").read_text() == "precious"


def test_a_resumed_run_keeps_its_learning_rate_and_says_so() -> None:
    houses()
    arguments = ["train", "houses.csv", "--target", "price", "--hidden", "8", "--checkpoint", "run"]
    assert run(*arguments, "--epochs", "2", "--lr", "0.01").exit_code == 0
    told = run(*arguments, "--epochs", "3", "--lr", "0.5", "--resume").output
    assert "learning rate 0.01, as in run/checkpoint.safetensors, not 0.5: a run goes on as it began" in told
    assert "of a model of other layers" in run(*arguments, "--epochs", "4", "--hidden", "9", "--resume").output


def test_a_run_that_stopped_early_is_not_said_to_go_on() -> None:
    houses()
    arguments = ["train", "houses.csv", "--target", "price", "--hidden", "8", "--checkpoint", "run", "--lr", "0.3"]
    assert "stopped after" in run(*arguments, "--patience", "1").output
    assert "nothing is left to train" in run(*arguments, "--patience", "1", "--resume").output


def test_a_column_of_weights() -> None:
    # Rows of weight 0 say the opposite of the others, and would be learnt were they counted.
    numbers = np.random.default_rng(0).normal(size=80).round(3)
    rows = [[x, "up" if (x > 0) == bool(k % 4) else "down", min(k % 4, 1)] for k, x in enumerate(numbers)]
    write("w.csv", "x,y,importance", rows)
    arguments = ["train", "w.csv", "--target", "y", "--hidden", "8", "--epochs", "60", "--lr", "0.03", "--seed", "1"]
    result = run(*arguments, "--sample-weight", "importance", "--precision", "tf32")
    assert result.exit_code == 0
    assert "from 1 columns" in result.output
    model = gd.train.load("model.safetensors")
    assert [column["name"] for column in model.columns or []] == ["x"]
    counted = np.array([row[2] == 1 for row in rows])
    right = np.array(model.classes)[model(numbers[:, None]).argmax(1)] == [row[1] for row in rows]
    assert right[counted].mean() > 0.9
    loss = float(re.findall(r"epoch +60 +loss ([\d.]+)", result.output)[0])
    assert loss < 0.3  # with all rows counted alike it is above 0.5
    kept = float(re.findall(r"held-out accuracy ([\d.]+)", result.output)[0])
    assert kept > 0.9  # of the rows that count; three quarters are
    assert run("train", "w.csv", "--target", "y", "--sample-weight", "importance").exit_code == 0  # a rate is sought
    # A weight of 2 scores as a row that is there twice.
    lines = [[x, 2 * x + k % 3, 1 + k % 2] for k, x in enumerate(numbers.tolist())]
    table = write("n.csv", "x,y,n", lines)
    twice = write("t.csv", "x,y", [line[:2] for line in lines for _ in range(line[2])])
    assert run("train", table, "--target", "y", "--ignore", "n", "--epochs", "2", "--lr", "0.01").exit_code == 0
    saved = gd.train.load("model.safetensors")
    weighted, repeated = (
        scores_of(saved, read.columns["x"][:, None], read, "y", weights=read.columns.get("n"))
        for read in map(read_table, (table, twice))
    )
    assert weighted == pytest.approx(repeated, rel=1e-12)
    for column, bad, message in [
        ("importance", -1, "row 3 (line 4), column 'importance': -1 is no weight"),
        ("importance", "", "row 3 (line 4), column 'importance': the value is missing"),
        ("none", 1, "has no column 'none'"),
        ("y", 1, "column 'y' is the target and cannot be the weight too"),
    ]:
        rows[2][2] = bad
        write("w.csv", "x,y,importance", rows)
        refused = run(*arguments, "--sample-weight", column)
        assert (refused.exit_code, message in refused.output) == (1, True), refused.output


def test_warnings_are_told_in_a_line() -> None:
    houses()
    result = run("train", "houses.csv", "--target", "price", "--optimizer", "sgd", "--lr", "1e9", "--epochs", "4")
    assert re.search(r"^Warning: the loss became (nan|inf) in epoch 1: lower the", result.output, re.M), result.output
    assert "UserWarning" not in result.output
    assert "training diverged, and no model is written: try a learning rate below 1e+09 with --lr" in result.output
    assert result.exit_code == 1
    assert not Path("model.safetensors").exists()


def test_models_and_tables_that_do_not_fit() -> None:
    flowers()
    houses()
    assert run("train", "flowers.csv", "--target", "species", *QUICK).exit_code == 0
    write("new.csv", "length,soil,noise", [[1, "dry", 0.5], [1, "damp", 0.5]])
    gd.train.save(gd.nn.Linear(1, 2), "bare.safetensors")
    whole = Path("model.safetensors").read_bytes()
    Path("half.safetensors").write_bytes(whole[: len(whole) // 2])
    for command, model, table, message in [
        ("predict", "model.safetensors", "houses.csv", "houses.csv has no column 'length', 'soil', 'noise'"),
        ("predict", "model.safetensors", "new.csv", "row 2 (line 3), column 'soil': 'damp' is none of the 2"),
        ("evaluate", "model.safetensors", "new.csv", "column 'soil'"),
        ("predict", "half.safetensors", "flowers.csv", "half.safetensors is truncated or no model"),
        ("predict", "flowers.csv", "flowers.csv", "flowers.csv is truncated or no model"),
        ("evaluate", "none.safetensors", "flowers.csv", "there is no file none.safetensors"),
        ("predict", "bare.safetensors", "flowers.csv", "does not say which columns"),
    ]:
        result = run(command, model, table)
        assert (result.exit_code, message in result.output) == (1, True), result.output
    write("known.csv", "length,soil,noise", [[1, "dry", 0.5]])
    assert "known.csv has no column 'species'" in run("evaluate", "model.safetensors", "known.csv").output
    assert (
        "cannot write nowhere/p.csv" in run("predict", "model.safetensors", "known.csv", "-o", "nowhere/p.csv").output
    )


def holes(rows: int = 60) -> list[list[Any]]:
    """Return rows of a, b, soil, y, a seventh of whose features are missing."""
    stream = np.random.default_rng(1)
    data: list[list[Any]] = []
    for k in range(rows):
        row: list[Any] = [round(stream.normal(), 3), stream.integers(9) + 0.5, ["dry", "wet", "wet"][k % 3]]
        row = ["" if stream.random() < 1 / 7 else value for value in row]
        data.append([*row, round(k + stream.normal(), 3)])
    return data


@pytest.mark.parametrize("how", ["mean", "median", "drop"])
def test_missing_values_are_filled_in_or_dropped_as_by_hand(how: str) -> None:
    data = holes()
    if how == "drop":
        by_hand = [row for row in data if "" not in row]
    else:
        of = {"mean": np.mean, "median": np.median}[how]
        fills = [repr(float(of([row[k] for row in data if row[k] != ""]))) for k in (0, 1)]
        by_hand = [[fill if v == "" else v for v, fill in zip(row, [*fills, "wet", ""])] for row in data]
    write("holes.csv", "a,b,soil,y", data)
    write("whole.csv", "a,b,soil,y", by_hand)
    common = ["--target", "y", *QUICK, "--validation", "0"]
    result = run("train", "holes.csv", *common, "--missing", how, "--out", "o1")
    assert result.exit_code == 0, result.output
    absent = sum(row.count("") for row in data)
    said = {"drop": f"{60 - len(by_hand)} of 60 rows dropped, for their {absent} missing"}
    assert said.get(how, f"{absent} missing values filled in with the {how} of their column") in result.output
    assert run("train", "whole.csv", *common, "--out", "o2").exit_code == 0
    one, other = (gd.train.load(Path(out) / "model.safetensors") for out in ("o1", "o2"))
    assert all(np.array_equal(value, one.model.state()[name]) for name, value in other.model.state().items())
    # Filled in where it is used too; a model that dropped rows refuses them.
    result = run("predict", "o1/model.safetensors", "holes.csv")
    if how == "drop":
        assert "holes.csv, row" in result.output
        assert "the value is missing; the model was trained without --missing" in result.output
    else:
        assert result.output == run("predict", "o2/model.safetensors", "whole.csv").output


def test_fills_are_of_training_rows_alone_and_rows_keep_their_numbers() -> None:
    from graphdiff.train.tabular.columns import describe_columns, with_fills

    table = read_table(write("d.csv", "a,c,y", [[1, "p", 1], ["", "p", 2], [3, "q", 3], ["nan", "q", 4], [80, "q", 5]]))
    columns = describe_columns(table, "y", allow_missing=True)
    described = with_fills(table, columns, np.array([0, 1, 2, 3]), "mean")
    assert [column["fill"] for column in described] == [2.0, "p"]
    with pytest.raises(gd.errors.DataError, match="column 'a': no row to train on has a value"):
        with_fills(table, columns, np.array([1, 3]), "median")
    write("bad.csv", "a,y", [["", 1], [2, 2], ["x", 3], [4, 4], [5, 6]])
    message = "bad.csv, row 3 (line 4), column 'a': 'x' is no number"
    assert message in run("train", "bad.csv", "--target", "y", "--missing", "drop").output
    write("bad.csv", "a,y", [["", 1], [2, 2], [3, ""], [4, 4], [5, 6]])
    refused = run("train", "bad.csv", "--target", "y", "--missing", "mean").output
    assert "row 3 (line 4), column 'y': the target is missing" in refused
    taken = table.taken(np.array([2, 4])).taken(np.array([1]))
    assert str(taken.error(0, "a", "told")) == "d.csv, row 5 (line 6), column 'a': told"
    write("empty.csv", "a,b,y", [["", 1, 1], [2, "", 2]])
    assert "no row without a missing value" in run("train", "empty.csv", "--target", "y", "--missing", "drop").output


def test_early_stopping_keeps_the_best_epoch() -> None:
    stream = np.random.default_rng(0)
    write("noise.csv", "a,b,c,y", [[*stream.normal(size=3).round(3), stream.normal()] for _ in range(60)])
    common = ["noise.csv", "--target", "y", "--lr", "0.01", "--epochs", "150"]
    result = run("train", *common, "--patience", "4")
    with open("history.csv", newline="") as stream_:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(stream_)]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 4 < 150  # nothing to learn: it stops early
    assert f"stopped after epoch {len(losses)}: the held-out loss had not improved for 4 epochs" in result.output
    assert f"the weights are those of epoch {best + 1}" in result.output
    # They are: its held-out score is that of its epoch, in units of the standardised target.
    scale = gd.train.load("model.safetensors").target_scaler
    error = float(re.findall(r"root mean squared error ([\d.]+)", result.output)[0])
    assert scale is not None
    assert (error / scale.scale[0]) ** 2 == pytest.approx(losses[best], rel=1e-3)
    assert "weights are those of" not in run("train", *common[:-1], "3", "--patience", "0").output
    with np.errstate(all="ignore"):
        diverged = run("train", *common[:3], "--lr", "1e30", "--optimizer", "sgd", "--patience", "3")
    assert "stopped after epoch 3" in diverged.output
    assert "the held-out loss was never a number: try a lower --lr" in diverged.output
    assert "weights are those of" not in run("train", *common[:-1], "3", "--validation", "0").output


def test_a_trained_model_is_exported() -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    houses()
    assert run("train", "houses.csv", "--target", "price", *QUICK).exit_code == 0
    result = run("export", "model.safetensors", "model.onnx")
    assert (result.exit_code, result.output) == (0, "wrote model.onnx: input of shape batch × 1, float32\n")
    areas = np.loadtxt("houses.csv", delimiter=",", skiprows=1, dtype="float32")[:, :1]
    got = onnxruntime.InferenceSession("model.onnx").run(None, {"input": areas})[0]
    predicted = run("predict", "model.safetensors", "houses.csv").output.splitlines()[1:]
    np.testing.assert_allclose(got[:, 0], [float(value) for value in predicted], rtol=1e-5)
    rows = [[1_700_000_000 + k, k * 0.5 + k * k % 7] for k in range(60)]
    write("times.csv", "t,y", rows)
    options = ["--target", "y", "--epochs", "40", "--hidden", "8", "--lr", "0.03", "--out", "times"]
    assert run("train", "times.csv", *options).exit_code == 0
    told = run("export", "times/model.safetensors", "times.onnx").output
    assert told == "wrote times.onnx: input of shape batch × 1, float64\n"
    got = onnxruntime.InferenceSession("times.onnx").run(None, {"input": np.array(rows)[:, :1]})[0]
    predicted = run("predict", "times/model.safetensors", "times.csv").output.splitlines()[1:]
    np.testing.assert_allclose(got[:, 0], [float(value) for value in predicted], rtol=1e-5)
    refused = run("export", "times/model.safetensors", "times.onnx", "--dtype", "float32")
    assert "float32 would blur column 't'" in refused.output
    assert "float64" in run("export", "model.safetensors", "model.onnx", "--dtype", "float64").output
    gd.train.save(gd.nn.Linear(1, 6), "bare.safetensors")
    assert run("export", "bare.safetensors", "b.onnx", "--input-shape", "2,6").exit_code == 0
    assert "input of shape batch × 6" in run("export", "bare.safetensors", "b.onnx").output
    gd.train.save(gd.nn.Sequential(gd.nn.Flatten(), gd.nn.Linear(1, 6)), "flat.safetensors")
    for arguments, code, message in [
        (["flat.safetensors", "b.onnx"], 1, "does not tell the shape of one example: give input_shape"),
        (["bare.safetensors", "b.onnx", "--input-shape", "4"], 1, "a linear layer of 6 inputs"),
        (["bare.safetensors", "b.onnx", "--input-shape", "4,x"], 2, "no list of lengths such as 28,28"),
        (["none.safetensors", "b.onnx"], 1, "there is no file none.safetensors"),
    ]:
        result = run("export", *arguments)
        assert (result.exit_code, message in result.output) == (code, True), result.output


def test_help_has_examples() -> None:
    for command in ("train", "predict", "evaluate", "export"):
        result = run(command, "--help")
        assert result.exit_code == 0
        assert f"  graphdiff {command} " in result.output


def test_an_interrupt_says_how_to_resume_and_resuming_gives_the_same_model(tmp_path: Path) -> None:
    houses(400)
    common = ["houses.csv", "--target", "price", "--epochs", "150", "--batch-size", "8", "--hidden", "32,32"]
    assert run("train", *common, "--out", "whole").exit_code == 0
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    program = "from graphdiff.cli import main; main(prog_name='graphdiff')"
    arguments = ["train", *common, "--out", "out", "--checkpoint", "run"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    while "epoch" not in process.stdout.readline():
        assert process.poll() is None, process.stderr and process.stderr.read()
    time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130, told
    assert "run/checkpoint.safetensors holds what has been trained" in told
    command = told.strip().splitlines()[-1].split()
    assert sorted(command) == sorted(["graphdiff", *arguments, "--resume"])  # in the order of the options' help
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert "unfinished run: go on with --resume" in refused.output
    resumed = run(*command[1:])
    assert resumed.exit_code == 0, resumed.output
    assert Path("out/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()
    assert Path("out/history.csv").read_bytes() == Path("whole/history.csv").read_bytes()

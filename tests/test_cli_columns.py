"""How `graphdiff train` reads a CSV and what it takes its columns for."""

import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli_tables import QUICK, houses, run, write

import graphdiff as gd
from graphdiff.train.tabular.tables import read_table


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_separators_are_seen_and_semicolons_bring_decimal_commas() -> None:
    houses()
    rows = [line.split(",") for line in Path("houses.csv").read_text().splitlines()]
    assert run("train", "houses.csv", "--target", "price", *QUICK, "--out", "comma").exit_code == 0
    wanted = Path("comma/history.csv").read_text()
    dialects = ("semicolon", ";", "."), ("german", ";", ","), ("tab", "\t", "."), ("bar", "|", ".")
    for name, separator, decimal in dialects:
        text = "\n".join(separator.join(row).replace(".", decimal) for row in rows)
        Path(f"{name}.csv").write_text(text)
        assert run("train", f"{name}.csv", "--target", "price", *QUICK, "--out", name).exit_code == 0
        assert Path(name, "history.csv").read_text() == wanted


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_table_may_come_through_a_pipe() -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_text('a;"y\nz"\n1,5;2\n'))
    writer.start()
    table = read_table("pipe")
    writer.join()
    assert {name: values.tolist() for name, values in table.columns.items()} == {"a": [1.5], "y\nz": [2.0]}
    assert table.error(0, "y", "").args[0].startswith("pipe, row 1 (line 3)")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1,5", "-2", " 0,25 ", "3,5e2"], [1.5, -2.0, 0.25, 350.0]),
        (["0,126", "1,250"], [0.126, 1.25]),
        (["1,250", ""], None),  # or one thousand two hundred and fifty?
        (["1.250,5", "3"], None),
        (["1,2,3", "4"], None),
    ],
)
def test_decimal_commas(values: list[str], expected: list[float] | None) -> None:
    Path("d.csv").write_text("a;b\n" + "".join(f"{value};1\n" for value in values))
    column = read_table("d.csv").columns["a"]
    if expected is None:
        assert column == [value.strip() or None for value in values]
    else:
        np.testing.assert_array_equal(column, expected)


def test_columns_without_a_name_are_left_out_and_row_numbers_told_of() -> None:
    rows = [[k, 500 - k, k % 7, k * k % 11 / 3, ""] for k in range(40)]
    write("d.csv", ",id,a,y,", rows)
    result = run("train", "d.csv", "--target", "y", *QUICK)
    assert "2 columns without a name left out" in result.output
    assert "column 'id' counts the rows: if it means nothing, --ignore id leaves it out" in result.output
    assert "'a' counts" not in result.output
    assert "from 2 columns; MLP 2-8-1" in result.output
    write("new.csv", "id,a", [[1, 2]])
    assert run("predict", "model.safetensors", "new.csv").exit_code == 0
    assert "counts the rows" not in run("train", "d.csv", "--target", "y", *QUICK, "--ignore", "id").output


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            [[k, f"{k},000"] for k in range(60)],
            [],
            r"60 different texts in 60 rows are too many classes\. Were '9,000'",
        ),
        ([[f"{k} %", k % 2] for k in range(60)], [], "60 rows are too many categories; .*--ignore a.* Were '9 %'"),
        ([[f"Name {k}", k % 2] for k in range(60)], [], "column 'a': 60 different texts .* --ignore a$"),
        ([[k, k % 2] for k in range(60)], ["--categorical", "a"], "column 'a': 60 different texts .* --ignore a$"),
        (
            [[k, k * 1.5] for k in range(60)],
            ["--task", "classification"],
            "60 different numbers in 60 rows are too many classes; --task regression predicts numbers",
        ),
    ],
)
def test_columns_of_nearly_different_values_are_no_categories(
    rows: list[list[Any]], options: list[str], message: str
) -> None:
    write("d.csv", "a,y", rows)
    result = run("train", "d.csv", "--target", "y", *QUICK, *options)
    assert result.exit_code == 1
    assert re.search(message, result.output.strip()), result.output


def test_classes_that_are_asked_for_are_counted() -> None:
    write("d.csv", "a,y", [[k * 0.5, k % 30] for k in range(60)])
    result = run("train", "d.csv", "--target", "y", *QUICK, "--task", "classification")
    assert "classification of 'y' (asked for; 30 different whole numbers)" in result.output


def test_marks_of_missing_numbers_are_missing_and_among_texts_texts() -> None:
    rows = [[k * 0.7 % 3, ["dry", "NA"][k % 2], k * k % 5 + 0.5] for k in range(30)]
    for place, mark in enumerate(["NA", "n/a", "#N/A", "null", "None", "NaN", "?", "-", ""]):
        rows[3 * place][0] = mark
    write("d.csv", "a,soil,y", rows)
    refused = run("train", "d.csv", "--target", "y", *QUICK)
    assert "row 1 (line 2), column 'a': NA cannot be trained on; train with --missing" in refused.output
    result = run("train", "d.csv", "--target", "y", *QUICK, "--missing", "median")
    assert "9 missing values filled in with the median" in result.output
    assert "MLP 3-8-1" in result.output  # a, dry and NA
    assert run("predict", "model.safetensors", "d.csv").output.count("\n") == 31
    rows[4][2] = "NA"
    write("d.csv", "a,soil,y", rows)
    result = run("train", "d.csv", "--target", "y", *QUICK, "--missing", "median")
    assert "row 5 (line 6), column 'y': NA cannot be trained on" in result.output


def test_a_category_has_one_spelling() -> None:
    rows = [[f"{1 + k % 3}.0", k % 2, k * k % 7 * 0.5] for k in range(40)]
    rows[3][0] = ""
    write("d.csv", "kind,b,y", rows)
    options = ["--target", "y", "--categorical", "kind", *QUICK]
    assert run("train", "d.csv", *options, "--missing", "mean").exit_code == 0
    for text in ("1.0", "1", "1e0", "01.0"):
        write("new.csv", "kind,b", [[text, 1], ["2.0", 0]])
        result = run("predict", "model.safetensors", "new.csv")
        if text == "01.0":  # with a zero before it, it is a code
            assert "'01.0' is none of the 3 categories trained on" in result.output
        else:
            assert result.exit_code == 0, result.output
    np.savez("new.npz", kind=[1.0, 2.0], b=[1, 0])
    write("same.csv", "kind,b", [["1", 1], ["2", 0]])
    told = [run("predict", "model.safetensors", name).output for name in ("new.npz", "same.csv")]
    assert told[0] == told[1]


def test_texts_that_spell_one_number_stay_apart_among_texts() -> None:
    rows = [[["1.1", "1.10", "beta", "x"][k % 4], k * 0.5] for k in range(40)]
    write("d.csv", "version,y", rows)
    result = run("train", "d.csv", "--target", "y", "--categorical", "version", *QUICK)
    assert "MLP 4-8-1" in result.output
    write("new.csv", "version", [["1.1"], ["1.10"]])
    first, second = run("predict", "model.safetensors", "new.csv").output.splitlines()[1:]
    assert first != second


@pytest.mark.parametrize("labels", [["7", "007"], ["9007199254740992", "9007199254740993"], ["1_0", "10"]])
def test_classes_are_what_is_written(labels: list[str]) -> None:
    write("d.csv", "a,y", [[k % 2 + k / 1000, labels[k % 2]] for k in range(60)])
    options = ["--target", "y", "--epochs", "40", "--hidden", "8", "--lr", "0.03"]
    result = run("train", "d.csv", *options, "--task", "classification")
    assert result.exit_code == 0, result.output
    assert "2 different" in result.output
    told = {line.split(",")[0] for line in run("predict", "model.safetensors", "d.csv").output.splitlines()[1:]}
    assert told == set(labels)
    assert "accuracy 1.0000" in run("evaluate", "model.safetensors", "d.csv").output


def test_codes_are_no_numbers() -> None:
    codes = ["12_34", "1_234", "123_4"]
    write("d.csv", "code,y", [[codes[k % 3], k % 3] for k in range(60)])
    result = run("train", "d.csv", "--target", "y", "--epochs", "60", "--hidden", "8", "--lr", "0.03")
    assert "MLP 3-8-3" in result.output
    assert "accuracy 1.0000" in run("evaluate", "model.safetensors", "d.csv").output


def test_an_index_that_was_written_along_is_no_input() -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    order = np.random.default_rng(0).permutation(60)
    noise = np.random.default_rng(1).normal(size=60)
    parquet.write_table(arrow.table({"a": noise, "y": order < 30, "__index_level_0__": order}), "d.parquet")
    result = run("train", "d.parquet", "--target", "y", *QUICK)
    assert "1 columns without a name left out" in result.output
    assert "from 1 columns; MLP 1-8-2" in result.output


def test_empty_texts_of_parquet_are_missing() -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = [["dry", "wet", ""][k % 3] for k in range(60)]
    parquet.write_table(arrow.table({"soil": texts, "y": np.arange(60) * 0.5}), "d.parquet")
    assert "column 'soil': the value is missing" in run("train", "d.parquet", "--target", "y", *QUICK).output
    result = run("train", "d.parquet", "--target", "y", *QUICK, "--missing", "mean")
    assert "MLP 2-8-1" in result.output
    assert run("predict", "model.safetensors", "d.parquet").exit_code == 0


def test_evaluate_counts_rows_as_training_did() -> None:
    numbers = np.random.default_rng(0).normal(size=80).round(3)
    rows = [[x, "up" if (x > 0) == bool(k % 4) else "down", min(k % 4, 1)] for k, x in enumerate(numbers)]
    write("w.csv", "x,y,importance", rows)
    options = ["--target", "y", "--hidden", "8", "--epochs", "60", "--lr", "0.03", "--sample-weight", "importance"]
    assert run("train", "w.csv", *options).exit_code == 0
    told = run("evaluate", "model.safetensors", "w.csv").output
    assert "80 rows, each counted by its 'importance'" in told
    weighted = float(re.findall(r"accuracy ([\d.]+)", told)[0])
    write("x.csv", "x,y", [row[:2] for row in rows])
    told = run("evaluate", "model.safetensors", "x.csv").output
    assert "80 rows, which count alike: there is no column 'importance'" in told
    alike = float(re.findall(r"accuracy ([\d.]+)", told)[0])
    saved = gd.train.load("model.safetensors")
    right = np.array(saved.classes)[saved(numbers[:, None]).argmax(1)] == [row[1] for row in rows]
    assert weighted == pytest.approx(np.average(right, weights=[row[2] for row in rows]), abs=1e-4)
    assert alike == pytest.approx(right.mean(), abs=1e-4)
    write("w.csv", "x,y,importance", [[*row[:2], 0] for row in rows])
    assert "the weight of every row is 0" in run("evaluate", "model.safetensors", "w.csv").output


def test_numbers_near_the_largest() -> None:
    large = np.linspace(-0.8, 0.8, 60) * 1.7e308
    write("d.csv", "x,y", zip(large, large / 2))
    options = ["--target", "y", "--hidden", "8", "--lr", "0.03"]
    result = run("train", "d.csv", *options, "--epochs", "60")
    assert result.exit_code == 0
    assert "Warning" not in result.output
    assert float(re.findall(r"R² ([\d.]+)", result.output)[0]) > 0.9
    numbers = np.random.default_rng(0).normal(size=60)
    for place, name in enumerate("xy"):
        rows = [[x, x * 2] for x in numbers.tolist()]
        rows[8][place] = -1e300
        write("d.csv", "x,y", rows)
        held_out = next(seed for seed in range(99) if 8 in np.random.default_rng((seed, 1)).permutation(60)[:12])
        result = run("train", "d.csv", *options, "--epochs", "1", "--seed", held_out)
        told = f"d.csv, row 9 (line 10), column '{name}': -1e+300 is too far from the values trained on to be scaled"
        assert told in result.output

"""How `graphdiff train` reads a CSV and what it takes its columns for."""

import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli_tables import QUICK, houses, run, write

from graphdiff.train.tables import read_table


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

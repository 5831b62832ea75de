"""Reading a CSV block by block."""

import csv
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.train import tables
from graphdiff.train.tables import read_table


@pytest.fixture(params=[1, 2, 3, 8192])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(tables, "_BLOCK_ROWS", request.param)
    return int(request.param)


def test_columns_are_what_the_csv_module_reads(blocks: int, tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    rows = '1,1,red,1.5,"a\nb"\n2.5e3,2, blue ,,"c,d"\n\n-3,x,red,2.5,\n+4,4,,3,"e ""f"""\n nan ,5,red,4,g\n'
    path.write_text("n,late,text,gap,quoted\n" + rows)
    with open(path, newline="") as stream:
        expected = list(csv.DictReader(stream))
    table = read_table(path)
    np.testing.assert_array_equal(table.columns["n"], [float(row["n"]) for row in expected])
    for name in ("late", "text", "gap", "quoted"):
        assert table.columns[name] == [row[name].strip() or None for row in expected]
    assert list(table.lines or ()) == [3, 4, 6, 7, 8]
    assert "row 5 (line 8), column 'n': told" in str(table.error(4, "n", "told"))


def test_decimal_commas_are_decided_by_the_whole_column(blocks: int, tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("a;b;c\n1,234;1,234;1,5\n5,678;5,5;\n1,000;2;3,25\n")
    columns = read_table(path).columns
    assert columns["a"] == ["1,234", "5,678", "1,000"]
    assert columns["b"].tolist() == [1.234, 5.5, 2.0]
    assert columns["c"] == ["1.5", None, "3.25"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,2\n3,4\n5\n", r"row 3 \(line 4\): 1 values for 2 columns"),
        ('1,2\n\n"3\n",4\n5,6,7\n', r"row 3 \(line 6\): 3 values for 2 columns"),
        ("", "no rows below its header"),
    ],
)
def test_errors_name_row_and_line_in_every_block(blocks: int, rows: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("a,b\n" + rows)
    with pytest.raises(gd.errors.DataError, match=message):
        read_table(path)


def test_reading_takes_little_more_memory_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    numbers = np.random.default_rng(0).normal(size=(30_000, 6))
    with open(path, "w") as file:
        file.write("a,b,c,d,e,f,colour\n")
        file.writelines(",".join(f"{value:.6f}" for value in row) + ",green\n" for row in numbers)
    size = path.stat().st_size
    tracemalloc.start()
    try:
        table = read_table(path)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(table.columns["f"], numbers[:, 5], atol=5e-7)
    assert kept < 1.2 * size
    assert peak < 4 * size

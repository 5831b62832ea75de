"""Reading tables: a CSV block by block, and what programs write."""

import csv
import datetime
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.train.tabular import tables
from graphdiff.train.tabular.columns import describe_columns
from graphdiff.train.tabular.tables import read_table


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


def columns_of(text: str | bytes, tmp_path: Path, **options: Any) -> dict[str, Any]:
    path = tmp_path / "d.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    columns = read_table(path, **options).columns
    return {name: values if isinstance(values, list) else values.tolist() for name, values in columns.items()}


@pytest.mark.parametrize("text", ["12_34", "1_234", "1_0", "٣", "１", "0x10", "1e5_0", "1 2", "+-1"])
def test_numbers_are_those_of_the_decimal_digits(text: str, tmp_path: Path) -> None:
    assert columns_of(f"a,y\n{text},1\n", tmp_path) == {"a": [text], "y": [1.0]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("T, K;p, Pa;y\n1,5;2,25;3\n2,5;1,25;4\n", {"T, K": [1.5, 2.5], "p, Pa": [2.25, 1.25], "y": [3, 4]}),
        ("a;b, c, d\n1,5;x\n2;y\n", {"a": [1.5, 2.0], "b, c, d": ["x", "y"]}),
        ("a b,c;d,e\n1,2,3\n4,5,6\n", {"a b": [1, 4], "c;d": [2, 5], "e": [3, 6]}),
        ("sep=;\na;y\n1,5;2\n", {"a": [1.5], "y": [2.0]}),
        ('"sep=|"\r\na,b|y\r\n1|2\r\n', {"a,b": [1.0], "y": [2.0]}),
        ("\n \n# made by x, y\n\na,y\n1,2\n", {"a": [1.0], "y": [2.0]}),
        ("# a, y\n1,2\n", {"a": [1.0], "y": [2.0]}),  # as numpy.savetxt writes it
        ("#chrom,y\nchr1,2\n", {"chrom": ["chr1"], "y": [2.0]}),
        ("a\ty\n1,5\t2\n".encode("utf-16"), {"a": [1.5], "y": [2.0]}),
        ("\ufeffa,y\n1,2\n".encode("utf-16-be"), {"a": [1.0], "y": [2.0]}),
        ("a;y\n1,5;2\nNA;3\n-2,25;4\n", {"a": ["1.5", "NA", "-2.25"], "y": [2, 3, 4]}),
        (",Unnamed: 0,__index_level_0__,a\n0,3,2,1\n", {"a": [1.0]}),
    ],
)
def test_what_spreadsheets_and_programs_write_is_read(text: Any, expected: dict[str, Any], tmp_path: Path) -> None:
    assert columns_of(text, tmp_path) == expected


def test_lines_before_the_header_are_counted(tmp_path: Path) -> None:
    with pytest.raises(gd.errors.DataError, match=r"row 2 \(line 6\): 1 values for 2 columns"):
        columns_of("# by x\n\nsep=;\na;y\n1;2\n3\n", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8b\x08\x00", "compressed by gzip: unpack it first"),
        (b"PK\x03\x04\x14\x00", "an Excel workbook: save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1", "an Excel workbook"),
        (b'[{"a": 1, "y": 2}]', "no CSV but JSON"),
        (b'{"a": [1, 2]}', "no CSV but JSON"),
        (b"PAR1\x15\x04", "Parquet: name it .parquet"),
        (b"\x93NUMPY\x01\x00", "numpy.savez"),
        ("a,y\n1,2\n".encode("utf-16-le"), "UTF-16 without a byte-order mark"),
    ],
)
def test_files_of_other_kinds_are_recognised(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(gd.errors.DataError, match=message):
        columns_of(content, tmp_path)


def test_a_header_of_any_length_and_many_columns(tmp_path: Path) -> None:
    names = [f"a rather long name of a column {place}" for place in range(20_000)]
    started = time.perf_counter()
    columns = columns_of(",".join(names) + "\n" + ",".join(["1.5"] * 20_000) + "\n", tmp_path)
    assert time.perf_counter() - started < 5  # names counted one by one took 9 s
    assert list(columns) == names
    with pytest.raises(gd.errors.DataError, match=r"line 1, is no CSV: field larger than"):
        columns_of("a" * 140_000 + "\n1\n", tmp_path)


def test_numbers_that_overflow_are_told_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("a,y\n1,2\n-1e999,3\n")
    table = read_table(path)
    assert table.columns["a"] == ["1", "-1e999"]
    with pytest.raises(gd.errors.DataError, match=r"row 2 \(line 3\), column 'a': -1e999 is beyond the range"):
        describe_columns(table, "y")


def test_labels_are_kept_as_they_are_written(tmp_path: Path) -> None:
    text = "a,y\n007,9007199254740992\n7, 9007199254740993\n,1.0\n"
    assert columns_of(text, tmp_path, labels=["a", "y"]) == {
        "a": ["007", "7", None],
        "y": ["9007199254740992", "9007199254740993", "1.0"],
    }
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"a": [2**53 + 1, None, 7], "b": [1.0, 0.5, None]}), tmp_path / "d.parquet")
    columns = read_table(tmp_path / "d.parquet", ["a", "b"]).columns
    assert columns == {"a": ["9007199254740993", None, "7"], "b": ["1", "0.5", None]}
    np.savez(tmp_path / "d.npz", a=np.array([2**53 + 1, 7]), b=np.array([1.0, np.nan]), c=np.array([True, False]))
    columns = read_table(tmp_path / "d.npz", ["a", "b", "c"]).columns
    assert columns == {"a": ["9007199254740993", "7"], "b": ["1", None], "c": ["1", "0"]}


def test_parquet_of_every_type(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    noon = datetime.datetime(2024, 1, 2, 12)
    columns = {
        "__index_level_0__": [2, 0, 1],
        "when": arrow.array([noon] * 3, arrow.timestamp("ns")),
        "day": [noon.date()] * 3,
        "text": ["x", "", None],
        "bytes": [b"x", b"y", None],
        "codes": arrow.array(["p", "q", "p"]).dictionary_encode(),
        "numbers": arrow.array([1, 2, 1]).dictionary_encode(),
        "gaps": [1, None, 2**53 + 1],
        "small": arrow.array(np.array([1.5, 0, 2.0], "float16"), mask=np.array([False, True, False])),
        "truth": [True, None, False],
    }
    parquet.write_table(arrow.table(columns), tmp_path / "d.parquet")
    table = read_table(tmp_path / "d.parquet")
    assert table.nameless == 1
    found = {name: values if isinstance(values, list) else values.tolist() for name, values in table.columns.items()}
    assert found["when"][0].startswith("2024-01-02 12:00:00")
    assert found["day"] == ["2024-01-02"] * 3
    assert (found["text"], found["bytes"]) == (["x", None, None], ["x", "y", None])
    assert (found["codes"], found["numbers"]) == (["p", "q", "p"], [1.0, 2.0, 1.0])
    np.testing.assert_array_equal(found["gaps"], [1.0, np.nan, 2.0**53])
    np.testing.assert_array_equal(found["small"], [1.5, np.nan, 2.0])
    assert found["truth"] == ["True", None, "False"]

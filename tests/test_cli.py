"""The `graphdiff` command."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from graphdiff.cli import main

ROW = re.compile(r"^ +(\d) +([\d.]+) +([\d.]+)% +([\d.]+) +([\d.]+)%$", re.MULTILINE)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--help"], "demo"),
        (["-h"], "Automatic differentiation"),
        (["demo", "--help"], "--epochs"),
        (["demo", "-h"], "graphdiff demo --epochs 10"),
    ],
)
def test_help(arguments: list[str], expected: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    assert expected in result.output
    assert result.output.startswith("Usage:")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["demo", "--epoch", "1"], "No such option"),
        (["demo", "--epochs", "0"], "0 is not in the range"),
        (["demo", "--hidden", "64,none"], "'64,none' is no list of positive widths"),
        (["demo", "--hidden", "0"], "'0' is no list"),
        (["demo", "--backend", "abacus"], "no backend 'abacus'"),
        (["nothing"], "No such command"),
    ],
)
def test_bad_arguments_write_nothing(arguments: list[str], expected: str, tmp_path: Path) -> None:
    options = ["--out", str(tmp_path / "results")] if arguments[0] == "demo" else []
    result = run(*arguments, *options)
    assert result.exit_code in (1, 2)
    assert expected in result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.rglob("*.*")) == []


def test_an_output_folder_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    path.write_text("precious")
    result = run("demo", "--out", str(path))
    assert result.exit_code == 1
    assert f"cannot write to {path}" in result.output.replace("\n", "")
    assert path.read_text() == "precious"


def test_a_short_demo(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    arguments = ["demo", "--epochs", "2", "--hidden", "16", "--out", str(tmp_path / "new" / "folder")]
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "MLP 64-16-10" in result.output
    rows = ROW.findall(result.output)
    assert [row[0] for row in rows] == ["1", "2"]
    assert float(rows[1][1]) < float(rows[0][1]) < 2.4
    assert float(rows[1][4]) > 60
    svg, png = tmp_path / "new" / "folder" / "digits_loss.svg", tmp_path / "new" / "folder" / "digits_curves.png"
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert ROW.findall(run(*arguments).output) == rows  # reproducible

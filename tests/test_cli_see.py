"""`graphdiff draw`, `show`, `trace` and `explore`."""

import csv
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import graphdiff as gd
from graphdiff.cli import main

EXAMPLE = ("(a+b)*(b+1)", "a=2", "b=1")
LOGISTIC = ("-y * log(1 / (1 + exp(-W * x)))", "W=3", "x=3", "y=1")


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(
        "import graphdiff as gd\n"
        "def energy(x, w):\n    return gd.sum(gd.tanh(x @ w))\n"
        "def number(x):\n    return float(x)\n"
        "def pair(x):\n    return x * 2, x * 3\n"
        "def broken(x):\n    raise OSError('disk')\n"
        "print('ran')\n"
    )
    return path


@pytest.mark.parametrize("command", ["draw", "show", "trace", "explore"])
def test_help_has_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f'  graphdiff {command} "' in result.output
    assert "FILE.py:FUNCTION" in result.output
    assert command in run("--help").output


@pytest.mark.parametrize("ending", ["svg", "png", "pdf", "dot"])
def test_draw(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"e.{ending}"
    result = run("draw", *EXAMPLE, "--adjoints", "-o", path)
    assert (result.exit_code, result.output) == (0, f"wrote {path}\n")
    heads = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph"}
    assert path.read_bytes().startswith(heads[ending])
    if ending == "svg":
        words = [element.text for element in ElementTree.parse(path).iter() if element.tag.endswith("text")]
        assert {"a", "b", "6", "adjoint 5", "adjoint 2"} <= set(words)


def test_without_a_file_draw_prints_the_tree() -> None:
    result = run("draw", *EXAMPLE, "--adjoints")
    assert result.stdout == run("show", *EXAMPLE, "--style", "tree", "--adjoints").stdout
    assert result.stderr == "An .svg, .png, .pdf, .dot or .html file is drawn with -o FILE.\n"
    assert run("draw", "x * 1.0", "x=2", "--simplify").stdout == "x  2\n"


def test_draw_passes_on_what_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    plain = gd.draw.draw
    monkeypatch.setattr(gd.draw, "draw", lambda outputs, **options: asked.append(options) or plain(outputs))
    path = tmp_path / "e.svg"
    assert run("draw", *EXAMPLE, "-o", path).exit_code == 0
    assert asked.pop() == {}
    options = ["--mode", "both", "--labels", "name, value", "--local", "--collapse", "--max-nodes", "9", "--wrt", "b"]
    assert run("draw", *EXAMPLE, *options, "--direction", "[0.5]", "-o", path).exit_code == 0
    found = asked.pop()
    assert (found.pop("wrt").name, found.pop("seed").tolist()) == ("b", [0.5])
    assert found == {"mode": "both", "labels": ["name", "value"], "local": True, "collapse": True, "max_nodes": 9}
    assert "no input 'q'" in run("draw", *EXAMPLE, "--wrt", "q", "-o", path).output


def test_show() -> None:
    result = run("show", "c = a + b; d = b + 1; e = c * d", "a=2", "b=1", "--style", "tree", "--adjoints")
    assert result.exit_code == 0
    assert result.output == (
        "e = c·d  6  adjoint 1\n"
        "├─ c = a + b  3  adjoint 2\n"
        "│  ├─ a  2  adjoint 2\n"
        "│  └─ b  1  adjoint 5  (shared)\n"
        "└─ d = b + 1  2  adjoint 3\n"
        "   ├─ b ↑\n"
        "   └─ 1\n"
    )
    assert "expression:1:5" in run("show", "c = a + b", "a=2", "b=1", "--style", "table").output
    assert max(map(len, run("show", *LOGISTIC, "--width", "40").output.splitlines())) <= 40


def test_without_values_the_graph_has_none() -> None:
    result = run("trace", "y = x * x")
    assert result.exit_code == 0
    assert "∂y/∂x = x + x" in result.output


def test_trace_has_the_lectures_numbers() -> None:
    table = run("trace", *LOGISTIC, "--wrt", "W").output
    assert "−0.000370184" in table
    assert "stored for the backward pass" in table
    forward = run("trace", "c = a + b; d = b + 1; e = c * d", "a=2", "b=1", "--mode", "forward", "--wrt", "b").output
    assert forward.splitlines()[-2].endswith("2·1 + 3·1 = 5")


def test_trace_along_a_direction() -> None:
    target = ("y = sum(w * w * x)", "w=[1,2]", "x=3", "--mode", "forward", "--wrt", "w", "--digits", "4")
    result = run("trace", *target, "--direction", "[1, -1]")
    assert result.output.splitlines()[-1].endswith("= −6")  # 2·3·(1·1 + 2·(−1))
    assert "give the direction" in run("trace", *target).output
    assert "'q' is no number" in run("trace", *target, "--direction", "q").output


def test_trace_to_files(tmp_path: Path) -> None:
    for ending in ("html", "tex", "csv", "txt"):
        path = tmp_path / f"x.{ending}"
        result = run("trace", *EXAMPLE, "--mode", "reverse", "--wrt", "b", "-o", path)
        assert (result.exit_code, result.output) == (0, f"wrote {path}\n")
    page = (tmp_path / "x.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "3·1 + 2·1 = 5" in page
    rows = list(csv.DictReader((tmp_path / "x.csv").open()))
    assert [row["running derivative ∂v₃/∂·"] for row in rows] == ["1", "1·3 = 3", "1·2 = 2", "3·1 + 2·1 = 5"]
    assert rows[0]["local derivative"] == "∂v₃/∂v₁ = v₂ = 2; ∂v₃/∂v₂ = v₁ = 3"
    assert r"\begin{tabular}" in (tmp_path / "x.tex").read_text()
    assert (tmp_path / "x.txt").read_text() == run("trace", *EXAMPLE, "--wrt", "b").output


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_latex_file_can_be_included(tmp_path: Path) -> None:
    run("trace", *LOGISTIC, "-o", tmp_path / "table.tex")
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage{amsmath}\usepackage[T1]{fontenc}\begin{document}\input{table}\end{document}"
    )
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "paper"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_a_function_of_a_file(model: Path) -> None:
    result = run("show", f"{model}:energy", "--shapes", "2x3", "--shapes", "3")
    assert result.exit_code == 0
    assert "x  2 × 3" in result.output
    assert "model.py:3" in result.output
    given = run("show", f"{model}:energy", "x=[1,0]", "w=[0,5]", "--style", "tree")
    assert given.output.splitlines()[1].endswith("ran") or "x @ w" in given.output
    assert "v₁ = x @ w  0" in given.output
    assert run("show", f"{model}:pair", "x=4", "--style", "tree").output.count("x·") == 2


def test_explore_saves_the_page_of_the_drawing(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[tuple[str, Path]] = []
    opened: list[str] = []

    def save(drawing: Any, path: Any) -> Path:
        saved.append((drawing.source, Path(path)))
        return Path(path)

    monkeypatch.setattr(gd.draw.Drawing, "save", save)
    monkeypatch.setattr(click, "launch", lambda url: opened.append(url))
    page = tmp_path / "page.html"
    assert run("explore", *EXAMPLE, "-o", page).output == f"wrote {page}\n"
    assert run("explore", f"{model}:energy", "--shapes", "3", "--shapes", "3", "-o", page, "--open").exit_code == 0
    assert [path for _, path in saved] == [page, page]
    assert "tanh" in saved[1][0]
    assert opened == [str(page)]
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix: str(tmp_path))
    assert run("explore", *EXAMPLE).output == f"wrote {tmp_path / 'graph.html'}\n"
    assert opened == [str(page), str(tmp_path / "graph.html")]


def test_an_expression_may_begin_with_a_minus_sign(tmp_path: Path) -> None:
    assert run("show", "-a", "a=1", "--style", "tree").output == "v₁ = −a  -1\n└─ a  1\n".replace("-1", "−1")
    assert run("show", "-hypot(a, a)", "a=-3").exit_code == 0
    assert run("show", "-a", "a=1", "-o", "x").exit_code == 2


BAD = {
    ("show", "__import__('os')"): (1, "no function '__import__'"),
    ("show", "1 + a.b", "a=2"): (1, "  line 1: 1 + a.b\n              ^^^"),
    ("show", "a + b", "a=1"): (1, "no value was given for 'b'"),
    ("show", "a", "a=1", "b=2"): (1, "no name 'b'"),
    ("show", "a", "a"): (2, "'a' is not of the form NAME=VALUE"),
    ("show", "a", "1=2"): (2, "not of the form NAME=VALUE"),
    ("show", "a", "a=b"): (2, "'b' is no number or list of numbers"),
    ("show", "a", "a=[1,[2]]"): (1, "cannot make a tensor"),
    ("show", "a", "a=9**9**9"): (1, "too large"),
    ("show", "a", "--shapes", "2"): (2, "--shapes is for FILE.py:FUNCTION"),
    ("show", "(" * 100_000): (1, "at most 10,000"),
    ("trace", "a + b", "a=1", "b=1", "--mode", "forward"): (1, "which with wrt="),
    ("trace", "a + b", "a=1", "b=1", "--wrt", "c"): (2, "no input 'c'; there are a, b"),
    ("trace", "a", "a=1", "-o", "x.doc"): (1, ".html, .tex, .csv, .txt, not '.doc'"),
    ("trace", "a", "a=1", "-o", "missing/x.csv"): (1, "cannot write missing/x.csv"),
    ("draw", "a", "a=1", "--mode", "reverse"): (
        2,
        "--mode is for a picture: give -o FILE, an .svg",
    ),
    ("draw", "a", "a=1", "--wrt", "a"): (2, "--wrt is for a picture"),
    ("draw", "a", "a=1", "--max-nodes", "3"): (2, "--max-nodes is for a picture"),
    ("show", "a", "a=1", "--data", "x.csv"): (2, "--data and --row are for MODEL.safetensors"),
    ("show", "m.safetensors", "a=1"): (2, "give --data instead of values"),
    ("show", "m.safetensors", "--row", "2"): (2, "give --data too"),
    ("show", "m.safetensors"): (1, "m.safetensors"),
    ("draw", "a", "a=1", "-o", "x.gif"): (1, "not 'gif'"),
    ("draw", "a", "a=1", "-o", "missing/x.svg"): (1, "cannot write missing/x.svg"),
    ("explore", "a", "a=1", "-o", "x.svg"): (2, "x.svg is no .html file"),
    ("show", "nothing.py:f"): (2, "there is no file 'nothing.py'"),
}


@pytest.mark.parametrize(("arguments", "expected"), BAD.items(), ids=lambda each: " ".join(map(str, each))[:40])
def test_bad_arguments_write_nothing(
    arguments: tuple[str, ...], expected: tuple[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert (result.exit_code, "Traceback" in result.output) == (expected[0], False)
    assert expected[1] in result.output
    assert list(tmp_path.iterdir()) == []


def test_functions_that_cannot_be_run(model: Path) -> None:
    assert "has no function 'f'; it has broken, energy, number, pair" in run("show", f"{model}:f").output
    assert "outputs of a graph are Tensors, not float" in run("show", f"{model}:number", "x=1").output
    broken = run("show", f"{model}:broken", "x=1")
    assert (broken.exit_code, "OSError: disk" in broken.output) == (1, True)
    missing = run("show", f"{model}:energy", "x=1")
    assert "Its parameters are x, w: give values as NAME=VALUE" in missing.output
    assert "has 1 parameters, and there are 2 --shapes" in run("show", f"{model}:pair", *["--shapes", "2"] * 2).output
    assert "a trace is of one output, and there are 2" in run("trace", f"{model}:pair", "x=1").output

"""`graphdiff draw`, `show`, `trace` and `explore` of a model in a file, alone and on rows of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import graphdiff as gd
from graphdiff.cli import main
from graphdiff.train.scaling import Standardise

ROWS = [(1.0, 2.0, "b"), (3.0, 5.0, "a"), (5.0, 2.0, "b")]


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def flowers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gd.train.Saved:
    """Write a model for two columns and two classes, and a table; return the model."""
    monkeypatch.chdir(tmp_path)
    Path("flowers.csv").write_text("u,v,kind\n" + "".join(f"{u},{v},{kind}\n" for u, v, kind in ROWS))
    scaler = Standardise().fit(np.array([row[:2] for row in ROWS]))
    columns = [{"name": name, "kind": "numeric"} for name in "uv"]
    model = gd.nn.MLP([3, 2], "tanh", in_features=2, seed=3)
    gd.train.save(model, "m.safetensors", scaler=scaler, columns=columns, classes=["a", "b"], notes={"target": "kind"})
    return gd.train.load("m.safetensors")


def test_rows_of_a_table_give_the_loss(flowers: gd.train.Saved) -> None:
    result = run("show", "m.safetensors", "--data", "flowers.csv", "--row", "2", "--style", "table", "--width", "200")
    assert result.exit_code == 0, result.output
    truth = [["a", "b"].index(ROWS[1][2])]
    expected = gd.nn.softmax_cross_entropy(gd.constant(flowers(np.array([ROWS[1][:2]]))), truth).item()
    [last] = [line for line in result.output.splitlines() if line.startswith("loss = cross_entropy(logits")]
    assert last.endswith("m.safetensors:all")
    assert float(last.split("float32")[1].split()[0]) == pytest.approx(expected, rel=1e-5)
    first = run("trace", "m.safetensors", "--data", "flowers.csv", "--digits", "4").output
    both = run("trace", "m.safetensors", "--data", "flowers.csv", "--row", "1", "--row", "3", "--digits", "4").output
    assert first.splitlines()[2] != both.splitlines()[2]
    assert "W₂" in first


def test_without_the_target_the_prediction_is_shown(flowers: gd.train.Saved) -> None:
    Path("new.csv").write_text("u,v\n1,2\n")
    result = run("show", "m.safetensors", "--data", "new.csv", "--style", "tree")
    assert result.output.startswith("logits = ")
    assert "loss" not in result.output


def test_numbers_are_compared_as_they_were_scaled_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.csv").write_text("u,price\n1,100\n2,300\n")
    scalers = [Standardise().fit(np.array([[1.0], [2.0]])), Standardise().fit(np.array([[100.0], [300.0]]))]
    model = gd.nn.Linear(1, 1)
    columns = [{"name": "u", "kind": "numeric"}]
    facts = {"columns": columns, "notes": {"target": "price"}}
    gd.train.save(model, "m.safetensors", scaler=scalers[0], target_scaler=scalers[1], **facts)
    tree = run("draw", "m.safetensors", "--data", "d.csv").stdout
    predicted = model(gd.constant([[-1.0]], dtype="float32")).item()
    assert float(tree.splitlines()[0].split("  ")[1]) == pytest.approx((predicted + 1.0) ** 2, rel=1e-4)


def test_pictures_and_pages(flowers: gd.train.Saved) -> None:
    data = ["--data", "flowers.csv"]
    assert run("draw", "m.safetensors", "-o", "layers.dot").exit_code == 0
    assert "0 Linear" in Path("layers.dot").read_text()
    result = run(
        "draw", "m.safetensors", *data, "--mode", "forward", "--wrt", "b2", "--direction", "[1,0]", "-o", "t.dot"
    )
    assert result.exit_code == 0, result.output
    assert "tangent = [1, 0]" in Path("t.dot").read_text()
    assert run("explore", "m.safetensors", *data, "-o", "p.html").exit_code == 0
    assert "Graph of loss" in Path("p.html").read_text()
    assert run("explore", "m.safetensors", "-o", "q.html").exit_code == 0
    assert run("draw", "m.safetensors", *data).stdout.startswith("loss = cross_entropy(logits, ")
    assert "is no scalar: give a seed" in run("trace", "m.safetensors").output
    assert run("trace", "m.safetensors", "--direction", "[[1,0]]").output.startswith("expression")


@pytest.mark.parametrize("row", ["0", "4", "-1"])
def test_rows_that_are_not_there(flowers: gd.train.Saved, row: str) -> None:
    result = run("show", "m.safetensors", "--data", "flowers.csv", "--row", row)
    assert result.exit_code == 2
    assert f"flowers.csv has the rows 1 to 3, not {row}" in result.output

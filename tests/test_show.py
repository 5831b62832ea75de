"""The graph as text."""

import io
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.draw.text import text
from graphdiff.errors import GraphError
from graphdiff.text.columns import text_width


def expression() -> Any:
    a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    return ((a + b).named("c") * (b + 1).named("d")).named("e")


def test_tree_marks_what_is_shared(capsys: pytest.CaptureFixture[str]) -> None:
    gd.show(expression(), style="tree")
    assert capsys.readouterr().out.splitlines() == [
        "e = c·d  6",
        "├─ c = a + b  3",
        "│  ├─ a  2",
        "│  └─ b  1  (shared)",
        "└─ d = b + 1  2",
        "   ├─ b ↑",
        "   └─ 1",
    ]


def test_table_is_in_topological_order_with_adjoints_after_backward() -> None:
    e = expression()
    e.backward()
    lines = text(e, style="table").splitlines()
    assert lines[0].split() == ["node", "shape", "dtype", "value", "adjoint", "made", "at"]
    assert [line.split()[0] for line in lines[2:]] == ["a", "b", "c", "d", "e"]
    assert "test_show.py:" in lines[2]
    assert lines[3].split()[:5] == ["b", "scalar", "float64", "1", "5"]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    x = gd.variable(np.ones((3, 4)), name="名前" * 50)
    y = x
    for _ in range(60):
        y = gd.tanh(y)
    made = text(y, width=width)
    assert max(map(text_width, made.splitlines())) <= width
    assert " deep ⋯" in made


def test_colour_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    plain, coloured = io.StringIO(), Terminal()
    gd.show(expression(), file=plain)
    gd.show(expression(), file=coloured)
    assert "\x1b[" not in plain.getvalue()
    assert "\x1b[" in coloured.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    quiet = Terminal()
    gd.show(expression(), file=quiet)
    assert "\x1b[" not in quiet.getvalue()


def test_long_graphs_say_how_many_are_left_out() -> None:
    y = gd.variable(1.0)
    for _ in range(5000):
        y = gd.sin(y)
    made = text(y, max_nodes=10)
    assert made.count("more nodes; max_nodes=10") == 2
    assert "4,991 more nodes" in made
    assert len(made.splitlines()) < 30


def test_names_cannot_break_lines_or_steer_the_terminal() -> None:
    x = gd.variable(1.0, name="two\nlines \x1b[31m red")
    made = text(x * x)
    assert "\x1b" not in made
    assert "two\\nlines" in made


def test_unknown_style() -> None:
    with pytest.raises(GraphError, match=r"'both', 'tree' or 'table'"):
        gd.show(expression(), style="round")


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "🎲漢字", "a\u202eb", "n" * 10_000])
@pytest.mark.parametrize("width", [40, 70, 120])
def test_odd_names_leave_room_for_the_rest(name: str, width: int) -> None:
    x = gd.variable(2.0, name=name)
    made = text(gd.sin(x * x), width=width)
    assert max(map(text_width, made.splitlines())) <= width
    assert "(shared)" in made
    assert "↑" in made
    assert made.count("−0.756802") == 2  # in the tree and in the table
    assert "\u202e" not in made


def test_a_narrow_table_drops_what_it_has_no_room_for() -> None:
    heads = [text(expression(), style="table", width=width).splitlines()[0].split() for width in (100, 40, 30, 18)]
    assert heads[0] == ["node", "shape", "dtype", "value", "made", "at"]
    assert [len(head) for head in heads] == sorted((len(head) for head in heads), reverse=True)
    assert heads[-1] == ["node", "value"]


def test_a_tree_keeps_its_shape_while_half_the_width_is_left() -> None:
    x = gd.variable(0.5, name="x")
    made = text(gd.exp(gd.sin(gd.cos(gd.tanh(x * x)))), style="tree", width=40)
    assert "            ├─ x" in made
    assert "deep" not in made


def test_a_variable_that_was_assigned_since_says_so() -> None:
    a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    e = (a * b).named("e")
    a.assign(7.0)
    made = text(e, adjoints=False)
    assert "├─ a  7  (assigned since)\n└─ b  1\n" in made
    assert "7 (assigned since)" in made.split("\n\n")[1]
    assert "assigned" not in text((a * b).named("e"))


@pytest.mark.parametrize("wrong", [{"max_nodes": 1e-3}, {"max_nodes": 0}, {"width": 2.5}, {"width": True}])
def test_counts_are_integers(wrong: dict[str, Any]) -> None:
    with pytest.raises(gd.GraphDiffError, match=f"show: {next(iter(wrong))} is an integer that is at least 1"):
        gd.show(gd.variable(2.0) * 3, **wrong)

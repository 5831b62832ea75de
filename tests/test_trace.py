"""Trace tables and the sum over paths: the lecture's numbers, and texts of any kind."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.draw.lecture.partials import local_symbol
from graphdiff.draw.lecture.symbols import Symbol
from graphdiff.errors import GraphError, NoValueError
from graphdiff.op import OPS


def lecture() -> dict[str, Any]:
    a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    c, d = (a + b).named("c"), (b + 1).named("d")
    return {"a": a, "b": b, "c": c, "d": d, "e": (c * d).named("e")}


def logistic() -> tuple[Any, Any]:
    W, x, y = gd.variable(3.0, name="W"), gd.constant(3.0, name="x"), gd.constant(1.0, name="y")
    xi1 = (-(W * x)).named("ξ1")
    xi2 = gd.exp(xi1).named("ξ2")
    xi3 = (1 + xi2).named("ξ3")
    xi4 = (1 / xi3).named("ξ4")
    xi5 = gd.log(xi4).named("ξ5")
    return W, (-(y * xi5)).named("L")


def test_the_lectures_forward_table() -> None:
    W, loss = logistic()
    table = gd.trace(loss, mode="forward", wrt=W, named=True)
    assert [row.expression for row in table if row.node.op] == [
        "ξ1 = −W·x",
        "ξ2 = e^ξ1",
        "ξ3 = 1 + ξ2",
        "ξ4 = 1/ξ3",
        "ξ5 = log(ξ4)",
        "L = −y·ξ5",
    ]
    assert table["ξ1"].local_derivatives == ("∂ξ1/∂W = −x = −3",)
    assert table["ξ2"].value == "e^−9"
    assert table["L"].value == "−1·(−0.000123402)"
    expected = {"ξ1": -9, "ξ2": np.exp(-9), "ξ3": 1 + np.exp(-9), "ξ4": 1 / (1 + np.exp(-9))}
    for name, value in expected.items():
        assert float(table[name].node.value) == pytest.approx(value, rel=1e-14)
    tangents = [float(row.derivative) for row in table if row.node.op]
    assert tangents[:3] == pytest.approx([-3, -3 * np.exp(-9), -3 * np.exp(-9)])
    assert abs(tangents[-1]) == pytest.approx(0.00037018372, abs=1e-11)
    assert table["ξ1"].running_derivative == ("−3·1 = −3",)


def test_the_lectures_backward_table() -> None:
    W, loss = logistic()
    table = gd.trace(loss, mode="reverse", wrt=W, named=True)
    assert [row.name for row in table] == ["L", "ξ5", "ξ4", "ξ3", "ξ2", "ξ1", "W"]
    assert abs(float(table["W"].derivative)) == pytest.approx(0.00037018372, abs=1e-11)
    assert table["L"].running_derivative == ("1",)
    assert table["ξ5"].running_derivative == ("1·(−1) = −1",)
    assert [row.stored for row in table] == [("y",), ("ξ4",), ("ξ3", "ξ4"), (), ("ξ2",), ("x",), ()]
    assert table.stored == ("x", "y", "ξ2", "ξ3", "ξ4")
    assert "stored for the backward pass: x, y, ξ2, ξ3, ξ4 (40 bytes)" in str(table)


def test_all_nodes_of_the_graph_example_in_both_modes() -> None:
    made = lecture()
    forward = gd.trace(made["e"], mode="forward", wrt=made["b"])
    assert {row.name: float(row.derivative or 0) for row in forward} == {"a": 0, "b": 1, "c": 1, "d": 1, "e": 5}
    reverse = gd.trace(made["e"], mode="reverse")
    assert {row.name: float(row.derivative) for row in reverse} == {"e": 1, "d": 3, "c": 2, "b": 5, "a": 2}
    assert reverse["b"].running_derivative == ("3·1 + 2·1 = 5",)
    assert len(reverse) == 5
    assert reverse[0].name == "e"
    assert len(list(gd.trace(made["e"], mode="reverse", wrt=made["a"]))) == 3


def test_arrays_are_shown_in_full_or_by_their_range() -> None:
    x = gd.variable(np.arange(6.0).reshape(2, 3), name="x")
    w = gd.variable(np.ones((3, 2)), name="w")
    table = gd.trace(gd.sum(gd.tanh((x @ w).named("h"))).named("s"), mode="reverse")
    assert table["h"].local_derivatives == ("∂h/∂x = wᵀ", "∂h/∂w = xᵀ")
    assert table["h"].numeric_value == "[[3, 3], [12, 12]]"
    assert table["x"].derivative.shape == (2, 3)
    np.testing.assert_allclose(table["x"].derivative, gd.adjoints(gd.sum(gd.tanh(x @ w)))[x].numpy())
    assert gd.trace(gd.sum(x), mode="forward", wrt=x, seed=np.ones((2, 3)))[-1].derivative == 6


def test_a_graph_without_values_is_traced_in_symbols() -> None:
    x = gd.placeholder(name="x")
    table = gd.trace((x * x).named("y"), mode="reverse")
    assert table["y"].local_derivatives == ("∂y/∂x = x + x",)
    assert table["x"].numeric_value == ""


def test_the_matrix_function_keeps_its_name() -> None:
    matrix = gd.variable([[1.0, 2.0], [3.0, 4.0]])
    assert gd.trace(matrix).item() == 5
    assert gd.trace(matrix, offset=1).item() == 2
    assert np.trace(matrix).item() == 5


def test_errors_say_what_to_give() -> None:
    made = lecture()
    with pytest.raises(GraphError, match=r"which with wrt=….*'a'.*'b'"):
        gd.trace(made["e"], mode="forward")
    with pytest.raises(GraphError, match=r"'forward' or 'reverse'"):
        gd.trace(made["e"], mode="sideways")
    with pytest.raises(GraphError, match=r"no path"):
        gd.trace(made["c"], mode="reverse", wrt=made["d"])
    vector = gd.variable([1.0, 2.0])
    with pytest.raises(GraphError, match=r"direction"):
        gd.trace(gd.sum(vector), mode="forward", wrt=vector)


ODD = ["<script>alert(1)</script>", "q\"u'o", "back\\slash", "two\nlines", "🎲", "a_b^c{d}%$#&~", "n" * 10_000]


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_odd_names_are_text(name: str) -> None:
    x = gd.variable(2.0, name=name)
    table = gd.trace((x * x).named("y"), mode="reverse")
    root = ElementTree.fromstring(table.html())
    assert {child.tag for child in root.iter()} <= {"table", "thead", "tbody", "tr", "th", "td", "br", "caption"}
    shown = name.replace("\n", "\\n")
    assert shown in ["".join(cell.itertext()) for cell in root.iter("td")]
    assert all(len(line) < 400 for line in str(table).splitlines())
    assert table.latex().count(r"\begin{tabular}") == table.latex().count(r"\end{tabular}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    tables = [gd.trace(logistic()[1], mode=mode, named=True).latex() for mode in ("forward", "reverse")]
    for name in ODD:
        x = gd.variable(2.0, name=name)
        tables.append(gd.trace(x * x, mode="reverse").latex())
    body = "\n\n".join(tables)
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{amsmath}\begin{document}"
    (tmp_path / "t.tex").write_text(f"{head}\n{body}\n\\end{{document}}")
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "t.tex"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_nine_paths_cost_one_multiplication() -> None:
    x = gd.variable(1.0, name="X")
    y = gd.einsum(",,->", x, x, x).named("Y")
    z = gd.einsum(",,->", y, y, y).named("Z")
    found = gd.paths(z, x)
    assert found.count == len(found) == 9
    assert len(list(found)) == 9
    assert found.factored == "(1 + 1 + 1)·(1 + 1 + 1)"
    assert found.factored_multiplications == 1
    assert found.multiplications == 9
    assert found.total == 9


def test_paths_of_the_example() -> None:
    made = lecture()
    found = gd.paths(made["e"], made["b"])
    assert [(path.names, path.product) for path in found] == [(("b", "c", "e"), 2.0), (("b", "d", "e"), 3.0)]
    assert found.total == 5
    assert found.steps[-1] == "∂e/∂b = 3·1 + 2·1 = 5"
    assert "sum of products: 5" in str(found)


def test_paths_are_counted_without_being_listed() -> None:
    x = gd.variable(1.0)
    y = x
    for _ in range(200):
        y = y * 0.5 + y * 0.5
    found = gd.paths(y, x)
    assert found.count == 2**200
    assert found.total == 1
    assert "and 1,6" in str(found)
    with pytest.raises(GraphError, match=r"no path"):
        gd.paths(y, gd.variable(1.0))
    p, v = gd.placeholder(), gd.variable([1.0, 2.0])
    with pytest.raises(NoValueError):
        gd.paths(p * p, p)
    with pytest.raises(GraphError, match=r"scalar"):
        gd.paths(gd.sum(v), v)
    many = list(gd.paths(gd.exp(x) * x, x))
    assert sum(path.product for path in many) == pytest.approx(2 * np.e)


SYMBOLS = {
    "sqrt": ("1/(2·z)",),
    "reciprocal": ("−z²",),
    "log": ("1/x",),
    "tanh": ("1 − z²",),
    "sigmoid": ("z·(1 − z)",),
    "relu": ("[z > 0]",),
    "hypot": ("x/z", "y/z"),
    "divide": ("1/y", "−z/y"),
    "power": ("y·x^(y − 1)", "z·log(x)"),
    "maximum": ("[x > y] + 0.5·[x = y]", "[y > x] + 0.5·[x = y]"),
    "clip": ("[x ≥ y and x ≤ w]", "[x < y and y ≤ w]", "[max(x, y) > w]"),
}


@pytest.mark.parametrize("name", SYMBOLS)
def test_local_derivatives_are_the_ops_own_rules_written_down(name: str) -> None:
    names = "xyw"[: len(SYMBOLS[name])]
    node = OPS[name](*[gd.variable(0.5, name=each) for each in names])
    operands = [Symbol(each) for each in names]
    assert tuple(local_symbol(node, i, Symbol("z"), operands).text for i in range(len(names))) == SYMBOLS[name]


def test_a_users_rule_is_written_down_too() -> None:
    cube = gd.op.elementwise("cube_written", lambda F, out, x: 3 * x * x, evaluate=lambda F, x: x * x * x)
    awkward = gd.op.elementwise("awkward", lambda F, out, x: 2 * x if x > 0 else x, evaluate=lambda F, x: x)
    x = gd.variable(2.0, name="x")
    assert gd.trace(cube(x).named("y"))["y"].local_derivatives == ("∂y/∂x = 3·x·x = 12",)
    assert gd.trace(awkward(x).named("y"))["y"].local_derivatives == ("∂y/∂x = 4",)


@pytest.mark.parametrize("width", [150, 110, 90, 80, 40])
def test_a_table_fits_the_width_it_is_given(width: int) -> None:
    W, loss = logistic()
    table = gd.trace(loss, mode="reverse", wrt=W)
    made = table.text(width)
    assert max(map(len, made.splitlines())) <= width
    if width in (150, 90, 80):  # 110 breaks cells into lines beside each other, 40 cuts
        assert all(line in made for row in table for cell in row.cells() for line in cell)
    if width < 110:
        assert [line.split() for line in made.splitlines()[:2]] == [
            ["L", "=", "−v₂"],
            ["local", "derivative", "∂L/∂v₂", "=", "−1"],
        ]


def test_the_local_derivative_of_a_broadcast_operand_is_no_sum_over_elements() -> None:
    x, k = gd.variable([1.0, 2.0], name="x"), gd.variable(3.0, name="k")
    row = gd.trace(gd.sum((x * k).named("y")).named("L"))["y"]
    assert row.local_derivatives == ("∂y/∂x = k = [3, 3]", "∂y/∂k = x")
    assert row.value == "[1, 2]·3"


def test_small_constants_without_a_row_are_written_out() -> None:
    scores = gd.variable([[1.0, 0.0], [0.0, 1.0]], name="z")
    table = gd.trace(gd.nn.softmax_cross_entropy(scores, np.array([0, 1])).named("L"))
    assert table["L"].expression == "L = cross_entropy(z, [0, 1])"
    assert table["L"].local_derivatives == ("∂L/∂z",)


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("w", "w"),
        ("w_1", "w_{1}"),
        ("W₂", "W_{2}"),
        ("w_out", r"w_{\text{out}}"),
        ("y′", "y'"),
        ("f″", "f''"),
        ("θ̂", r"\hat{\theta}"),
        ("x̄₁", r"\bar{x}_{1}"),
        ("ŵ", r"\hat{w}"),
        ("ℓ", r"\ell"),
        ("loss", r"\text{loss}"),
        ("∇f", r"\text{\ensuremath{\nabla}f}"),
        ("w_1_2", r"\text{w\_1\_2}"),
    ],
)
def test_names_in_latex_are_set_as_mathematics(name: str, latex: str) -> None:
    x = gd.variable(2.0, name=name)
    assert f"\n${latex}$ & " in gd.trace((x * x).named("q")).latex()


def test_attributes_in_latex_are_upright_and_axes_of_a_whole_sum_go_without_saying() -> None:
    x = gd.variable([[1.0, 2.0], [3.0, 4.0]], name="x")
    assert r"\operatorname{sum}\left(x\right)" in gd.trace(gd.sum(x).named("q")).latex()
    table = gd.trace(gd.sum(gd.sum(x, axis=1).named("r")).named("q"))
    assert table["r"].expression == "r = sum(x, axis=1)"
    assert r"\operatorname{sum}\left(x,\ \text{axis=1}\right)" in table.latex()


def test_a_row_that_is_not_there_is_told_with_those_that_are() -> None:
    x = gd.variable(2.0, name="x")
    with pytest.raises(KeyError, match=r"no row 'z'; its rows are q, x"):
        gd.trace((x * x).named("q"))["z"]


def test_powers_of_ten_in_latex_have_no_factor_of_one() -> None:
    x = gd.variable(1e-30, name="x")
    assert "& $10^{-30}$ &" in gd.trace((x * 2.0).named("q")).latex()


def test_the_factors_of_products_of_matrices_stand_in_the_order_in_which_their_shapes_fit() -> None:
    x, w = gd.variable(np.ones((5, 2)), name="x"), gd.variable(np.ones((2, 3)), name="W")
    loss = gd.sum((x @ w).named("h")).named("L")
    reverse = gd.trace(loss)
    assert reverse["x"].running_derivative[0].startswith("∂L/∂h·Wᵀ")
    assert reverse["W"].running_derivative[0].startswith("xᵀ·∂L/∂h")
    for leaf, term in ((x, "∂x/∂x·W"), (w, "x·∂W/∂W")):
        forward = gd.trace(loss, mode="forward", wrt=leaf, seed=np.ones(leaf.shape) / 3)
        assert term in forward["h"].running_derivative[0].partition(" = ")[0].split(" + ")
    square = gd.variable(np.ones((2, 2)), name="A")
    table = gd.trace(gd.sum((square @ square).named("h")).named("L"))
    assert table["A"].running_derivative[0].startswith("∂L/∂h·Aᵀ + Aᵀ·∂L/∂h = ")


def test_a_direction_is_what_the_pass_begins_with() -> None:
    w = gd.variable([1.0, 2.0], name="w")
    table = gd.trace((w * 3.0).named("h"), mode="forward", wrt=w, seed=[0.0, 1.0])
    assert table["h"].running_derivative == ("3·[0, 1] = [0, 3]",)
    assert table.header[4] == "running derivative in a direction of w"
    assert r"running derivative $\text{in a direction of } w$" in table.latex()


def test_comparisons_transposes_and_means_are_written_as_in_mathematics() -> None:
    x = gd.variable([[1.0, 2.0], [3.0, 4.0]], name="x")
    table = gd.trace(
        gd.mean(gd.where((x.T > 2).named("m"), x, 0.0).named("s")).named("L"), mode="forward", wrt=x, seed=x
    )
    assert table["m"].expression == "m = v₁ > 2"
    assert table["v1"].expression == "v₁ = xᵀ"
    assert table["L"].local_derivatives == ("∂L/∂s = 1/4",)
    assert "v_{1} > 2" in table.latex()
    assert r"x^\top" in table.latex()
    assert gd.trace(gd.mean(x, axis=0).named("L"), seed=[1.0, 1.0])["L"].local_derivatives == ("∂L/∂x = 1/2",)


def test_large_arrays_stand_in_formulas_by_their_names() -> None:
    x = gd.variable(np.ones((5, 5)), name="x")
    table = gd.trace(gd.sum((x * 2.0).named("y")).named("L"))
    assert table["y"].value == "x·2"
    assert table["y"].numeric_value == "all 2"


def test_the_mean_of_what_cancels_is_zero_and_no_rounding() -> None:
    noise = gd.variable(np.linspace(-2, 2, 200) + 1e-17, name="x")
    assert "mean 0, min −2, max 2" in gd.trace(gd.sum(noise))["x"].numeric_value
    small = gd.variable(np.linspace(1e-20, 3e-20, 200), name="x")
    assert "mean 2e−20" in gd.trace(gd.sum(small))["x"].numeric_value


def test_a_stacked_table_breaks_lines_and_loses_nothing() -> None:
    a = gd.variable(1 / 3, name="a")
    table = gd.trace((gd.sin(a * 7.0) * gd.exp(a)).named("long_name"))
    narrow = table.text(54)
    assert max(map(len, narrow.splitlines())) <= 54
    assert "…" not in narrow
    for row in table:
        for cell in row.running_derivative:
            assert cell.replace(" ", "") in narrow.replace(" ", "").replace("\n", "")


def test_arrays_that_do_not_depend_on_the_input_stay_under_their_names() -> None:
    x, first, second = (gd.variable(np.ones((2, 2)) * k, name=name) for k, name in enumerate(("x", "W", "V")))
    table = gd.trace(gd.sum(gd.tanh(x @ first) @ second).named("L"), wrt=second)
    assert table["v3"].expression == "v₃ = v₂ @ V"
    assert table["v3"].stored == ("v₂",)
    assert table["V"].running_derivative[0].startswith("v₂ᵀ·∂L/∂v₃ = ")
    a, b = gd.variable(2.0, name="a"), gd.variable(3.0, name="b")
    assert gd.trace(((a * a) * b).named("e"), wrt=b)["e"].local_derivatives == ("∂e/∂b = a·a = 4",)


@pytest.mark.parametrize(
    ("text", "values", "result"),
    [
        ("where(x > 0, x**2, -x)", {"x": 2.0}, "4"),
        ("where(x > 0, x, -x) + (x < 1)", {"x": 2.0}, "2"),
        ("x/0", {"x": 1.0}, "inf"),
        ("x*0/0", {"x": 1.0}, "nan"),
        ("log(x)*0/x", {"x": 0.0}, "nan"),
        ("(-2)**x", {"x": 0.5}, "nan"),
        ("1e300*x*1e300", {"x": 0.5}, "inf"),
        ("x**-1", {"x": 0.0}, "inf"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_booleans_infinities_and_what_is_undefined(text: str, values: dict[str, float], result: str) -> None:
    e = gd.parse(text, **values)
    for mode in ("forward", "reverse"):
        table = gd.trace(e, mode=mode, wrt=gd.Graph(e).inputs[0])
        (last,) = [row for row in table if row.node is e]
        assert last.numeric_value == result
        assert "nan" not in re.sub(r"\\text\{nan\}", "", table.latex())
        assert table.html()
        assert str(table)


def test_powers_of_ten_in_latex() -> None:
    latex = gd.trace(gd.parse("x * 1e-5 / 3", x=[1e10, -2.5e-20]), seed=[1.0, 1.0]).latex()
    assert "10^{-5}" in latex
    assert r"-2.5000 \cdot 10^{-20}" in latex or r"-2.5 \cdot 10^{-20}" in latex
    assert not re.search(r"\de[-+]?\d", latex)

"""compare_modes: what it counts, measures, prints and refuses."""

import json
import random
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

import graphdiff as gd
from graphdiff.cli import main
from graphdiff.compare import Crossover
from graphdiff.compare.crossover import Line
from graphdiff.costs import predict

X = np.array([0.4, 1.3, 0.7])


def f(x):
    return gd.stack([gd.sin(x[0]) * x[1], x[1] / x[2], gd.exp(x[0] * x[2])])


@pytest.fixture(scope="module")
def report():
    return gd.compare_modes(f, X, seconds=0.002)


def test_every_mode_is_measured_and_accurate(report):
    assert [result.mode for result in report.results] == [
        *("finite differences", "forward", "batched forward", "reverse", "batched reverse", "elimination")
    ]
    for result in report.results:
        assert result.median > 0
        assert result.cost.flops > 0
        assert result.error < (1e-6 if result.mode == "finite differences" else 1e-14)
    assert report.reference == "the complex step"
    assert report.gradient_ratio > 0


def test_reverse_mode_keeps_the_cheap_gradient_bound():
    found = gd.compare_modes(lambda x, y: gd.sin(x * y) * gd.exp(x) + x / y, 2.0, 3.0, seconds=0)
    assert 1 < found.counted_ratio < 5


def test_it_prints_and_is_saved(report, tmp_path):
    assert "batched reverse" in str(report)
    assert "cheap-gradient bound" in str(report)
    data = json.loads(report.to_json())
    assert (data["inputs"], data["outputs"], len(data["modes"])) == (3, 3, 7)
    assert json.loads(report.save(tmp_path / "r.json").read_text()) == data
    page = report.save(tmp_path / "r.html").read_text()
    assert (
        page.count("<rect") == 12
    )  # bars of time, and of memory: the function's too, but elimination's is not counted
    assert "prefers-color-scheme:dark" in page
    assert page.count("<svg") == 5
    assert "http" not in page
    for chart in re.findall("<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(chart)
    assert "NaN" not in report.to_json()
    with pytest.raises(gd.errors.GraphError, match=r"\.pdf"):
        report.save(tmp_path / "r.pdf")
    with pytest.raises(gd.errors.DataError, match=r"cannot write .*/nowhere/r\.txt: No such file"):
        report.save(tmp_path / "nowhere" / "r.txt")


def test_several_arguments_and_outputs():
    def g(a, b):
        return {"p": a["w"] @ b, "q": gd.sum(b * b)}

    found = gd.compare_modes(g, {"w": np.ones((2, 3))}, X, seconds=0)
    assert (found.inputs, found.outputs) == (9, 3)
    assert all(result.error < 1e-6 for result in found.results)


def test_an_order_of_ones_own():
    x = gd.variable(X)
    order = gd.elimination_order(gd.Graph(f(x)), "search", cache=False)
    found = gd.compare_modes(f, X, seconds=0, order=order, modes=["elimination", "batched reverse"])
    assert [result.mode for result in found.results] == ["elimination", "batched reverse"]


@pytest.mark.parametrize("kind", ["vertex", "edge", "face"])
def test_the_order_given_is_the_one_that_is_counted(kind):
    """Topological order is forward mode: it costs more multiplications than the best order, and is run as it is."""
    graph = gd.Graph(f(gd.variable(X)))
    order = gd.elimination_order(graph, "forward", kind=kind)
    products = [
        gd.compare_modes(f, X, seconds=0, order=each, modes=["elimination"], crossover=False).results[0].cost
        for each in (order, gd.elimination_order(graph, "markowitz", kind=kind))
    ]
    partials = predict([f(x := gd.variable(X))], [x], ["partials"])["partials"]
    assert products[0].multiplications - partials.multiplications == order.multiplications_without_units
    assert products[0].multiplications >= products[1].multiplications


def test_orders_of_other_functions_are_refused():
    other = gd.elimination_order(gd.Graph(gd.sin(gd.exp(gd.variable(1.0)))))
    with pytest.raises(gd.errors.GraphError, match=r"take it from gd\.elimination_order of this"):
        gd.compare_modes(f, X, order=other)
    with pytest.raises(gd.errors.GraphError, match=r"what gd\.elimination_order returns, not \[1, 2\]"):
        gd.compare_modes(f, X, order=[1, 2])


def test_what_has_no_complex_step_is_measured_against_reverse():
    found = gd.compare_modes(lambda x: gd.erf(x), X, seconds=0)
    assert found.reference.startswith("batched reverse")


def test_arrays_are_eliminated_block_by_block():
    matrix = gd.constant(np.ones((80, 50)))
    function = lambda x: gd.tanh(matrix @ x)  # noqa: E731
    found = gd.compare_modes(function, np.full(50, 0.01), seconds=0, modes=["batched reverse", "elimination"])
    assert not found.results[1].note
    assert found.results[1].error < 1e-14


def test_too_many_numbers_are_not_eliminated_one_by_one():
    matrix = gd.constant(np.ones((80, 50)))
    function = lambda x: gd.tanh(matrix @ x)  # noqa: E731
    order = gd.elimination_order(gd.Graph(function(gd.variable(np.ones(50)))))
    modes = ["forward", "elimination"]
    found = gd.compare_modes(function, np.ones(50), seconds=0, modes=modes, order=order, crossover=False)
    assert found.results[1].note == "too many numbers"
    assert found.cheapest == found.fastest == "forward"


def test_finite_differences_alone():
    found = gd.compare_modes(f, X, seconds=0, modes=["finite differences"], crossover=False)
    assert found.fastest == found.cheapest == "finite differences"
    assert "predicted cheapest" in str(found)


def test_modes_of_too_many_directions_are_left_out():
    found = gd.compare_modes(lambda x: gd.sum(gd.sin(x) * x), np.ones(5000), seconds=0, crossover=False)
    notes = {result.mode: result.note for result in found.results}
    assert notes["batched forward"] == notes["finite differences"] == "too many directions"
    assert not notes["reverse"]
    assert found.reference.startswith("batched reverse")
    assert found.fastest in ("reverse", "batched reverse", "elimination")


def test_a_function_that_branches_on_values_is_refused():
    with pytest.raises(gd.errors.NoValueError, match=r"gd\.where"):
        gd.compare_modes(lambda x: x if x[0] > 0 else -x, X, seconds=0)


def test_if_no_mode_can_be_run_it_says_why():
    order = gd.elimination_order(gd.Graph((x := gd.variable(np.ones(60))) * x))
    with pytest.raises(gd.errors.GraphError, match="elimination: too many numbers"):
        gd.compare_modes(lambda x: x * x, np.ones(60), modes=["elimination"], order=order)


def test_narrow_terminals_get_fewer_columns(report):
    narrow = report.text(80).splitlines()
    assert max(map(len, narrow)) <= 80
    for column in ("mode", "measured µs", "predicted µs", "flops", "peak kB", "error"):
        assert any(column in line for line in narrow[:4])
    assert "kB moved" in report.text(118)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (lambda x: gd.constant(1.0), (X,), "no path"),
        (lambda x: x * 2, (np.array([1, 2]),), "not real floating"),
        (lambda x: x * random.random(), (X,), "another result"),
        (lambda x: x * 2, (), "needs arguments"),
        (lambda x: x * gd.constant(np.inf), (X,), "not finite at these arguments"),
        (lambda x: x > 0, (X,), "path|not real floating"),
    ],
)
def test_wrong_input(function, arguments, message):
    with pytest.raises(gd.GraphDiffError, match=message):
        gd.compare_modes(function, *arguments, seconds=0)


def test_unknown_modes():
    with pytest.raises(gd.errors.GraphError, match="sideways"):
        gd.compare_modes(f, X, modes=["sideways"])
    with pytest.raises(gd.errors.GraphError, match=r"such as \['forward'\], not a text"):
        gd.compare_modes(f, X, modes="forward")
    with pytest.raises(gd.errors.GraphError, match="number of seconds, not -1"):
        gd.compare_modes(f, X, seconds=-1)


def test_the_command(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("import graphdiff as gd\ndef energy(w, x):\n    return gd.sum(gd.tanh(w @ x))\n")
    page = tmp_path / "r.html"
    done = CliRunner().invoke(
        main, ["compare", f"{path}:energy", "--shapes", "2x3", "--shapes", "3", "--seconds", "0", "--save", str(page)]
    )
    assert done.exit_code == 0, done.output
    assert "1 outputs by 9 inputs" in done.output
    assert page.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.py:f"], "no file"),
        (["nothing"], "FILE.py:FUNCTION"),
        (["{path}:other"], "it has energy"),
        (["{path}:energy", "--shapes", "2x3", "--shapes", "4"], "inner lengths differ"),
        (["{path}:energy", "--shapes", "two"], "no shape"),
        (["{path}:energy", "--shapes", "9999999x9999999", "--shapes", "3"], "the memory is too small"),
        (["{path}:energy", "--shapes", "2x3", "--shapes", "3", "--save", "r.pdf"], ".html, .json or .txt"),
        (["{path}:energy", "--shapes", "2x3", "--shapes", "3", "--save", "{path}/r.html"], "cannot write to"),
    ],
)
def test_the_commands_errors(tmp_path, arguments, message):
    path = tmp_path / "model.py"
    path.write_text("import graphdiff as gd\ndef energy(w, x):\n    return gd.sum(gd.tanh(w @ x))\n")
    done = CliRunner().invoke(main, ["compare", *[each.format(path=path) for each in arguments]])
    assert done.exit_code != 0
    assert any(part in done.output for part in message.split("|"))
    assert "Traceback" not in done.output


def test_the_crossover_is_where_the_lines_meet():
    forward = Line(1.0, 2.0, [1], [0.0], 3.0, 4.0)
    reverse = Line(5.0, 1.0, [1], [0.0], 1.0, 8.0)
    crossover = Crossover(forward, reverse)
    assert crossover.inputs_for(10, measured=False) == pytest.approx((5 + 10 - 1) / 2)
    assert crossover.inputs_for(10, measured=True) == pytest.approx((1 + 80 - 3) / 4)
    assert crossover.inputs_for(0.01, measured=True) == 0
    flat = Crossover(Line(1.0, 0.0, [1], [0.0], 1.0, 0.0), reverse)
    assert flat.inputs_for(1, measured=False) == np.inf
    assert "any number of" in flat.summary(1, 1)


def test_the_crossover_is_counted_and_measured():
    """A pass of tangents through one product of n by n numbers takes n² multiplications for each direction."""
    matrix = gd.constant(np.ones((30, 30)))
    crossover = gd.compare_modes(lambda x: matrix @ x, np.ones(30), seconds=0).crossover
    assert crossover.forward.directions == crossover.reverse.directions
    assert crossover.forward.directions[0] == 1
    assert crossover.forward.directions[-1] == 60
    assert len(crossover.forward.seconds) == len(crossover.forward.directions)
    assert crossover.forward.each == pytest.approx(crossover.reverse.each, rel=0.15)
    assert gd.compare_modes(gd.sin, X, seconds=0, crossover=False).crossover is None


def test_predictions_are_scaled_to_the_machine(report):
    """By the median, so that as many modes take longer than predicted as take less."""
    ratios = sorted(result.median / report.predicted(result) for result in report.results)
    assert ratios[2] <= 1 <= ratios[3]
    assert report.calibration > 0
    assert "NumPy" in report.machine


@pytest.mark.parametrize(
    "function", [gd.nn.Dropout(0.5), lambda x: x * np.random.default_rng().normal()], ids=["dropout", "NumPy"]
)
def test_random_numbers_within_the_function_are_refused(function):
    with pytest.raises(gd.errors.GraphError, match="draw random numbers outside"):
        gd.compare_modes(function, np.ones(50), seconds=0)

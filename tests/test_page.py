"""The interactive page in a browser: what it shows and does. As a file: test_page_file.py."""

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Opened, browser
from page_graphs import deep, lecture, network
from test_ops import CASES, recorded_ops

import graphdiff as gd
from graphdiff.draw.page import joined, page
from graphdiff.draw.page.content import content

Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as launched:
        yield launched


@pytest.fixture
def opened(chromium: Any, tmp_path: Path) -> Iterator[Open]:
    """Open the page of outputs; afterwards it must have been silent, and have asked the network for nothing."""
    tabs: list[Opened] = []

    def open_page(outputs: Any, scheme: str = "light") -> Opened:
        path = gd.draw(outputs).save(tmp_path / f"graph{len(tabs)}.html")
        tabs.append(Opened(chromium, path, scheme))
        return tabs[-1]

    yield open_page
    for tab in tabs:
        tab.close()


# The three passes ------------------------------------------------------------------------------------------------


def test_values_are_computed_step_by_step(opened: Open) -> None:
    tab = opened(lecture())
    assert tab.boxes() == ["a|2", "b|1", "c = a + b|3", "d = b + 1|2", "e = c·d|6"]
    tab.press("Home")
    assert tab.boxes() == ["a", "b", "c = a + b", "d = b + 1", "e = c·d"]
    tab.press("ArrowRight", "ArrowRight", "ArrowRight")
    assert "Step 3 of 5: c" in tab.step()
    assert "c = a + b\n\nc = 2 + 1 = 3" in tab.step()
    assert tab.boxes() == ["a|2", "b|1", "c = a + b|3", "d = b + 1", "e = c·d"]
    tab.press("End")
    assert "e = 3·2 = 6" in tab.step()
    assert "∂e/∂c = d = 2" in tab.step()
    assert "Stored for the reverse pass: c, d. Stored so far: 16 bytes." in tab.step()
    assert tab.boxes() == ["a|2", "b|1", "c = a + b|3", "d = b + 1|2", "e = c·d|6"]


def test_the_reverse_pass_adds_up_adjoints(opened: Open) -> None:
    tab = opened(lecture()).press("2")
    assert tab.count() == "0 / 6"
    assert "∂e/∂e = 1" in tab.press("ArrowRight").step()
    assert tab.boxes()[-1] == "e = c·d|6|∂e/∂e = 1"
    pushed = tab.press("ArrowRight").step()
    assert re.search(r"c\t∂e/∂c = d = 2\t0 \+ 1·2 = 2", pushed)
    assert re.search(r"d\t∂e/∂d = c = 3\t0 \+ 1·3 = 3", pushed)
    assert re.search(r"b\t∂d/∂b = 1\t0 \+ 3·1 = 3", tab.press("ArrowRight").step())
    assert "b|1|∂e/∂b = 3" in tab.boxes()  # the first of its two contributions
    pushed = tab.press("ArrowRight").step()
    assert re.search(r"a\t∂c/∂a = 1\t0 \+ 2·1 = 2", pushed)
    assert re.search(r"b\t∂c/∂b = 1\t3 \+ 2·1 = 5", pushed)
    assert {"a|2|∂e/∂a = 2", "b|1|∂e/∂b = 5"} <= set(tab.boxes())
    complete = tab.press("ArrowRight").step()
    assert "∂e/∂b = 3 + 2 = 5" in complete
    assert "The gradient by this input: with contributions from d, c." in complete
    tab.press("ArrowLeft", "ArrowLeft")
    assert "b|1|∂e/∂b = 3" in tab.boxes()


def test_forward_mode_from_a_chosen_input(opened: Open) -> None:
    tab = opened(lecture()).press("3")
    tab.tab.select_option("#input", label="b")
    tab.press("Escape")
    assert "da/db = 0" in tab.press("ArrowRight").step()
    assert "db/db = 1" in tab.press("ArrowRight").step()
    assert "dc/db = 1·0 + 1·1 = 1" in tab.press("ArrowRight").step()
    assert "dd/db = 1·1 = 1" in tab.press("ArrowRight").step()
    assert "de/db = 2·1 + 3·1 = 5" in tab.press("ArrowRight").step()
    assert tab.boxes()[-1] == "e = c·d|6|de/db = 5"
    tab.tab.select_option("#input", label="a")
    assert "de/da = 2·1 + 3·0 = 2" in tab.press("Escape", "End").step()


def test_the_slider_goes_back_and_forth(opened: Open) -> None:
    tab = opened(lecture()).press("2")
    for position in (6, 1, 4, 0):
        tab.tab.fill("#scrub", str(position))
        assert tab.count() == f"{position} / 6"
    assert "Before the first step" in tab.step()


def test_play_runs_to_the_end(opened: Open) -> None:
    tab = opened(lecture())
    tab.tab.select_option("#speed", "20")
    tab.tab.click("#play")
    tab.tab.wait_for_function("() => document.getElementById('count').textContent === '5 / 5'")
    assert tab.tab.inner_text("#play") == "Play"


# Editing ---------------------------------------------------------------------------------------------------------


def test_an_edited_input_changes_everything(opened: Open) -> None:
    tab = opened(lecture()).press("2", "End")
    tab.choose("b")
    tab.tab.fill("#node .field", "3")
    assert tab.boxes() == [
        "a|2|∂e/∂a = 4",
        "b|3|∂e/∂b = 9",
        "c = a + b|5|∂e/∂c = 4",
        "d = b + 1|4|∂e/∂d = 5",
        "e = c·d|20|∂e/∂e = 1",
    ]
    tab.tab.fill("#node .field", "not a number")
    assert "e = c·d|20|∂e/∂e = 1" in tab.boxes()
    tab.tab.click("#restore")
    assert "e = c·d|6|∂e/∂e = 1" in tab.boxes()


def test_a_placeholder_waits_for_its_value(opened: Open) -> None:
    x = gd.placeholder((2,), name="x")
    tab = opened(gd.sum(x * x).named("y")).press("2", "End")
    assert [box.split("|")[1:] for box in tab.boxes()] == [[], [], []]
    tab.choose("x")
    for position, text in enumerate(("3", "-4")):
        tab.tab.fill(f"[data-position='{position}']", text)
    assert tab.boxes()[0] == "x|[3, −4]|∂y/∂x = [6, −8]"
    assert tab.boxes()[2].endswith("|25|∂y/∂y = 1")


AGREEING = [case for case in CASES if not case[0].endswith(("True", "0-d", "-1 False"))]
# Ops of LAPACK, and two whose rule is more than a fixed linear map or functions of elements.
NOT_COMPUTED = {
    "inv",
    "solve",
    "det",
    "logabsdet",
    "cholesky",
    "eigh",
    "svd",
    "qr",
    "pinv",
    "argsort",
    "index_set",
    "within",
}


def recomputed(chromium: Any, graphs: list[Any], edits: list[dict[int, list[float]]]) -> Any:
    """Return values, adjoints and tangents of every node, as the page's own arithmetic has them after the edits."""
    code = joined(("format", "evaluate", "numbers"))
    tab = chromium.new_page()
    found = tab.evaluate(
        f"""([graphs, edits]) => {{ {code}
        const text = (each) => (Number.isFinite(each) ? each : String(each));
        const plain = (found) => found && Array.from(found.data, text);
        return graphs.map((graph, place) => {{
            const numbers = new Numbers(graph);
            for (const [leaf, data] of Object.entries(edits[place])) numbers.edit(Number(leaf), data);
            return [numbers.values.map(plain), numbers.adjoints.map(plain), numbers.tangents.map(plain)];
        }});
        }}""",
        [graphs, edits],
    )
    tab.close()
    return found


def test_the_page_computes_what_the_engine_computes(chromium: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every op that the page computes, at other inputs than it came with: values, adjoints, tangents."""
    monkeypatch.setattr("graphdiff.draw.page.layout.GRAPHVIZ_LIMIT", 0)  # nobody looks at these
    graphs, edits, expected, refused = [], [], [], set()
    for name, function, arguments in AGREEING:

        def build(values: list[Any], function: Any = function) -> tuple[Any, list[Any]]:
            leaves = [gd.variable(value, name=f"x{place}") for place, value in enumerate(values)]
            result = function(*leaves)
            return gd.Graph(result[0] if isinstance(result, (tuple, list)) else result), leaves

        build(arguments)  # a literal is kept from its first use on: both graphs below have it ahead of their leaves
        graph, leaves = build(arguments)
        data = content(graph)
        if not data["live"]:
            refused.add(name)
            continue
        moved = [np.asarray(value) * 1.1 for value in arguments]
        again, others = build(moved)
        (output,) = again.outputs
        adjoint = gd.adjoints(output, np.ones(output.shape))
        first = next(leaf for leaf in again.inputs)
        tangent = gd.tangents(output, {first: np.ones(first.shape)})
        graphs.append(data)
        places = {node: place for place, node in enumerate(graph.nodes)}
        edits.append({places[leaf]: value.ravel().tolist() for leaf, value in zip(leaves, moved)})
        expected.append(
            [(name, *(found.get(node) for found in ({node: node}, adjoint, tangent))) for node in again.nodes]
        )
        assert [leaf.name for leaf in others] == [leaf.name for leaf in leaves]
    assert refused == {case[0] for case in AGREEING if recorded_ops(case) & NOT_COMPUTED}
    for nodes, found in zip(expected, recomputed(chromium, graphs, edits), strict=True):
        for (name, *wanted), *shown in zip(nodes, *found, strict=True):
            for one, two in zip(wanted, shown, strict=True):
                assert (one is None) == (two is None), name
                if one is not None:
                    got = np.array(two, dtype=float)
                    np.testing.assert_allclose(got, one.numpy().ravel(), rtol=1e-9, atol=1e-11, err_msg=name)


def test_a_users_op_is_computed_by_its_own_rule(opened: Open) -> None:
    swish = gd.op.elementwise(
        "page_swish",
        lambda F, out, x: F.sigmoid(x) + out * (1 - F.sigmoid(x)),
        evaluate=lambda F, x: x * F.sigmoid(x),
    )
    x = gd.variable(0.0, name="x")
    tab = opened(swish(x).named("y")).press("2", "End")
    assert tab.boxes()[0] == "x|0|∂y/∂x = 0.5"
    tab.choose("x")
    tab.tab.fill("#node .field", "100")
    assert tab.boxes() == ["x|100|∂y/∂x = 1", "y = page_swish(x)|100|∂y/∂y = 1"]


def test_what_lies_below_a_branch_not_taken_stays_zero(opened: Open) -> None:
    x = gd.variable(0.0, name="x")
    with np.errstate(divide="ignore"):
        y = gd.where(x > 0, gd.log(x), x * 2).named("y")
        tab = opened(y).press("2", "End")
    assert tab.boxes()[0] == "x|0|∂y/∂x = 2"


def test_a_graph_that_the_page_does_not_compute_shows_recorded_numbers(opened: Open) -> None:
    matrix = gd.variable([[2.0, 1.0], [1.0, 3.0]], name="A")
    y = gd.linalg.det(matrix).named("y")
    tab = opened(y).press("2", "End")
    assert "does not compute the op 'det'" in tab.tab.inner_text("#notes")
    assert "3\t−1" in tab.node()  # the cofactors
    assert tab.tab.locator(".field").count() == 0
    assert "de" not in tab.press("3", "End").step().split("\n")[0]
    assert "tangent of y = 3" in tab.step()  # A has four elements: there is no dy/dA


def test_large_arrays_are_statistics_and_a_histogram(opened: Open) -> None:
    data = np.linspace(-1, 3, 5000)
    x = gd.variable(data, name="x")
    tab = opened(gd.sum(x * x).named("y")).press("2", "End")
    assert "5,000 elements: mean 1, standard deviation 1.15493" in tab.node()
    assert tab.tab.locator(".histogram rect").count() == 24 + 24 + 1  # value, adjoint, and a tangent of ones
    assert tab.boxes()[0] == "x|−1 … 3|∂y/∂x = −2 … 6"


def test_numbers_that_are_not_finite_are_told_apart(opened: Open) -> None:
    x = gd.variable([np.nan, np.inf, -np.inf, 2.0], name="x")
    y = gd.variable([np.nan, np.inf, -np.inf, 2.0, 4.0], name="y")
    tab = opened(gd.sum(gd.concatenate([x, y])).named("total"))
    assert tab.boxes()[:2] == ["x|[NaN, ∞, −∞, 2]", "y|2 … 4, 3 not finite"]
    tab.choose("x")
    fields = tab.tab.eval_on_selector_all(".field", "(fields) => fields.map((field) => field.value)")
    assert fields == ["NaN", "Infinity", "-Infinity", "2"]


def test_several_outputs_can_be_chosen_from(opened: Open) -> None:
    x = gd.variable(3.0, name="x")
    tab = opened([(x * x).named("p"), (x + 1.0).named("q"), gd.floor(x).named("whole")]).press("2", "End")
    assert tab.boxes()[0] == "x|3|∂p/∂x = 6"
    tab.tab.select_option("#output", label="q")
    tab.press("Escape", "End")
    assert tab.boxes()[0] == "x|3|∂q/∂x = 1"


def test_a_graph_may_begin_at_inner_nodes(chromium: Any, tmp_path: Path) -> None:
    x = gd.variable(2.0, name="x")
    middle = gd.exp(x).named("m")
    path = tmp_path / "inner.html"
    path.write_text(page(gd.Graph((middle * middle).named("y"), inputs=middle)).html)
    tab = Opened(chromium, path).press("2", "End")
    twice = f"{2 * np.exp(2.0):.6g}"
    assert tab.boxes()[0] == f"m|{np.exp(2.0):.6g}|∂y/∂m = {twice}"
    assert len(tab.boxes()) == 2
    tab.close()


@pytest.mark.parametrize("make", [lambda: gd.variable(1.5, name="x"), lambda: gd.variable([1, 2], name="n") * 2])
def test_graphs_without_ops_or_derivatives_open(make: Any, opened: Open) -> None:
    tab = opened(make())
    for mode in "123":
        tab.press(mode, "End")
    assert tab.boxes()


# Finding one's way -----------------------------------------------------------------------------------------------


def test_the_keyboard_does_everything(opened: Open) -> None:
    tab = opened(lecture())
    assert tab.press("End").count() == "5 / 5"
    assert tab.press("Home").count() == "0 / 5"
    assert tab.press("ArrowDown", "ArrowDown", "ArrowUp").count() == "1 / 5"
    for key, chosen in (("2", "reverse"), ("3", "forward"), ("1", "value")):
        tab.press(key)
        assert tab.tab.get_attribute(f"#mode-{chosen}", "aria-pressed") == "true"
    before = tab.settle().tab.get_attribute("#camera", "transform")
    zoomed = tab.press("+").settle().tab.get_attribute("#camera", "transform")
    assert zoomed != before
    assert tab.press("0").settle().tab.get_attribute("#camera", "transform") == before
    tab.press("?")
    assert tab.tab.is_visible("#keys")
    tab.press("Escape")
    assert tab.tab.is_hidden("#keys")
    tab.press("/")
    assert tab.tab.evaluate("document.activeElement.id") == "search"
    tab.press("Escape", " ")
    assert tab.tab.inner_text("#play") == "Pause"
    tab.press(" ")
    assert tab.tab.inner_text("#play") == "Play"


def test_tab_reaches_every_node_and_enter_shows_it(opened: Open) -> None:
    tab = opened(lecture())
    reached = []
    for _ in range(40):
        tab.press("Tab")
        label = tab.tab.evaluate("document.activeElement.matches('.item') && document.activeElement.ariaLabel")
        if label:
            reached.append(label)
            if label == "c = a + b, 3":
                tab.press("Enter")
                assert "Node c" in tab.node()
                outline = tab.tab.evaluate("getComputedStyle(document.activeElement.querySelector('rect')).strokeWidth")
                assert outline == "4px"
    assert reached[:5] == ["a, 2", "b, 1", "c = a + b, 3", "d = b + 1, 2", "e = c·d, 6, current step"]


def test_search_by_name_and_op(opened: Open) -> None:
    tab = opened(lecture())
    tab.tab.fill("#search", "ADD")
    assert tab.tab.inner_text("#matches") == "2 found"
    assert tab.settle().tab.locator(".item.found").count() == 2
    tab.press("Enter")
    assert "Node c" in tab.node()
    tab.press("Enter")
    assert "Node d" in tab.node()
    tab.tab.fill("#search", "no such thing")
    assert tab.tab.inner_text("#matches") == "0 found"


def test_scopes_collapse_and_expand(opened: Open) -> None:
    tab = opened(network())
    assert sum("@" in box for box in tab.boxes()) == 2
    tab.tab.click(".toggle[data-scope='linear0']")
    boxes = tab.boxes()
    assert sum("@" in box for box in boxes) == 1
    assert any(box.startswith("+ linear0|2 ops, 2 leaves|4 of 4 done") for box in boxes)
    tab.press("Enter")  # the box has the focus that its frame had
    assert sum("@" in box for box in tab.boxes()) == 2
    tab.press("Escape", "c")
    assert sum(box.startswith("+ ") for box in tab.boxes()) == 3
    tab.press("c")
    assert sum(box.startswith("+ ") for box in tab.boxes()) == 0


def test_a_node_tells_all_that_is_known_of_it(opened: Open) -> None:
    tab = opened(lecture())
    tab.choose("e")
    card = tab.node()
    for text in ("Node e", "multiply ×", "scalar, float64", "page_graphs.py:", 'named("e")', "operands: c d"):
        assert text in card
    tab.tab.click("#node .link >> nth=0")
    assert "Node c" in tab.node()


def test_zoom_by_wheel_and_pan_by_dragging(opened: Open) -> None:
    tab = opened(lecture()).settle()
    start = tab.tab.get_attribute("#camera", "transform")
    tab.tab.mouse.move(300, 600)
    tab.tab.mouse.down()
    tab.tab.mouse.move(360, 640, steps=3)
    tab.tab.mouse.up()
    dragged = tab.settle().tab.get_attribute("#camera", "transform")
    moved = [float(two) - float(one) for one, two in zip(*(re.findall(r"-?[\d.]+", text) for text in (start, dragged)))]
    np.testing.assert_allclose(moved, [60, 40, 0], atol=1e-9)
    tab.tab.mouse.wheel(0, -200)
    assert float(re.findall(r"[\d.]+", tab.settle().tab.get_attribute("#camera", "transform"))[-1]) > 1


@pytest.mark.parametrize("length", [1_000, 10_000])
def test_large_graphs_open_and_step(length: int, opened: Open) -> None:
    y = deep(length)
    tab = opened(y)
    total = sum(1 for node in gd.Graph(y) if node.recorded)
    assert tab.press("End").count() == f"{total} / {total}"
    tab.press("2", "End")
    adjoint = gd.adjoints(y)
    first = gd.Graph(y).inputs[0]
    assert "Complete" in tab.press("ArrowLeft").step() or "gradient" in tab.step()
    tab.tab.fill("#search", first.name)
    tab.press("Enter")
    shown = re.search(r"adjoint [^\n]*\n\n(\S+)", tab.node())
    assert shown is not None
    assert float(shown[1].replace("−", "-")) == pytest.approx(adjoint[first].item(), rel=1e-5)
    assert tab.press("Escape", "0").settle().tab.locator("#stage.coarse").count() == 1
    layers = "plain layers" in tab.tab.inner_text("#notes")
    assert layers == (length > 1_000)


# Looks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_until_it_is_chosen(scheme: str, opened: Open) -> None:
    tab = opened(lecture(), scheme)

    def paper() -> str:
        return str(tab.tab.evaluate("getComputedStyle(document.body).backgroundColor"))

    white, black = "rgb(255, 255, 255)", "rgb(22, 24, 29)"
    assert paper() == (white if scheme == "light" else black)
    assert [tab.press("t") and paper() for _ in range(2)] == [white, black]


# Text of any kind, and notebooks ---------------------------------------------------------------------------------

ODD = [
    "<script>window.pwned = 1</script>",
    "</script><script>window.pwned = 1</script>",
    "<!--<script>",
    "<img src=x onerror='window.pwned=1'>",
    "\"';alert(1)//",
    "back\\slash \\u0041 \\",
    "two\nlines\u2028and\u2029more",
    "α 中文 🎲 {{data}} ${1}",
    "\x00\x07 \ue000\ue0ff control",
    "lone \ud800 surrogate",
    "x" * 10_000,
]


def test_odd_names_are_text(opened: Open) -> None:
    with gd.name_scope("<b>scope</b>"):
        leaves = [gd.variable(float(place), name=name) for place, name in enumerate(ODD)]
        total = leaves[0] * 1.0
        for leaf in leaves[1:]:
            total = total + leaf
    total.name = "</title><script>window.pwned=1</script>"
    tab = opened(total).press("2", "End")
    shown = tab.tab.evaluate("() => [...document.querySelectorAll('.item .name')].map((text) => text.textContent)")
    assert any(text.startswith("<script>window.pwned") for text in shown)
    tab.press("1", "Home")
    for name in ODD:
        tab.press("ArrowRight")
        title = tab.tab.evaluate("() => document.querySelector('#node .subject').textContent")
        assert title == name.replace("\ud800", "?")
    assert tab.tab.evaluate("window.pwned") is None
    assert "</title><script>" in tab.tab.title()
    assert tab.tab.locator("b, img").count() == 0


def test_a_cell_of_a_notebook_holds_the_page(chromium: Any) -> None:
    cell = gd.draw(lecture()).page()._repr_html_()
    tab = chromium.new_page(viewport={"width": 1000, "height": 700})
    tab.set_content(f"<!DOCTYPE html><body>{cell}</body>")
    frame = tab.frame_locator("iframe")
    frame.locator("#mode-reverse").click()
    frame.locator("#last").click()
    assert "∂e/∂a = 2" in frame.locator("#step").inner_text()
    assert html.unescape(re.findall(r'srcdoc="(.*?)" sandbox', cell, re.DOTALL)[0]) == gd.draw(lecture()).page().html
    tab.close()


def test_derivatives_of_arrays_are_named_for_what_they_are(opened: Open) -> None:
    w = gd.variable([1.0, 2.0], name="w")
    y = (w * w).named("y")
    tab = opened(y)
    assert "∂Σy/∂w = [2, 4]" in tab.press("2", "End").step()
    assert tab.boxes()[0] == "w|[1, 2]|∂Σy/∂w = [2, 4]"
    assert "tangent of y = [2, 4]" in tab.press("3", "End").step()
    assert tab.boxes()[1] == "y = w·w|[1, 4]|tangent = [2, 4]"
    assert "as all elements of w grow alike" in tab.press("Home").step()

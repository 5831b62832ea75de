"""What a notebook shows of tensors, graphs and traces."""

import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import graphdiff as gd

TEXTS = ["<script>alert(1)</script>", "q\"u'o", "back\\slash", "two\nlines", "🎲", "]]>&amp;<!--", "n" * 10_000]


def expression() -> gd.Tensor:
    a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    return ((a + b) * (b + 1)).named("e")


def cells(page: str) -> dict[str, str]:
    table = ElementTree.fromstring(page[: page.index("</table>") + len("</table>")])
    return {"".join(row[0].itertext()): "".join(row[1].itertext()) for row in table.iter("tr")}


def test_a_tensor_shows_what_it_is_and_its_small_graph() -> None:
    page = expression()._repr_html_()
    assert cells(page) == {"name": "e", "op": "multiply", "shape": "scalar", "dtype": "float64", "value": "6"}
    drawing = ElementTree.fromstring(page[page.index("<div") :])
    words = {element.text for element in drawing.iter() if element.tag.endswith("text")}
    assert {"a", "b", "2", "6"} <= words


def test_leaves_and_tensors_without_a_value() -> None:
    x = gd.variable(np.arange(6.0).reshape(2, 3), dtype="float32")
    assert cells(x._repr_html_()) == {
        "op": "variable",
        "shape": "2 × 3",
        "dtype": "float32",
        "value": "[[0, 1, 2], [3, 4, 5]]",
    }
    assert "<svg" not in x._repr_html_()
    assert cells(gd.constant(1)._repr_html_())["op"] == "constant"
    p = gd.placeholder((3,), name="p")
    assert cells((p * 2)._repr_html_())["value"] == "none: a placeholder below has not been fed"


def test_a_graph_shows_its_drawing() -> None:
    bundle = gd.Graph(expression())._repr_mimebundle_(include=None, exclude=None)
    assert set(bundle) == {"text/plain", "image/svg+xml"}
    assert bundle["text/plain"] == "Graph(6 nodes, 2 inputs, 1 outputs)"
    assert ElementTree.fromstring(bundle["image/svg+xml"]).tag.endswith("svg")


def test_large_graphs_are_summed_up_quickly() -> None:
    y = gd.variable(1.0)
    for _ in range(20_000):
        y = gd.sin(y) * 0.5
    graph = gd.Graph(y)
    started = time.process_time()
    page = y._repr_html_()
    bundle = graph._repr_mimebundle_()
    assert time.process_time() - started < 1
    assert "<svg" not in page
    assert cells(bundle["text/html"]) == {
        "graph": "Graph(40002 nodes, 1 inputs, 1 outputs)",
        "sin": "20,000",
        "multiply": "20,000",
        "leaves": "2",
    }


@pytest.mark.parametrize("name", TEXTS, ids=range(len(TEXTS)))
def test_names_are_text(name: str) -> None:
    x = gd.variable(1.0, name=name)
    y = (x * x).named(name)
    page = y._repr_html_()
    assert cells(page)["name"][:40] == name.replace("\n", "\\n")[:40]
    assert "<script" not in page
    drawing = ElementTree.fromstring(page[page.index("<div") :])
    for element in drawing.iter():
        assert not element.tag.endswith("script")
        assert not any(attribute.startswith("on") or "javascript:" in held for attribute, held in element.items())
    assert "<script" not in gd.Graph(y)._repr_mimebundle_()["image/svg+xml"]
    assert "<script" not in gd.trace(y)._repr_html_()


def test_what_fails_is_left_to_the_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("no Graphviz")

    monkeypatch.setattr(gd.draw.Drawing, "render", broken)
    e = expression()
    assert e._repr_html_() is None
    assert gd.Graph(e)._repr_mimebundle_() is None


def test_ipython_finds_them() -> None:
    formatters = pytest.importorskip("IPython.core.formatters", reason="IPython is not installed")
    shown, _ = formatters.DisplayFormatter().format(expression())
    assert "<svg" in shown["text/html"]
    assert shown["text/plain"].startswith("Tensor(")
    assert "image/svg+xml" in formatters.DisplayFormatter().format(gd.Graph(expression()))[0]
    assert set(formatters.DisplayFormatter().format(gd.trace(expression()))[0]) >= {"text/html", "text/plain"}

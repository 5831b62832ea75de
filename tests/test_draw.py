"""Drawings: what stands on a node, names of any kind, and files of every format."""

import errno
import os
import re
import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import labels, texts

import graphdiff as gd
from graphdiff.draw import Drawing
from graphdiff.errors import DataError, GraphError, NonScalarError
from graphdiff.text.columns import clean, fit


def expression() -> Any:
    a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    return (((a + b).named("c")) * (b + 1)).named("e")


def test_a_node_shows_op_name_value_and_after_backward_its_adjoint() -> None:
    e = expression()
    assert sorted(labels(gd.draw(e))) == sorted(["a\n2", "b\n1", "c = a + b\n3", "1", "+\n2", "e = ×\n6"])
    e.backward()
    assert sorted(labels(gd.draw(e))) == sorted(
        ["a\n2\nadjoint 2", "b\n1\nadjoint 5", "c = a + b\n3\nadjoint 2", "1", "+\n2\nadjoint 3", "e = ×\n6\nadjoint 1"]
    )
    assert "adjoint" not in gd.draw(e, adjoints=False).source


def test_adjoints_on_demand() -> None:
    assert "adjoint 5" in gd.draw(expression(), adjoints=True).source
    with pytest.raises(GraphError, match=r"single scalar"):
        gd.draw(gd.variable(np.ones(2)) * 2, adjoints=True)
    with pytest.raises(GraphError, match=r"single scalar"):
        gd.draw(gd.placeholder() * 2, adjoints=True)


def test_shapes_and_big_values() -> None:
    x = gd.placeholder((2, 3), name="x")
    y = gd.variable(np.arange(30.0).reshape(3, 10), name="y")
    found = labels(gd.draw(x @ y))
    assert "x\n2 × 3" in found
    assert "y\n3 × 10\nmean 14.5,\nmin 0, max 29" in found
    assert any(label.endswith("2 × 10") for label in found)
    assert "×\n(2,)\n[2, 5]" in labels(gd.draw(gd.variable([1.0, 2.5]) * 2))
    assert "×\n2 × 2\n[[2, 4],\n[6, 8]]" in labels(gd.draw(gd.variable([[1.0, 2.0], [3.0, 4.0]]) * 2))


def test_a_repeated_operand_is_drawn_with_both_edges() -> None:
    x = gd.variable(3.0)
    source = gd.draw(x * x).source
    assert len(re.findall(r"n\d+ -> n\d+", source)) == 2


def test_scopes_are_clusters_and_direction_is_free() -> None:
    with gd.name_scope("outer"), gd.name_scope('odd "<scope>" & \\ ü'):
        y = gd.variable(1.0) * 2
    drawing = gd.draw(y, rankdir="BT")
    assert "rankdir=BT" in drawing.source
    assert {"outer", 'odd "<scope>" & \\ ü'} <= set(texts(drawing))


ODD_NAMES = [
    'say "hi"',
    "<b>",
    "<b",
    "a<b>c",
    "fish & chips",
    "&amp;",
    "α·∂β/∂γ 中文 🎲",
    "two\nlines",
    "back\\slash",
    "ends with \\",
    "\\n is no newline",
    "\\N \\G \\L",
    "{record|port}",
    "semi;colon, [bracket]",
    "node",
    "digraph",
    "'",
    "%s %d {0}",
    "-->",
    "<script>alert(1)</script>",
    "]]>",
    "x" * 10_000,
    "nul \x00 bell \x07 \u202e backwards",
    "\ud800 half a pair",
    "\U0001f3b2" * 20,
    # Long enough to be shortened, so that a tooltip has them in full; Graphviz takes what stands in <> for markup.
    '<x>, URL="javascript:alert(1)", z=<y>' * 2,
    "</script><script>alert(1)</script>" * 2,
    "<<table><tr><td>" + "x" * 40 + "</td></tr></table>>",
    "<b>" + "x" * 40 + "</b>",
    'quote " and backslash \\" and \\N' * 3,
    "&lt;no markup&gt; &#60; " * 4,
]


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("kind", ["variable", "placeholder", "output"])
def test_odd_names_are_shown_as_they_are(name: str, kind: str) -> None:
    x = gd.variable(2.0) if kind == "variable" else gd.placeholder()
    y = gd.exp(x)
    (y if kind == "output" else x).name = name
    drawing = gd.draw(y)
    shown = fit(clean(name), 32)
    expected = {"variable": f"{shown}\n2", "placeholder": shown, "output": f"{shown} = exp"}[kind]
    assert expected in labels(drawing)
    assert len(drawing.source) < 4_000
    # A saved DOT file says the same to whoever reads it.
    assert expected in labels(Drawing(drawing.render("dot").decode()))


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if "\x00" not in name and "\ud800" not in name])
def test_a_name_is_nothing_but_text_in_svg(name: str) -> None:
    x = gd.variable(2.0, name=name)
    with gd.name_scope(name):
        y = gd.exp(x)
    for mode in (None, "reverse"):
        root = ElementTree.fromstring(gd.draw(y, mode=mode).render("svg"))
        for element in root.iter():
            assert "script" not in element.tag
            for key, value in element.attrib.items():
                # Where a tooltip is, Graphviz makes a link that leads nowhere and has the text as its title.
                assert key.endswith("title") or "javascript" not in value, key
                assert not (key.endswith("href") and value)
    if len(name) > 60:
        titles = [value for element in root.iter() for key, value in element.attrib.items() if key.endswith("title")]
        assert any(name[:380].split()[0] in title for title in titles)


def test_a_png_has_a_sensible_size() -> None:
    y = gd.variable(1.0)
    for _ in range(1000):
        y = gd.sin(y)
    with pytest.warns(UserWarning, match=r"scaled down to 8,192 × \d+ pixels"):
        png = gd.draw(y, max_nodes=None).render("png")
    assert int.from_bytes(png[16:20], "big") == 8192
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gd.draw(gd.variable(1.0) * 2).render("png")


MAGIC = {"svg": b"<?xml", "png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-", "dot": b"digraph"}


@pytest.mark.parametrize("suffix", [*MAGIC, "SVG"])
def test_files(suffix: str, tmp_path: Path) -> None:
    path = gd.draw(expression()).save(tmp_path / f"e.{suffix}")
    content = path.read_bytes()
    assert content.startswith(MAGIC[suffix.lower()])
    if suffix.lower() == "svg":
        root = ElementTree.fromstring(content)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
    if suffix == "png":
        assert content.endswith(b"IEND\xaeB`\x82")
    if suffix == "pdf":
        assert content.rstrip().endswith(b"%%EOF")
    if suffix == "dot":
        assert content.decode().rstrip().endswith("}")
    assert [file.name for file in tmp_path.iterdir()] == [f"e.{suffix}"]


def test_jupyter_shows_svg() -> None:
    assert ElementTree.fromstring(gd.draw(expression())._repr_svg_()).tag.endswith("svg")


@pytest.mark.parametrize("name", ["e.jpeg", "e.docx", "e"])
def test_an_unknown_suffix_says_which_there_are_and_leaves_the_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("precious")
    with pytest.raises(GraphError, match=r"svg, png, pdf, dot, html, not '(jpeg|docx|)'"):
        gd.draw(expression()).save(path)
    assert path.read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_while_writing_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "e.svg"
    path.write_text("precious")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=r"cannot write .*/e\.svg: No space left on device"):
            gd.draw(expression()).save(path)
    with pytest.raises(DataError, match=r"cannot write .*/nowhere/e\.svg: No such file"):
        gd.draw(expression()).save(tmp_path / "nowhere" / "e.svg")
    assert path.read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_drawing_changes_nothing() -> None:
    a = gd.variable(2.0)
    e = a * a
    gd.draw(e, adjoints=True).render("svg")
    assert (a.grad, a.version) == (None, 0)
    with pytest.raises(NonScalarError):
        (gd.variable([1.0, 2.0]) * 2).backward()


@pytest.mark.parametrize("bad", [2.0, "text", [gd.constant(1.0), None]])
def test_only_tensors_are_drawn(bad: Any) -> None:
    with pytest.raises(GraphError, match=r"Tensors, not (float|str|NoneType)"):
        gd.draw(bad)


def test_lines_of_a_box_have_the_length_that_it_was_made_for() -> None:
    x = gd.variable([1.0, 2.0], name="a name of some length")
    svg = gd.draw(gd.sum(gd.tanh(x)).named("s")).render("svg").decode()
    boxes = re.findall(r'<g id="node\d+" class="node">.*?</g>', svg, re.DOTALL)
    assert len(boxes) == 3
    for box in boxes:
        outline = re.search(r' (?:points|d)="([^"]*)"', box)
        assert outline is not None
        across = [float(place.split(",")[0]) for place in re.findall(r"-?[\d.]+,-?[\d.]+", outline[1])]
        lines = re.findall(r'text-anchor="(\w+)" x="(-?[\d.]+)" textLength="([\d.]+)"', box)
        assert len(lines) == box.count("<text")
        for anchor, middle, length in lines:
            assert anchor == "middle"
            assert min(across) < float(middle) - float(length) / 2
            assert float(middle) + float(length) / 2 < max(across)

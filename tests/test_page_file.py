"""The interactive page as a file: its data, its scripts and style, what it refuses. In a browser: test_page.py."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_graphs import lecture, network

import graphdiff as gd
from graphdiff.draw.page import MODULES, embedded_json, joined, page
from graphdiff.draw.page.content import content
from graphdiff.draw.page.layout import lay_out
from graphdiff.errors import DataError, DTypeError, GraphError, StaleError

# Data ----------------------------------------------------------------------------------------------------------------


def stored(y: Any) -> dict[str, list[str]]:
    """Return the names of what each op of the graph of `y` has stored, by the data of its page."""
    nodes = content(y)["nodes"]
    return {node["name"]: [nodes[place]["name"] for place in node["stored"]] for node in nodes if node["op"]}


@pytest.mark.parametrize("size", [2, 1000])
def test_what_the_reverse_pass_reads_is_stored(size: int) -> None:
    """Of a product both factors, of tanh its value, of a sum nothing; so also where the page computes nothing."""
    x = gd.variable(np.ones((size, 3)), name="x")
    w = gd.variable(np.ones((3, 4)), name="w")
    h = (x @ w).named("h")
    z = (gd.tanh(h).named("t") + 1.0).named("z")
    y = gd.sum((z * 2.0).named("d") * z + (z * z).named("q"))
    kept = stored(y.named("y"))
    assert {name: kept[name] for name in "htzdqy"} == {
        **{"h": ["x", "w"], "t": ["t"], "z": [], "d": [], "q": ["z"], "y": []}
    }


def test_labels_are_not_editable_and_inputs_are() -> None:
    nodes = content(network())["nodes"]
    leaves = {node["name"]: node["editable"] for node in nodes if not node["op"] and not node["folded"]}
    assert all(editable == (not name.startswith("k")) for name, editable in leaves.items())
    assert len(leaves) == 6


def test_the_recorded_walk_ends_where_the_graph_begins() -> None:
    matrix = gd.variable(2.0 * np.eye(2), name="A")
    middle = (matrix * 1.0).named("M")
    data = content(gd.Graph(gd.linalg.det(middle).named("y"), inputs=middle))
    adjoints = {
        data["nodes"][int(place)]["name"]: kept for place, kept in data["records"]["reverse"]["adjoints"].items()
    }
    assert adjoints["M"] == {"data": [2.0, 0.0, 0.0, 2.0]}
    assert "A" not in adjoints


def test_a_stale_graph_is_refused() -> None:
    x = gd.variable(1.0, name="x")
    y = x * x
    x.assign(2.0)
    with pytest.raises(StaleError, match=r"variable 'x'"):
        page(y)


def test_complex_numbers_are_refused() -> None:
    z = gd.variable(1.0, name="z") * gd.constant(1j)
    with pytest.raises(DTypeError, match=r"complex128.*not real: draw it as a picture"):
        page(z.named("w"))


# Markup, scripts and style -------------------------------------------------------------------------------------------


def test_json_can_neither_end_its_element_nor_its_line() -> None:
    text = "</script><!-- & \u2028 \u2029 \\ \" ' 🎲"
    made = embedded_json({"text": text})
    assert not re.search("[<>&\u2028\u2029]", made)
    assert json.loads(made) == {"text": text}


def test_the_policy_allows_the_pages_own_script_and_style_only() -> None:
    text = page(lecture()).html
    policy = re.search(r'Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    listed = [rule.strip().split(" ", 1) for rule in policy[1].split(";")]
    rules = dict(listed)
    assert sorted(name for name, _ in listed) == ["base-uri", "default-src", "form-action", "script-src", "style-src"]
    assert {rules[name] for name in ("default-src", "base-uri", "form-action")} == {"'none'"}
    for rule, pattern in (("script-src", r"<script>(.*?)</script>"), ("style-src", r"<style>(.*?)</style>")):
        (part,) = re.findall(pattern, text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert not re.search(r"(?:src|href)\s*=", text.split("<body>")[0].replace("default-src", ""))


def test_no_script_reads_text_as_markup_or_code() -> None:
    for name in MODULES:
        source = (files("graphdiff.draw.page") / f"{name}.js").read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|fetch\(", source
        )


def test_a_module_imports_what_comes_before_it() -> None:
    seen: set[str] = set()
    for name in MODULES:
        source = (files("graphdiff.draw.page") / f"{name}.js").read_text()
        wanted = set(re.findall(r'^import \{ [\w, ]+ \} from "\./(\w+)\.js";$', source, re.MULTILINE))
        assert len(re.findall(r"^import ", source, re.MULTILINE)) == len(wanted)
        assert wanted <= seen
        seen.add(name)


def test_scripts_are_well_formed(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to check the scripts with")
    path = tmp_path / "page.mjs"
    path.write_text(joined(MODULES))
    done = subprocess.run([node, "--check", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_scripts_and_style_pass_the_linter() -> None:
    biome = shutil.which("biome")
    if biome is None:
        pytest.skip("no biome to lint the scripts with: npm install --global @biomejs/biome")
    done = subprocess.run(
        [biome, "lint", "."], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "e.html"
    assert gd.draw(lecture()).save(path).read_text() == gd.draw(lecture()).page().html
    path.write_text("precious")
    monkeypatch.setattr(os, "replace", lambda *arguments: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(DataError, match=r"disk full"):
        gd.draw(lecture()).save(path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("bad", [2.0, "text", [gd.constant(1.0), None]])
def test_only_tensors_have_a_page(bad: Any) -> None:
    with pytest.raises(GraphError, match=r"Tensors, not (float|str|NoneType)"):
        page(bad)


def test_nothing_has_no_page() -> None:
    with pytest.raises(GraphError, match=r"nothing to draw"):
        page([])


def test_making_a_page_changes_nothing() -> None:
    e = lecture()
    a = gd.Graph(e).inputs[0]
    page(e)
    assert (a.grad, a.version) == (None, 0)
    e.backward()  # the graph is not stale


# Contrast ------------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


BOXES = ("variable", "placeholder", "constant", "op", "output", "scope", "found")
ON_CARDS = [(text, ground) for text in ("ink", "quiet", "accent") for ground in ("paper", "card")]
ON_BOXES = [(text, ground) for text in ("node-ink", "node-quiet", "derivative") for ground in BOXES]
ON_STAGE = [("derivative", "paper"), ("scope-line", "paper"), ("paper", "accent")]
ON_LIT = [("current-ink", "current"), ("current-derivative", "current")]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), [*ON_CARDS, *ON_BOXES, *ON_STAGE, *ON_LIT])
def test_text_has_a_contrast_of_4_5(theme: str, text: str, ground: str) -> None:
    style = (files("graphdiff.draw.page") / "page.css").read_text()
    pairs = dict(re.findall(r"--([\w-]+): light-dark\((#\w{6}, #\w{6})\);", style))
    place = ["light", "dark"].index(theme)
    one, two = (pairs[name].split(", ")[place] for name in (text, ground))
    assert contrast(one, two) >= 4.5


# Layout --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["graphviz", "layers"])
def test_boxes_lie_apart_and_edges_lead_on(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "layers":
        monkeypatch.setattr("graphdiff.draw.page.layout.GRAPHVIZ_LIMIT", 0)
    sizes = [(100.0 + 3 * place, 69.0) for place in range(40)]
    edges = [(place - back, place) for place in range(1, 40) for back in (1, 5) if place >= back]
    layout = lay_out(sizes, edges, [""] * 10 + ["a"] * 10 + ["a/b"] * 10 + ["c"] * 10)
    assert layout.engine == engine
    places = list(zip(layout.centres, sizes, strict=True))
    for one, ((x, y), (width, height)) in enumerate(places):
        for (u, v), (w, h) in places[:one]:
            assert abs(x - u) >= (width + w) / 2 - 1 or abs(y - v) >= (height + h) / 2 - 1
    for origin, end in edges:
        (x, y), (u, v) = layout.centres[origin], layout.centres[end]
        assert (v > y) if layout.downwards else (u > x or v > y)
    assert all(len(curve) % 3 == 1 for curve in layout.curves if curve)


def test_deep_layers_run_on_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphdiff.draw.page.layout.GRAPHVIZ_LIMIT", 0)
    layout = lay_out([(100.0, 69.0)] * 500, list(pairwise(range(500))), [""] * 500)
    width = max(x for x, _ in layout.centres) - min(x for x, _ in layout.centres)
    height = max(y for _, y in layout.centres) - min(y for _, y in layout.centres)
    assert 0.8 < width / height < 2.5

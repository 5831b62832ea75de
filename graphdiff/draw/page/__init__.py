"""The interactive page: step through the passes of a graph in a browser, change an input and see everything change."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

from graphdiff.draw.names import names_of
from graphdiff.draw.page.content import content
from graphdiff.draw.page.programs import JSON
from graphdiff.graph import Graph
from graphdiff.tensor import Tensor
from graphdiff.text.quoting import html_text
from graphdiff.typing import Tree

__all__ = ["MODULES", "Page", "document", "embedded_json", "joined", "page"]

MODULES = ("format", "dom", "evaluate", "numbers", "steps", "geometry", "view", "panel", "main")
"""The page's ECMAScript modules, those without imports first."""


class Page:
    """An interactive page; Jupyter shows it in a cell.

    Attributes
    ----------
    html : str
        The whole page: one document that loads nothing.
    """

    def __init__(self, text: str) -> None:
        self.html = text

    def __repr__(self) -> str:
        return f"Page({len(self.html.encode()):,} bytes)"

    def _repr_html_(self) -> str:
        # The sandbox keeps a page's script from the notebook around it.
        return (
            f'<iframe srcdoc="{html_text(self.html)}" sandbox="allow-scripts" title="graphdiff: computational graph" '
            'style="width: 100%; height: 640px; border: 1px solid #8888"></iframe>'
        )


def page(outputs: Tree[Tensor] | Graph, *, title: str | None = None) -> Page:
    """Return an interactive page of the graph below `outputs`.

    Step and play through the forward pass, the reverse pass and forward mode. Graphs of small nodes can be
    edited: the page carries the local derivatives that graphdiff's own rules give, and computes everything anew.

    Parameters
    ----------
    outputs : Tensor, nested structure of Tensors, or Graph
    title : str, optional
        By default "Graph of" the outputs' names.

    Returns
    -------
    Page

    Raises
    ------
    GraphError
        The outputs are no Tensors, or there are none.
    DTypeError
        A node is complex.
    StaleError
        A variable was assigned after it had been used.

    Examples
    --------
    >>> import graphdiff as gd
    >>> from graphdiff.draw.page import page
    >>> a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    >>> shown = page(((a + b) * (b + 1)).named("e"))
    >>> shown.html.startswith("<!DOCTYPE html>")
    True
    """
    graph = outputs if isinstance(outputs, Graph) else Graph(outputs)
    data, names = content(graph), names_of(graph.nodes)
    listed = ", ".join(names[output] for output in dict.fromkeys(graph.outputs) if output in names)
    return Page(document(data, title or f"Graph of {listed[:80]}"))


def _part(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def joined(modules: Sequence[str]) -> str:
    """Return modules as one piece of code: in the order of `MODULES`, what one imports is there before it."""
    code = "\n".join(_part(f"{name}.js") for name in modules)
    return re.sub(r"^export ", "", re.sub(r"^import .*\n", "", code, flags=re.MULTILINE), flags=re.MULTILINE)


def _digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def embedded_json(data: Mapping[str, JSON]) -> str:
    """Return JSON that can end neither its script element nor a line: ``<``, ``>``, ``&`` and separators escaped."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # A lone surrogate, legal in a Python name, has no UTF-8 form.
    return text.encode("utf-8", "replace").decode("utf-8")


def document(data: Mapping[str, JSON], title: str) -> str:
    """Return the whole page.

    Parameters
    ----------
    data : mapping
        What `content` returns.
    title : str
        Shown in the page's head and in the browser's tab.
    """
    style = _part("page.css")
    code = f'"use strict";\n(() => {{\n{joined(MODULES)}}})();\n'
    policy = (
        f"default-src 'none'; script-src {_digest(code)}; style-src {_digest(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "title": html_text(title),
        "style": style,
        "data": embedded_json(data),
        "script": code,
    }
    # One pass: text of the user's that looks like a place to fill is left as it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _part("page.html"))

"""How tensors and graphs show themselves in a notebook: quickly whatever their size, and never by an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from graphdiff.draw.dot import draw
from graphdiff.draw.lecture.symbols import shown
from graphdiff.graph import Graph
from graphdiff.tensor import Tensor
from graphdiff.text.columns import clean, fit, shape_text
from graphdiff.text.quoting import html_text

__all__ = ["graph_bundle", "tensor_html"]

_NODES_OF_A_TENSOR = 40
"""Beyond, the drawing would bury the value."""
_NODES_OF_A_GRAPH = 150
"""So many nodes Graphviz lays out in less than half a second."""
_COLUMNS = 80

_Thing = TypeVar("_Thing")
_Shown = TypeVar("_Shown")


def _or_nothing(show: Callable[[_Thing], _Shown]) -> Callable[[_Thing], _Shown | None]:
    """Return None where `show` fails: a notebook then falls back to the text, where an error would hide the value."""

    @wraps(show)
    def safe(thing: _Thing) -> _Shown | None:
        try:
            return show(thing)
        except Exception:
            return None

    return safe


@_or_nothing
def tensor_html(node: Tensor) -> str:
    """Return a table of what the tensor is and, where its graph is small, the drawing.

    Examples
    --------
    >>> import graphdiff as gd
    >>> ">float64</td>" in gd.variable(2.0, name="a")._repr_html_()
    True
    """
    facts = {
        "name": node.name or "",
        "op": node.op.name if node.op else type(node).__name__.lower() if node.recorded else "constant",
        "shape": shape_text(node.shape) or "scalar",
        "dtype": str(node.dtype),
        "value": shown(node.numpy()) if node.has_value else "none: a placeholder below has not been fed",
    }
    drawing = _svg(Graph(node)) if node.inputs and _is_small(node, _NODES_OF_A_TENSOR) else ""
    return _table({title: text for title, text in facts.items() if text}) + drawing


@_or_nothing
def graph_bundle(graph: Graph) -> dict[str, str]:
    """Return the drawing of a graph, or of a large one how many nodes of each op it has, by MIME type."""
    if len(graph) <= _NODES_OF_A_GRAPH:
        return {"text/plain": repr(graph), "image/svg+xml": _drawn(graph)}
    counts = Counter(node.op.name if node.op else "leaves" for node in graph)
    facts = {"graph": repr(graph), **{op: f"{count:,}" for op, count in counts.most_common(12)}}
    if len(counts) > 12:
        facts["other ops"] = f"{sum(counts.values()) - sum(count for _, count in counts.most_common(12)):,}"
    return {"text/plain": repr(graph), "text/html": _table(facts)}


def _is_small(output: Tensor, limit: int) -> bool:
    """Whether at most `limit` nodes are below a tensor; no more of them are looked at."""
    seen, pending = {output}, [output]
    while pending and len(seen) <= limit:
        for operand in pending.pop().inputs:
            if operand not in seen:
                seen.add(operand)
                pending.append(operand)
    return len(seen) <= limit


def _drawn(graph: Graph) -> str:
    return draw(graph.outputs).render("svg").decode()


def _svg(graph: Graph) -> str:
    """Return the drawing as an element of a page: what comes before the root, for a file of its own, is left out."""
    picture = _drawn(graph)
    return f"<div style='overflow-x:auto'>{picture[picture.index('<svg') :]}</div>"


def _table(facts: dict[str, str]) -> str:
    rows = "".join(
        f"<tr><th scope='row' style='text-align:left'>{html_text(title)}</th>"
        f"<td style='text-align:left'>{html_text(fit(clean(text), _COLUMNS))}</td></tr>"
        for title, text in facts.items()
    )
    return f"<table class='graphdiff-facts'><tbody>{rows}</tbody></table>"

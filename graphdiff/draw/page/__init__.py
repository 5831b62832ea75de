"""The interactive page: step through the passes of a graph in a browser, change an input and see everything change."""

from __future__ import annotations

from typing import Any

from graphdiff.draw.page.content import content
from graphdiff.draw.page.document import document
from graphdiff.text.quoting import html_text

__all__ = ["Page", "page"]


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


def page(outputs: Any, *, title: str | None = None) -> Page:
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
    data = content(outputs)
    names = [data["nodes"][place]["name"] for place in data["outputs"]]
    return Page(document(data, title or f"Graph of {', '.join(filter(None, names))[:80]}"))

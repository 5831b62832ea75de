"""How text becomes part of DOT and of HTML: the user's names pass here, and can end no string and no element."""

from __future__ import annotations

import html

__all__ = ["dot_label", "dot_text", "html_text"]

_BACKSLASH = "&#92;&#92;"
"""Graphviz reads backslashes within labels as commands even if they are written as an entity."""


def html_text(text: str) -> str:
    """Return plain text as HTML, SVG or XML, in an element or an attribute; half a surrogate pair becomes ``?``.

    Examples
    --------
    >>> html_text("<b> & 'c'")
    '&lt;b&gt; &amp; &#x27;c&#x27;'
    """
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"))


def dot_label(text: str) -> str:
    """Return plain text as the inside of one of Graphviz's HTML-like labels."""
    return html_text(text).replace("\\", _BACKSLASH)


def dot_text(text: str) -> str:
    """Return plain text as the value of an attribute such as a tooltip: never read as HTML, commands or entities."""
    import graphviz

    escaped: str = graphviz.escape(text.replace("&", "&amp;"))
    return escaped

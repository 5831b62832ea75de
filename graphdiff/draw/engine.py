"""Graphviz at work: DOT text rendered, and SVG whose text stays within its box whatever font a browser has."""

from __future__ import annotations

import contextlib
import io
import re
import warnings

__all__ = ["fitted", "rendered"]

_BOX = re.compile(r'<g id="node\d+" class="node">.*?</g>', re.DOTALL)
_OUTLINE = re.compile(r'<(?:polygon|path)\b[^>]*? (?:points|d)="([^"]*)"')
_PLACE = re.compile(r"(-?[\d.]+),-?[\d.]+")
_LINE = re.compile(r'text-anchor="start" x="(-?[\d.]+)"')


def rendered(source: str, file_format: str, *arguments: str) -> bytes:
    """Return what Graphviz makes of DOT text; `arguments` are those of its command line."""
    import pygraphviz

    # Graphviz warns of fonts that are not on the machine and uses others, and pygraphviz of every large graph.
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        graph = pygraphviz.AGraph(string=source)
        made: bytes = graph.draw(format=file_format, prog="dot", args=" ".join(arguments))
    return made


def fitted(svg: str) -> str:
    """Centre every line of a box's text, and give it the length that the box was made for.

    Graphviz lays boxes out for Helvetica, and writes where a line begins; since it is centred, its length follows. A
    browser with another font then squeezes the line a little instead of letting it stick out.

    Parameters
    ----------
    svg : str
        As Graphviz writes it.

    Returns
    -------
    str
    """
    return _BOX.sub(lambda box: _fitted_box(box[0]), svg)


def _fitted_box(box: str) -> str:
    outline = _OUTLINE.search(box)
    if outline is None:
        return box
    places = [float(x) for x in _PLACE.findall(outline[1])]
    middle = (min(places) + max(places)) / 2

    def centred(line: re.Match[str]) -> str:
        length = 2 * (middle - float(line[1]))
        if length <= 0:
            return line[0]
        return f'text-anchor="middle" x="{middle:.2f}" textLength="{length:.2f}" lengthAdjust="spacingAndGlyphs"'

    return _LINE.sub(centred, box)

"""A picture as DOT, the text that Graphviz reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING

from graphdiff.draw.colours import ARROWS, STYLES, TONES
from graphdiff.draw.layout import place, too_slow
from graphdiff.draw.picture import Box, Key, Line, Picture, Scope, grouped
from graphdiff.text.columns import clean, fit
from graphdiff.text.quoting import dot_label, dot_text

if TYPE_CHECKING:
    import graphviz

__all__ = ["to_dot", "write_clusters"]


_FONT = "Helvetica,Arial,sans-serif"
_GAP = "\u00a0\u00a0"
"""What keeps a label beside an arrow from touching it."""


def to_dot(picture: Picture) -> str:
    """Return the DOT text of a picture.

    Where Graphviz would take long to find a layout, positions are given, and a note in the picture says so.
    """
    import graphviz

    simple = too_slow(picture)
    beside: set[str] = set()
    dot = graphviz.Digraph("graphdiff")
    notes = list(picture.notes)
    if simple:
        notes.append(
            f"simple layout by depth, without clusters and arrows' labels: {len(picture.boxes):,} boxes and "
            f"{len(picture.arrows):,} arrows would take Graphviz long"
        )
    dot.attr(rankdir=picture.rankdir, fontname=_FONT, fontsize="10", bgcolor="white", nodesep="0.2", ranksep="0.4")
    dot.attr("node", fontname=_FONT, fontsize="11", shape="box", margin="0.1,0.05", height="0.3", width="0.3")
    dot.attr("edge", fontname=_FONT, fontsize="9", arrowsize="0.6")
    if picture.legend is not None or notes:
        dot.attr(label=_footer(picture, notes), labelloc="b")
    if simple:
        dot.attr(layout="nop", splines="line", outputorder="edgesfirst")
        for key, position in place(picture).items():
            _write_box(dot, key, picture.boxes[key], pos="{:.0f},{:.0f}".format(*position))
    else:
        dot.attr(newrank="true")
        scopes = {key: box.scope for key, box in picture.boxes.items()}
        write_clusters(dot, scopes, lambda cluster, key: _write_box(cluster, key, picture.boxes[key]), _frame)
        beside = _write_beside(dot, picture)
    for arrow in picture.arrows:
        # Finding places for thousands of labels takes longer than all the rest.
        label = {}
        if arrow.label and not simple:
            # A vertical arrow between neighbours in a rank would go through its label.
            aside = arrow.origin in beside and picture.rankdir in ("LR", "RL")
            label["xlabel" if aside else "label"] = f"<{dot_label(f' {arrow.label} {_GAP * aside}')}>"
        dot.edge(arrow.origin, arrow.target, **ARROWS[arrow.kind], **label)
    return str(dot.source)


def write_clusters(
    dot: graphviz.Digraph,
    scopes: Mapping[Key, Scope],
    write: Callable[[graphviz.Digraph, Key], None],
    frame: Callable[[graphviz.Digraph, Scope], None],
) -> None:
    """Write boxes into clusters within clusters.

    Parameters
    ----------
    dot : graphviz.Digraph
    scopes : mapping of key to tuple of str
    write : callable
        Writes a box into the cluster given.
    frame : callable
        Writes the attributes of a scope's cluster.
    """
    members = grouped((scope, key) for key, scope in scopes.items())
    children: dict[Scope, list[Scope]] = {}
    for scope in list(members):
        while scope and scope not in (known := children.setdefault(scope[:-1], [])):
            known.append(scope)
            scope = scope[:-1]
    numbers = count(1)

    def fill(target: graphviz.Digraph, scope: Scope) -> None:
        for key in members.get(scope, []):
            write(target, key)
        for inner in children.get(scope, []):
            with target.subgraph(name=f"cluster_{next(numbers)}") as cluster:
                frame(cluster, inner)
                fill(cluster, inner)

    fill(dot, ())


def _frame(cluster: graphviz.Digraph, scope: Scope) -> None:
    title = f"<{dot_label(fit(clean(scope[-1]), 40))}>"
    cluster.attr(label=title, style="rounded", color="#b8b8b8", fontcolor="#555555")
    cluster.attr(labeljust="l", labelloc="t")


def _write_beside(dot: graphviz.Digraph, picture: Picture) -> set[str]:
    """Put a layer's weights beside the op that reads them, so that the flow is a straight line; return their keys."""
    found: set[str] = set()
    for key, readers in grouped((arrow.origin, arrow.target) for arrow in picture.arrows).items():
        box = picture.boxes[key]
        if len(readers) == 1 and box.scope and box.style == "variable":
            with dot.subgraph() as rank:
                rank.attr(rank="same")
                rank.node(key)
                rank.node(readers[0])
            found.add(key)
    return found


def _write_box(target: graphviz.Digraph, key: str, box: Box, **more: str) -> None:
    style = dict(STYLES[box.style])
    if box.fill is not None:
        style["fillcolor"] = box.fill[0]
    text = "<br/>".join(_marked(line, None if box.fill is None else box.fill[1]) for line in box.lines)
    if box.hint:
        more["tooltip"] = dot_text(box.hint)
    target.node(key, f"<{text}>", **style, **more)


def _marked(line: Line, colour: str | None) -> str:
    text = dot_label(line.text)
    if line.tone == "title":
        text = f"<b>{text}</b>"
    colour = colour or TONES[line.tone]
    return text if colour == "#000000" else f'<font color="{colour}">{text}</font>'


def _footer(picture: Picture, notes: list[str]) -> str:
    """Return the legend and the notes as the table that Graphviz writes below the picture."""
    rows = []
    if picture.legend is not None:
        title, swatches = picture.legend
        colours = "".join(
            f'<td bgcolor="{swatch.colour}" border="1" width="34" height="12"></td>' for swatch in swatches
        )
        figures = "".join(f"<td>{dot_label(swatch.figure) or ' '}</td>" for swatch in swatches)
        span = f'colspan="{len(swatches)}"'
        rows += [f"<tr><td {span}>{dot_label(title)}</td></tr>", f"<tr>{colours}</tr>", f"<tr>{figures}</tr>"]
    else:
        span = 'colspan="1"'
    rows += [f'<tr><td {span}><font color="#555555">{dot_label(note)}</font></td></tr>' for note in notes]
    return f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="2">{"".join(rows)}</table>>'

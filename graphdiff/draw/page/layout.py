"""Where nodes are drawn: by Graphviz, or by depth where that would take too long."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, cast

from graphdiff.draw.engine import rendered
from graphdiff.draw.layout import Edges, Point, by_depth
from graphdiff.draw.picture import Scope
from graphdiff.draw.write import write_clusters

if TYPE_CHECKING:
    import graphviz

__all__ = ["GRAPHVIZ_LIMIT", "Layout", "lay_out"]

GRAPHVIZ_LIMIT = 3_000
"""Nodes and edges together; Graphviz's time grows with the square, to ten seconds at 6,000."""
_TWO_TRIALS = 600
"""Nodes and edges together, up to which both directions are tried."""
_POINTS = 72
_GAPS, _ROW_GAP = (80.0, 18.0), 60.0
_STAGE = 900.0, 640.0
_PREFERENCE = 1.25

Curve: TypeAlias = list[Point]


@dataclass
class Layout:
    """Centres of nodes and control points of edges, in units of a CSS pixel, y downwards.

    Attributes
    ----------
    centres : list of (x, y)
        In the order of the sizes given.
    curves : list of list of (x, y)
        In the order of the edges: Bézier control points, 3 n + 1 of them; empty where the page is to draw its own.
    engine : {"graphviz", "layers"}
    downwards : bool
        Whether edges lead down, not to the right.
    """

    centres: list[Point]
    curves: list[Curve] = field(default_factory=list)
    engine: str = "graphviz"
    downwards: bool = False


def lay_out(sizes: Sequence[Point], edges: Edges[int], scopes: Sequence[str]) -> Layout:
    """Place boxes so that edges lead to the right, or down where the drawing can then be larger.

    Parameters
    ----------
    sizes : sequence of (width, height)
        One per node, in topological order.
    edges : sequence of (origin, target)
    scopes : sequence of str
        The scope of each node, names joined by ``/``; nodes of a scope are kept together.
    """
    if len(sizes) + len(edges) > GRAPHVIZ_LIMIT:
        found = by_depth(dict(enumerate(sizes)), edges, _GAPS, _STAGE, _ROW_GAP)
        return Layout([_rounded(*found[node]) for node in range(len(sizes))], [[] for _ in edges], "layers")
    rightwards = _graphviz(sizes, edges, scopes, downwards=False)
    if len(sizes) + len(edges) > _TWO_TRIALS or _scale(rightwards) >= 1:
        return rightwards
    downwards = _graphviz(sizes, edges, scopes, downwards=True)
    return downwards if _scale(downwards) > _PREFERENCE * _scale(rightwards) else rightwards


def _extent(coordinates: Iterable[float]) -> float:
    listed = list(coordinates)
    return max(listed) - min(listed) + 100


def _scale(layout: Layout) -> float:
    """Return how large the whole drawing can be shown, 1 for its own size."""
    width, height = (_extent(point[axis] for point in layout.centres) for axis in (0, 1))
    return min(_STAGE[0] / width, _STAGE[1] / height)


def _graphviz(sizes: Sequence[Point], edges: Edges[int], scopes: Sequence[str], *, downwards: bool) -> Layout:
    drawn: dict[str, object] = json.loads(rendered(_dot(sizes, edges, scopes, downwards), "json0"))
    top = float(str(drawn["bb"]).split(",")[3])
    objects, arrows = (cast("list[dict[str, str]]", drawn.get(kind, [])) for kind in ("objects", "edges"))
    centres = [(0.0, 0.0)] * len(sizes)
    for each in objects:
        if "pos" in each and each["name"].isdigit():
            centres[int(each["name"])] = _point(each["pos"], top)
    curves: list[Curve] = [[] for _ in edges]
    for each in arrows:
        curves[int(each["id"])] = _curve(each["pos"], top)
    return Layout(centres, curves, downwards=downwards)


def _dot(sizes: Sequence[Point], edges: Edges[int], scopes: Sequence[str], downwards: bool) -> str:
    """Return DOT text; only numbers are written into it, so that no name of the user's has to be escaped."""
    import graphviz

    dot = graphviz.Digraph()
    # Room for the local derivatives beside the edges.
    dot.attr(rankdir="TB" if downwards else "LR", nodesep="0.28", ranksep="0.6" if downwards else "1.1")
    dot.attr("node", shape="box", fixedsize="true", label="")

    def write(target: graphviz.Digraph, node: int) -> None:
        width, height = sizes[node]
        target.node(str(node), width=f"{width / _POINTS:.3f}", height=f"{height / _POINTS:.3f}")

    def frame(cluster: graphviz.Digraph, _: Scope) -> None:
        cluster.attr(margin="12", label=" ", fontsize="12")  # room for the scope's name

    ordered = sorted(range(len(sizes)), key=scopes.__getitem__)
    write_clusters(dot, {node: tuple(filter(None, scopes[node].split("/"))) for node in ordered}, write, frame)
    computed = {end for _, end in edges}
    with_parameters = {end for origin, end in edges if origin not in computed and scopes[origin] == scopes[end] != ""}
    for number, (origin, end) in enumerate(edges):
        # Heavy edges are drawn straight: the computation, rather than what parameters enter it. Between scopes there is
        # a rank more where parameters enter, lest the frame around them stands beside the scope before.
        between = scopes[origin] != scopes[end] and end in with_parameters
        weight, length = "8" if origin in computed else "1", "2" if between else "1"
        dot.edge(str(origin), str(end), id=str(number), weight=weight, minlen=length)
    return str(dot.source)


def _rounded(x: float, y: float) -> Point:
    return round(x, 1), round(y, 1)


def _point(text: str, top: float) -> Point:
    x, y = text.split(",")[:2]
    return _rounded(float(x), top - float(y))


def _curve(text: str, top: float) -> Curve:
    """Return a spline's control points, with the arrow's tip, which Graphviz writes first, last."""
    parts = [part for part in text.split() if not part.startswith("s,")]
    points = [_point(part, top) for part in parts if not part.startswith("e,")]
    tips = [_point(part[2:], top) for part in parts if part.startswith("e,")]
    return [*points, points[-1], tips[-1], tips[-1]] if tips else points

"""Where nodes are drawn: by Graphviz, or in plain layers where that would take too long."""

from __future__ import annotations

import contextlib
import io
import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["GRAPHVIZ_LIMIT", "Layout", "lay_out"]

GRAPHVIZ_LIMIT = 3_000
"""Nodes and edges together; Graphviz's time grows with the square, to ten seconds at 6,000."""
_TWO_TRIALS = 600
"""Nodes and edges together, up to which both directions are tried."""
_POINTS = 72
_RANK_GAP, _NODE_GAP, _ROW_GAP = 80.0, 18.0, 60.0
_STAGE = 900.0, 640.0
_PREFERENCE = 1.25

Size = tuple[float, float]


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

    centres: list[tuple[float, float]]
    curves: list[list[tuple[float, float]]] = field(default_factory=list)
    engine: str = "graphviz"
    downwards: bool = False


def lay_out(sizes: Sequence[Size], edges: Sequence[tuple[int, int]], scopes: Sequence[str]) -> Layout:
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
        return _layers(sizes, edges)
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
    width = _extent(x for x, _ in layout.centres)
    height = _extent(y for _, y in layout.centres)
    return min(_STAGE[0] / width, _STAGE[1] / height)


def _graphviz(
    sizes: Sequence[Size], edges: Sequence[tuple[int, int]], scopes: Sequence[str], *, downwards: bool
) -> Layout:
    import graphviz
    import pygraphviz

    # Only numbers are written into the DOT text: no name of the user's has to be escaped.
    dot = graphviz.Digraph()
    # Room for the local derivatives beside the edges.
    dot.attr(rankdir="TB" if downwards else "LR", nodesep="0.28", ranksep="0.6" if downwards else "1.1")
    dot.attr("node", shape="box", fixedsize="true", label="")
    members: dict[str, list[int]] = {}
    for node, scope in enumerate(scopes):
        members.setdefault(scope, []).append(node)
    paths = sorted({part for scope in members for part in _ancestors(scope)})
    numbered = {path: place for place, path in enumerate(paths)}

    def fill(target: graphviz.Digraph, path: str) -> None:
        for node in members.get(path, []):
            width, height = sizes[node]
            target.node(str(node), width=f"{width / _POINTS:.3f}", height=f"{height / _POINTS:.3f}")
        for inner in paths:
            if inner.rpartition("/")[0] == path and inner:
                with target.subgraph(name=f"cluster_{numbered[inner]}") as cluster:
                    cluster.attr(margin="12", label=" ", fontsize="12")  # room for the scope's name
                    fill(cluster, inner)

    fill(dot, "")
    computed = {end for _, end in edges}
    with_parameters = {end for origin, end in edges if origin not in computed and scopes[origin] == scopes[end] != ""}
    for number, (origin, end) in enumerate(edges):
        # Heavy edges are drawn straight: the computation, rather than what parameters enter it. Between scopes there is
        # a rank more where parameters enter, lest the frame around them stands beside the scope before.
        between = scopes[origin] != scopes[end] and end in with_parameters
        weight, length = "8" if origin in computed else "1", "2" if between else "1"
        dot.edge(str(origin), str(end), id=str(number), weight=weight, minlen=length)
    # Graphviz warns of every large graph, pygraphviz on standard error.
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        drawn = json.loads(pygraphviz.AGraph(string=str(dot.source)).draw(format="json0", prog="dot"))
    top = float(drawn["bb"].split(",")[3])
    centres = [(0.0, 0.0)] * len(sizes)
    for each in drawn["objects"]:
        if "pos" in each and each["name"].isdigit():
            centres[int(each["name"])] = _point(each["pos"], top)
    curves: list[list[tuple[float, float]]] = [[] for _ in edges]
    for each in drawn.get("edges", []):
        curves[int(each["id"])] = _curve(each["pos"], top)
    return Layout(centres, curves, downwards=downwards)


def _ancestors(scope: str) -> list[str]:
    parts = scope.split("/") if scope else []
    return ["/".join(parts[: length + 1]) for length in range(len(parts))]


def _point(text: str, top: float) -> tuple[float, float]:
    x, y = text.split(",")[:2]
    return round(float(x), 1), round(top - float(y), 1)


def _curve(text: str, top: float) -> list[tuple[float, float]]:
    """Return a spline's control points, with the arrow's tip, which Graphviz writes first, last."""
    tip, points = None, []
    for part in text.split():
        if part.startswith("e,"):
            tip = _point(part[2:], top)
        elif not part.startswith("s,"):
            points.append(_point(part, top))
    if tip is not None:
        points.extend([points[-1], tip, tip])
    return points


def _layers(sizes: Sequence[Size], edges: Sequence[tuple[int, int]]) -> Layout:
    """Place each node one layer right of its operands, ordered within a layer by where these are.

    Layers run on in a new row below, as words do on a page: a deep graph would be a thread otherwise.
    """
    operands: list[list[int]] = [[] for _ in sizes]
    users: list[list[int]] = [[] for _ in sizes]
    for origin, end in edges:
        operands[end].append(origin)
        users[origin].append(end)
    layer = [0] * len(sizes)
    for node in range(len(sizes)):
        layer[node] = max((layer[operand] + 1 for operand in operands[node]), default=0)
    for node in reversed(range(len(sizes))):
        if not operands[node] and users[node]:  # a leaf stands beside its first user
            layer[node] = max(0, min(layer[user] for user in users[node]) - 1)
    rows: dict[int, list[int]] = {}
    for node, place in enumerate(layer):
        rows.setdefault(place, []).append(node)
    widths = {place: max(sizes[node][0] for node in row) + _RANK_GAP for place, row in rows.items()}
    heights = {place: sum(sizes[node][1] + _NODE_GAP for node in row) for place, row in rows.items()}
    line_height = max(heights.values()) + _ROW_GAP
    line_width = math.sqrt(sum(widths.values()) * line_height * _STAGE[0] / _STAGE[1])
    height: dict[int, float] = {}
    centres = [(0.0, 0.0)] * len(sizes)
    x = middle = 0.0
    for place in sorted(rows):
        if x > line_width:
            x, middle = 0.0, middle + line_height
        y = -heights[place] / 2
        for node in sorted(rows[place], key=lambda node: _mean_height(operands[node], height)):
            height[node] = y + sizes[node][1] / 2
            centres[node] = round(x + (widths[place] - _RANK_GAP) / 2, 1), round(middle + height[node], 1)
            y += sizes[node][1] + _NODE_GAP
        x += widths[place]
    return Layout(centres, [[] for _ in edges], "layers")


def _mean_height(nodes: Sequence[int], height: Mapping[int, float]) -> float:
    placed = [height[node] for node in nodes if node in height]
    return sum(placed) / len(placed) if placed else 0.0

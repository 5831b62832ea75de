"""Where nodes are drawn: by Graphviz, or in plain layers where that would take too long."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["GRAPHVIZ_LIMIT", "Layout", "lay_out"]

GRAPHVIZ_LIMIT = 3_000
"""Nodes and edges together; Graphviz's time grows with the square, to ten seconds at 6,000."""
_POINTS = 72
_RANK_GAP, _NODE_GAP = 60.0, 18.0

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
    """

    centres: list[tuple[float, float]]
    curves: list[list[tuple[float, float]]] = field(default_factory=list)
    engine: str = "graphviz"


def lay_out(sizes: Sequence[Size], edges: Sequence[tuple[int, int]], scopes: Sequence[str]) -> Layout:
    """Place boxes from left to right so that edges lead to the right.

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
    return _graphviz(sizes, edges, scopes)


def _graphviz(sizes: Sequence[Size], edges: Sequence[tuple[int, int]], scopes: Sequence[str]) -> Layout:
    import graphviz
    import pygraphviz

    # Only numbers are written into the DOT text: no name of the user's has to be escaped.
    dot = graphviz.Digraph()
    dot.attr(rankdir="LR", nodesep="0.28", ranksep="0.75")
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
                    cluster.attr(margin="16")
                    fill(cluster, inner)

    fill(dot, "")
    for number, (origin, end) in enumerate(edges):
        dot.edge(str(origin), str(end), id=str(number))
    with warnings.catch_warnings():
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
    return Layout(centres, curves)


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
    """Place each node one layer right of its operands, ordered within a layer by where these are."""
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
    height: dict[int, float] = {}
    centres = [(0.0, 0.0)] * len(sizes)
    x = 0.0
    for place in sorted(rows):
        row = sorted(rows[place], key=lambda node: _mean_height(operands[node], height))
        widest = max(sizes[node][0] for node in row)
        total = sum(sizes[node][1] + _NODE_GAP for node in row)
        y = -total / 2
        for node in row:
            height[node] = y + sizes[node][1] / 2
            centres[node] = round(x + widest / 2, 1), round(height[node], 1)
            y += sizes[node][1] + _NODE_GAP
        x += widest + _RANK_GAP
    return Layout(centres, [[] for _ in edges], "layers")


def _mean_height(nodes: Sequence[int], height: Mapping[int, float]) -> float:
    placed = [height[node] for node in nodes if node in height]
    return sum(placed) / len(placed) if placed else 0.0

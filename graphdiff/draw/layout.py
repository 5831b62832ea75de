"""Positions by depth, for graphs of which Graphviz would take long to find a layout."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from graphdiff.draw.picture import Box, Key, Picture, grouped
from graphdiff.text.columns import text_width

__all__ = ["by_depth", "place", "too_slow"]

_PATIENCE = 4_500
"""Places in ranks, those that arrows pass through included: so many take Graphviz one to two seconds."""
_GAPS = 36.0, 14.0
"""Between ranks, and between boxes of a rank."""
_SWEEPS = 4

Edges: TypeAlias = Sequence[tuple[Key, Key]]
Point: TypeAlias = tuple[float, float]


def too_slow(picture: Picture) -> bool:
    """Whether Graphviz would take more than about two seconds.

    It gives an arrow a place in each rank that it passes through, and the time grows with all places together.
    """
    edges = _edges(picture)
    depth = _depths(picture.boxes, edges)
    spans = sum(abs(depth[target] - depth[origin]) for origin, target in edges)
    return len(picture.boxes) + spans + 2 * len(edges) > _PATIENCE


def place(picture: Picture) -> dict[str, Point]:
    """Return the middle of each box in points, y upwards: by depth along the picture's direction."""
    sideways = picture.rankdir in ("LR", "RL")
    sizes = {key: _size(box) if sideways else _size(box)[::-1] for key, box in picture.boxes.items()}
    found = by_depth(sizes, _edges(picture), _GAPS)
    along = -1 if picture.rankdir in ("RL", "TB") else 1
    if sideways:
        return {key: (along * x, -y) for key, (x, y) in found.items()}
    return {key: (y, along * x) for key, (x, y) in found.items()}


def _edges(picture: Picture) -> Edges[str]:
    return [(arrow.origin, arrow.target) for arrow in picture.arrows]


def _size(box: Box) -> Point:
    """Return about how wide and high a box will be, in points."""
    return 6.6 * max(text_width(line.text) for line in box.lines) + 16, 13.5 * len(box.lines) + 8


def by_depth(
    sizes: Mapping[Key, Point], edges: Edges[Key], gaps: Point, stage: Point | None = None, rows: float = 0.0
) -> dict[Key, Point]:
    """Return the middle of each box: ranks by depth along x, in a rank by the neighbours' mean along y.

    Parameters
    ----------
    sizes : mapping of key to (along, across)
    edges : sequence of (origin, target)
    gaps : (along, across)
    stage : (along, across), optional
        Ranks run on in a new row, as words do on a page, so that these proportions come about: a deep graph would be a
        thread otherwise.
    rows : float
        The gap between rows.
    """
    ranks = _ranks(sizes, edges)
    reaches = [max(sizes[key][0] for key in rank) + gaps[0] for rank in ranks]
    extents = [sum(sizes[key][1] + gaps[1] for key in rank) for rank in ranks]
    row = max(extents, default=0.0) + rows
    longest = math.inf if stage is None else math.sqrt(sum(reaches) * row * stage[0] / stage[1])
    found: dict[Key, Point] = {}
    along = middle = 0.0
    for rank, reach, extent in zip(ranks, reaches, extents, strict=True):
        if along > longest:
            along, middle = 0.0, middle + row
        across = middle - extent / 2
        for key in rank:
            step = sizes[key][1] + gaps[1]
            found[key] = along + (reach - gaps[0]) / 2, across + step / 2
            across += step
        along += reach
    return found


def _depths(keys: Iterable[Key], edges: Edges[Key]) -> dict[Key, int]:
    """Return the length of the longest path to each box, leaves one before their first user.

    Edges that close a cycle do not count.
    """
    left = dict.fromkeys(keys)
    true = [edge for edge in edges if edge[0] != edge[1]]
    into, out = grouped((target, origin) for origin, target in true), grouped(true)
    waiting = {key: len(into.get(key, ())) for key in left}
    depth: dict[Key, int] = {}
    ready = [key for key, count in waiting.items() if not count]
    while left:
        if not ready:
            ready.append(next(iter(left)))  # a cycle of collapsed scopes: cut where it was first met
        key = ready.pop()
        if key not in left:
            continue
        del left[key]
        depth[key] = max((depth[origin] + 1 for origin in into.get(key, ()) if origin in depth), default=0)
        for target in out.get(key, ()):
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    leaves = {key: min(map(depth.__getitem__, out[key])) - 1 for key in depth if key in out and key not in into}
    return depth | {key: max(0, before) for key, before in leaves.items()}


def _ranks(keys: Iterable[Key], edges: Edges[Key]) -> list[list[Key]]:
    """Return the boxes of each depth, sorted by where their neighbours are, up and down in turn: few edges cross."""
    depth = _depths(keys, edges)
    ranks: list[list[Key]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for key in keys:
        ranks[depth[key]].append(key)
    beside = grouped((target, origin) for origin, target in edges), grouped(edges)
    height: dict[Key, float] = {}
    for rank in ranks:
        _spread(rank, height)
    for sweep in range(_SWEEPS):
        for rank in ranks if sweep % 2 == 0 else ranks[::-1]:
            near = {key: beside[sweep % 2].get(key, [key]) for key in rank}
            mean = {key: sum(height[each] for each in others) / len(others) for key, others in near.items()}
            rank.sort(key=mean.__getitem__)
            _spread(rank, height)
    return ranks


def _spread(rank: Sequence[Key], height: dict[Key, float]) -> None:
    height.update((key, position - len(rank) / 2) for position, key in enumerate(rank))

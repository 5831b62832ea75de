"""Positions by depth, for pictures of which Graphviz would take long to find a layout."""

from __future__ import annotations

from graphdiff.draw.picture import Box, Picture
from graphdiff.text.columns import text_width

__all__ = ["place", "too_slow"]

_PATIENCE = 4_500
"""Places in ranks, those that arrows pass through included: so many take Graphviz one to two seconds."""
_ALONG, _ACROSS = 36.0, 14.0
_SWEEPS = 4


def too_slow(picture: Picture) -> bool:
    """Whether Graphviz would take more than about two seconds.

    It gives an arrow a place in each rank that it passes through, and the time grows with all places together.
    """
    depth = _depths(picture)
    spans = sum(abs(depth[arrow.target] - depth[arrow.origin]) for arrow in picture.arrows)
    return len(picture.boxes) + spans + 2 * len(picture.arrows) > _PATIENCE


def _depths(picture: Picture) -> dict[str, int]:
    """Return the length of the longest path to each box, leaves one before their first user.

    Arrows that close a cycle do not count.
    """
    into: dict[str, list[str]] = {}
    waiting = dict.fromkeys(picture.boxes, 0)
    out: dict[str, list[str]] = {}
    for arrow in picture.arrows:
        if arrow.origin != arrow.target:
            into.setdefault(arrow.target, []).append(arrow.origin)
            out.setdefault(arrow.origin, []).append(arrow.target)
            waiting[arrow.target] += 1
    depth: dict[str, int] = {}
    ready = [key for key, count in waiting.items() if not count]
    left = dict.fromkeys(picture.boxes)
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


def place(picture: Picture) -> dict[str, tuple[float, float]]:
    """Return the middle of each box in points: by depth along the direction, ordered by the neighbours' mean across."""
    depth = _depths(picture)
    ranks: list[list[str]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
    for key in picture.boxes:
        ranks[depth[key]].append(key)
    _order(ranks, picture)
    sideways = picture.rankdir in ("LR", "RL")
    sizes = {key: _size(box) if sideways else _size(box)[::-1] for key, box in picture.boxes.items()}
    found: dict[str, tuple[float, float]] = {}
    along = 0.0
    for rank in ranks:
        reach = max(sizes[key][0] for key in rank)
        across = -sum(sizes[key][1] + _ACROSS for key in rank) / 2
        for key in rank:
            step = sizes[key][1] + _ACROSS
            found[key] = along + reach / 2, across + step / 2
            across += step
        along += reach + _ALONG
    return {key: _turned(*position, picture.rankdir) for key, position in found.items()}


def _turned(along: float, across: float, rankdir: str) -> tuple[float, float]:
    """Return x and y, which grows upwards."""
    return {"LR": (along, -across), "RL": (-along, -across), "TB": (across, -along), "BT": (across, along)}[rankdir]


def _size(box: Box) -> tuple[float, float]:
    """Return about how wide and high a box will be, in points."""
    return 6.6 * max(text_width(line.text) for line in box.lines) + 16, 13.5 * len(box.lines) + 8


def _order(ranks: list[list[str]], picture: Picture) -> None:
    """Sort each rank by where its boxes' neighbours are, up and down in turn: few arrows cross then."""
    beside: tuple[dict[str, list[str]], dict[str, list[str]]] = ({}, {})
    for arrow in picture.arrows:
        beside[0].setdefault(arrow.target, []).append(arrow.origin)
        beside[1].setdefault(arrow.origin, []).append(arrow.target)
    height: dict[str, float] = {}
    for rank in ranks:
        _spread(rank, height)
    for sweep in range(_SWEEPS):
        neighbours = beside[sweep % 2]
        for rank in ranks if sweep % 2 == 0 else ranks[::-1]:
            mean = {
                key: sum(height[each] for each in near) / len(near) if (near := neighbours.get(key)) else height[key]
                for key in rank
            }
            rank.sort(key=mean.__getitem__)
            _spread(rank, height)


def _spread(rank: list[str], height: dict[str, float]) -> None:
    for position, key in enumerate(rank):
        height[key] = position - len(rank) / 2

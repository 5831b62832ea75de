"""Menger's bound: a vertex costs at least the product of the disjoint paths to inputs and from outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["disjoint_paths"]

Half = tuple[int, bool]
"""A vertex as it is reached (False) or left (True): every vertex is split in two, so that one path alone crosses it."""


def disjoint_paths(neighbours: Sequence[int], start: int, inner: int) -> int:
    """Return how many vertex-disjoint paths lead from a vertex to vertices outside the mask `inner`."""
    # Augmenting paths; sets are small, and a bound is asked for at every step of a search: networkx's flow, which
    # builds a graph for each question, takes seventy times as long.
    follows: dict[int, int] = {}  # on a path: vertex -> next
    precedes: dict[int, int] = {}
    paths = 0
    while trail := _augmenting(neighbours, start, inner, follows, precedes):
        _augment(trail, start, follows, precedes)
        paths += 1
    return paths


def _augmenting(
    neighbours: Sequence[int], start: int, inner: int, follows: dict[int, int], precedes: dict[int, int]
) -> list[Half]:
    """Return a way on which one path more leads outside, back along those that are there where need be; or nothing."""
    parent: dict[Half, Half | None] = {(start, True): None}
    pending: list[Half] = [(start, True)]
    while pending:
        v, leaving = here = pending.pop()
        steps: list[Half] = []
        if leaving:
            mask = neighbours[v] if inner >> v & 1 else 0
            while mask:
                low = mask & -mask
                mask ^= low
                w = low.bit_length() - 1
                if not (v != start and follows.get(v) == w) and not (v == start and precedes.get(w) == start):
                    steps.append((w, False))
            if v in precedes:
                steps.append((v, False))  # back across the vertex itself
        elif v in precedes:
            if precedes[v] != start:
                steps.append((precedes[v], True))
        elif not inner >> v & 1:
            return _trail(parent, here)
        else:
            steps.append((v, True))
        for step in steps:
            if step not in parent:
                parent[step] = here
                pending.append(step)
    return []


def _trail(parent: Mapping[Half, Half | None], end: Half) -> list[Half]:
    trail = [end]
    while (earlier := parent[trail[-1]]) is not None:
        trail.append(earlier)
    return trail[::-1]


def _augment(trail: list[Half], start: int, follows: dict[int, int], precedes: dict[int, int]) -> None:
    """Add the edges that a way takes forwards, once those that it takes backwards are gone."""
    steps = [(one, other) for one, other in zip(trail, trail[1:], strict=False) if one[0] != other[0]]
    for (w, _), (v, arriving) in steps:
        if arriving:
            follows.pop(v, None)
            if precedes.get(w) == v:
                del precedes[w]
    for (v, leaving), (w, _) in steps:
        if leaving:
            if v != start:
                follows[v] = w
            precedes[w] = v

"""Menger's bound: a vertex costs at least the product of the disjoint paths to inputs and from outputs."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["disjoint_paths"]


def disjoint_paths(neighbours: Sequence[int], start: int, inner: int) -> int:
    """Return how many vertex-disjoint paths lead from a vertex to vertices outside the mask `inner`."""
    # Augmenting paths on the graph with every vertex split in two; sets are small, so this is quick.
    follows: dict[int, int] = {}  # on a path: vertex -> next
    precedes: dict[int, int] = {}
    paths = 0
    while True:
        parent: dict[tuple[int, bool], tuple[int, bool] | None] = {(start, True): None}
        pending: list[tuple[int, bool]] = [(start, True)]
        end: tuple[int, bool] | None = None
        while pending and end is None:
            v, leaving = here = pending.pop()
            steps: list[tuple[int, bool]] = []
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
                end = here
            else:
                steps.append((v, True))
            for step in steps:
                if step not in parent:
                    parent[step] = here
                    pending.append(step)
        if end is None:
            return paths
        paths += 1
        trail = [end]
        while (earlier := parent[trail[-1]]) is not None:
            trail.append(earlier)
        trail.reverse()
        added, dropped = [], []
        for (v, leaving), (w, arriving) in zip(trail, trail[1:], strict=False):
            if leaving and not arriving and v != w:
                added.append((v, w))
            elif not leaving and arriving and v != w:
                dropped.append((w, v))
        for v, w in dropped:
            follows.pop(v, None)
            if precedes.get(w) == v:
                del precedes[w]
        for v, w in added:
            if v != start:
                follows[v] = w
            precedes[w] = v

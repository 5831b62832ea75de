"""The search for the cheapest vertex order: reductions, bounds, dynamic programming, annealing in processes."""

from __future__ import annotations

import random
import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from graphdiff.elimination.bounds import disjoint_paths
from graphdiff.elimination.search import annealing
from graphdiff.elimination.search.cache import cache_file, remember, remembered
from graphdiff.elimination.search.workers import in_parallel
from graphdiff.elimination.vertices import Vertices, remove

__all__ = ["TIES", "Reduced", "markowitz", "search_vertices"]

TIES = ("lowest", "highest", "random")

EXACT = 20
"""Up to so many vertices (twins counted once, those with one neighbour on either side left out) are solved exactly."""

BOUNDED = 500
"""Up to so many vertices the bound on every order's cost is worth its time."""


def markowitz(vertices: Vertices, ties: str, generator: random.Random) -> list[int]:
    """Eliminate the cheapest vertex each time."""
    before, after = vertices.copy()
    rank = {v: place for place, v in enumerate(vertices.inner)}
    left = {v: len(before[v]) * len(after[v]) for v in vertices.inner}
    order = []
    while left:
        least = min(left.values())
        tied = [v for v, cost in left.items() if cost == least]
        if ties == "random":
            v = generator.choice(tied)
        else:
            v = (min if ties == "lowest" else max)(tied, key=rank.__getitem__)
        order.append(v)
        near = before[v] | after[v]
        remove(v, before, after)
        del left[v]
        for neighbour in near:
            if neighbour in left:
                left[neighbour] = len(before[neighbour]) * len(after[neighbour])
    return order


Trail: TypeAlias = "tuple[int, Trail] | None"
"""What was eliminated, the latest first."""


class Reduced:
    """What is left to search: vertices of one predecessor and one successor gone first, false twins in groups."""

    def __init__(self, vertices: Vertices) -> None:
        before, after = vertices.copy()
        # Such a vertex costs at least one multiplication whenever it goes, and going first it enlarges nobody's set.
        self.first: list[int] = []
        left = list(vertices.inner)
        while single := [v for v in left if len(before[v]) == 1 and len(after[v]) == 1]:
            for v in single:
                if len(before[v]) == 1 and len(after[v]) == 1:
                    self.first.append(v)
                    remove(v, before, after)
            gone = set(self.first)
            left = [v for v in left if v not in gone]
        # Equal neighbours stay equal, and neither enlarges the other's sets: they may go one after the other
        # (arXiv 2506.17521).
        twins: dict[Hashable, list[int]] = {}
        for v in left:
            twins.setdefault((frozenset(before[v]), frozenset(after[v])), []).append(v)
        self.members = list(twins.values())
        bit: dict[int, int] = {group[0]: place for place, group in enumerate(self.members)}
        extra = [v for group in self.members for v in group[1:]]
        gone = set(self.first)
        extra += [v for v in range(len(vertices.names)) if v not in gone and v not in bit and v not in set(extra)]
        bit |= {v: len(self.members) + place for place, v in enumerate(extra)}
        self.groups = [sum(1 << bit[v] for v in group) for group in self.members]
        self.before = [sum(1 << bit[v] for v in before[group[0]]) for group in self.members]
        self.after = [sum(1 << bit[v] for v in after[group[0]]) for group in self.members]

    def expand(self, order: Iterable[int]) -> list[int]:
        """Return the whole order of one of groups."""
        return self.first + [v for group in order for v in self.members[group]]

    def shrink(self, order: Sequence[int]) -> list[int]:
        """Return the groups in the order of their first members."""
        place = {v: index for index, v in enumerate(order)}
        return sorted(range(len(self.members)), key=lambda group: min(place[v] for v in self.members[group]))

    def cost(self, order: Sequence[int]) -> int:
        """Return the multiplications of an order of groups, the vertices gone first not counted."""
        return annealing.State(self.before, self.after, self.groups, order).cost

    def bounds(self) -> list[int]:
        """Return, per group, a number of multiplications that it takes in every order.

        Predecessors are never fewer than vertex-disjoint paths from the inputs, successors than those to the outputs
        (Menger).
        """
        leaders = (1 << len(self.members)) - 1
        return [
            each.bit_count() * disjoint_paths(self.before, group, leaders) * disjoint_paths(self.after, group, leaders)
            for group, each in enumerate(self.groups)
        ]

    def exact(self, upper: int, start: list[int], deadline: float) -> list[int] | None:
        """Return an order of least cost by dynamic programming over the sets of eliminated groups, or None for time.

        A set's cost so far and the bounds of what is left must stay below `upper`, the cost of the order `start`.
        """
        count = len(self.members)
        bounds = self.bounds()
        leaders = (1 << count) - 1
        layer: dict[int, tuple[int, int, Trail]] = {0: (0, sum(bounds), None)}
        for _ in range(count):
            following: dict[int, tuple[int, int, Trail]] = {}
            for turn, (gone, (cost, remaining, trail)) in enumerate(layer.items()):
                if not turn % 64 and time.monotonic() > deadline:
                    return None
                for v, p, q in self._choices(gone, leaders):
                    step = self.groups[v].bit_count() * p * q
                    total, left = cost + step, remaining - bounds[v]
                    if total + left >= upper:
                        continue
                    key = gone | self.groups[v]
                    known = following.get(key)
                    if known is None or total < known[0]:
                        following[key] = total, left, (v, trail)
            layer = following
        if not layer:
            return start
        order = []
        ((_, _, trail),) = layer.values()
        while trail is not None:
            v, trail = trail
            order.append(v)
        return order[::-1]

    def _choices(self, gone: int, leaders: int) -> list[tuple[int, int, int]]:
        choices = []
        left = leaders & ~gone
        while left:
            low = left & -left
            left ^= low
            v = low.bit_length() - 1
            p = annealing.through(self.before[v], self.before, gone, leaders).bit_count()
            q = annealing.through(self.after[v], self.after, gone, leaders).bit_count()
            if p * q == 1:
                return [(v, p, q)]
            choices.append((v, p, q))
        return choices


def _anneal_in_parallel(reduced: Reduced, start: list[int], seed: int, seconds: float, enough: int) -> list[int]:
    """Search in as many processes as there are cores, each with a seed of its own."""
    task: dict[str, object] = {
        "before": reduced.before,
        "after": reduced.after,
        "groups": reduced.groups,
        "start": start,
        "seconds": seconds,
        "restarts": max(1, round(seconds / 12)),
        "enough": enough,
    }
    script = ["-I", "-S", str(Path(annealing.__file__))]  # it needs nothing but Python, and starts the sooner
    results = in_parallel(annealing.search, script, task, seed, least=0.3)
    found: list[int] = min(results, key=lambda result: result[0])[1]
    return found


def _greedy(vertices: Vertices, generator: random.Random) -> Iterator[list[int]]:
    yield vertices.inner
    yield vertices.inner[::-1]
    for each in (*TIES, "random", "random"):
        yield markowitz(vertices, each, generator)


def search_vertices(vertices: Vertices, seed: int, time_limit: float, cache: bool) -> tuple[list[int], bool]:
    """Return the best vertex order found within the time, and whether it is known to be optimal."""
    began = time.monotonic()
    path = cache_file(vertices, "vertex")
    known = remembered(path, lambda order: sorted(order) == sorted(vertices.inner)) if cache else None
    if known and (known["optimal"] or known["seconds"] >= time_limit):
        return known["order"], bool(known["optimal"])
    deadline = began + time_limit
    candidates = [known["order"]] if known else []
    for order in _greedy(vertices, random.Random(seed)):
        candidates.append(order)
        if time.monotonic() - began > time_limit / 4 and len(candidates) > 2:
            break
    reduced = Reduced(vertices)
    starts = [reduced.shrink(order) for order in candidates]
    start = min(starts, key=reduced.cost)
    upper = reduced.cost(start)
    enough = sum(reduced.bounds()) if len(reduced.members) <= BOUNDED else 0
    best: list[int] | None = start if upper <= enough else None
    if best is None and len(reduced.members) <= EXACT:
        best = reduced.exact(upper, start, deadline)
    optimal = best is not None
    if best is None:
        best = _anneal_in_parallel(reduced, start, seed, max(0.0, deadline - time.monotonic()), enough)
        optimal = reduced.cost(best) <= enough
    order = reduced.expand(best)
    if cache and len(order) > 1:
        remember(path, order, time_limit, optimal)
    return order, optimal

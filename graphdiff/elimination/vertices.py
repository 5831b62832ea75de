"""A computational graph as neighbour sets over numbers, made from a `Graph` or a NetworkX directed graph."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from graphdiff.errors import GraphError

__all__ = ["Vertices", "of_networkx", "remove"]


class Vertices:
    """A computational graph as neighbour sets over the numbers 0, 1, 2 …, in topological order where it matters.

    Attributes
    ----------
    names : list
        What each number stands for.
    before, after : list of set of int
        Predecessors and successors.
    units : set of (int, int)
        The edges whose partial derivative is 1 or -1.
    inner : list of int
        The vertices with predecessors and successors, topologically sorted, ties by number.
    """

    def __init__(
        self, names: Sequence[Hashable], edges: Iterable[tuple[int, int]], units: Iterable[tuple[int, int]] = ()
    ) -> None:
        self.names = list(names)
        self.before: list[set[int]] = [set() for _ in self.names]
        self.after: list[set[int]] = [set() for _ in self.names]
        for tail, head in edges:
            self.before[head].add(tail)
            self.after[tail].add(head)
        self.units = set(units)
        topological = self._sorted()
        self.inner = [v for v in topological if self.before[v] and self.after[v]]

    def _sorted(self) -> list[int]:
        waiting = [len(before) for before in self.before]
        ready = [v for v, count in enumerate(waiting) if not count]
        heapq.heapify(ready)
        found = []
        while ready:
            v = heapq.heappop(ready)
            found.append(v)
            for head in self.after[v]:
                waiting[head] -= 1
                if not waiting[head]:
                    heapq.heappush(ready, head)
        if len(found) < len(self.names):
            raise GraphError("the graph has a cycle: a computational graph is a directed acyclic graph")
        return found

    def copy(self) -> tuple[list[set[int]], list[set[int]]]:
        """Return predecessors and successors to be changed."""
        return [set(each) for each in self.before], [set(each) for each in self.after]

    def count(self, order: Sequence[int]) -> tuple[int, int, int]:
        """Return the multiplications of eliminating in `order`, those by factors other than ±1, and the additions."""
        before, after = self.copy()
        units = set(self.units)
        total = without_units = additions = 0
        for v in order:
            total += len(before[v]) * len(after[v])
            for tail in before[v]:
                for head in after[v]:
                    first, second = (tail, v) in units, (v, head) in units
                    without_units += not (first or second)
                    if tail in before[head]:
                        additions += 1
                        units.discard((tail, head))
                    elif first and second:
                        units.add((tail, head))
            remove(v, before, after)
        return total, without_units, additions


def remove(v: int, before: list[set[int]], after: list[set[int]]) -> None:
    """Eliminate a vertex: connect each of its predecessors with each of its successors."""
    for tail in before[v]:
        after[tail].remove(v)
        after[tail] |= after[v]
    for head in after[v]:
        before[head].remove(v)
        before[head] |= before[v]


def of_networkx(graph: Any) -> Vertices:
    """Return a NetworkX directed graph as `Vertices`; see `graphdiff.elimination.scalar_graph.vertices_of`."""
    if not graph.is_directed():
        raise GraphError("a computational graph is directed, and this one is not: give a networkx.DiGraph")
    names = list(graph.nodes)
    if all(isinstance(name, int) for name in names):
        names.sort()
    number = {name: index for index, name in enumerate(names)}
    edges: list[tuple[int, int]] = []
    units: set[tuple[int, int]] = set()
    for tail, head, attributes in graph.edges(data=True):
        edge = number[tail], number[head]
        if edge in edges:
            units.discard(edge)
        elif attributes.get("partial") in (1, -1):
            units.add(edge)
        edges.append(edge)
    return Vertices(names, edges, units)

"""The search for cheap sequences of edge and face eliminations: exact on tiny graphs, else annealed."""

from __future__ import annotations

import heapq
import json
import math
import random
import sys
import time
from bisect import bisect_right
from collections.abc import Sequence
from itertools import count
from typing import Any

from graphdiff.elimination.edges import EdgeGraph, EdgeStep, Token
from graphdiff.elimination.faces import FaceGraph, FaceStep
from graphdiff.elimination.search.workers import in_parallel
from graphdiff.elimination.vertices import Vertices

__all__ = ["GRAPHS", "anneal_in_parallel", "exact", "replayed", "steps_of"]

GRAPHS: dict[str, type[EdgeGraph] | type[FaceGraph]] = {"edge": EdgeGraph, "face": FaceGraph}

STRIDE = 6
"""Tokens between two copies of the graph, from which a changed sequence is counted anew."""

HOT, COLD = 1.5, 0.05

MOST_STATES = 200_000

Eliminated = EdgeGraph | FaceGraph
Step = EdgeStep | FaceStep


def steps_of(graph: Eliminated) -> list[Step]:
    """Return the steps taken so far."""
    found, trail = [], graph.trail
    while trail is not None:
        step, trail = trail
        found.append(step)
    return found[::-1]


def replayed(graph: Eliminated, tokens: list[Token]) -> Eliminated:
    """Return a copy of the graph with vertices, edges or faces eliminated in that order."""
    graph = graph.copy()
    for token in tokens:
        graph.apply(token)
    return graph


def exact(graph: Eliminated, bounds: Sequence[int], upper: int, deadline: float) -> Eliminated | None:
    """Return the graph after a cheapest sequence of steps, where one takes fewer than `upper` multiplications.

    Raises
    ------
    TimeoutError
        The deadline or the number of states is exceeded.

    Notes
    -----
    A* over the graphs that can be met. A vertex that p vertex-disjoint paths from inputs lead to, and q such paths lead
    from to outputs, takes at least pq multiplications in every sequence: the faces of two different pairs of these
    paths have different ends.
    """
    tie = count()
    pending = [(graph.left(bounds), 0, next(tie), graph)]
    known = {graph.state(): 0}
    while pending:
        _, _, turn, graph = heapq.heappop(pending)
        if turn > MOST_STATES or time.monotonic() > deadline:
            raise TimeoutError
        if known[graph.state()] < graph.multiplications:
            continue
        steps = graph.choices()
        if not steps:
            return graph
        for step in steps:
            following = graph.copy()
            following.eliminate(*step)
            least = following.multiplications + following.left(bounds)
            if least < upper:
                state = following.state()
                if following.multiplications < known.get(state, upper):
                    known[state] = following.multiplications
                    heapq.heappush(pending, (least, -following.multiplications, next(tie), following))
    return None


class _Sequence:
    """Tokens, the graph's copies along them by place, and the multiplications of all."""

    def __init__(self, graph: Eliminated, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.places, self.copies = [0], [graph.copy()]
        graph = graph.copy()
        for place, token in enumerate(tokens):
            if place and not place % STRIDE:
                self.places.append(place)
                self.copies.append(graph.copy())
            graph.apply(token)
        self.cost = graph.multiplications

    def at(self, place: int) -> tuple[int, Eliminated]:
        """Return the last copy kept at or before a place, and its place."""
        index = bisect_right(self.places, place) - 1
        return index, self.copies[index]

    def graph_at(self, place: int) -> Eliminated:
        index, graph = self.at(place)
        return replayed(graph, self.tokens[self.places[index] : place])

    def change(self, tokens: list[Token], low: int, high: int, most: float) -> bool:
        """Take other tokens, which differ from `low` to before `high`, if they cost no more than `most`.

        Places are those in the new tokens; what follows has moved by the difference in length. Where the graph is again
        what it was there before, the rest costs what it did.
        """
        shift = len(tokens) - len(self.tokens)
        index, start = self.at(low)
        graph = start.copy()
        later = bisect_right(self.places, high - shift - 1)
        places, copies = [], []
        place = self.places[index]
        total = None
        while place < len(tokens):
            graph.apply(tokens[place])
            place += 1
            if graph.multiplications > most:
                return False
            if later < len(self.places) and self.places[later] + shift == place:
                old = self.copies[later]
                if graph.state() == old.state():
                    total = graph.multiplications + self.cost - old.multiplications
                    break
                later += 1
            if not place % STRIDE:
                places.append(place)
                copies.append(graph.copy())
        if total is None:
            total, later = graph.multiplications, len(self.places)
        if total > most:
            return False
        for old in self.copies[later:]:
            old.multiplications += total - self.cost
        self.places = self.places[: index + 1] + places + [each + shift for each in self.places[later:]]
        self.copies = self.copies[: index + 1] + copies + self.copies[later:]
        self.tokens, self.cost = tokens, total
        return True


def anneal(
    graph: Eliminated, tokens: list[Token], vertices: list[int], generator: random.Random, seconds: float
) -> list[Token]:
    """Return the best sequence of vertices, edges and faces met, beginning with one that has all vertices.

    The vertices stay in the sequence, so that every sequence is complete, and move in it; eliminations of single edges
    or faces are put between them and taken out again.
    """
    current = _Sequence(graph, list(tokens))
    best, best_cost = current.tokens, current.cost
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < seconds and vertices:
        temperature = HOT * (COLD / HOT) ** (elapsed / seconds)
        for _ in range(20):
            tokens = list(current.tokens)
            most = current.cost - temperature * math.log(1.0 - generator.random())
            length = len(tokens)
            place = generator.randrange(length)
            draw = generator.random()
            if draw < 0.4:
                other = min(max(place + generator.choice([-8, -4, -2, -1, 1, 2, 4, 8]), 0), length - 1)
                tokens.insert(other, tokens.pop(place))
                low, high = min(place, other), max(place, other) + 1
            elif draw < 0.8 and length < 2 * len(vertices) + 8:
                # What comes later still has edges.
                vertex = tokens[generator.randrange(place, length)]
                token = current.graph_at(place).some_token(generator, vertex) if isinstance(vertex, int) else None
                if token is None:
                    continue
                tokens.insert(place, token)
                low, high = place, place + 1
                # A sequence grows only by what helps, or now and then to get anywhere at all.
                if generator.random() < 0.5:
                    most = min(most, current.cost - 1)
            elif tokens[place].__class__ is not int:
                del tokens[place]
                low, high = place, place
            else:
                continue
            if current.change(tokens, low, high, most) and current.cost < best_cost:
                best, best_cost = current.tokens, current.cost
    return best


def search(
    kind: str, count: int, edges: Sequence[Sequence[int]], tokens: Sequence[Token], seconds: float, seed: int
) -> list[Token]:
    """Return the best sequence that annealing meets on the graph of so many vertices and these edges."""
    vertices = Vertices(range(count), [(tail, head) for tail, head in edges])
    return anneal(GRAPHS[kind](vertices), _tokens(tokens), vertices.inner, random.Random(seed), seconds)


def anneal_in_parallel(
    vertices: Vertices, kind: str, tokens: list[Token], seed: int, seconds: float
) -> list[list[Token]]:
    """Return the best sequence that each of as many processes as there are cores has met."""
    edges = [(tail, head) for tail, heads in enumerate(vertices.after) for head in heads]
    task = {"kind": kind, "count": len(vertices.names), "edges": edges, "tokens": tokens, "seconds": seconds}
    return [_tokens(found) for found in in_parallel(search, ["-P", "-m", __name__], task, seed, least=1.0)]


def _tokens(listed: Sequence[Any]) -> list[Token]:
    """Return a sequence that may have been through JSON: vertices are numbers, edges and faces tuples."""
    return [each if isinstance(each, int) else tuple(each) for each in listed]


def main() -> None:
    """Read one task as JSON from standard input and write its result as JSON."""
    json.dump(search(**json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()

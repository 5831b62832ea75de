"""Elimination of faces, the pairs of edges that follow each other: every other elimination is a sequence of these.

U. Naumann, Optimal accumulation of Jacobian matrices by elimination methods on the dual computational graph,
Mathematical Programming 99, 2004.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence

from graphdiff.elimination.edges import BACK, FRONT, EdgeStep, Factor, Token, Trail, bits, product
from graphdiff.elimination.vertices import Vertices
from graphdiff.errors import GraphError

__all__ = ["FaceGraph"]

PRIME = 2**61 - 1
"""Marks are computed modulo this: two edges that stand for different paths have different marks, but by a chance of
2⁻⁵⁰ or so."""

FaceStep = tuple[int, int]


class FaceGraph:
    """The line graph of a computational graph: its vertices are the edges, and its edges the faces.

    Eliminating the face (i, j) makes an edge that follows what i follows and is followed by what follows j, with the
    product of their factors; it is added to an edge of the same neighbours where there is one. An edge without faces
    on an inner side goes, and two edges of the same neighbours are added up.

    Parameters
    ----------
    vertices : Vertices
    factor : dict of (int, int) to factor, optional
        The edges' partial derivatives; without them multiplications are counted only.

    Attributes
    ----------
    ends : list of (int, int)
        Tail and head of every edge, by number: those of the graph, sorted, then those made.
    multiplications : int
        So far.
    done : list of int
        The same at each vertex.
    trail : tuple
        The steps so far as a linked list, the latest first.
    """

    def __init__(self, vertices: Vertices, factor: dict[tuple[int, int], Factor] | None = None) -> None:
        self.inner = sum(1 << v for v in vertices.inner)
        self.ends = sorted((tail, head) for tail, heads in enumerate(vertices.after) for head in heads)
        self.into, self.out = [0] * len(self.ends), [0] * len(self.ends)
        self.arriving = [0] * len(vertices.names)
        self.at: dict[tuple[int, int], tuple[int, ...]] = {}
        leaving = [0] * len(vertices.names)
        for number, (tail, head) in enumerate(self.ends):
            self.arriving[head] |= 1 << number
            leaving[tail] |= 1 << number
            self.at[tail, head] = (number,)
        for number, (tail, head) in enumerate(self.ends):
            self.into[number], self.out[number] = self.arriving[tail], leaving[head]
        generator = random.Random(0)
        self.marks = [generator.randrange(1, PRIME) for _ in self.ends]
        self.factors = None if factor is None else [factor[edge] for edge in self.ends]
        self.multiplications = 0
        self.done = [0] * len(vertices.names)
        self.trail: Trail = None

    def copy(self) -> FaceGraph:
        """Return a graph to count on."""
        new = FaceGraph.__new__(FaceGraph)
        new.inner, new.factors = self.inner, None
        new.ends, new.into, new.out = list(self.ends), list(self.into), list(self.out)
        new.arriving, new.at, new.marks = list(self.arriving), dict(self.at), list(self.marks)
        new.multiplications, new.done, new.trail = self.multiplications, list(self.done), self.trail
        return new

    def eliminate(self, first: int, second: int) -> None:
        """Eliminate the face of two edges, by their numbers.

        Raises
        ------
        GraphError
            There is no such face.
        """
        if first >= len(self.out) or not self.out[first] >> second & 1:
            raise GraphError(f"there is no face of the edges {first} and {second} to be eliminated")
        self.multiplications += 1
        self.done[self.ends[first][1]] += 1
        self.trail = (first, second), self.trail
        ends = self.ends[first][0], self.ends[second][1]
        into, out = self.into[first], self.out[second]
        mark = self.marks[first] * self.marks[second] % PRIME
        factor = None if self.factors is None else product(self.factors[first], self.factors[second])
        twin = next((e for e in self.at.get(ends, ()) if self.into[e] == into and self.out[e] == out), None)
        if twin is None:
            self._make(ends, into, out, mark, factor)
        else:
            self._add(twin, mark, factor)
        self.out[first] &= ~(1 << second)
        self.into[second] &= ~(1 << first)
        self._tidy([first, second])

    def _make(self, ends: tuple[int, int], into: int, out: int, mark: int, factor: Factor | None) -> None:
        number = len(self.ends)
        self.ends.append(ends)
        self.into.append(into)
        self.out.append(out)
        self.marks.append(mark)
        if self.factors is not None and factor is not None:
            self.factors.append(factor)
        self.at[ends] = (*self.at.get(ends, ()), number)
        self.arriving[ends[1]] |= 1 << number
        for edge in bits(into):
            self.out[edge] |= 1 << number
        for edge in bits(out):
            self.into[edge] |= 1 << number

    def _add(self, edge: int, mark: int, factor: Factor | None) -> None:
        self.marks[edge] = (self.marks[edge] + mark) % PRIME
        if self.factors is not None and factor is not None:
            self.factors[edge] = self.factors[edge] + factor

    def _tidy(self, changed: list[int]) -> None:
        """Remove edges that lead nowhere or come from nowhere, and add up twins, among those that have changed."""
        while changed:
            edge = changed.pop()
            ends = tail, head = self.ends[edge]
            if edge not in self.at.get(ends, ()):
                continue
            into, out = self.into[edge], self.out[edge]
            if (into or not self.inner >> tail & 1) and (out or not self.inner >> head & 1):
                twins = (e for e in self.at[ends] if e != edge and self.into[e] == into and self.out[e] == out)
                twin = next(twins, None)
                if twin is None:
                    continue
                self._add(twin, self.marks[edge], None if self.factors is None else self.factors[edge])
            self.at[ends] = tuple(e for e in self.at[ends] if e != edge)
            self.arriving[head] &= ~(1 << edge)
            self.into[edge] = self.out[edge] = 0
            for each in bits(into):
                self.out[each] &= ~(1 << edge)
                changed.append(each)
            for each in bits(out):
                self.into[each] &= ~(1 << edge)
                changed.append(each)

    def apply(self, token: Token) -> None:
        """Eliminate the faces at a vertex, on one side of an edge, or of a path of two edges, as far as there are."""
        if isinstance(token, int):
            while edges := self.arriving[token]:
                first = (edges & -edges).bit_length() - 1
                self.eliminate(first, (self.out[first] & -self.out[first]).bit_length() - 1)
            return
        for first, second in self._faces(token):
            # An earlier one of these may have taken this one along.
            if self.out[first] >> second & 1:
                self.eliminate(first, second)

    def _faces(self, token: EdgeStep | tuple[int, int, int]) -> list[FaceStep]:
        tail, via, last = token
        edges = self.at.get((tail, via), ())
        if isinstance(last, int):
            seconds = sum(1 << second for second in self.at.get((via, last), ()))
            return [(first, second) for first in edges for second in bits(self.out[first] & seconds)]
        if last == FRONT:
            return [(edge, second) for edge in edges for second in bits(self.out[edge])]
        return [(first, edge) for edge in edges for first in bits(self.into[edge])]

    def choices(self) -> list[FaceStep]:
        """Return every step that can be taken now."""
        return [(first, second) for first, out in enumerate(self.out) for second in bits(out)]

    def some_token(self, generator: random.Random, v: int) -> Token | None:
        """Return a random face at an inner vertex by the vertices it passes, or one side of an edge of it."""
        faces = [(first, second) for first in bits(self.arriving[v]) for second in bits(self.out[first])]
        if not faces:
            return None
        first, second = generator.choice(faces)
        tail, head = self.ends[first][0], self.ends[second][1]
        tokens: list[Token] = [(tail, v, head), (tail, v, FRONT), (v, head, BACK)]
        return generator.choice(tokens)

    def left(self, bounds: Sequence[int]) -> int:
        """Return how many multiplications are still to come at least, `bounds` being so many per vertex at first."""
        return sum(max(bounds[v] - self.done[v], 1 if self.arriving[v] else 0) for v in bits(self.inner))

    def state(self) -> Hashable:
        """Return what the steps to come depend on: the faces, each edge known by the paths that it stands for."""
        return frozenset((self.marks[first], self.marks[second]) for first, second in self.choices())

    def entries(self) -> dict[tuple[int, int], Factor]:
        """Return the Jacobian: the factors of the edges from inputs to outputs."""
        assert self.factors is not None
        return {ends: self.factors[edges[0]] for ends, edges in self.at.items() if edges}

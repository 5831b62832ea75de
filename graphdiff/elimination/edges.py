"""Elimination of single edges, on a graph of bit masks: counted alone, or carried out on partial derivatives.

U. Naumann, Optimal accumulation of Jacobian matrices by elimination methods on the dual computational graph,
Mathematical Programming 99, 2004; A. Griewank and A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, chapter 9.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Sequence
from typing import TypeAlias, cast

from graphdiff.elimination.bounds import disjoint_paths
from graphdiff.elimination.vertices import Vertices
from graphdiff.errors import GraphError
from graphdiff.typing import Array

__all__ = ["BACK", "FRONT", "EdgeGraph", "EdgeStep", "Factor", "Token", "Trail", "bits", "product"]

FRONT, BACK = "front", "back"

Edge = tuple[int, int]
EdgeStep = tuple[int, int, str]
Token: TypeAlias = "int | EdgeStep | tuple[int, int, int]"
"""A vertex, an edge at one side, or a path of two edges by its vertices: what is eliminated as far as it is there."""
Factor: TypeAlias = "Array | float"
"""A partial derivative: a number of Python where it is constant."""
Trail: TypeAlias = "tuple[tuple[int, int] | EdgeStep, Trail] | None"


def bits(mask: int) -> Iterator[int]:
    """Yield the places of the bits that are set, lowest first."""
    while mask:
        low = mask & -mask
        mask ^= low
        yield low.bit_length() - 1


def product(left: Factor, right: Factor) -> Factor:
    """Return left × right; by 1 or -1 nothing is multiplied."""
    if left.__class__ is int and left in (1, -1):
        return right if left == 1 else -right
    if right.__class__ is int and right in (1, -1):
        return left if right == 1 else -left
    return left * right


class EdgeGraph:
    """A computational graph whose edges can be eliminated one by one, or a vertex's all together.

    Front elimination of an edge i → j replaces the paths i → j → k by edges i → k, back elimination of j → k the paths
    i → j → k by edges i → k; either takes a multiplication per path. To eliminate a vertex is to front-eliminate all
    edges that lead to it.

    Parameters
    ----------
    vertices : Vertices
    factor : dict of (int, int) to factor, optional
        The edges' partial derivatives; without them multiplications are counted only. It is changed.

    Attributes
    ----------
    multiplications : int
        So far.
    done : list of int
        The same at each vertex.
    trail : tuple
        The steps so far as a linked list, the latest first.
    """

    def __init__(self, vertices: Vertices, factor: dict[Edge, Factor] | None = None) -> None:
        self.inner = sum(1 << v for v in vertices.inner)
        self.before = [sum(1 << tail for tail in each) for each in vertices.before]
        self.after = [sum(1 << head for head in each) for each in vertices.after]
        self.factor = factor
        self.multiplications = 0
        self.done = [0] * len(vertices.names)
        self.trail: Trail = None

    def copy(self) -> EdgeGraph:
        """Return a graph to count on."""
        new = EdgeGraph.__new__(EdgeGraph)
        new.inner, new.factor = self.inner, None
        new.before, new.after = list(self.before), list(self.after)
        new.multiplications, new.done, new.trail = self.multiplications, list(self.done), self.trail
        return new

    def eliminate(self, tail: int, head: int, side: str) -> None:
        """Eliminate one edge.

        Raises
        ------
        GraphError
            There is no such edge, or its end on that side is an input or output.
        """
        via = head if side == FRONT else tail
        if not self.after[tail] >> head & 1 or not self.inner >> via & 1:
            raise GraphError(f"there is no edge {tail} → {head} to be eliminated at its {side}")
        if side == FRONT:
            for far in bits(self.after[head]):
                self._multiply(tail, head, far)
        else:
            for far in bits(self.before[tail]):
                self._multiply(far, tail, head)
        self._drop(tail, head)
        self.trail = (tail, head, side), self.trail
        if not self.before[via]:
            for far in bits(self.after[via]):
                self._drop(via, far)
        elif not self.after[via]:
            for far in bits(self.before[via]):
                self._drop(far, via)

    def _multiply(self, tail: int, via: int, head: int) -> None:
        self.multiplications += 1
        self.done[via] += 1
        if self.factor is not None:
            term = product(self.factor[tail, via], self.factor[via, head])
            earlier = self.factor.get((tail, head))
            self.factor[tail, head] = term if earlier is None else earlier + term
        self.after[tail] |= 1 << head
        self.before[head] |= 1 << tail

    def _drop(self, tail: int, head: int) -> None:
        self.after[tail] &= ~(1 << head)
        self.before[head] &= ~(1 << tail)
        if self.factor is not None:
            del self.factor[tail, head]

    def eliminate_vertex(self, v: int) -> None:
        """Eliminate the edges that lead to a vertex; those that lead from it go with the last."""
        for tail in bits(self.before[v]):
            self.eliminate(tail, v, FRONT)

    def apply(self, token: Token) -> None:
        """Eliminate a vertex, or an edge where there is one."""
        if isinstance(token, int):
            self.eliminate_vertex(token)
        elif self.after[token[0]] >> token[1] & 1:
            self.eliminate(*cast(EdgeStep, token))

    def choices(self) -> list[EdgeStep]:
        """Return every step that can be taken now."""
        found: list[EdgeStep] = []
        for v in bits(self.inner):
            found += [(tail, v, FRONT) for tail in bits(self.before[v])]
            found += [(v, head, BACK) for head in bits(self.after[v])]
        return found

    def some_token(self, generator: random.Random, v: int) -> EdgeStep | None:
        """Return a random edge to or from an inner vertex, to be eliminated there."""
        edges = [(tail, v, FRONT) for tail in bits(self.before[v])] + [(v, head, BACK) for head in bits(self.after[v])]
        return generator.choice(edges) if edges else None

    def cheapest(self) -> EdgeStep:
        """Return the step of fewest multiplications, the first of them."""
        return min(self.choices(), key=self._price)

    def _price(self, step: EdgeStep) -> int:
        tail, head, side = step
        return (self.after[head] if side == FRONT else self.before[tail]).bit_count()

    def left(self, bounds: Sequence[int]) -> int:
        """Return how many multiplications are still to come at least, `bounds` being so many per vertex at first."""
        return sum(max(bounds[v] - self.done[v], self.least_at(v)) for v in bits(self.inner))

    def least_at(self, v: int) -> int:
        """Return how many multiplications eliminating a vertex takes at least, in whatever order."""
        into = disjoint_paths(self.before, v, self.inner)
        return into * disjoint_paths(self.after, v, self.inner)

    def state(self) -> Hashable:
        """Return what the steps to come depend on."""
        return tuple(self.after)

    def entries(self) -> dict[Edge, Factor]:
        """Return the Jacobian: the factors of the edges from inputs to outputs."""
        return self.factor or {}

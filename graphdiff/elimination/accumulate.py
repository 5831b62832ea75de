"""Accumulation: the Jacobian of a tensor graph from the blocks of its ops, multiplied in the cheapest order found.

Each inner node is eliminated in turn: the block of every edge into it is multiplied by that of every edge out of it.
From the inputs up this is forward mode, from the outputs down reverse mode. A chain is the matrix-chain problem,
which dynamic programming solves; elsewhere forward order, reverse order and a greedy one compete.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphdiff.backend import working_on
from graphdiff.costs.node import Cost
from graphdiff.elimination.block_algebra import Algebra, Counting, Known, Met
from graphdiff.elimination.blocks import Block, Dense, LocalDerivative, Part, Sparse
from graphdiff.errors import GraphError
from graphdiff.graph import opened, topological_order
from graphdiff.host import is_real_floating
from graphdiff.op import GRAPH
from graphdiff.tensor import Tensor

__all__ = ["BlockGraph", "accumulate"]

LONGEST_CHAIN = 40
"""Inner nodes of a chain up to which the matrix-chain problem is solved exactly, in time of their third power."""

MOST_GREEDY = 400
"""Inner nodes up to which a greedy order is looked for."""

MOST_ENTRIES = 1 << 28
"""Entries of a Jacobian that is still accumulated as a dense array: 2 GiB of them."""

Edges = dict[tuple[int, int], Block]


class BlockGraph:
    """The nodes between leaves and outputs, composites opened, and a block on every edge.

    Parameters
    ----------
    outputs, leaves : sequence of Tensor

    Attributes
    ----------
    inner : list of int
        Vertices to eliminate, in topological order.
    """

    def __init__(self, outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> None:
        self.outputs, self.leaves = list(outputs), list(leaves)
        sources = frozenset(leaves)
        with working_on(self.outputs[0].backend):
            nodes, stands = opened(topological_order(outputs, boundary=sources), sources)
        number = {leaf: place for place, leaf in enumerate(dict.fromkeys(self.leaves))}
        self._locals: dict[tuple[int, int], list[LocalDerivative]] = {}
        first = len(number)
        for node in nodes:
            if node.op is None or node in sources or not is_real_floating(node.dtype):
                continue
            links = [
                (number[stands.get(operand, operand)], LocalDerivative(node, position))
                for position, operand in enumerate(node.inputs)
                if stands.get(operand, operand) in number
            ]
            if links:
                head = number[node] = len(number)
                for tail, local in links:
                    self._locals.setdefault((tail, head), []).append(local)
        self.inner = list(range(first, len(number)))
        self.sources = [number[leaf] for leaf in self.leaves]
        # Every output has a vertex of its own behind it, so that outputs which others use are eliminated like the rest.
        self.sinks: list[int | None] = []
        self._ends: dict[tuple[int, int], int] = {}
        for place, output in enumerate(self.outputs):
            end = number.get(stands.get(output, output))
            self.sinks.append(None if end is None else len(number) + place)
            if end is not None:
                self._ends[end, len(number) + place] = output.size
        self.itemsize = self.outputs[0].dtype.itemsize
        self._met: Met = {}
        self._known: Known = {}
        self._counted = self._edges(self._counting())
        self.inner = [v for v in self.inner if self._leads_on(v)]

    def _counting(self) -> Algebra:
        return Counting(itemsize=self.itemsize, met=self._met, known=self._known)

    def _leads_on(self, v: int) -> bool:
        return any(tail == v for tail, _ in self._counted)

    def _edges(self, algebra: Algebra) -> Edges:
        """Return the blocks of all edges that lead from a leaf to an output."""
        edges: Edges = {}
        for edge, links in self._locals.items():
            for local in links:
                block = local.block(algebra.build)
                if block is not None:
                    edges[edge] = block if edge not in edges else algebra.sum(edges[edge], block)
        for edge, size in self._ends.items():
            edges[edge] = Sparse((size, size), [Part(range(size), range(size), 1)])
        wanted = {sink for sink in self.sinks if sink is not None}
        for tail, head in sorted(edges, key=lambda edge: -edge[1]):
            if head in wanted:
                wanted.add(tail)
        reached = set(self.sources)
        for tail, head in sorted(edges):
            if tail in reached:
                reached.add(head)
        return {edge: block for edge, block in edges.items() if edge[1] in wanted and edge[0] in reached}

    # Orders ------------------------------------------------------------------------------------------------------

    def best_order(self) -> tuple[list[int], Cost]:
        """Return the order of least estimated time among those tried, and what the accumulation in it costs."""
        orders = [self.inner, self.inner[::-1]]
        if len(self.inner) <= MOST_GREEDY:
            orders += [self._greedy(), self._greedy(sparse_first=True)]
        if len(self.inner) <= LONGEST_CHAIN and self._is_chain():
            orders.append(self._chain())
        counted = [(order, self._accumulated(order, self._counting())[0].cost) for order in orders]
        return min(counted, key=lambda pair: pair[1].seconds)

    def _is_chain(self) -> bool:
        return len(self._counted) == len(self.inner) + 1 and len(self.sources) == len(self.outputs) == 1

    def _chain(self) -> list[int]:
        """Solve the matrix-chain problem: the best last vertex between any two, from the best below and above it."""
        path = [self.sources[0], *self.inner, *(sink for sink in self.sinks if sink is not None)]
        best: dict[tuple[int, int], tuple[float, Block, int]] = {}
        for i in range(len(path) - 1):
            best[i, i + 1] = 0.0, self._counted[path[i], path[i + 1]], -1
        for length in range(2, len(path)):
            for i in range(len(path) - length):
                found = []
                for k in range(i + 1, i + length):
                    algebra = self._counting()
                    block = algebra.product(best[k, i + length][1], best[i, k][1])
                    seconds = algebra.cost.seconds + best[i, k][0] + best[k, i + length][0]
                    found.append((seconds, block, k))
                best[i, i + length] = min(found, key=lambda each: each[0])
        order: list[int] = []
        pending = [(0, len(path) - 1)]
        while pending:
            i, j = pending.pop()
            k = best[i, j][2]
            if k >= 0:
                order.append(path[k])
                pending += [(i, k), (k, j)]
        return order[::-1]

    def _greedy(self, sparse_first: bool = False) -> list[int]:
        """Return the order that takes the vertex of least estimated time each time; on request sparse ones before all.

        What is sparse is then put together before it multiplies a matrix, and not the matrix by every piece.
        """
        edges = dict(self._counted)
        before, after = _neighbours(edges)
        seconds: dict[int, float] = {}
        remaining, order = set(self.inner), []
        while remaining:
            for v in remaining - seconds.keys():
                algebra = self._counting()
                for tail in before.get(v, ()):
                    for head in after.get(v, ()):
                        _joined(algebra, edges, tail, v, head)
                seconds[v] = algebra.cost.seconds
            dense = {end for edge, block in edges.items() if not isinstance(block, Sparse) for end in edge}
            last = dense if sparse_first else set()
            v = min(remaining, key=lambda each: (each in last, seconds[each], each))
            order.append(v)
            remaining.discard(v)
            for neighbour in (*before.get(v, ()), *after.get(v, ())):
                seconds.pop(neighbour, None)
            _eliminate(self._counting(), edges, before, after, v)
        return order

    # Accumulation ------------------------------------------------------------------------------------------------

    def _accumulated(self, order: Sequence[int], algebra: Algebra) -> tuple[Algebra, dict[tuple[int, int], Dense]]:
        """Eliminate the vertices in order; what is left are the blocks of the Jacobian, made dense."""
        edges = self._edges(algebra) if algebra.build else dict(self._counted)
        before, after = _neighbours(edges)
        for v in order:
            _eliminate(algebra, edges, before, after, v)
        return algebra, {edge: algebra.dense(block) for edge, block in edges.items()}

    def jacobian(self, order: Sequence[int]) -> list[list[Tensor]]:
        """Return the Jacobian as graph, entry [output][leaf]."""
        with working_on(self.outputs[0].backend):
            _, edges = self._accumulated(order, Algebra(True, self.itemsize, self._met))
            columns = list(zip(self.sources, self.leaves, strict=True))
            return [
                [_entry(None if sink is None else edges.get((tail, sink)), output, leaf) for tail, leaf in columns]
                for sink, output in zip(self.sinks, self.outputs, strict=True)
            ]


def _entry(found: Dense | None, output: Tensor, leaf: Tensor) -> Tensor:
    """Return a block of the Jacobian in the shape of output and leaf; zeros where no path leads from one to other."""
    shape = (*output.shape, *leaf.shape)
    if found is None:
        return GRAPH.zeros(shape, dtype=leaf.dtype)
    return GRAPH.reshape(found.value(), shape).astype(leaf.dtype)


def _neighbours(edges: Edges) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
    before: dict[int, set[int]] = {}
    after: dict[int, set[int]] = {}
    for tail, head in edges:
        before.setdefault(head, set()).add(tail)
        after.setdefault(tail, set()).add(head)
    return before, after


def _joined(algebra: Algebra, edges: Edges, tail: int, v: int, head: int) -> Block:
    """Return the block from tail to head once the paths over v are added to it."""
    block = algebra.product(edges[v, head], edges[tail, v])
    earlier = edges.get((tail, head))
    return block if earlier is None else algebra.sum(earlier, block)


def _eliminate(algebra: Algebra, edges: Edges, before: dict[int, set[int]], after: dict[int, set[int]], v: int) -> None:
    tails, heads = sorted(before.get(v, ())), sorted(after.get(v, ()))
    for tail in tails:
        for head in heads:
            edges[tail, head] = _joined(algebra, edges, tail, v, head)
            before.setdefault(head, set()).add(tail)
            after.setdefault(tail, set()).add(head)
    for tail in tails:
        del edges[tail, v]
        after[tail].discard(v)
    for head in heads:
        del edges[v, head]
        before[head].discard(v)


def accumulate(
    outputs: Sequence[Tensor], leaves: Sequence[Tensor], order: Sequence[int] | None = None
) -> list[list[Tensor]]:
    """Return the Jacobian, entry [output][leaf], accumulated block by block in the cheapest order found.

    Parameters
    ----------
    outputs, leaves : sequence of Tensor
    order : sequence of int, optional
        An order found before for a graph like this one, so that none is looked for.

    Raises
    ------
    GraphError
        A dense Jacobian would be too large.

    Notes
    -----
    The choice of an order is the matrix-chain problem on graphs: A. Griewank and A. Walther, Evaluating Derivatives,
    2nd ed., SIAM 2008, chapters 9 and 10; U. Naumann, Optimal Jacobian accumulation is NP-complete, 2008.
    """
    for output in outputs:
        for leaf in leaves:
            entries = output.size * leaf.size
            if entries > MOST_ENTRIES:
                raise GraphError(
                    f"the Jacobian of {output.describe()} by {leaf.describe()} has {entries:,} entries: "
                    "gd.sparse_jacobian keeps those that are not zero, gd.jvp and gd.vjp multiply by it without any"
                )
    graph = BlockGraph(outputs, leaves)
    fits = order is not None and sorted(order) == graph.inner
    return graph.jacobian(order if order is not None and fits else graph.best_order()[0])

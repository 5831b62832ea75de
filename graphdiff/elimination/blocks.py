"""Blocks: the partial derivative of one tensor by another as a matrix, kept in the form that is cheapest.

A block is dense, sparse with places known beforehand, or still the op that it belongs to. Elementwise ops, and ops that
only move elements, are sparse, so that no n × n matrix is made of a diagonal; products with the matrix of an op that is
neither go through the op's own tangent and adjoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from graphdiff.costs.node import Cost, node_cost
from graphdiff.differentiate.batch import batch
from graphdiff.differentiate.zeros import still
from graphdiff.elimination.scalar_graph import elements, whole_partial
from graphdiff.host import is_real_floating
from graphdiff.op import GRAPH, OPS, Elementwise, Linear, Multilinear, sum_to
from graphdiff.tensor import Tensor, placeholder

__all__ = ["UNKNOWN", "Block", "Dense", "Listed", "LocalDerivative", "Part", "Places", "Sparse", "is_whole", "places"]


class Listed(tuple[int, ...]):
    """Places one by one, hashed once: they are looked up many times, and there may be as many as entries."""

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()

    def __hash__(self) -> int:
        return self._hash


Places = range | Listed
"""Rows, columns or positions in a list of values: a range wherever they are evenly spaced."""

UNKNOWN = object()
"""Stands for a vector of values while costs are counted and nothing is built."""


def places(numbers: Iterable[int]) -> Places:
    """Return places as a range if they are evenly spaced upwards."""
    if isinstance(numbers, range) and numbers.step > 0:
        return numbers
    listed = Listed(numbers)
    if not listed:
        return range(0)
    step = listed[1] - listed[0] if len(listed) > 1 else 1
    spaced = range(listed[0], listed[-1] + 1, step) if step > 0 else range(0)
    return spaced if len(spaced) == len(listed) and tuple(spaced) == listed else listed


def is_whole(found: Places, length: int) -> bool:
    """Whether places are all of an axis, in order."""
    return isinstance(found, range) and found == range(length)


@dataclass(frozen=True, eq=False)
class Part:
    """Entries of a sparse block: `values[i]` at (`rows[i]`, `columns[i]`).

    Attributes
    ----------
    rows, columns : range or Listed
        Of equal lengths. A place may occur twice: such entries add up.
    values : number, or Tensor of as many elements
        A number stands at every place.
    """

    rows: Places
    columns: Places
    values: Any

    @property
    def is_constant(self) -> bool:
        """Whether one number stands at every place."""
        return isinstance(self.values, (int, float))


@dataclass(frozen=True, eq=False)
class Dense:
    """A block as a matrix; of no value while costs are counted.

    Attributes
    ----------
    turned : bool
        Whether `matrix` holds the transpose. A diagonal on the left scales the columns of a transpose, along which
        memory runs, and a transpose comes of pushing tangents, a row each.
    """

    shape: tuple[int, int]
    matrix: Tensor | None
    turned: bool = False

    def value(self, turned: bool = False) -> Tensor:
        """Return the matrix, or its transpose."""
        assert self.matrix is not None
        return self.matrix if turned == self.turned else GRAPH.matrix_transpose(self.matrix)


@dataclass(frozen=True, eq=False)
class Sparse:
    """A block as the sum of parts.

    Attributes
    ----------
    origin : LocalDerivative or None
        The op whose derivative this is, which multiplies dense matrices more quickly than entries one by one.
    """

    shape: tuple[int, int]
    parts: Sequence[Part]
    origin: LocalDerivative | None = None

    @property
    def multiple(self) -> float | int | None:
        """The number of which this block is the multiple of the identity, or None."""
        if len(self.parts) != 1 or self.shape[0] != self.shape[1]:
            return None
        (part,) = self.parts
        whole = is_whole(part.rows, self.shape[0]) and is_whole(part.columns, self.shape[0])
        return part.values if whole and part.is_constant else None

    @property
    def entries(self) -> int:
        """How many entries there are, those at one place counted apart."""
        return sum(len(part.rows) for part in self.parts)


@dataclass(frozen=True, eq=False)
class LocalDerivative:
    """The derivative of a node by one of its operands: how to multiply by it, and what is known of its form."""

    node: Tensor
    position: int

    @property
    def operand(self) -> Tensor:
        """What is differentiated by."""
        return self.node.inputs[self.position]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.node.size, self.operand.size

    @cached_property
    def _entries(self) -> tuple[Places, Places] | None:
        """Where a sparse derivative's entries are; None if it is not sparse."""
        node, op = self.node, self.node.op
        assert op is not None
        if isinstance(op, Elementwise) or op is OPS["where"]:
            return range(node.size), places(_spread(self.operand, node.shape))
        if op.keeps == "places":
            return range(node.size), range(node.size)
        if op.keeps == "elements":
            return self._moved()
        if op.name in ("sum", "mean"):
            kept = tuple(1 if axis in node.attributes["axis"] else n for axis, n in enumerate(self.operand.shape))
            rows = GRAPH.broadcast_to(GRAPH.reshape(GRAPH.arange(node.size), kept), self.operand.shape)
            return places(elements(rows)), range(self.operand.size)
        if op.name == "scatter_add":
            return self._scattered()
        return None

    def _moved(self) -> tuple[Places, Places] | None:
        """Let the op move the operand's element numbers instead of its elements; other operands count as -1."""
        moved = []
        for place, operand in enumerate(self.node.inputs):
            if place == self.position:
                moved.append(GRAPH.reshape(GRAPH.arange(operand.size), operand.shape))
            elif is_real_floating(operand.dtype):
                moved.append(GRAPH.full(operand.shape, -1, dtype="int64"))
            elif operand.has_value:
                moved.append(still(operand))
            else:
                return None
        found = elements(self.node.op.node(tuple(moved), self.node.attributes))  # type: ignore[union-attr]
        pairs = [(row, column) for row, column in enumerate(found) if column >= 0]
        return places(row for row, _ in pairs), places(column for _, column in pairs)

    def _scattered(self) -> tuple[Places, Places] | None:
        arrays = self.node.inputs[1:]
        if not all(array.has_value for array in arrays):
            return None
        numbers = GRAPH.reshape(GRAPH.arange(self.node.size), self.node.shape)
        template = self.node.attributes["template"]
        taken = OPS["getitem"].node((numbers, *map(still, arrays)), {"template": template})
        return places(elements(taken)), range(self.operand.size)

    @cached_property
    def _by_vector(self) -> bool:
        """Whether the op is a product of a matrix with a vector, or of two vectors: then the matrix is at hand."""
        return self.node.op is OPS["matmul"] and self.operand.ndim == 1 and max(o.ndim for o in self.node.inputs) <= 2

    def block(self, build: bool) -> Block | None:
        """Return the block in the form that is known of it; None if it is zero."""
        op = self.node.op
        if isinstance(op, Elementwise) and op.partials[self.position] is None:
            return None
        if op is OPS["where"] and not self.position:
            return None
        entries = self._entries
        if entries is not None:
            moving = isinstance(op, Linear)
            values = self._values(build)
            return Sparse(self.shape, [Part(*entries, values)], self if moving else None)
        if self._by_vector:
            matrix, turned = self._matrix() if build else (None, False)
            return Dense(self.shape, matrix, turned)
        return self

    def _values(self, build: bool) -> Any:
        op = self.node.op
        if isinstance(op, Linear):
            return self.node.size / self.operand.size if op.name == "mean" and self.operand.size else 1
        partial = op.partials[self.position] if isinstance(op, Elementwise) else None
        if isinstance(partial, int):
            return partial
        values = self._partial
        if isinstance(values, (int, float)):
            return values
        if not build:
            return UNKNOWN
        return GRAPH.broadcast_to(GRAPH.reshape(values, (values.size,)), (self.node.size,))

    @cached_property
    def _partial(self) -> Any:
        """The partial derivative of an elementwise op as a vector, or the number that it is everywhere."""
        op, node = self.node.op, self.node
        if isinstance(op, Elementwise):
            partial = op.partials[self.position]
            assert callable(partial)
            found = partial(GRAPH, node, *node.inputs, **node.attributes)
            if not isinstance(found, Tensor):
                return found
            if found.size == 1 and not found.recorded:
                return found.item()
        return whole_partial(GRAPH, node, self.position)

    def _matrix(self) -> tuple[Tensor, bool]:
        other = self.node.inputs[1 - self.position]
        if other.ndim == 1:
            return GRAPH.reshape(other, (1, -1)), False
        return other, not self.position

    def pushed(self, rows: Tensor) -> Tensor:
        """Return the transpose of this block times a matrix whose transpose is given: its rows as tangents."""
        operand, node = self.operand, self.node
        seed = placeholder(operand.shape, operand.dtype)
        moved: list[Tensor | None] = [None] * len(node.inputs)
        moved[self.position] = seed
        tangent = node.op.tangent(GRAPH, moved, node, node.inputs, node.attributes)  # type: ignore[union-attr]
        if tangent is None:
            return GRAPH.zeros((rows.shape[0], node.size), dtype=node.dtype)
        if tangent.shape != node.shape:
            tangent = GRAPH.broadcast_to(tangent, node.shape)
        width = rows.shape[0]
        seeds = GRAPH.reshape(rows, (width, *operand.shape)).astype(operand.dtype)
        (wide,) = batch([tangent], {seed: seeds}, width)
        return GRAPH.reshape(wide, (width, node.size))

    def pulled(self, matrix: Tensor) -> Tensor:
        """Return a matrix times this block: its rows as adjoints, all at once."""
        operand, node = self.operand, self.node
        seed = placeholder(node.shape, node.dtype)
        adjoint = node.op.adjoint(GRAPH, seed, self.position, node, node.inputs, node.attributes)  # type: ignore[union-attr]
        if adjoint is None:
            return GRAPH.zeros((matrix.shape[0], operand.size), dtype=operand.dtype)
        if adjoint.shape != operand.shape:
            adjoint = sum_to(GRAPH, adjoint, operand.shape)
        rows = GRAPH.reshape(matrix, (matrix.shape[0], *node.shape)).astype(node.dtype)
        (wide,) = batch([adjoint], {seed: rows}, matrix.shape[0])
        return GRAPH.reshape(wide, (matrix.shape[0], operand.size))

    def cost(self, width: int) -> Cost:
        """Return what a product with a matrix of so many rows or columns costs, roughly."""
        if isinstance(self.node.op, (Linear, Multilinear)):
            return node_cost(self.node).wide(width)
        size = max(self.shape)
        return Cost(3 * size, 3 * size, 0, 6, 12 * size * self.node.dtype.itemsize).wide(width)


Block = Dense | Sparse | LocalDerivative


def _spread(operand: Tensor, shape: tuple[int, ...]) -> Iterable[int]:
    """Return the numbers of the operand's elements, broadcast to a shape."""
    if operand.shape == shape:
        return range(operand.size)
    return elements(GRAPH.broadcast_to(GRAPH.reshape(GRAPH.arange(operand.size), operand.shape), shape))

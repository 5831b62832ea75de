"""Blocks: the partial derivative of one tensor by another as a matrix, kept in the form that is cheapest.

A block is dense, sparse with places known beforehand, or still the op that it belongs to. Elementwise ops, and ops that
only move elements, are sparse, so that no n × n matrix is made of a diagonal; products with the matrix of an op that is
neither go through the op's own tangent and adjoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from graphdiff.backend import ARRAY
from graphdiff.costs import Cost, node_cost
from graphdiff.differentiate.batch import batch
from graphdiff.differentiate.eliminate import MOVES, SAME, still, whole_partial
from graphdiff.host import is_real_floating
from graphdiff.op import FUNCTIONS, GRAPH, OPS, Elementwise, Linear, Multilinear, sum_to
from graphdiff.tensor import Tensor, constant, placeholder

__all__ = ["Algebra", "Block", "Dense", "Local", "Part", "Places", "Sparse"]

Places = range | tuple[int, ...]
"""Rows, columns or positions in a list of values: a range wherever they are evenly spaced."""

INDEXED = 12
"""What reaching an element through a list of places costs, in elements read in a row."""

UNKNOWN = object()
"""Stands for a vector of values while costs are counted and nothing is built."""


def places(numbers: Iterable[int]) -> Places:
    """Return places as a range if they are evenly spaced upwards."""
    if isinstance(numbers, range) and numbers.step > 0:
        return numbers
    listed = tuple(numbers)
    if not listed:
        return range(0)
    step = listed[1] - listed[0] if len(listed) > 1 else 1
    spaced = range(listed[0], listed[-1] + 1, step) if step > 0 else range(0)
    return spaced if len(spaced) == len(listed) and tuple(spaced) == listed else listed


def _is_whole(found: Places, length: int) -> bool:
    return isinstance(found, range) and found == range(length)


@dataclass(frozen=True, eq=False)
class Part:
    """Entries of a sparse block: `values[i]` at (`rows[i]`, `columns[i]`).

    Attributes
    ----------
    rows, columns : range or tuple of int
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
        return self.matrix if turned == self.turned else GRAPH.matrix_transpose(self.matrix)  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Sparse:
    """A block as the sum of parts.

    Attributes
    ----------
    origin : Local or None
        The op whose derivative this is, which multiplies dense matrices more quickly than entries one by one.
    """

    shape: tuple[int, int]
    parts: Sequence[Part]
    origin: Local | None = None

    @property
    def multiple(self) -> float | int | None:
        """The number of which this block is the multiple of the identity, or None."""
        if len(self.parts) != 1 or self.shape[0] != self.shape[1]:
            return None
        (part,) = self.parts
        whole = _is_whole(part.rows, self.shape[0]) and _is_whole(part.columns, self.shape[0])
        return part.values if whole and part.is_constant else None

    @property
    def entries(self) -> int:
        """How many entries there are, those at one place counted apart."""
        return sum(len(part.rows) for part in self.parts)


@dataclass(frozen=True, eq=False)
class Local:
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
        if isinstance(op, Elementwise) or op is OPS["where"]:
            return range(node.size), places(_spread(self.operand, node.shape))
        if op.name in SAME:  # type: ignore[union-attr]
            return range(node.size), range(node.size)
        if op.name in MOVES:  # type: ignore[union-attr]
            return self._moved()
        if op.name in ("sum", "mean"):  # type: ignore[union-attr]
            kept = tuple(1 if axis in node.attributes["axis"] else n for axis, n in enumerate(self.operand.shape))
            rows = GRAPH.broadcast_to(GRAPH.reshape(GRAPH.arange(node.size), kept), self.operand.shape)
            return places(_list(rows)), range(self.operand.size)
        if op.name == "scatter_add":  # type: ignore[union-attr]
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
        found = _list(self.node.op.node(tuple(moved), self.node.attributes))  # type: ignore[union-attr]
        pairs = [(row, column) for row, column in enumerate(found) if column >= 0]
        return places(row for row, _ in pairs), places(column for _, column in pairs)

    def _scattered(self) -> tuple[Places, Places] | None:
        arrays = self.node.inputs[1:]
        if not all(array.has_value for array in arrays):
            return None
        numbers = GRAPH.reshape(GRAPH.arange(self.node.size), self.node.shape)
        template = self.node.attributes["template"]
        taken = OPS["getitem"].node((numbers, *map(still, arrays)), {"template": template})
        return places(_list(taken)), range(self.operand.size)

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
            values: Any = self._values(build)
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
        return GRAPH.broadcast_to(GRAPH.reshape(values, (-1,)), (self.node.size,))

    @cached_property
    def _partial(self) -> Any:
        """The partial derivative of an elementwise op as a vector, or the number that it is everywhere."""
        op, node = self.node.op, self.node
        if isinstance(op, Elementwise):
            found: Any = op.partials[self.position](GRAPH, node, *node.inputs, **node.attributes)  # type: ignore[operator, misc]
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
        moved: list[Any] = [None] * len(node.inputs)
        moved[self.position] = seed
        tangent = node.op.tangent(GRAPH, moved, node, node.inputs, node.attributes)  # type: ignore[union-attr]
        if tangent is None:
            return GRAPH.zeros((rows.shape[0], node.size), dtype=node.dtype)  # type: ignore[no-any-return]
        if tangent.shape != node.shape:
            tangent = GRAPH.broadcast_to(tangent, node.shape)
        width = rows.shape[0]
        seeds = GRAPH.reshape(rows, (width, *operand.shape)).astype(operand.dtype)
        (wide,) = batch([tangent], {seed: seeds}, width)
        return GRAPH.reshape(wide, (width, node.size))  # type: ignore[no-any-return]

    def pulled(self, matrix: Tensor) -> Tensor:
        """Return a matrix times this block: its rows as adjoints, all at once."""
        operand, node = self.operand, self.node
        seed = placeholder(node.shape, node.dtype)
        adjoint = node.op.adjoint(GRAPH, seed, self.position, node, node.inputs, node.attributes)  # type: ignore[union-attr]
        if adjoint is None:
            return GRAPH.zeros((matrix.shape[0], operand.size), dtype=operand.dtype)  # type: ignore[no-any-return]
        if adjoint.shape != operand.shape:
            adjoint = sum_to(GRAPH, adjoint, operand.shape)
        rows = GRAPH.reshape(matrix, (matrix.shape[0], *node.shape)).astype(node.dtype)
        (wide,) = batch([adjoint], {seed: rows}, matrix.shape[0])
        return GRAPH.reshape(wide, (matrix.shape[0], operand.size))  # type: ignore[no-any-return]

    def cost(self, width: int) -> Cost:
        """Return what a product with a matrix of so many rows or columns costs, roughly."""
        if isinstance(self.node.op, (Linear, Multilinear)):
            return node_cost(self.node).wide(width)
        size = max(self.shape)
        return Cost(3 * size, 3 * size, 0, 6, 12 * size * self.node.dtype.itemsize).wide(width)


Block = Dense | Sparse | Local


def _list(tensor: Tensor) -> list[int]:
    return GRAPH.reshape(tensor, (-1,)).tolist()  # type: ignore[no-any-return]


def _spread(operand: Tensor, shape: tuple[int, ...]) -> Iterable[int]:
    """Return the numbers of the operand's elements, broadcast to a shape."""
    if operand.shape == shape:
        return range(operand.size)
    return _list(GRAPH.broadcast_to(GRAPH.reshape(GRAPH.arange(operand.size), operand.shape), shape))


# Products and sums -----------------------------------------------------------------------------------------------


@dataclass
class Algebra:
    """Products and sums of blocks, with what they cost.

    Parameters
    ----------
    build : bool
        Whether to build graph, or only to count.
    itemsize : int
        Bytes per element.

    Attributes
    ----------
    cost : Cost
        Of everything so far.
    """

    build: bool
    itemsize: int = 8
    cost: Cost = field(default_factory=Cost)

    def _count(self, multiplications: int, additions: int, touched: int, calls: int = 1) -> None:
        self.cost += Cost(multiplications, additions, 0, calls, self.itemsize * touched)

    def product(self, left: Block, right: Block) -> Block:
        """Return left · right, the derivative along one path: `right` comes first."""
        for first, second in ((left, right), (right, left)):
            if isinstance(first, Sparse) and first.multiple is not None:
                return self._scaled(second, first.multiple)
        if isinstance(left, Sparse) and isinstance(right, Sparse):
            return self._sparse_product(left, right)
        if not isinstance(left, Dense) and not isinstance(right, Dense):
            # As many directions as there are rows or columns, through one of them and then the other.
            if isinstance(right, Sparse) or (isinstance(left, Local) and left.shape[0] <= right.shape[1]):
                left = self.dense(left)
            else:
                right = self.dense(right)
        if isinstance(left, Dense) and isinstance(right, Dense):
            return self._dense_product(left, right)
        if isinstance(left, Dense):
            assert not isinstance(right, Dense)
            return self._pulled(left, right)
        assert isinstance(right, Dense)
        return self._pushed(left, right)

    def _scaled(self, block: Block, factor: float | int) -> Block:
        if factor == 1:
            return block
        if isinstance(block, Sparse):
            if not all(part.is_constant for part in block.parts):
                self._count(block.entries, 0, 2 * block.entries)
            return Sparse(block.shape, [Part(p.rows, p.columns, self._times(p.values, factor)) for p in block.parts])
        dense = self.dense(block)
        self._count(dense.shape[0] * dense.shape[1], 0, 2 * dense.shape[0] * dense.shape[1])
        return Dense(dense.shape, self._times(dense.matrix, factor) if self.build else None, dense.turned)

    @staticmethod
    def _times(x: Any, y: Any) -> Any:
        if x is UNKNOWN or y is UNKNOWN:
            return UNKNOWN
        for factor, other in ((x, y), (y, x)):
            if isinstance(factor, (int, float)) and factor in (1, -1):
                return other if factor == 1 else -other
        return x * y

    def _sparse_product(self, left: Sparse, right: Sparse) -> Block:
        parts = [part for one in left.parts for other in right.parts for part in self._joined(one, other)]
        return self._settled(Sparse((left.shape[0], right.shape[1]), self._merged(parts)))

    def _settled(self, block: Sparse) -> Block:
        """Return a block that is hardly sparse as a matrix."""
        full = block.shape[0] * block.shape[1]
        return self.dense(block) if full > 1 and 2 * block.entries > full else block

    def _joined(self, left: Part, right: Part) -> list[Part]:
        """Return the entries that pairs of entries give where a column meets a row."""
        if left.columns == right.rows and isinstance(left.columns, range):
            taken, used = range(len(left.rows)), range(len(right.rows))
            rows, columns = left.rows, right.columns
        else:
            meeting: dict[int, list[int]] = {}
            for index, row in enumerate(right.rows):
                meeting.setdefault(row, []).append(index)
            pairs = [(i, j) for i, column in enumerate(left.columns) for j in meeting.get(column, ())]
            if not pairs:
                return []
            taken, used = (places(side) for side in zip(*pairs, strict=True))  # type: ignore[assignment]
            rows, columns = places(left.rows[i] for i in taken), places(right.columns[j] for j in used)
        values = self._times(self._taken(left, taken), self._taken(right, used))
        if not (left.is_constant or right.is_constant):
            self._count(len(taken), 0, 3 * len(taken))
        return [Part(rows, columns, values)]

    def _taken(self, part: Part, taken: Places) -> Any:
        if part.is_constant or _is_whole(taken, len(part.rows)):
            return part.values
        if len(part.rows) == 1:
            return GRAPH.broadcast_to(part.values, (len(taken),)) if self.build else UNKNOWN
        if isinstance(taken, tuple):
            self._count(0, 0, INDEXED * len(taken))
        return part.values[_index(taken)] if self.build else UNKNOWN

    def _merged(self, parts: Sequence[Part]) -> list[Part]:
        """Add up parts with the same places."""
        found: dict[tuple[Places, Places], Part] = {}
        for part in parts:
            key = part.rows, part.columns
            earlier = found.get(key)
            if earlier is not None:
                constant = earlier.is_constant and part.is_constant
                known = self.build or constant
                if not constant:
                    self._count(0, len(part.rows), 3 * len(part.rows))
                part = Part(*key, earlier.values + part.values if known else UNKNOWN)
            found[key] = part
        return list(found.values())

    def _dense_product(self, left: Dense, right: Dense) -> Dense:
        (rows, inner), columns = left.shape, right.shape[1]
        touched = rows * inner + inner * columns + rows * columns
        multiplications, additions = rows * inner * columns, rows * max(0, inner - 1) * columns
        self._count(multiplications, additions, touched)
        self.cost += Cost(products=multiplications + additions)
        if not self.build:
            return Dense((rows, columns), None)
        if left.turned and right.turned:
            return Dense((rows, columns), GRAPH.matmul(right.matrix, left.matrix), True)
        return Dense((rows, columns), GRAPH.matmul(left.value(), right.value()))

    def _pulled(self, left: Dense, right: Sparse | Local) -> Dense:
        shape = left.shape[0], right.shape[1]
        origin = right if isinstance(right, Local) else right.origin
        if origin is not None:
            self.cost += origin.cost(left.shape[0])
            return Dense(shape, origin.pulled(left.value()) if self.build else None)
        assert isinstance(right, Sparse)
        return self._by_parts(left, right, shape, axis=1)

    def _pushed(self, left: Sparse | Local, right: Dense) -> Dense:
        shape = left.shape[0], right.shape[1]
        origin = left if isinstance(left, Local) else left.origin
        if origin is not None:
            self.cost += origin.cost(right.shape[1])
            return Dense(shape, origin.pushed(right.value(True)) if self.build else None, True)
        assert isinstance(left, Sparse)
        return self._by_parts(right, left, shape, axis=0)

    def _by_parts(self, dense: Dense, sparse: Sparse, shape: tuple[int, int], axis: int) -> Dense:
        """Multiply rows (axis 0: sparse · dense) or columns (axis 1: dense · sparse) by entries, and put them in place.

        Rows are the columns of the transpose.
        """
        turned = axis == 0
        lead = shape[1] if turned else shape[0]
        total: Tensor | None = None
        for part in sparse.parts:
            source, target = (part.columns, part.rows) if turned else (part.rows, part.columns)
            touched = len(source) * lead
            moves = (not _is_whole(source, dense.shape[axis])) + (not _is_whole(target, shape[axis]))
            self._count(touched, touched * (total is not None), 2 * touched * (1 + moves), 1 + moves)
            # Adding columns at a list of places takes several times as long as taking them from one.
            self._count(0, 0, INDEXED * touched * (isinstance(source, tuple) + 4 * isinstance(target, tuple)), 0)
            if not self.build:
                continue
            columns = dense.value(turned)
            if not _is_whole(source, dense.shape[axis]):
                columns = columns[:, _index(source)]
            columns = self._times(columns, part.values)
            if shape[axis] == 1 and len(target) > 1:
                columns = GRAPH.sum(columns, axis=1, keepdims=True)
            elif not _is_whole(target, shape[axis]):
                columns = _scattered(columns, (lead, shape[axis]), target, 1)
            total = columns if total is None else total + columns
        if self.build and total is None:
            total = GRAPH.zeros((lead, shape[axis]), dtype=dense.matrix.dtype)  # type: ignore[union-attr]
        return Dense(shape, total, turned)

    def sum(self, one: Block, other: Block) -> Block:
        """Return the derivative along two paths together."""
        if isinstance(one, Sparse) and isinstance(other, Sparse):
            return self._settled(Sparse(one.shape, self._merged([*one.parts, *other.parts])))
        first, second = self.dense(one), self.dense(other)
        size = first.shape[0] * first.shape[1]
        self._count(0, size, 3 * size)
        if not self.build:
            return Dense(first.shape, None)
        return Dense(first.shape, first.value(first.turned) + second.value(first.turned), first.turned)

    def dense(self, block: Block) -> Dense:
        """Return a block as a matrix."""
        if isinstance(block, Dense):
            return block
        rows, columns = block.shape
        if isinstance(block, Local):
            self.cost += block.cost(min(rows, columns))
            if not self.build:
                return Dense(block.shape, None)
            unit = GRAPH.eye(min(rows, columns), dtype=block.node.dtype)
            if rows <= columns:
                return Dense(block.shape, block.pulled(unit))
            return Dense(block.shape, block.pushed(unit), True)
        listed = sum(len(part.rows) for part in block.parts if isinstance(part.rows, tuple) or len(block.parts) > 1)
        self._count(0, 0, rows * columns + 2 * block.entries + INDEXED * listed, 2)
        return Dense(block.shape, self._filled(block) if self.build else None)

    @staticmethod
    def _filled(block: Sparse) -> Tensor:
        """Write the entries into a matrix of zeros."""
        width = block.shape[1]
        flat = [
            places([row * width + column for row, column in zip(p.rows, p.columns, strict=True)]) for p in block.parts
        ]
        values = [
            p.values if isinstance(p.values, Tensor) else GRAPH.full((len(p.rows),), float(p.values))
            for p in block.parts
        ]
        if not flat:
            return GRAPH.zeros(block.shape)  # type: ignore[no-any-return]
        joined = values[0] if len(values) == 1 else GRAPH.concat(values)
        where = flat[0] if len(flat) == 1 else places([place for each in flat for place in each])
        if block.shape[0] * width == len(where) and _is_whole(where, len(where)):
            return GRAPH.reshape(joined, block.shape)  # type: ignore[no-any-return]
        return GRAPH.reshape(_scattered(joined, (block.shape[0] * width,), where, 0), block.shape)  # type: ignore[no-any-return]


def _scattered(values: Tensor, shape: tuple[int, ...], target: Places, axis: int) -> Tensor:
    """Add values into zeros, at places along an axis."""
    lead = (slice(None),) * axis
    if isinstance(target, range):
        return FUNCTIONS["scatter_add"](values, shape=shape, template=(*lead, _index(target), *_rest(shape, axis)))  # type: ignore[no-any-return]
    template = (*lead, ARRAY, *_rest(shape, axis))
    return FUNCTIONS["scatter_add"](values, _index(target), shape=shape, template=template)  # type: ignore[no-any-return]


def _rest(shape: tuple[int, ...], axis: int) -> tuple[slice, ...]:
    return (slice(None),) * (len(shape) - axis - 1)


def _index(found: Places) -> Any:
    """Return places as an index: a slice for a range, else a tensor."""
    if isinstance(found, range):
        return slice(found.start, found.stop, found.step)
    return constant(list(found), dtype="int64")

"""Products and sums of blocks, built as graph or only counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphdiff.backend import ARRAY
from graphdiff.costs.node import Cost
from graphdiff.elimination.blocks import (
    UNKNOWN,
    Block,
    Dense,
    Listed,
    LocalDerivative,
    Part,
    Places,
    Sparse,
    is_whole,
    places,
)
from graphdiff.op import FUNCTIONS, GRAPH
from graphdiff.tensor import Tensor, constant

__all__ = ["Algebra", "Counting", "Known", "Met"]

INDEXED = 12
"""What reaching an element through a list of places costs, in elements read in a row."""


Met = dict[tuple[Places, Places, Places, Places], tuple[Places, Places, Places, Places]]


def _meeting(
    left_rows: Places, left_columns: Places, right_rows: Places, right_columns: Places
) -> tuple[Places, Places, Places, Places]:
    """Return the entries on the left and on the right that meet, pair by pair, and the places of their products."""
    if left_columns == right_rows and isinstance(left_columns, range):
        return range(len(left_rows)), range(len(right_rows)), left_rows, right_columns
    meeting: dict[int, list[int]] = {}
    for index, row in enumerate(right_rows):
        meeting.setdefault(row, []).append(index)
    pairs = [(i, j) for i, column in enumerate(left_columns) for j in meeting.get(column, ())]
    taken, used = places(i for i, _ in pairs), places(j for _, j in pairs)
    return taken, used, places(left_rows[i] for i in taken), places(right_columns[j] for j in used)


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
    met : dict
        Which entries of two parts meet; other algebras over the same graph may know already.
    """

    build: bool
    itemsize: int = 8
    met: Met = field(default_factory=dict)
    _of_ops: Cost = field(default_factory=Cost)
    _multiplications: int = 0
    _additions: int = 0
    _touched: int = 0
    _calls: int = 0

    @property
    def cost(self) -> Cost:
        """Of everything so far."""
        moved = self.itemsize * self._touched
        return self._of_ops + Cost(self._multiplications, self._additions, 0, self._calls, moved)

    # Small steps are counted by the hundred thousand, and numbers are added up more quickly than costs.
    def _count(self, multiplications: int, additions: int, touched: int, calls: int = 1) -> None:
        self._multiplications += multiplications
        self._additions += additions
        self._touched += touched
        self._calls += calls

    def product(self, left: Block, right: Block) -> Block:
        """Return left · right, the derivative along one path: `right` comes first."""
        for first, second in ((left, right), (right, left)):
            if isinstance(first, Sparse) and first.multiple is not None:
                return self._scaled(second, first.multiple)
        if isinstance(left, Sparse) and isinstance(right, Sparse):
            return self._sparse_product(left, right)
        if not isinstance(left, Dense) and not isinstance(right, Dense):
            # As many directions as there are rows or columns, through one of them and then the other.
            if isinstance(right, Sparse) or (isinstance(left, LocalDerivative) and left.shape[0] <= right.shape[1]):
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
        key = left.rows, left.columns, right.rows, right.columns
        met = self.met.get(key)
        if met is None:
            met = self.met[key] = _meeting(*key)
        taken, used, rows, columns = met
        if not taken:
            return []
        values = self._times(self._taken(left, taken), self._taken(right, used))
        if not (left.is_constant or right.is_constant):
            self._count(len(taken), 0, 3 * len(taken))
        return [Part(rows, columns, values)]

    def _taken(self, part: Part, taken: Places) -> Any:
        if part.is_constant or is_whole(taken, len(part.rows)):
            return part.values
        if len(part.rows) == 1:
            return GRAPH.broadcast_to(part.values, (len(taken),)) if self.build else UNKNOWN
        if isinstance(taken, Listed):
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
        self._of_ops += Cost(products=multiplications + additions)
        if not self.build:
            return Dense((rows, columns), None)
        if left.turned and right.turned:
            return Dense((rows, columns), GRAPH.matmul(right.matrix, left.matrix), True)
        return Dense((rows, columns), GRAPH.matmul(left.value(), right.value()))

    def _pulled(self, left: Dense, right: Sparse | LocalDerivative) -> Dense:
        shape = left.shape[0], right.shape[1]
        origin = right if isinstance(right, LocalDerivative) else right.origin
        if origin is not None:
            self._of_ops += origin.cost(left.shape[0])
            return Dense(shape, origin.pulled(left.value()) if self.build else None)
        assert isinstance(right, Sparse)
        return self._by_parts(left, right, shape, axis=1)

    def _pushed(self, left: Sparse | LocalDerivative, right: Dense) -> Dense:
        shape = left.shape[0], right.shape[1]
        origin = left if isinstance(left, LocalDerivative) else left.origin
        if origin is not None:
            self._of_ops += origin.cost(right.shape[1])
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
            moves = (not is_whole(source, dense.shape[axis])) + (not is_whole(target, shape[axis]))
            self._count(touched, touched * (total is not None), 2 * touched * (1 + moves), 1 + moves)
            # Adding columns at a list of places takes several times as long as taking them from one.
            self._count(0, 0, INDEXED * touched * (isinstance(source, Listed) + 4 * isinstance(target, Listed)), 0)
            if not self.build:
                continue
            columns = dense.value(turned)
            if not is_whole(source, dense.shape[axis]):
                columns = columns[:, _index(source)]
            columns = self._times(columns, part.values)
            if shape[axis] == 1 and len(target) > 1:
                columns = GRAPH.sum(columns, axis=1, keepdims=True)
            elif not is_whole(target, shape[axis]):
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
        if isinstance(block, LocalDerivative):
            self._of_ops += block.cost(min(rows, columns))
            if not self.build:
                return Dense(block.shape, None)
            unit = GRAPH.eye(min(rows, columns), dtype=block.node.dtype)
            if rows <= columns:
                return Dense(block.shape, block.pulled(unit))
            return Dense(block.shape, block.pushed(unit), True)
        listed = sum(len(part.rows) for part in block.parts if isinstance(part.rows, Listed) or len(block.parts) > 1)
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
            return GRAPH.zeros(block.shape)
        joined = values[0] if len(values) == 1 else GRAPH.concat(values)
        where = flat[0] if len(flat) == 1 else places([place for each in flat for place in each])
        if block.shape[0] * width == len(where) and is_whole(where, len(where)):
            return GRAPH.reshape(joined, block.shape)
        return GRAPH.reshape(_scattered(joined, (block.shape[0] * width,), where, 0), block.shape)


Pairing = Callable[[Algebra, Block, Block], Block]
Known = dict[tuple[Pairing, Block, Block], tuple[Block, Cost]]


@dataclass
class Counting(Algebra):
    """Products and sums that are counted and not built, those of the same two blocks once for all.

    Parameters
    ----------
    known : dict
        What was counted before, by this algebra and by others over the same graph.
    """

    build: bool = False
    known: Known = field(default_factory=dict)

    def product(self, left: Block, right: Block) -> Block:
        """Return left · right; see `Algebra.product`."""
        return self._once(Algebra.product, left, right)

    def sum(self, one: Block, other: Block) -> Block:
        """Return the derivative along two paths together."""
        return self._once(Algebra.sum, one, other)

    def _once(self, operation: Pairing, one: Block, other: Block) -> Block:
        key = operation, one, other
        found = self.known.get(key)
        if found is None:
            afresh = Algebra(False, self.itemsize, self.met)
            found = self.known[key] = operation(afresh, one, other), afresh.cost
        self._of_ops += found[1]
        return found[0]


def _scattered(values: Tensor, shape: tuple[int, ...], target: Places, axis: int) -> Tensor:
    """Add values into zeros, at places along an axis."""
    lead = (slice(None),) * axis
    if isinstance(target, range):
        return FUNCTIONS["scatter_add"](values, shape=shape, template=(*lead, _index(target), *_rest(shape, axis)))
    template = (*lead, ARRAY, *_rest(shape, axis))
    return FUNCTIONS["scatter_add"](values, _index(target), shape=shape, template=template)


def _rest(shape: tuple[int, ...], axis: int) -> tuple[slice, ...]:
    return (slice(None),) * (len(shape) - axis - 1)


def _index(found: Places) -> slice[int, int, int] | Tensor:
    """Return places as an index: a slice for a range, else a tensor."""
    if isinstance(found, range):
        return slice(found.start, found.stop, found.step)
    return constant(list(found), dtype="int64")

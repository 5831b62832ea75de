"""Which elements of a result may depend on which elements of a leaf, whatever their values: a sparse boolean matrix.

It is read off the graph of tensors, op by op, in time linear in the entries: an elementwise op passes rows on, indexing
and reshaping choose rows, sums unite them. Both branches of `where` count, every operand of a maximum, and everything
that an index may name which was itself computed. What is not known of an op counts as everything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphdiff.backend import working_on
from graphdiff.differentiate.zeros import still
from graphdiff.elimination.scalar_graph import local_matrix
from graphdiff.errors import GraphError
from graphdiff.graph import topological_order
from graphdiff.graph.walks import inside
from graphdiff.host import is_real_floating
from graphdiff.op import GRAPH, OPS, Composite, Elementwise, Linear, Multilinear, as_tensor
from graphdiff.tensor import Tensor

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["compressed_rows", "dependence"]

LIMIT = 50_000_000
"""Entries of a pattern; beyond, a matrix is hardly sparse."""
_TRIED = 1 << 16
"""Entries of the matrix of a linear op which is neither known nor too large to be found by trying."""
_WITHIN = {"softmax", "log_softmax", "cumsum"}
_REDUCED = {"sum", "mean", "max", "min", "std", "logsumexp", "norm"}


def compressed_rows() -> type[csr_matrix]:
    """Return SciPy's class of sparse matrices by rows."""
    try:
        from scipy.sparse import csr_matrix as by_rows
    except ImportError as error:
        raise ImportError("sparse derivatives are SciPy matrices: pip install scipy") from error
    found: type[csr_matrix] = by_rows
    return found


def dependence(output: Tensor, leaf: Tensor) -> csr_matrix:
    """Return a boolean CSR matrix of shape (elements of the output, elements of the leaf).

    Raises
    ------
    GraphError
        There are more than 50,000,000 entries.
    """
    walk = _Walk(leaf)
    with working_on(output.backend):
        walk.through(topological_order([output], boundary=frozenset([leaf])))
    found = walk.found.get(output)
    if found is None:
        return compressed_rows()((output.size, leaf.size), dtype=bool)
    found.sort_indices()
    return found


class _Walk:
    """The patterns of the nodes met so far."""

    def __init__(self, leaf: Tensor) -> None:
        self._csr = compressed_rows()
        places = np.arange(leaf.size)
        self.found: dict[Tensor, csr_matrix] = {leaf: self._placed(places, places, (leaf.size, leaf.size))}

    def through(self, order: Sequence[Tensor]) -> None:
        """Find the patterns of nodes, each after its operands."""
        for node in order:
            if node in self.found or node.op is None or not is_real_floating(node.dtype):
                continue
            if not any(operand in self.found for operand in node.inputs):
                continue
            if isinstance(node.op, Composite):
                opened, below = inside(node)
                self.through(below)
                made = self.found.get(opened)
            else:
                made = self._of_operands(node)
            if made is not None:
                self.found[node] = made

    def _of_operands(self, node: Tensor) -> csr_matrix | None:
        total = None
        for position, operand in enumerate(node.inputs):
            if operand in self.found and operand.size and node.size:
                part = self._by(node, position, self.found[operand])
                if part is not None:
                    total = part if total is None else total + part
        return total

    def _by(self, node: Tensor, position: int, pattern: csr_matrix) -> csr_matrix | None:
        """Return what a node depends on by way of one operand."""
        op, operand = node.op, node.inputs[position]
        assert op is not None
        if isinstance(op, Elementwise) or op is OPS["where"]:
            if (op is OPS["where"] and not position) or (isinstance(op, Elementwise) and op.partials[position] is None):
                return None
            return self._taken(pattern, _spread(operand.shape, node.shape))
        if op.keeps == "places":
            return pattern
        moved = self._moved(node, position)
        if moved is not None:
            return self._taken(pattern, moved)
        if op.name in ("scatter_add", "index_set"):
            return self._scattered(node, position, pattern)
        if op.name in _REDUCED | _WITHIN and "axis" in node.attributes:
            return self._along(node, operand, pattern)
        if op.name == "sum_wide":
            return self._united(pattern, operand.shape, (operand.ndim - 1,), node.shape)
        if op.name == "matmul":
            return self._multiplied(node, position, pattern)
        if op.name == "einsum_op":
            return self._contracted(node, position, pattern)
        return self._tried(node, position, pattern)

    def _placed(self, rows: Any, columns: Any, shape: tuple[int, int]) -> csr_matrix:
        return self._csr((np.ones(len(rows), bool), (rows, columns)), shape=shape)

    def _product(self, choice: csr_matrix, pattern: csr_matrix) -> csr_matrix:
        """Return which rows of the pattern any of a row's choices has."""
        counts = np.diff(pattern.indptr).astype(np.int64)
        if int((choice.astype(np.int64) @ counts).sum()) > LIMIT:
            raise GraphError(
                f"the derivative has more than {LIMIT:,} entries that may differ from zero, and is hardly sparse: "
                "gd.jvp, gd.vjp and gd.hvp multiply by it without making it"
            )
        return choice @ pattern

    def _taken(self, pattern: csr_matrix, rows: Any) -> csr_matrix:
        """Return the rows of these numbers; of number -1 an empty one."""
        if len(rows) == pattern.shape[0] and np.array_equal(rows, np.arange(len(rows))):
            return pattern
        inside = np.flatnonzero(rows >= 0)
        choice = self._placed(inside, rows[inside], (len(rows), pattern.shape[0]))
        return self._product(choice, pattern)

    def _united(
        self, pattern: csr_matrix, shape: tuple[int, ...], axes: Sequence[int], target: tuple[int, ...]
    ) -> csr_matrix:
        """Return the union over axes, which are kept with length 1, broadcast to a shape."""
        kept = tuple(1 if axis in axes else n for axis, n in enumerate(shape))
        groups = _spread(kept, shape)
        choice = self._placed(groups, np.arange(len(groups)), (math.prod(kept), len(groups)))
        return self._taken(self._product(choice, pattern), _spread(kept, target))

    def _whole(self, node: Tensor, operand: Tensor, pattern: csr_matrix) -> csr_matrix:
        """Return that every element depends on every element of the operand."""
        ends = (1,) * node.ndim
        one = self._united(pattern, (operand.size,), (0,), (1,))
        return self._taken(one, _spread(ends, node.shape))

    def _moved(self, node: Tensor, position: int) -> Any:
        """Return which element of the operand each element is, -1 for none; None if the op does not only move."""
        op = node.op
        assert op is not None
        if op.name not in ("pad", "tril", "triu") and op.keeps != "elements":
            return None
        if any(not is_real_floating(each.dtype) and each.recorded for each in node.inputs):
            return None
        # Numbered from 1, so that zeros which the op puts in are of no operand.
        operands = []
        for place, each in enumerate(node.inputs):
            if is_real_floating(each.dtype):
                numbers = np.arange(1, each.size + 1) if place == position else np.zeros(each.size, np.int64)
                operands.append(as_tensor(numbers.reshape(each.shape)))
            else:
                operands.append(still(each))
        return op.node(tuple(operands), node.attributes).numpy().ravel() - 1

    def _scattered(self, node: Tensor, position: int, pattern: csr_matrix) -> csr_matrix:
        """Return what elements depend on that others were written to, or added to, by index."""
        op, operand = node.op, node.inputs[position]
        whole = op is OPS["index_set"] and position == 0
        if whole:
            return pattern
        arrays = [each for each in node.inputs if not is_real_floating(each.dtype)]
        if any(each.recorded for each in arrays):
            return self._whole(node, operand, pattern)
        numbers = GRAPH.reshape(GRAPH.arange(node.size), node.shape)
        places = OPS["getitem"].node((numbers, *map(still, arrays)), {"template": node.attributes["template"]})
        columns = _spread(operand.shape, places.shape)
        choice = self._placed(places.numpy().ravel(), columns, (node.size, operand.size))
        return self._product(choice, pattern)

    def _along(self, node: Tensor, operand: Tensor, pattern: csr_matrix) -> csr_matrix:
        axes = node.attributes["axis"]
        axes = tuple(range(operand.ndim)) if axes is None else axes if isinstance(axes, tuple) else (axes,)
        axes = tuple(axis % operand.ndim for axis in axes)
        kept = tuple(1 if axis in axes else n for axis, n in enumerate(operand.shape))
        target = operand.shape if node.op.name in _WITHIN else kept  # type: ignore[union-attr]
        if math.prod(target) != node.size:
            return self._whole(node, operand, pattern)
        return self._united(pattern, operand.shape, axes, target)

    def _multiplied(self, node: Tensor, position: int, pattern: csr_matrix) -> csr_matrix:
        """Return what a product of matrices depends on: rows of the left, columns of the right."""
        left, right = node.inputs
        shape = node.inputs[position].shape
        target = list(node.shape)
        if left.ndim == 1:
            target.insert(len(target) - (right.ndim > 1), 1)
        if right.ndim == 1:
            target.append(1)
        if len(shape) == 1:
            shape = (1, *shape) if position == 0 else (*shape, 1)
        return self._united(pattern, shape, (len(shape) - (1 if position == 0 else 2),), tuple(target))

    def _contracted(self, node: Tensor, position: int, pattern: csr_matrix) -> csr_matrix:
        """Return what an Einstein sum depends on by one operand: the union over what is summed."""
        operand = node.inputs[position]
        terms, result = node.attributes["subscripts"].replace(" ", "").split("->")
        own = terms.split(",")[position]
        if "." in terms or len(set(own)) < len(own) or len(own) != operand.ndim or len(result) != node.ndim:
            return self._whole(node, operand, pattern)
        summed = tuple(axis for axis, letter in enumerate(own) if letter not in result)
        kept = tuple(1 if axis in summed else n for axis, n in enumerate(operand.shape))
        united = self._united(pattern, operand.shape, summed, kept)
        letters = [letter for letter in own if letter in result]
        numbers = np.arange(math.prod(kept)).reshape([n for axis, n in enumerate(kept) if axis not in summed])
        turned = numbers.transpose(sorted(range(len(letters)), key=lambda axis: result.index(letters[axis])))
        lying = [operand.shape[own.index(letter)] if letter in own else 1 for letter in result]
        return self._taken(united, np.broadcast_to(turned.reshape(lying), node.shape).ravel())

    def _tried(self, node: Tensor, position: int, pattern: csr_matrix) -> csr_matrix:
        """Return what an unknown op depends on: of a small linear one what it is over ones, else everything."""
        op, operand = node.op, node.inputs[position]
        if not isinstance(op, (Linear, Multilinear)) or node.size * operand.size > _TRIED:
            return self._whole(node, operand, pattern)
        if any(not is_real_floating(each.dtype) and each.recorded for each in node.inputs):
            return self._whole(node, operand, pattern)
        stand_ins = tuple(
            GRAPH.ones(each.shape, dtype=each.dtype) if is_real_floating(each.dtype) else still(each)
            for each in node.inputs
        )
        matrix = np.asarray(local_matrix(node, position, stand_ins).numpy()) != 0
        return self._product(self._csr(matrix), pattern)


def _spread(shape: tuple[int, ...], target: tuple[int, ...]) -> Any:
    """Return the numbers of an array's elements, broadcast to a shape."""
    numbers = np.arange(math.prod(shape))
    if math.prod(shape) == math.prod(target):
        return numbers
    return np.broadcast_to(numbers.reshape(shape), target).ravel()

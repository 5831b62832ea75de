"""Sparse Jacobians and Hessians: the pattern read off the graph, columns that share no row in one tangent."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Hashable, Sequence
from copy import copy
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from graphdiff.differentiate.batch import batch
from graphdiff.differentiate.functions import Differentiated, grad, pushed_forward
from graphdiff.errors import CompileError, GraphDiffError, GraphError, NoValueError, ShapeError
from graphdiff.graph import topological_order
from graphdiff.guard import guarded
from graphdiff.jacobians.dependence import compressed_rows, dependence
from graphdiff.op import FUNCTIONS, GRAPH, as_tensor
from graphdiff.plan import compile as compiled
from graphdiff.plan.passes import attribute_key
from graphdiff.tensor import Tensor, current_trace, placeholder, variable
from graphdiff.typing import ArrayLike, Function

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["sparse_hessian", "sparse_jacobian", "sparsity"]

_LIMIT = 200_000_000
"""Numbers in all tangents together."""
_KEPT = 8
"""Graphs of one function for which plans are kept."""


@guarded
def sparsity(function: Function[ArrayLike], x: ArrayLike) -> csr_matrix:
    """Return which outputs may depend on which inputs, whatever their values, as a boolean SciPy CSR matrix.

    Parameters
    ----------
    function : callable
        Of one array, returning one tensor.
    x : array

    Raises
    ------
    GraphError
        There are more than 50,000,000 entries.

    Notes
    -----
    Both branches of a `where` count, every operand of a maximum, and all that an index which was computed may name.

    Examples
    --------
    >>> import numpy as np, graphdiff as gd
    >>> gd.sparsity(lambda x: x[1:] * x[:-1], np.ones(4)).toarray().astype(int).tolist()
    [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    """
    return dependence(*_traced(function, _point(x, "sparsity")))


def _point(x: ArrayLike, name: str) -> Tensor:
    if isinstance(x, dict) or (isinstance(x, (list, tuple)) and any(np.ndim(part) for part in x)):
        raise GraphError(f"{name} is of functions of one array, not of a {type(x).__name__}: concatenate its parts")
    point = as_tensor(x)
    if current_trace() is not None or not point.has_value:
        raise GraphError(
            f"{name} makes a SciPy matrix, for which values are needed: call it outside of compiled functions, or take "
            "gd.jacobian or gd.hessian, which are dense"
        )
    return point


def _traced(function: Function[ArrayLike], point: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a function makes of a point, and the leaf that stands for the point in its graph."""
    call = Differentiated((point,), 0)
    outputs, _ = call.outputs(function)
    if len(outputs) != 1:
        raise GraphError(
            f"a sparse derivative is of functions that return one tensor, not {len(outputs)}: concatenate them"
        )
    return outputs[0], call.leaves[0]


def _colours(pattern: csr_matrix) -> Any:
    """Return a colour per column so that no row has two columns of one colour: greedily, the densest columns first."""
    width = pattern.shape[1]
    lengths = np.diff(pattern.indptr)
    if lengths.max(initial=0) * 2 > width:  # about as many colours as columns are needed in any case
        return np.arange(width)
    by_column = pattern.tocsc()
    rows, row_starts = by_column.indices.tolist(), by_column.indptr.tolist()
    columns, starts = pattern.indices.tolist(), pattern.indptr.tolist()
    colour = [-1] * width
    for column in np.argsort(-np.diff(by_column.indptr), kind="stable").tolist():
        taken: set[int] = set()
        for row in rows[row_starts[column] : row_starts[column + 1]]:
            taken.update(map(colour.__getitem__, columns[starts[row] : starts[row + 1]]))
        free = 0
        while free in taken:
            free += 1
        colour[column] = free
    return np.array(colour, np.int64)


@guarded
def sparse_jacobian(
    function: Function[ArrayLike], pattern: csr_matrix | None = None
) -> Callable[[ArrayLike], csr_matrix]:
    """Return a function that gives the Jacobian as a SciPy CSR matrix, in as many tangents as there are colours.

    Columns that share no row travel in one tangent (A. R. Curtis, M. J. D. Powell and J. K. Reid, IMA J. Appl. Math.
    13, 1974).

    Parameters
    ----------
    function : callable
        Of one array, returning one tensor.
    pattern : SciPy sparse matrix, optional
        Which entries may differ from zero; by default all that may at any values, as `sparsity` finds them.

    Notes
    -----
    The function is called at every point, so that it may branch on values, and what it closes over is read afresh.
    Pattern, colours and a plan are kept for every graph that it makes. A function that uses nothing but its argument
    and graphdiff's array functions is not called again where its plan is known.

    Examples
    --------
    >>> import numpy as np, graphdiff as gd
    >>> gd.sparse_jacobian(lambda x: x[1:] * x[:-1])(np.array([1.0, 2.0, 3.0])).toarray().tolist()
    [[2.0, 1.0, 0.0], [0.0, 3.0, 2.0]]
    """
    return _Derivative(function, pattern, "sparse_jacobian", _reads_nothing(function))


@guarded
def sparse_hessian(
    function: Function[ArrayLike], pattern: csr_matrix | None = None
) -> Callable[[ArrayLike], csr_matrix]:
    """Return a function that gives the Hessian of a scalar function as a SciPy CSR matrix; see `sparse_jacobian`.

    Examples
    --------
    >>> import numpy as np, graphdiff as gd
    >>> gd.sparse_hessian(lambda x: gd.sum(x[1:] * x[:-1] ** 2))(np.ones(3)).toarray().tolist()
    [[2.0, 2.0, 0.0], [2.0, 2.0, 2.0], [0.0, 2.0, 0.0]]
    """
    return _Derivative(grad(function), pattern, "sparse_hessian", _reads_nothing(function))


def _reads_nothing(function: object) -> bool:
    """Whether a function reads nothing but its argument: of all names it uses graphdiff's array functions alone."""
    if (
        not isinstance(function, FunctionType)
        or function.__closure__
        or function.__defaults__
        or function.__kwdefaults__
        or function.__code__.co_argcount != 1
    ):
        return False
    package = sys.modules["graphdiff"]
    instructions = [
        each for each in dis.get_instructions(function) if each.opname not in ("CACHE", "PRECALL", "PUSH_NULL")
    ]
    for place, each in enumerate(instructions):
        if each.opname.startswith(("IMPORT", "MAKE", "LOAD_NAME", "STORE_GLOBAL", "DELETE", "STORE_ATTR")):
            return False
        if each.opname == "LOAD_GLOBAL":
            used = instructions[place + 1]
            of_package = function.__globals__.get(each.argval) is package
            if not of_package or used.opname not in ("LOAD_ATTR", "LOAD_METHOD") or used.argval not in FUNCTIONS:
                return False
    return True


class _Derivative:
    """A sparse derivative as a function of the point."""

    def __init__(self, function: Function[ArrayLike], pattern: csr_matrix | None, name: str, constant: bool) -> None:
        self._function, self._pattern, self._name, self._constant = function, pattern, name, constant
        self._known: dict[Hashable, _Compressed] = {}
        self._quick: dict[Hashable, Callable[[ArrayLike], csr_matrix]] = {}

    @guarded
    def __call__(self, x: ArrayLike) -> csr_matrix:
        quick = self._quick.get((x.shape, x.dtype)) if self._quick and isinstance(x, np.ndarray) else None
        if quick is not None and current_trace() is None:
            return quick(x)
        return self._afresh(x)

    def _afresh(self, x: ArrayLike) -> csr_matrix:
        point = _point(x, self._name)
        output, leaf = _traced(self._function, point)
        recipe = _Recipe(output, leaf)
        known = self._known.get(recipe.key)
        if known is None:
            known = self._of_graph(output, leaf)
            if len(self._known) < _KEPT:
                self._known[recipe.key] = known
        else:
            known.plan()
            if self._constant:
                self._remember(point)
        return known.at([point.value, *(array.value for array in recipe.arrays)])

    def _remember(self, point: Tensor) -> None:
        """Trace the function for good, unless it looks at values; the graph may differ from that of values."""
        try:
            known = self._of_graph(*_traced(self._function, placeholder(point.shape, point.dtype)))
            entries = compiled(lambda x: known.entries(*_traced(self._function, x)))
            entries(point.value)
        except (GraphDiffError, TypeError, ValueError):
            self._constant = False
        else:
            self._quick[point.shape, point.dtype] = lambda x: known.filled(entries(x))

    def _of_graph(self, output: Tensor, leaf: Tensor) -> _Compressed:
        found = dependence(output, leaf) if self._pattern is None else self._given(output, leaf)
        return _Compressed(_Recipe(output, leaf), found)

    def _given(self, output: Tensor, leaf: Tensor) -> csr_matrix:
        found = compressed_rows()(self._pattern, dtype=bool)
        if found.shape[1] != leaf.size:
            raise ShapeError(f"the pattern has {found.shape[1]} columns, and {leaf.describe()} {leaf.size} elements")
        if found.shape[0] != output.size:
            raise ShapeError(f"the pattern has {found.shape[0]} rows, and the function {output.size} outputs")
        return found


class _Recipe:
    """How a graph is made of its leaf and of arrays, which are read afresh; equal graphs have equal keys.

    Single numbers and indices are of the graph: rules look at exponents, and patterns at indices.
    """

    def __init__(self, output: Tensor, leaf: Tensor) -> None:
        self.leaf, self.arrays, self.pure = leaf, list[Tensor](), True
        self._steps: list[tuple[Any, ...]] = []
        self._numbers: dict[Tensor, int] = {}
        self._key: list[Hashable] = [leaf.shape, leaf.dtype]
        self._add(leaf, ("leaf",), ())
        for node in topological_order([output], boundary=frozenset([leaf])):
            if node.op is not None and node is not leaf:
                operands = tuple(map(self._number, node.inputs))
                told = node.op, operands, attribute_key(node.attributes), node.shape, node.dtype
                self._add(node, ("op", node.op, operands, node.attributes), told)
                self.pure = self.pure and node.op.pure
        self._output = self._number(output)
        self.key = (*self._key, self._output)
        del self._numbers, self._key  # nodes hold values

    def _add(self, node: Tensor, step: tuple[Any, ...], told: Hashable) -> None:
        self._numbers[node] = len(self._steps)
        self._steps.append(step)
        self._key.append(told)

    def _number(self, node: Tensor) -> int:
        """Return the number of a node that is made already, or of a leaf, which is met here first."""
        if node not in self._numbers:
            if node.dtype.kind in "fc" and node.size > 1:
                self._add(node, ("array", len(self.arrays)), ("array", node.shape, node.dtype))
                self.arrays.append(node)
            else:
                self._add(node, ("number", node), ("number", node.shape, node.dtype, node.numpy().tobytes()))
        return self._numbers[node]

    def again(self, leaf: Tensor, arrays: Sequence[ArrayLike]) -> Tensor:
        """Return the output of the same graph over another leaf and other arrays."""
        made: list[Tensor] = []
        for kind, *rest in self._steps:
            if kind == "leaf":
                made.append(leaf)
            elif kind == "array":
                made.append(as_tensor(arrays[rest[0]]))
            elif kind == "number":
                made.append(rest[0])
            else:
                op, operands, attributes = rest
                made.append(op.node(tuple(made[number] for number in operands), attributes))
        return made[self._output]


class _Compressed:
    """A Jacobian of known pattern, as the function that computes the entries which may differ from zero."""

    def __init__(self, recipe: _Recipe, pattern: csr_matrix) -> None:
        colour = _colours(pattern)
        leaf = recipe.leaf
        count = int(colour.max(initial=-1)) + 1
        if count * leaf.size > _LIMIT:
            raise GraphError(
                f"{pattern.shape[0]:,} × {leaf.size:,} entries in {count:,} colours are hardly sparse: gd.jvp, gd.vjp "
                "and gd.hvp multiply by a derivative without making it"
            )
        seeds = np.zeros((count, leaf.size), dtype=leaf.dtype)
        seeds[colour, np.arange(leaf.size)] = 1
        self._seeds = seeds.reshape(count, *leaf.shape)
        rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
        self._places = colour[pattern.indices] * pattern.shape[0] + rows
        self._empty = compressed_rows()((np.zeros(pattern.nnz), pattern.indices, pattern.indptr), shape=pattern.shape)
        recipe.arrays.clear()  # what is kept takes those of each call
        self._recipe, self._entries, self.is_planned = recipe, self._computed, False

    def _computed(self, x: ArrayLike, *arrays: ArrayLike) -> Tensor:
        given = as_tensor(x)
        leaf = given if given.recorded else variable(given.value)
        return self.entries(self._recipe.again(leaf, arrays), leaf)

    def entries(self, output: Tensor, leaf: Tensor) -> Tensor:
        """Return the entries that may differ from zero, one behind the other."""
        if not self._places.size:
            return GRAPH.zeros((0,), dtype=leaf.dtype)
        seed = placeholder(leaf.shape, leaf.dtype)
        moved = pushed_forward([output], {leaf: seed})
        wide = batch(moved, {seed: as_tensor(self._seeds)}, len(self._seeds))[0]
        return GRAPH.reshape(wide, (-1,))[self._places]

    def plan(self) -> None:
        """Compile: a graph met for the second time will be met again."""
        if not self.is_planned and self._recipe.pure:
            self._entries, self.is_planned = compiled(self._computed), True

    def at(self, arrays: Sequence[ArrayLike]) -> csr_matrix:
        """Return the Jacobian at a point, given with the arrays of its graph, as a SciPy matrix."""
        try:
            values = self._entries(*arrays)
        except (CompileError, NoValueError):
            self._entries, self.is_planned, self._recipe.pure = self._computed, False, False
            values = self._computed(*arrays)
        return self.filled(values)

    def filled(self, values: Tensor) -> csr_matrix:
        """Return entries as a SciPy matrix."""
        # A copy without data is made in half the time that SciPy takes to check what is the same every time. Structures
        # are copied, too: SciPy's matrices change them in place, as eliminate_zeros does.
        made = copy(self._empty)
        made.data = values.backend.to_host(values._value)  # made for this call, and nobody else's
        made.indices, made.indptr = self._empty.indices.copy(), self._empty.indptr.copy()
        return made

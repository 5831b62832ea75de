"""Second order as it is used: sparse Jacobians and Hessians, extreme eigenvalues, kinds of critical points."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphdiff.differentiate.eliminate import ScalarGraph
from graphdiff.differentiate.functions import grad, hvp, jvp, vmap
from graphdiff.differentiate.jacobians import hessian
from graphdiff.errors import CompileError, GraphError, NoValueError, ShapeError
from graphdiff.op import as_tensor
from graphdiff.ops.shape import reshape
from graphdiff.plan import compile as compiled
from graphdiff.tensor import Tensor, variable

__all__ = [
    "CriticalPoint",
    "critical_point",
    "hessian_eigenvalues",
    "sparse_hessian",
    "sparse_jacobian",
    "sparsity",
]


def _compressed_rows() -> Any:
    try:
        from scipy.sparse import csr_matrix
    except ImportError as error:
        raise ImportError("sparse derivatives are SciPy matrices: pip install scipy") from error
    return csr_matrix


def sparsity(function: Callable[..., Any], x: Any) -> Any:
    """Return which outputs depend on which inputs, as a boolean SciPy CSR matrix.

    Parameters
    ----------
    function : callable
        Of one array, returning one tensor.
    x : array

    Raises
    ------
    GraphError
        The scalar graph is too large.

    Examples
    --------
    >>> import numpy as np, graphdiff as gd
    >>> gd.sparsity(lambda x: x[1:] * x[:-1], np.ones(4)).toarray().astype(int).tolist()
    [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    """
    csr_matrix = _compressed_rows()
    leaf = variable(as_tensor(x).value)
    output = as_tensor(function(leaf))
    if not output.recorded:
        return csr_matrix((output.size, leaf.size), dtype=bool)
    graph = ScalarGraph([output], [leaf])
    reached = [0] * len(graph.vertices.names)
    for place, v in enumerate(graph.sources[0]):
        reached[v] = 1 << place
    # A head's number exceeds its tails', outputs' own vertices included.
    for head, tails in enumerate(graph.vertices.before):
        for tail in tails:
            reached[head] |= reached[tail]
    rows, columns = [], []
    for row, v in enumerate(graph.sinks[0]):
        mask = reached[v] if v >= 0 else 0
        while mask:
            low = mask & -mask
            mask ^= low
            rows.append(row)
            columns.append(low.bit_length() - 1)
    ones = np.ones(len(rows), dtype=bool)
    return csr_matrix((ones, (rows, columns)), shape=(output.size, leaf.size))


def _colours(pattern: Any) -> Any:
    """Return a colour per column so that no row has two columns of one colour: greedily, the densest columns first."""
    by_column = pattern.tocsc()
    colour = np.full(pattern.shape[1], -1)
    for column in np.argsort(-np.diff(by_column.indptr), kind="stable"):
        rows = by_column.indices[by_column.indptr[column] : by_column.indptr[column + 1]]
        taken = {
            colour[other] for row in rows for other in pattern.indices[pattern.indptr[row] : pattern.indptr[row + 1]]
        }
        free = 0
        while free in taken:
            free += 1
        colour[column] = free
    return colour


def sparse_jacobian(function: Callable[..., Any], pattern: Any = None) -> Callable[[Any], Any]:
    """Return a function that gives the Jacobian as a SciPy CSR matrix, in as many tangents as there are colours.

    Columns that share no row travel in one tangent (A. R. Curtis, M. J. D. Powell and J. K. Reid, IMA J. Appl. Math.
    13, 1974).

    Parameters
    ----------
    function : callable
        Of one array, returning one tensor.
    pattern : SciPy sparse matrix, optional
        Which entries may differ from zero; by default found from the graph at the first point, so that a function
        whose graph changes from point to point needs one that covers all.

    Notes
    -----
    The function is compiled once per shape of its argument, unless it branches on values: what it closes over, other
    than variables, is then as it was at the first call.

    Examples
    --------
    >>> import numpy as np, graphdiff as gd
    >>> gd.sparse_jacobian(lambda x: x[1:] * x[:-1])(np.array([1.0, 2.0, 3.0])).toarray().tolist()
    [[2.0, 1.0, 0.0], [0.0, 3.0, 2.0]]
    """
    known: dict[Any, _Compressed] = {}

    def evaluated(x: Any) -> Any:
        given = x if isinstance(x, np.ndarray) else as_tensor(x)
        key = given.shape, given.dtype
        if key not in known:
            point = as_tensor(given)
            csr_matrix = _compressed_rows()
            found = csr_matrix(pattern, dtype=bool) if pattern is not None else sparsity(function, point)
            known[key] = _Compressed(function, point, found)
        return known[key].at(given)

    return evaluated


class _Compressed:
    """A Jacobian of known pattern, as the function that computes the entries which may differ from zero."""

    def __init__(self, function: Callable[..., Any], point: Any, pattern: Any) -> None:
        if pattern.shape[1] != point.size:
            raise ShapeError(
                f"the pattern has {pattern.shape[1]} columns, and {point.describe()} {point.size} elements"
            )
        colour = _colours(pattern)
        seeds = np.zeros((int(colour.max(initial=-1)) + 1, point.size), dtype=point.dtype)
        seeds[colour, np.arange(point.size)] = 1
        seeds = seeds.reshape(-1, *point.shape)
        rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
        places = colour[pattern.indices] * pattern.shape[0] + rows

        def entries(x: Any) -> Any:
            compressed = vmap(lambda seed: jvp(function, (x,), (seed,))[1])(seeds)
            if compressed.size != len(seeds) * pattern.shape[0]:
                outputs = compressed.size // max(len(seeds), 1)
                raise ShapeError(f"the pattern has {pattern.shape[0]} rows, and the function {outputs} outputs")
            return reshape(compressed, (-1,))[places]

        self._empty = _compressed_rows()((np.zeros(pattern.nnz), pattern.indices, pattern.indptr), shape=pattern.shape)
        self._eager = entries
        self._entries: Callable[..., Any] = compiled(entries)

    def at(self, given: Any) -> Any:
        """Return the Jacobian at an array or Tensor as a SciPy matrix."""
        try:
            # An array takes the quick way into a compiled function.
            values = self._entries(given.value if isinstance(given, Tensor) else given)
        except (CompileError, NoValueError):
            self._entries = self._eager
            values = self._eager(as_tensor(given))
        # A copy without data is made in half the time that SciPy takes to check what is the same every time. Structures
        # are copied, too: SciPy's matrices change them in place, as eliminate_zeros does.
        made = copy(self._empty)
        made.data, made.indices, made.indptr = values.numpy(), self._empty.indices.copy(), self._empty.indptr.copy()
        return made


def sparse_hessian(function: Callable[..., Any], pattern: Any = None) -> Callable[[Any], Any]:
    """Return a function that gives the Hessian of a scalar function as a SciPy CSR matrix; see `sparse_jacobian`.

    Examples
    --------
    >>> import numpy as np, graphdiff as gd
    >>> gd.sparse_hessian(lambda x: gd.sum(x[1:] * x[:-1] ** 2))(np.ones(3)).toarray().tolist()
    [[2.0, 2.0, 0.0], [2.0, 2.0, 2.0], [0.0, 2.0, 0.0]]
    """
    return sparse_jacobian(grad(function), pattern)


def hessian_eigenvalues(
    function: Callable[..., Any], x: Any, count: int = 1, *, steps: int | None = None, seed: int = 0
) -> tuple[Any, Any]:
    """Return the smallest and the largest eigenvalues of a scalar function's Hessian, from Hessian-vector products.

    Parameters
    ----------
    function : callable
        Of one array.
    x : array
    count : int
        How many at either end.
    steps : int, optional
        Lanczos steps, each a Hessian-vector product; by default enough for well separated ends.
    seed : int
        For the start.

    Returns
    -------
    (smallest, largest) : tuple of ndarray
        Each ascending.

    Notes
    -----
    Lanczos with full reorthogonalisation: Golub and Van Loan, Matrix Computations, 4th ed. 2013, section 10.3.

    Examples
    --------
    >>> import numpy as np, graphdiff as gd
    >>> low, high = gd.hessian_eigenvalues(lambda x: gd.sum(x * x * gd.constant([1.0, 2.0, 3.0])), np.ones(3))
    >>> float(low.round(9)[0]), float(high.round(9)[0])
    (2.0, 6.0)
    """
    point = as_tensor(x)
    size = point.size
    if not 1 <= count <= size:
        raise GraphError(f"a Hessian of {size} × {size} has no {count} eigenvalues at either end")
    steps = min(size, steps or max(40, 4 * count))
    if steps < count:
        raise GraphError(f"{count} eigenvalues take at least as many steps, not {steps}")
    generator = np.random.default_rng(seed)
    start = generator.normal(size=size)
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(steps):
        product = np.asarray(hvp(function, point, basis[-1].reshape(point.shape)), dtype=np.float64).ravel()
        diagonal.append(float(basis[-1] @ product))
        known = np.array(basis)
        for _ in range(2):
            product = product - known.T @ (known @ product)
        norm = float(np.linalg.norm(product))
        if len(basis) == steps:
            break
        if norm <= 1e-12 * max(map(abs, diagonal), default=1.0) or norm == 0:
            # An invariant subspace: go on in what is orthogonal to it, as repeated eigenvalues need.
            product, norm = generator.normal(size=size), 0.0
            for _ in range(2):
                product = product - known.T @ (known @ product)
            beside.append(0.0)
        else:
            beside.append(norm)
        basis.append(product / np.linalg.norm(product))
    matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    values = np.linalg.eigvalsh(matrix)
    return values[:count], values[-count:]


@dataclass(frozen=True)
class CriticalPoint:
    """What a point is to a function.

    Attributes
    ----------
    kind : {"minimum", "maximum", "saddle", "degenerate", "regular"}
        Degenerate: an eigenvalue is zero, and the second order does not decide. Regular: the gradient is not zero.
    eigenvalues : ndarray
        Of the Hessian, ascending.
    gradient_norm : float
    optimal_rate : float
        2 / (smallest + largest eigenvalue), the best constant learning rate of gradient descent on the quadratic model
        at a minimum (B. Polyak, Introduction to Optimization, 1987, section 1.4); NaN elsewhere.
    """

    kind: str
    eigenvalues: Any
    gradient_norm: float
    optimal_rate: float


def critical_point(function: Callable[..., Any], x: Any, tolerance: float = 1e-8) -> CriticalPoint:
    """Classify a point by gradient and Hessian.

    Parameters
    ----------
    function : callable
        Scalar, of one array.
    x : array
    tolerance : float
        What counts as zero: of the gradient's norm, and of eigenvalues relative to the largest in size.

    Examples
    --------
    >>> import numpy as np, graphdiff as gd
    >>> gd.critical_point(lambda x: x[0] ** 2 - x[1] ** 2, np.zeros(2)).kind
    'saddle'
    >>> gd.critical_point(lambda x: x[0] ** 2 + 3 * x[1] ** 2, np.zeros(2)).optimal_rate
    0.25
    """
    point = as_tensor(x)
    norm = float(np.linalg.norm(np.asarray(grad(function)(point)).ravel()))
    matrix = np.asarray(hessian(function)(point)).reshape(point.size, point.size)
    values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    scale = float(np.max(np.abs(values), initial=0.0))
    rate = float("nan")
    if not norm <= tolerance:
        kind = "regular"
    elif values[0] < -tolerance * scale and values[-1] > tolerance * scale:
        kind = "saddle"
    elif scale == 0 or np.min(np.abs(values)) <= tolerance * scale:
        kind = "degenerate"
    elif values[0] > 0:
        kind, rate = "minimum", 2 / float(values[0] + values[-1])
    else:
        kind = "maximum"
    return CriticalPoint(kind, values, norm, rate)

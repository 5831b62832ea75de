"""Matrices as products: Cholesky, eigenvalues, singular values, QR.

An op has one value, so those of several are packed above each other and taken apart by the public functions.

Derivatives: Cholesky and eigenvalues, M. B. Giles, Collected matrix derivative results for forward and reverse mode
algorithmic differentiation (2008); singular values, J. Townsend, Differentiating the singular value decomposition
(2016); QR, S. F. Walter and L. Lehmann, Algorithmic differentiation of linear algebra functions with application in
optimum experimental design (2010).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast
from weakref import WeakValueDictionary

from graphdiff import host
from graphdiff.errors import OpError
from graphdiff.op import GRAPH, Applied, custom, function
from graphdiff.ops.matrices import CUBIC, over_stacks, rectangular, same, scaled_columns, square
from graphdiff.ops.products import turned
from graphdiff.tensor import Tensor
from graphdiff.typing import Array, ArrayLike, Function, Namespace

# Cholesky ----------------------------------------------------------------------------------------------------------


def _half_lower(F: Namespace, x: Array) -> Array:
    """Return the lower triangle with the diagonal halved: Giles's Φ."""
    return 0.5 * (F.tril(x, k=0) + F.tril(x, k=-1))


def _cholesky_tangent(F: Namespace, tangents: Sequence[Array], out: Array, x: Array) -> Array:
    lower = 0.5 * (tangents[0] + turned(F, tangents[0]))
    inner = F.solve(out, turned(F, F.solve(out, lower)))
    return F.matmul(out, _half_lower(F, inner))


def _cholesky_adjoint(F: Namespace, cotangent: Array, position: int, out: Array, x: Array) -> Array:
    inner = _half_lower(F, F.matmul(turned(F, out), cotangent))
    upper = turned(F, out)
    # L⁻ᵀ P L⁻¹ by two solves: the second on the transposed problem.
    once = F.solve(upper, inner)
    twice = turned(F, F.solve(upper, turned(F, once)))
    return 0.5 * (twice + turned(F, twice))


_cholesky: Applied = custom(
    "cholesky",
    tangent=_cholesky_tangent,
    adjoint=_cholesky_adjoint,
    evaluate=lambda F, x: F.linalg.cholesky(0.5 * (x + turned(F, x))),
    infer=same,
    batch=over_stacks("cholesky"),
    **CUBIC,
)


# What equal values leave undetermined ------------------------------------------------------------------------------

TIED: WeakValueDictionary[int, Tensor] = WeakValueDictionary()
"""By serial number, the nodes whose values show ties: vectors that are not determined.

Derivatives of what is made of them are limits, taken by `graphdiff.differentiate.ties`. The rules here give NaN where
something depends on the choice of the vectors, as far as they can tell.
"""


def resolution(values: Array) -> float:
    """Return how near two values are, relative to the greatest, whose vectors' derivative is lost to rounding."""
    result: float = host.epsilon(host.dtype(values.dtype)) ** 0.6
    return result


def _greatest(F: Namespace, x: Array) -> Array:
    """Return the greatest size along the last axis, which is kept; 0 of none."""
    reduce = F.max if x.shape[-1] else F.sum
    return reduce(F.abs(x), axis=(len(x.shape) - 1,), keepdims=True)


def _bound(F: Namespace, values: Array) -> Array:
    """Return, for each matrix, below which difference two values are taken as equal."""
    return resolution(values) * _greatest(F, values)


def _differences(F: Namespace, values: Array) -> Array:
    """Return w_j - w_i in row i and column j."""
    return F.expand_dims(values, axis=-2) - F.expand_dims(values, axis=-1)


def _pairs(F: Namespace, either: Array) -> Array:
    """Return, for each pair of vectors, whether what is asked of each holds for one of them."""
    return F.logical_or(F.expand_dims(either, axis=-2), F.expand_dims(either, axis=-1))


def _close(F: Namespace, values: Array) -> Array:
    """Return which pairs of different places have values that are equal as far as rounding tells."""
    near = F.abs(_differences(F, values)) <= F.expand_dims(_bound(F, values), axis=-1)
    return F.logical_and(near, F.eye(values.shape[-1], dtype=values.dtype) == 0)


def _null(F: Namespace, values: Array) -> Array:
    """Return which singular values are 0 as far as rounding tells."""
    return values <= _bound(F, values)


def _unequal(F: Namespace, values_bar: Array) -> Array:
    """Return for which pairs of values the derivative differs: a function that treats them alike has the same."""
    sizes = F.abs(values_bar)
    bound = math.sqrt(host.epsilon(host.dtype(values_bar.dtype)))
    total = F.expand_dims(sizes, axis=-2) + F.expand_dims(sizes, axis=-1)
    return F.abs(_differences(F, values_bar)) > bound * total


def _used(F: Namespace, vectors_bar: Array) -> Array:
    """Return which vectors have an adjoint other than zero."""
    return F.sum(F.abs(vectors_bar), axis=len(vectors_bar.shape) - 2) != 0


def _undefined(F: Namespace, where: Array, x: Array) -> Array:
    """Return x with NaN in places."""
    return F.where(where, F.zeros_like(x) + math.nan, x)


def _over(F: Namespace, x: Array, y: Array, close: Array) -> Array:
    """Return x / y, and 0 where that is close to 0 / 0."""
    return F.where(close, F.zeros_like(x), x / F.where(close, F.ones_like(y), y))


def _skew(F: Namespace, x: Array) -> Array:
    return x - turned(F, x)


def _values_moved(F: Namespace, inner: Array, close: Array, known: bool) -> Array:
    """Return the diagonal of what moves the values; NaN where equal ones part, unless it is known that none is asked.

    Equal values move alike where the block that they span is a multiple of the identity.
    """
    diagonal = F.sum(inner * F.eye(inner.shape[-1], dtype=inner.dtype), axis=len(inner.shape) - 1)
    if known:
        return diagonal
    size = resolution(inner) * _greatest(F, turned(F, _greatest(F, inner)))
    apart = F.logical_or(F.abs(inner + turned(F, inner)) > size, F.abs(_differences(F, diagonal)) > size)
    parted = F.any(F.logical_and(close, apart), axis=len(inner.shape) - 1)
    return _undefined(F, parted, diagonal)


def _is_known(F: Namespace, out: Array) -> bool:
    """Whether ties would have been seen to before the rule is called: those of a node that has a value."""
    return not isinstance(out, Tensor) or out.has_value


def _decomposed(op: Function[Tensor], x: Tensor) -> Tensor:
    """Apply an op, and remember the node if its value shows ties."""
    node: Tensor = op(x)
    if node.op is not None and node.has_value and node.size:
        F = node.backend.numbers
        values = factors(F, node, node.value)[1]
        tied = F.any(_close(F, values))
        if tied or (node.op is _svd.op and F.any(_null(F, values))):
            TIED[node.serial] = node
    return node


def factors(F: Namespace, node: Tensor, packed: Array) -> tuple[Array, Array, Array]:
    """Return (left vectors, values, right vectors) of what an eigenvalue or singular value decomposition returns."""
    if node.op is _svd.op:
        return _svd_parts(F, packed, node.inputs[0].shape[-2])
    values, vectors = _eigh_parts(F, packed)
    return vectors, values, vectors


def values_row(node: Tensor) -> int:
    """Return in which row of a decomposition's value the values stand."""
    return node.inputs[0].shape[-2] if node.op is _svd.op else 0


def depends_on_choice(F: Namespace, node: Tensor, packed: Array, packed_bar: Array) -> Array:
    """Return of which matrices the adjoint of the values alone does not treat those alike that are tied."""
    _, values, _ = factors(F, node, packed)
    values_bar = packed_bar[..., values_row(node), :]
    last = len(values.shape) - 1
    parted = F.any(F.logical_and(_close(F, values), _unequal(F, values_bar)), axis=(last, last + 1))
    if node.op is not _svd.op:
        return parted
    return F.logical_or(parted, F.any(F.logical_and(_null(F, values), _counts(F, values_bar)), axis=last))


def _counts(F: Namespace, values_bar: Array) -> Array:
    """Return which values have an adjoint beside which that of others is not mere rounding."""
    sizes = F.abs(values_bar)
    bound = math.sqrt(host.epsilon(host.dtype(values_bar.dtype)))
    return sizes > bound * _greatest(F, values_bar)


undefined_derivative: Applied = custom(
    "undefined_derivative",
    tangent=lambda F, tangents, out, x, mask: None if tangents[0] is None else tangents[0] * mask,
    adjoint=lambda F, cotangent, position, out, x, mask: cotangent * mask if position == 0 else None,
    evaluate=lambda F, x, mask: F.positive(x),
    infer=lambda x, mask: (x.shape, x.dtype),
    flops=0,
    work="move",
    doc="Return x; its derivative is multiplied by a mask of ones and, where there is none, NaN.",
)

# Eigenvalues: the values as a row above the vectors ---------------------------------------------------------------


def _eigh_parts(F: Namespace, packed: Array) -> tuple[Any, Any]:
    """Return (eigenvalues, eigenvectors) of what the op returns: the values as a row above the matrix of vectors."""
    return packed[..., 0, :], packed[..., 1:, :]


def _eigh_tangent(F: Namespace, tangents: Sequence[Array], out: Array, x: Array) -> Array:
    values, vectors = _eigh_parts(F, out)
    moved = 0.5 * (tangents[0] + turned(F, tangents[0]))
    inner = F.matmul(F.matmul(turned(F, vectors), moved), vectors)
    close = _close(F, values)
    identity = F.eye(x.shape[-1], dtype=x.dtype)
    turning = _over(F, inner, _differences(F, values), F.logical_or(close, identity != 0))
    values_dot = _values_moved(F, inner, close, _is_known(F, out))
    vectors_dot = F.matmul(vectors, _undefined(F, close, turning))
    return F.concat((F.expand_dims(values_dot, axis=-2), vectors_dot), axis=-2)


def _eigh_adjoint(F: Namespace, cotangent: Array, position: int, out: Array, x: Array) -> Array:
    values, vectors = _eigh_parts(F, out)
    values_bar, vectors_bar = _eigh_parts(F, cotangent)
    close = _close(F, values)
    identity = F.eye(x.shape[-1], dtype=x.dtype)
    skew = 0.5 * _skew(F, F.matmul(turned(F, vectors), vectors_bar))
    turning = _over(F, skew, _differences(F, values), F.logical_or(close, identity != 0))
    chosen = F.logical_or(_pairs(F, _used(F, vectors_bar)), _unequal(F, values_bar))
    turning = _undefined(F, F.logical_and(close, chosen), turning)
    inner = F.expand_dims(values_bar, axis=-2) * identity + turning
    full = F.matmul(F.matmul(vectors, inner), turned(F, vectors))
    return 0.5 * (full + turned(F, full))


def _eigh_evaluate(F: Namespace, x: Array) -> Array:
    values, vectors = F.linalg.eigh(0.5 * (x + turned(F, x)))
    return F.concat((F.expand_dims(values, axis=-2), vectors), axis=-2)


_eigh: Applied = custom(
    "eigh",
    tangent=_eigh_tangent,
    adjoint=_eigh_adjoint,
    evaluate=_eigh_evaluate,
    infer=lambda x: ((*x.shape[:-2], x.shape[-2] + 1, x.shape[-1]), x.dtype),
    batch=lambda F, operands, flags, size: _decomposed(_eigh, *operands),
    **CUBIC,
)

# Singular values: U, the values as a row, and V, above each other --------------------------------------------------


def _svd_parts(F: Namespace, packed: Array, rows: int) -> tuple[Any, Any, Any]:
    """Return (U, s, V) of what the op returns for matrices of so many rows."""
    return packed[..., :rows, :], packed[..., rows, :], packed[..., rows + 1 :, :]


def _over_gaps(F: Namespace, x: Array, values: Array, nowhere: Array) -> Array:
    """Return x / (s_j² - s_i²), by factors so that nearly equal and small values keep their digits; 0 nowhere."""
    sums = F.expand_dims(values, axis=-2) + F.expand_dims(values, axis=-1)
    return _over(F, _over(F, x, sums, nowhere), _differences(F, values), nowhere)


def _off(F: Namespace, basis: Array, x: Array) -> Array:
    """Return the part of x that is orthogonal to the columns of a basis."""
    return x - F.matmul(basis, F.matmul(turned(F, basis), x))


def _svd_tangent(F: Namespace, tangents: Sequence[Array], out: Array, x: Array) -> Array:
    moved, (rows, columns) = tangents[0], x.shape[-2:]
    left, values, right = _svd_parts(F, out, rows)
    close, null = _close(F, values), _null(F, values)
    identity = F.eye(min(rows, columns), dtype=x.dtype)
    nowhere = F.logical_or(close, identity != 0)
    lost = F.logical_or(close, _pairs(F, null))
    inner = F.matmul(F.matmul(turned(F, left), moved), right)
    by_columns, by_rows = scaled_columns(F, inner, values), turned(F, scaled_columns(F, turned(F, inner), values))
    by_columns, by_rows = by_columns + turned(F, by_columns), by_rows + turned(F, by_rows)
    left_dot = F.matmul(left, _undefined(F, lost, _over_gaps(F, by_columns, values, nowhere)))
    right_dot = F.matmul(right, _undefined(F, lost, _over_gaps(F, by_rows, values, nowhere)))
    inverse = _over(F, F.ones_like(values), values, null)
    if rows > columns:
        left_dot = left_dot + _off(F, left, scaled_columns(F, F.matmul(moved, right), inverse))
    if columns > rows:
        right_dot = right_dot + _off(F, right, scaled_columns(F, F.matmul(turned(F, moved), left), inverse))
    known = _is_known(F, out)
    values_dot = _values_moved(F, inner, close, known)
    if not known:
        values_dot = _undefined(F, null, values_dot)
    return F.concat((left_dot, F.expand_dims(values_dot, axis=-2), right_dot), axis=-2)


def _svd_adjoint(F: Namespace, cotangent: Array, position: int, out: Array, x: Array) -> Array:
    rows, columns = x.shape[-2:]
    left, values, right = _svd_parts(F, out, rows)
    left_bar, values_bar, right_bar = _svd_parts(F, cotangent, rows)
    close, null = _close(F, values), _null(F, values)
    identity = F.eye(min(rows, columns), dtype=x.dtype)
    nowhere = F.logical_or(close, identity != 0)
    turning_left = _over_gaps(F, _skew(F, F.matmul(turned(F, left), left_bar)), values, nowhere)
    turning_right = _over_gaps(F, _skew(F, F.matmul(turned(F, right), right_bar)), values, nowhere)
    used = F.logical_or(_used(F, left_bar), _used(F, right_bar))
    signed = F.logical_and(null, F.logical_or(used, _counts(F, values_bar)))
    stretching = scaled_columns(F, identity, _undefined(F, signed, values_bar))
    inner = stretching + scaled_columns(F, turning_left, values) + turned(F, scaled_columns(F, turning_right, values))
    chosen = F.logical_or(_pairs(F, used), _unequal(F, values_bar))
    inner = _undefined(F, F.logical_and(close, chosen), inner)
    full = F.matmul(F.matmul(left, inner), turned(F, right))
    inverse = _over(F, F.ones_like(values), values, null)
    if rows > columns:
        full = full + F.matmul(_off(F, left, scaled_columns(F, left_bar, inverse)), turned(F, right))
    if columns > rows:
        full = full + F.matmul(left, turned(F, _off(F, right, scaled_columns(F, right_bar, inverse))))
    return full


def _svd_evaluate(F: Namespace, x: Array) -> Array:
    left, values, right = F.linalg.svd(x, full_matrices=False)
    return F.concat((left, F.expand_dims(values, axis=-2), turned(F, right)), axis=-2)


_svd: Applied = custom(
    "svd",
    tangent=_svd_tangent,
    adjoint=_svd_adjoint,
    evaluate=_svd_evaluate,
    infer=lambda x: ((*x.shape[:-2], sum(x.shape[-2:]) + 1, min(x.shape[-2:])), x.dtype),
    batch=lambda F, operands, flags, size: _decomposed(_svd, *operands),
    **CUBIC,
)

# QR of matrices with no more columns than rows: Q above R ----------------------------------------------------------


def _qr_parts(F: Namespace, packed: Array, rows: int) -> tuple[Any, Any]:
    return packed[..., :rows, :], packed[..., rows:, :]


def _qr_tangent(F: Namespace, tangents: Sequence[Array], out: Array, x: Array) -> Array:
    basis, upper = _qr_parts(F, out, x.shape[-2])
    moved = turned(F, F.solve(turned(F, upper), turned(F, tangents[0])))
    inner = F.matmul(turned(F, basis), moved)
    within = inner - _skew(F, F.tril(inner, k=-1))
    return F.concat((moved - F.matmul(basis, within), F.matmul(within, upper)), axis=-2)


def _qr_adjoint(F: Namespace, cotangent: Array, position: int, out: Array, x: Array) -> Array:
    basis, upper = _qr_parts(F, out, x.shape[-2])
    basis_bar, upper_bar = _qr_parts(F, cotangent, x.shape[-2])
    inner = F.matmul(upper, turned(F, upper_bar)) - F.matmul(turned(F, basis_bar), basis)
    symmetric = F.tril(inner, k=0) + turned(F, F.tril(inner, k=-1))
    return turned(F, F.solve(upper, turned(F, basis_bar + F.matmul(basis, symmetric))))


def _qr_evaluate(F: Namespace, x: Array) -> Array:
    basis, upper = F.linalg.qr(x, mode="reduced")
    return F.concat((basis, upper), axis=-2)


_qr: Applied = custom(
    "qr",
    tangent=_qr_tangent,
    adjoint=_qr_adjoint,
    evaluate=_qr_evaluate,
    infer=lambda x: ((*x.shape[:-2], sum(x.shape[-2:]), x.shape[-1]), x.dtype),
    batch=lambda F, operands, flags, size: _qr(*operands),
    **CUBIC,
)

# The public functions ----------------------------------------------------------------------------------------------


@function()
def cholesky(x: ArrayLike, /) -> Tensor:
    """Lower triangular L with L @ Lᵀ = x, for symmetric positive definite x; only its symmetric part is used."""
    return _cholesky(square(x, "cholesky"))


@function()
def eigh(x: ArrayLike, /) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors (columns) of symmetric matrices; only the symmetric part is used.

    Of equal eigenvalues only the space that their vectors span is determined. What does not depend on the choice of the
    vectors, such as ``(v * f(w)) @ v.T``, has derivatives there, and they are found as limits, to about twelve digits;
    what does has none: NaN, which compiled functions and `vmap` give for both. Functions of the eigenvalues that treat
    equal ones alike have their first derivatives in compiled functions too.
    """
    packed = _decomposed(_eigh, square(x, "eigh"))
    return packed[..., 0, :], packed[..., 1:, :]


@function()
def eigvalsh(x: ArrayLike, /) -> Tensor:
    """Eigenvalues of symmetric matrices, ascending; only the symmetric part is used."""
    return eigh(x)[0]


@function()
def svd(x: ArrayLike, /, full_matrices: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Singular value decomposition: x = U diag(s) Vᵀ, the singular values s descending.

    Of equal singular values, and of those that are 0, the vectors are not determined: there derivatives exist of what
    does not depend on their choice, as for `eigh`, and are NaN elsewhere.

    Parameters
    ----------
    x : Tensor or array-like
        Matrices of shape (…, m, n); k is the lesser of m and n.
    full_matrices : bool
        True, as NumPy has it, completes U and V to square matrices by vectors that are not determined, and have no
        derivative: it is refused unless the matrices are square.

    Returns
    -------
    tuple of Tensor
        U of shape (…, m, k), s of shape (…, k) and Vᵀ of shape (…, k, n).

    Raises
    ------
    OpError
        Square U and V asked of matrices that are not square.

    Examples
    --------
    >>> import graphdiff as gd
    >>> U, s, Vt = gd.linalg.svd(gd.constant([[3.0, 0.0], [4.0, 0.0], [0.0, 2.0]]), full_matrices=False)
    >>> s.tolist()
    [5.0, 2.0]
    """
    x = rectangular(x, "svd")
    rows, columns = x.shape[-2:]
    if full_matrices and rows != columns:
        raise OpError(
            f"svd: the vectors that complete U and V of {x.describe()} to square matrices are not determined and have "
            "no derivative; give full_matrices=False"
        )
    left, values, right = _svd_parts(GRAPH, _decomposed(_svd, x), rows)
    return cast(tuple[Tensor, Tensor, Tensor], (left, values, turned(GRAPH, right)))


@function()
def svdvals(x: ArrayLike, /) -> Tensor:
    """Singular values of matrices, descending."""
    return svd(x, full_matrices=False)[1]


@function()
def qr(x: ArrayLike, /, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """QR decomposition: x = Q R, the columns of Q orthonormal, R upper triangular.

    The first columns of x, as many as it has rows, must be independent for the derivative to exist.

    Parameters
    ----------
    x : Tensor or array-like
        Matrices of shape (…, m, n); k is the lesser of m and n.
    mode : {"reduced"}
        The columns that would complete Q are not determined and have no derivative.

    Returns
    -------
    tuple of Tensor
        Q of shape (…, m, k) and R of shape (…, k, n).

    Raises
    ------
    OpError
        Another mode.

    Examples
    --------
    >>> import graphdiff as gd
    >>> Q, R = gd.linalg.qr(gd.constant([[3.0, 1.0], [4.0, 2.0]]))
    >>> gd.abs(R[0]).round(3).tolist()
    [5.0, 2.2]
    """
    if not isinstance(mode, str) or mode != "reduced":
        raise OpError(f'qr: only mode "reduced" has derivatives, not {mode!r}')
    x = rectangular(x, "qr")
    rows, columns = x.shape[-2:]
    basis, upper = _qr_parts(GRAPH, _qr(x[..., : min(rows, columns)]), rows)
    if columns > rows:
        upper = GRAPH.concat((upper, GRAPH.matmul(turned(GRAPH, basis), x[..., rows:])), axis=-1)
    return basis, upper

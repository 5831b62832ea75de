"""Matrices as products: Cholesky, eigenvalues, singular values, QR.

An op has one value, so those of several are packed above each other and taken apart by the public functions.

Derivatives: Cholesky and eigenvalues, M. B. Giles, Collected matrix derivative results for forward and reverse mode
algorithmic differentiation (2008); singular values, J. Townsend, Differentiating the singular value decomposition
(2016); QR, S. F. Walter and L. Lehmann, Algorithmic differentiation of linear algebra functions with application in
optimum experimental design (2010).
"""

from __future__ import annotations

from typing import Any

from graphdiff.errors import OpError
from graphdiff.op import GRAPH, custom, function
from graphdiff.ops.matrices import CUBIC, over_stacks, rectangular, same, scaled_columns, square
from graphdiff.ops.products import turned
from graphdiff.tensor import Tensor

# Cholesky ----------------------------------------------------------------------------------------------------------


def _half_lower(F: Any, x: Any) -> Any:
    """Return the lower triangle with the diagonal halved: Giles's Φ."""
    return 0.5 * (F.tril(x, k=0) + F.tril(x, k=-1))


def _cholesky_tangent(F: Any, tangents: Any, out: Any, x: Any) -> Any:
    lower = 0.5 * (tangents[0] + turned(F, tangents[0]))
    inner = F.solve(out, turned(F, F.solve(out, lower)))
    return F.matmul(out, _half_lower(F, inner))


def _cholesky_adjoint(F: Any, cotangent: Any, position: int, out: Any, x: Any) -> Any:
    inner = _half_lower(F, F.matmul(turned(F, out), cotangent))
    upper = turned(F, out)
    # L⁻ᵀ P L⁻¹ by two solves: the second on the transposed problem.
    once = F.solve(upper, inner)
    twice = turned(F, F.solve(upper, turned(F, once)))
    return 0.5 * (twice + turned(F, twice))


_cholesky: Any = custom(
    "cholesky",
    tangent=_cholesky_tangent,
    adjoint=_cholesky_adjoint,
    evaluate=lambda F, x: F.linalg.cholesky(0.5 * (x + turned(F, x))),
    infer=same,
    batch=over_stacks("cholesky"),
    **CUBIC,
)


# Eigenvalues: the values as a row above the vectors ---------------------------------------------------------------


def _eigh_parts(F: Any, packed: Any) -> tuple[Any, Any]:
    """Return (eigenvalues, eigenvectors) of what the op returns: the values as a row above the matrix of vectors."""
    return packed[..., 0, :], packed[..., 1:, :]


def _differences(F: Any, values: Any) -> Any:
    """Return w_j - w_i in row i and column j."""
    return F.expand_dims(values, axis=-2) - F.expand_dims(values, axis=-1)


def _reciprocal(F: Any, x: Any) -> Any:
    """Return 1 / x, and 0 where x is 0: where values are equal, their vectors' derivative is not defined."""
    safe = F.where(x == 0, F.ones_like(x), x)
    return F.where(x == 0, F.zeros_like(x), 1 / safe)


def _eigh_tangent(F: Any, tangents: Any, out: Any, x: Any) -> Any:
    values, vectors = _eigh_parts(F, out)
    moved = 0.5 * (tangents[0] + turned(F, tangents[0]))
    rotated = F.matmul(F.matmul(turned(F, vectors), moved), vectors)
    identity = F.eye(x.shape[-1], dtype=x.dtype)
    values_dot = F.sum(rotated * identity, axis=len(x.shape) - 1)
    vectors_dot = F.matmul(vectors, _reciprocal(F, _differences(F, values)) * rotated)
    return F.concat((F.expand_dims(values_dot, axis=-2), vectors_dot), axis=-2)


def _eigh_adjoint(F: Any, cotangent: Any, position: int, out: Any, x: Any) -> Any:
    values, vectors = _eigh_parts(F, out)
    values_bar, vectors_bar = _eigh_parts(F, cotangent)
    identity = F.eye(x.shape[-1], dtype=x.dtype)
    inner = F.expand_dims(values_bar, axis=-2) * identity
    inner = inner + _reciprocal(F, _differences(F, values)) * F.matmul(turned(F, vectors), vectors_bar)
    full = F.matmul(F.matmul(vectors, inner), turned(F, vectors))
    return 0.5 * (full + turned(F, full))


def _eigh_evaluate(F: Any, x: Any) -> Any:
    values, vectors = F.linalg.eigh(0.5 * (x + turned(F, x)))
    return F.concat((F.expand_dims(values, axis=-2), vectors), axis=-2)


_eigh: Any = custom(
    "eigh",
    tangent=_eigh_tangent,
    adjoint=_eigh_adjoint,
    evaluate=_eigh_evaluate,
    infer=lambda x: ((*x.shape[:-2], x.shape[-2] + 1, x.shape[-1]), x.dtype),
    batch=lambda F, operands, flags, size: _eigh(*operands),
    **CUBIC,
)

# Singular values: U, the values as a row, and V, above each other --------------------------------------------------


def _svd_parts(F: Any, packed: Any, rows: int) -> tuple[Any, Any, Any]:
    """Return (U, s, V) of what the op returns for matrices of so many rows."""
    return packed[..., :rows, :], packed[..., rows, :], packed[..., rows + 1 :, :]


def _svd_gaps(F: Any, values: Any) -> Any:
    """Return 1 / (s_j² - s_i²), factored so that nearly equal values keep their digits; 0 where they are equal."""
    sums = F.expand_dims(values, axis=-2) + F.expand_dims(values, axis=-1)
    return _reciprocal(F, _differences(F, values) * sums)


def _off(F: Any, basis: Any, x: Any) -> Any:
    """Return the part of x that is orthogonal to the columns of a basis."""
    return x - F.matmul(basis, F.matmul(turned(F, basis), x))


def _svd_tangent(F: Any, tangents: Any, out: Any, x: Any) -> Any:
    moved, (rows, columns) = tangents[0], x.shape[-2:]
    left, values, right = _svd_parts(F, out, rows)
    gaps, inverse = _svd_gaps(F, values), _reciprocal(F, values)
    inner = F.matmul(F.matmul(turned(F, left), moved), right)
    by_columns, by_rows = scaled_columns(F, inner, values), turned(F, scaled_columns(F, turned(F, inner), values))
    left_dot = F.matmul(left, gaps * (by_columns + turned(F, by_columns)))
    right_dot = F.matmul(right, gaps * (by_rows + turned(F, by_rows)))
    if rows > columns:
        left_dot = left_dot + _off(F, left, scaled_columns(F, F.matmul(moved, right), inverse))
    if columns > rows:
        right_dot = right_dot + _off(F, right, scaled_columns(F, F.matmul(turned(F, moved), left), inverse))
    identity = F.eye(min(rows, columns), dtype=x.dtype)
    values_dot = F.expand_dims(F.sum(inner * identity, axis=len(x.shape) - 1), axis=-2)
    return F.concat((left_dot, values_dot, right_dot), axis=-2)


def _skew(F: Any, x: Any) -> Any:
    return x - turned(F, x)


def _svd_adjoint(F: Any, cotangent: Any, position: int, out: Any, x: Any) -> Any:
    rows, columns = x.shape[-2:]
    left, values, right = _svd_parts(F, out, rows)
    left_bar, values_bar, right_bar = _svd_parts(F, cotangent, rows)
    gaps, inverse = _svd_gaps(F, values), _reciprocal(F, values)
    turning_left = scaled_columns(F, gaps * _skew(F, F.matmul(turned(F, left), left_bar)), values)
    turning_right = scaled_columns(F, gaps * _skew(F, F.matmul(turned(F, right), right_bar)), values)
    stretching = scaled_columns(F, F.eye(min(rows, columns), dtype=x.dtype), values_bar)
    inner = stretching + turning_left + turned(F, turning_right)
    full = F.matmul(F.matmul(left, inner), turned(F, right))
    if rows > columns:
        full = full + F.matmul(_off(F, left, scaled_columns(F, left_bar, inverse)), turned(F, right))
    if columns > rows:
        full = full + F.matmul(left, turned(F, _off(F, right, scaled_columns(F, right_bar, inverse))))
    return full


def _svd_evaluate(F: Any, x: Any) -> Any:
    left, values, right = F.linalg.svd(x, full_matrices=False)
    return F.concat((left, F.expand_dims(values, axis=-2), turned(F, right)), axis=-2)


_svd: Any = custom(
    "svd",
    tangent=_svd_tangent,
    adjoint=_svd_adjoint,
    evaluate=_svd_evaluate,
    infer=lambda x: ((*x.shape[:-2], sum(x.shape[-2:]) + 1, min(x.shape[-2:])), x.dtype),
    batch=lambda F, operands, flags, size: _svd(*operands),
    **CUBIC,
)

# QR of matrices with no more columns than rows: Q above R ----------------------------------------------------------


def _qr_parts(F: Any, packed: Any, rows: int) -> tuple[Any, Any]:
    return packed[..., :rows, :], packed[..., rows:, :]


def _qr_tangent(F: Any, tangents: Any, out: Any, x: Any) -> Any:
    basis, upper = _qr_parts(F, out, x.shape[-2])
    moved = turned(F, F.solve(turned(F, upper), turned(F, tangents[0])))
    inner = F.matmul(turned(F, basis), moved)
    within = inner - _skew(F, F.tril(inner, k=-1))
    return F.concat((moved - F.matmul(basis, within), F.matmul(within, upper)), axis=-2)


def _qr_adjoint(F: Any, cotangent: Any, position: int, out: Any, x: Any) -> Any:
    basis, upper = _qr_parts(F, out, x.shape[-2])
    basis_bar, upper_bar = _qr_parts(F, cotangent, x.shape[-2])
    inner = F.matmul(upper, turned(F, upper_bar)) - F.matmul(turned(F, basis_bar), basis)
    symmetric = F.tril(inner, k=0) + turned(F, F.tril(inner, k=-1))
    return turned(F, F.solve(upper, turned(F, basis_bar + F.matmul(basis, symmetric))))


def _qr_evaluate(F: Any, x: Any) -> Any:
    basis, upper = F.linalg.qr(x, mode="reduced")
    return F.concat((basis, upper), axis=-2)


_qr: Any = custom(
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
def cholesky(x: Any, /) -> Tensor:
    """Lower triangular L with L @ Lᵀ = x, for symmetric positive definite x; only its symmetric part is used."""
    return _cholesky(square(x, "cholesky"))


@function()
def eigh(x: Any, /) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors (columns) of symmetric matrices; only the symmetric part is used.

    The derivative of eigenvectors of equal eigenvalues is not defined; it is taken as 0.
    """
    packed = _eigh(square(x, "eigh"))
    return packed[..., 0, :], packed[..., 1:, :]


@function()
def eigvalsh(x: Any, /) -> Tensor:
    """Eigenvalues of symmetric matrices, ascending; only the symmetric part is used."""
    return eigh(x)[0]


@function()
def svd(x: Any, /, full_matrices: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Singular value decomposition: x = U diag(s) Vᵀ, the singular values s descending.

    The derivative of the vectors of equal singular values is not defined; it is taken as 0, and so is that of the
    vectors of zeros in a matrix that is not square. The derivative of the values is right wherever it exists.

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
    left, values, right = _svd_parts(GRAPH, _svd(x), rows)
    return left, values, turned(GRAPH, right)


@function()
def svdvals(x: Any, /) -> Tensor:
    """Singular values of matrices, descending."""
    return svd(x, full_matrices=False)[1]


@function()
def qr(x: Any, /, mode: str = "reduced") -> tuple[Tensor, Tensor]:
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
    if mode != "reduced":
        raise OpError(f'qr: only mode "reduced" has derivatives, not {mode!r}')
    x = rectangular(x, "qr")
    rows, columns = x.shape[-2:]
    basis, upper = _qr_parts(GRAPH, _qr(x[..., : min(rows, columns)]), rows)
    if columns > rows:
        upper = GRAPH.concat((upper, GRAPH.matmul(turned(GRAPH, basis), x[..., rows:])), axis=-1)
    return basis, upper

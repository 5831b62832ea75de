"""Linear algebra over the last two axes: inverses, determinants, powers and norms.

Derivatives of matrix functions: M. B. Giles, Collected matrix derivative results for forward and reverse mode
algorithmic differentiation, in Advances in Automatic Differentiation (2008).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from types import SimpleNamespace
from typing import Any

from graphdiff import host
from graphdiff.arguments import axis_of, real_floating, wholes
from graphdiff.errors import OpError, ShapeError
from graphdiff.guard import guarded
from graphdiff.op import FUNCTIONS, Applied, as_tensor, custom, function, public, sum_to
from graphdiff.ops.decompositions import svdvals
from graphdiff.ops.matrices import CUBIC, over_stacks, rectangular, require_square, same, scaled_columns, square
from graphdiff.ops.powers import SQUARED
from graphdiff.ops.products import turned
from graphdiff.ops.reduce import in_single, widened
from graphdiff.ops.shape import expand_dims, moveaxis, reshape
from graphdiff.tensor import Tensor
from graphdiff.typing import Array, ArrayLike, Axis, DTypeLike, Namespace

_inv: Applied = custom(
    "inv",
    tangent=lambda F, tangents, out, x: -F.matmul(F.matmul(out, tangents[0]), out),
    adjoint=lambda F, cotangent, position, out, x: -F.matmul(F.matmul(turned(F, out), cotangent), turned(F, out)),
    evaluate=lambda F, x: F.linalg.inv(x),
    infer=same,
    batch=over_stacks("inv"),
    **CUBIC,
)


def _solve_tangent(F: Namespace, tangents: Sequence[Array | None], out: Array, a: Array, b: Array) -> Array:
    change = None if tangents[0] is None else -F.matmul(tangents[0], out)
    if tangents[1] is not None:
        change = tangents[1] if change is None else change + tangents[1]
    return F.solve(a, change)


def _solve_adjoint(F: Namespace, cotangent: Array, position: int, out: Array, a: Array, b: Array) -> Array:
    b_bar = F.solve(turned(F, a), cotangent)
    if position == 1:
        return sum_to(F, b_bar, b.shape)
    return sum_to(F, -F.matmul(b_bar, turned(F, out)), a.shape)


def _solve_infer(a: Tensor, b: Tensor) -> tuple[host.Shape, host.DType]:
    return (*host.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), host.result_dtype(a.dtype, b.dtype)


def _solve_batch(F: Namespace, operands: Sequence[Array], flags: Sequence[bool], size: int) -> Tensor:
    rank = max(operand.ndim - batched for operand, batched in zip(operands, flags, strict=True))
    aligned = [
        reshape(operand, (size, *(1,) * (rank + 1 - operand.ndim), *operand.shape[1:])) if batched else operand
        for operand, batched in zip(operands, flags, strict=True)
    ]
    return _solve(*aligned)


def _solve_evaluate(F: Namespace, a: Array, b: Array) -> Array:
    namespace = F.array_namespace
    lead = host.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    return namespace.linalg.solve(
        namespace.broadcast_to(a, (*lead, *a.shape[-2:])), namespace.broadcast_to(b, (*lead, *b.shape[-2:]))
    )


_solve: Applied = custom(
    "solve",
    tangent=_solve_tangent,
    adjoint=_solve_adjoint,
    evaluate=_solve_evaluate,
    infer=_solve_infer,
    batch=_solve_batch,
    **CUBIC,
)


def _scalars_for(x: Array) -> host.Shape:
    return tuple(x.shape[:-2])


def _against(F: Namespace, tangent: Array, slope: Array) -> Array:
    return F.sum(tangent * slope, axis=(len(slope.shape) - 2, len(slope.shape) - 1))


def _along(F: Namespace, cotangent: Array, slope: Array) -> Array:
    return F.expand_dims(F.expand_dims(cotangent, axis=-1), axis=-1) * slope


# Pseudo-inverse ----------------------------------------------------------------------------------------------------


def _pinv_evaluate(F: Namespace, x: Array, *, rtol: float) -> Array:
    left, values, right = F.linalg.svd(x, full_matrices=False)
    if not values.shape[-1]:
        return turned(F, x)
    kept = values > rtol * F.max(values, axis=(len(values.shape) - 1,), keepdims=True)
    inverse = F.where(kept, 1 / F.where(kept, values, F.ones_like(values)), F.zeros_like(values))
    return F.matmul(scaled_columns(F, turned(F, right), inverse), turned(F, left))


def _pinv_tangent(F: Namespace, tangents: Sequence[Array], out: Array, x: Array, *, rtol: float) -> Array:
    moved, turned_out, turned_tangent = tangents[0], turned(F, out), turned(F, tangents[0])
    change = -F.matmul(F.matmul(out, moved), out)
    across = F.matmul(F.matmul(out, turned_out), turned_tangent)
    change = change + across - F.matmul(F.matmul(across, x), out)
    along = F.matmul(turned_tangent, F.matmul(turned_out, out))
    return change + along - F.matmul(out, F.matmul(x, along))


def _pinv_adjoint(F: Namespace, cotangent: Array, position: int, out: Array, x: Array, *, rtol: float) -> Array:
    turned_out, turned_bar = turned(F, out), turned(F, cotangent)
    change = -F.matmul(F.matmul(turned_out, cotangent), turned_out)
    across = F.matmul(turned_bar, F.matmul(out, turned_out))
    change = change + across - F.matmul(x, F.matmul(out, across))
    along = F.matmul(F.matmul(turned_out, out), turned_bar)
    return change + along - F.matmul(F.matmul(along, out), x)


_pinv: Applied = custom(
    "pinv",
    tangent=_pinv_tangent,
    adjoint=_pinv_adjoint,
    evaluate=_pinv_evaluate,
    infer=lambda x, *, rtol: ((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype),
    batch=lambda F, operands, flags, size, *, rtol: _pinv(*operands, rtol=rtol),
    **CUBIC,
)


# Determinants, and their cofactors: det(x) x⁻ᵀ where there is an inverse -----------------------------------------


def _products_before(F: Namespace, values: Array) -> Array:
    return F.cumprod(F.concat((F.ones_like(values[..., :1]), values[..., :-1]), axis=-1), axis=-1)


def _products_of_others(F: Namespace, values: Array) -> Array:
    """Return, for each pair of places, the product of the values at all others; on the diagonal, at all but one."""
    steps = F.arange(values.shape[-1])
    row = F.expand_dims(values, axis=-2)
    beyond = F.where(F.expand_dims(steps, axis=-2) > F.expand_dims(steps, axis=-1), row, F.ones_like(row))
    before, last = _products_before(F, values), len(values.shape) - 1
    after = F.flip(_products_before(F, F.flip(values, axis=last)), axis=last)
    pairs = F.triu(F.expand_dims(before, axis=-1) * _products_before(F, beyond) * F.expand_dims(after, axis=-2), k=1)
    return pairs + turned(F, pairs) + scaled_columns(F, F.eye(values.shape[-1], dtype=values.dtype), before * after)


def _by_singular_values(F: Namespace, x: Array) -> tuple[Any, Any, Any]:
    """Return U, V and the products of the other singular values, signed, so that the cofactors are U diag(·) Vᵀ."""
    left, values, right = F.linalg.svd(x, full_matrices=False)
    sign = F.det(left) * F.det(right)
    return left, turned(F, right), _along(F, sign, _products_of_others(F, values))


def _diagonal_of(F: Namespace, x: Array) -> Array:
    return F.sum(x * F.eye(x.shape[-1], dtype=x.dtype), axis=len(x.shape) - 1)


def _cofactor_evaluate(F: Namespace, x: Array) -> Array:
    namespace = F.array_namespace
    det = namespace.linalg.det(x)
    singular = namespace.broadcast_to((det == 0)[..., None, None], x.shape)
    identity = namespace.eye(x.shape[-1], dtype=x.dtype)
    regular = det[..., None, None] * turned(F, namespace.linalg.inv(namespace.where(singular, identity, x)))
    if not namespace.any(singular):
        return regular
    left, right, others = _by_singular_values(F, namespace.where(singular, x, identity))
    cofactors = F.matmul(scaled_columns(F, left, _diagonal_of(F, others)), turned(F, right))
    return namespace.where(singular, cofactors, regular)


def _cofactor_change(F: Namespace, vector: Array, out: Array, x: Array) -> Array:
    """Multiply by the derivative of the cofactors, which is the determinant's second and symmetric."""
    singular = F.expand_dims(F.expand_dims(F.det(x) == 0, axis=-1), axis=-1)
    identity = F.eye(x.shape[-1], dtype=x.dtype)
    inverse = turned(F, F.inv(F.where(singular, identity, x)))
    regular = _along(F, _against(F, vector, out), inverse) - F.matmul(F.matmul(inverse, turned(F, vector)), out)
    if not F.is_graph and not F.any(singular):
        return regular
    # In the frame of the singular vectors the matrix is diagonal, and two factors of each product are missing.
    left, right, others = _by_singular_values(F, F.where(singular, x, identity))
    inner = F.matmul(F.matmul(turned(F, left), vector), right)
    apart = others * (1 - identity)
    trace = F.sum(apart * F.expand_dims(_diagonal_of(F, inner), axis=-2), axis=len(x.shape) - 1)
    changed = scaled_columns(F, identity, trace) - apart * turned(F, inner)
    return F.where(singular, F.matmul(F.matmul(left, changed), turned(F, right)), regular)


_cofactor: Applied = custom(
    "cofactor",
    tangent=lambda F, tangents, out, x: _cofactor_change(F, tangents[0], out, x),
    adjoint=lambda F, cotangent, position, out, x: _cofactor_change(F, cotangent, out, x),
    evaluate=_cofactor_evaluate,
    infer=same,
    batch=over_stacks("cofactor"),
    doc="The cofactors of square matrices, singular ones too: the gradient of the determinant.",
    **CUBIC,
    internal=True,
)

_det: Applied = custom(
    "det",
    tangent=lambda F, tangents, out, x: _against(F, tangents[0], F.cofactor(x)),
    adjoint=lambda F, cotangent, position, out, x: _along(F, cotangent, F.cofactor(x)),
    evaluate=lambda F, x: F.linalg.det(x),
    infer=lambda x: (_scalars_for(x), x.dtype),
    batch=over_stacks("det"),
    **CUBIC,
)

_logabsdet: Applied = custom(
    "logabsdet",
    tangent=lambda F, tangents, out, x: _against(F, tangents[0], turned(F, F.inv(x))),
    adjoint=lambda F, cotangent, position, out, x: _along(F, cotangent, turned(F, F.inv(x))),
    evaluate=lambda F, x: F.linalg.slogdet(x)[1],
    infer=lambda x: (_scalars_for(x), x.dtype),
    batch=over_stacks("logabsdet"),
    **CUBIC,
    internal=True,
)

_sign_of_det: Applied = custom(
    "sign_of_det",
    tangent=lambda F, tangents, out, x: None,
    adjoint=lambda F, cotangent, position, out, x: None,
    evaluate=lambda F, x: F.linalg.slogdet(x)[0],
    infer=lambda x: (_scalars_for(x), x.dtype),
    batch=over_stacks("sign_of_det"),
    **CUBIC,
    internal=True,
)


@function()
def inv(x: ArrayLike, /) -> Tensor:
    """Inverse of square matrices."""
    return _inv(square(x, "inv"))


@function()
def solve(a: ArrayLike, b: ArrayLike, /) -> Tensor:
    """Solve a @ x = b; b is a vector (1-d) or matrices."""
    a, b = square(a, "solve"), real_floating(as_tensor(b), "solve")
    column = b.ndim == 1
    right = expand_dims(b, -1) if column else b
    if not b.ndim or right.shape[-2] != a.shape[-1]:
        raise ShapeError(f"solve: {a.describe()} and {b.describe()} do not fit")
    found = _solve(a, right)
    return found[..., 0] if column else found


@function()
def det(x: ArrayLike, /) -> Tensor:
    """Determinant of square matrices; its derivative, the cofactors, is right where it is 0 too.

    So is the second. Of the third where the determinant is 0, that is true if the singular values differ.
    """
    return _det(square(x, "det"))


@function()
def slogdet(x: ArrayLike, /) -> tuple[Tensor, Tensor]:
    """Sign and logarithm of the absolute value of the determinant."""
    x = square(x, "slogdet")
    return _sign_of_det(x), _logabsdet(x)


@function()
def pinv(x: ArrayLike, /, rcond: float | None = None, *, rtol: float | None = None) -> Tensor:
    """Pseudo-inverse of matrices (Moore and Penrose), by their singular values.

    Its derivative (Golub and Pereyra, 1973) is that along which the rank stays what it is.

    Parameters
    ----------
    x : Tensor or array-like
        Matrices of shape (…, m, n).
    rcond, rtol : float, optional
        Two names of one number: singular values up to this times the largest count as 0. By default, as in the array
        API standard, the greater of m and n times the distance of 1 to the next number.

    Returns
    -------
    Tensor
        Of shape (…, n, m).

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.linalg.pinv(gd.constant([[2.0, 0.0], [0.0, 0.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.0]]
    """
    x = rectangular(x, "pinv")
    if rcond is not None and rtol is not None:
        raise OpError("pinv: rcond and rtol are two names of one number; give one of them")
    given = rtol if rcond is None else rcond
    return _pinv(x, rtol=max(x.shape[-2:]) * host.epsilon(x.dtype) if given is None else float(given))


@function()
def matrix_power(x: ArrayLike, n: int, /) -> Tensor:
    """Square matrices multiplied n times with each other; the inverse, -n times, where n is negative."""
    x = as_tensor(x)
    if not host.is_integer(n):
        raise OpError(f"matrix_power takes a whole number of factors, not {n!r}; powers of other kinds need gd.eigh")
    require_square(x, "matrix_power")
    if n < 0:
        x, n = inv(x), -n
    found = None
    while n:
        if n % 2:
            found = x if found is None else FUNCTIONS["matmul"](found, x)
        n //= 2
        if n:
            x = FUNCTIONS["matmul"](x, x)
    if found is None:
        identity = FUNCTIONS["eye"](x.shape[-1], dtype=x.dtype)
        return FUNCTIONS["broadcast_to"](identity, x.shape)
    return found


@in_single
def _norm_evaluate(F: Namespace, x: Array, *, axis: tuple[int, ...], keepdims: bool = False, ord: float = 2) -> Array:
    # Scaled by the largest element: the squares of large numbers overflow where their norm does not.
    top = F.max(F.abs(x), axis=axis, keepdims=True) if x.size else F.zeros((), dtype=x.dtype)
    scale = F.where((top > 0) & F.isfinite(top), top, F.ones_like(top))
    shrunk = x / scale
    if ord == 2:
        length = scale * F.sqrt(F.sum(shrunk * shrunk, axis=axis, keepdims=True))
    else:
        length = scale * F.sum(F.abs(shrunk) ** ord, axis=axis, keepdims=True) ** (1 / ord)
    kept = tuple(1 if place in axis else n for place, n in enumerate(x.shape))
    gone = tuple(n for place, n in enumerate(x.shape) if place not in axis)
    return F.reshape(length, kept if keepdims else gone)


def _with_axes(F: Namespace, reduced: Array, x: Array, axis: tuple[int, ...]) -> Array:
    return F.reshape(reduced, tuple(1 if place in axis else n for place, n in enumerate(x.shape)))


def _direction(F: Namespace, out: Array, x: Array, axis: tuple[int, ...], ord: float) -> Array:
    """Return the gradient of a norm, x / |x| of the Euclidean one, and 0 where x is 0."""
    length, x = _with_axes(F, out, x, axis), widened(F, x)
    if ord == 2:
        return F.over_length(x, length)
    part = F.sign(x) * F.over_length(F.abs(x), length) ** (ord - 1)
    return F.where(F.broadcast_to(length == 0, x.shape), F.over_length(x, length), part)


_norm: Applied = custom(
    "norm",
    tangent=lambda F, tangents, out, x, *, axis, keepdims=False, ord=2: F.sum(
        tangents[0] * _direction(F, out, x, axis, ord), axis=axis, keepdims=keepdims
    ),
    adjoint=lambda F, cotangent, position, out, x, *, axis, keepdims=False, ord=2: (
        _with_axes(F, cotangent, x, axis) * _direction(F, out, x, axis, ord)
    ),
    evaluate=_norm_evaluate,
    infer=lambda x, *, axis, keepdims=False, ord=2: (
        tuple(1 if i in axis else n for i, n in enumerate(x.shape) if keepdims or i not in axis),
        x.dtype,
    ),
    batch=lambda F, operands, flags, size, *, axis, **attributes: _norm(
        operands[0], axis=tuple(place + 1 for place in axis), **attributes
    ),
    poles=False,
    symbol="‖·‖",
    flops=lambda out, x: 2 * x.size,
)


def _squared(x: Tensor, *, axis: tuple[int, ...], keepdims: bool = False, ord: float = 2) -> Tensor:
    squares = FUNCTIONS["sum"](x * x, axis=axis, keepdims=keepdims)
    return squares if ord == 2 else FUNCTIONS["square"](_norm(x, axis=axis, keepdims=keepdims, ord=ord))


SQUARED["norm"] = _squared


def _matrix_norm(x: Tensor, ord: float | str | None) -> Tensor:
    """Return a norm over the last two axes: of sums along rows or columns, or of singular values."""
    if ord in (2, -2, "nuc"):
        sizes = svdvals(x)
    elif ord in (1, -1, host.inf, -host.inf):
        sizes = FUNCTIONS["sum"](FUNCTIONS["abs"](x), axis=-2 if ord in (1, -1) else -1)
    else:
        raise ShapeError(f'norm: of matrices the orders are 1, 2, inf, their negatives, "fro" and "nuc", not {ord!r}')
    reduction = "sum" if ord == "nuc" else "max" if ord in (1, 2, host.inf) else "min"
    return FUNCTIONS[reduction](sizes, axis=-1)


@function()
def norm(x: ArrayLike, /, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Vector norm over axes (all by default): Euclidean, or of order 1, inf, -inf or p. Its derivative at 0 is 0.

    Over two axes, `ord` "fro" or None is the Frobenius norm, 2 the greatest singular value, -2 the least, "nuc" their
    sum, and 1 and inf the greatest sum of sizes in a column and in a row. Order 0 counts the elements that are not 0.
    """
    named = isinstance(ord, str) and ord in ("fro", "nuc")
    if ord is not None and not named and (not isinstance(ord, Real) or math.isnan(ord)):
        raise OpError(f'norm: an order is a number, "fro", "nuc" or None, not {ord!r}')
    x = real_floating(as_tensor(x), "norm")
    axes = (
        host.normalize_axes(axis, x.ndim)
        if axis is None
        else tuple(axis_of(x, place, "norm") for place in wholes(axis, "norm: an axis"))
    )
    if not axes and axis is not None:
        raise ShapeError(f"norm: there is no axis of {x.describe()} to take it along in {axis!r}")
    if ord in (None, 2, "fro") and not (ord == 2 and len(axes) == 2):
        return _norm(x, axis=axes, keepdims=bool(keepdims))
    if len(axes) == 2:
        found = _matrix_norm(moveaxis(x, axes, (-2, -1)), ord)
        kept = tuple(1 if place in axes else length for place, length in enumerate(x.shape))
        return reshape(found, kept) if keepdims else found
    if ord == "nuc":
        raise ShapeError(f"norm: the order 'nuc' is of matrices; give two axes of {x.describe()}")
    if len(axes) != 1 and not (axis is None and x.ndim == 1):
        raise ShapeError(f"norm: order {ord!r} is for vectors; give one axis of {x.describe()}")
    size = FUNCTIONS["abs"](x)
    if ord in (host.inf, -host.inf):
        return FUNCTIONS["max" if ord == host.inf else "min"](size, axis=axes, keepdims=keepdims)
    if ord == 0:
        return FUNCTIONS["sum"]((size != 0).astype(x.dtype), axis=axes, keepdims=keepdims)
    if ord == 1:
        return FUNCTIONS["sum"](size, axis=axes, keepdims=keepdims)
    return _norm(x, axis=axes, keepdims=bool(keepdims), ord=float(ord))


_NAMES = (
    "cholesky",
    "cross",
    "det",
    "eigh",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_power",
    "matrix_transpose",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "vecdot",
)


def _linalg_diagonal(x: ArrayLike, /, *, offset: int = 0) -> Tensor:
    """Return a diagonal of the matrices in the last two axes, as the last axis: the array API standard's."""
    return FUNCTIONS["diagonal"](x, offset, -2, -1)


def _linalg_trace(x: ArrayLike, /, *, offset: int = 0, dtype: DTypeLike | None = None) -> Tensor:
    """Sum of a diagonal of the matrices in the last two axes: the array API standard's."""
    return FUNCTIONS["sum"](_linalg_diagonal(x, offset=offset), axis=-1, dtype=dtype)


linalg = SimpleNamespace(
    **{name: public(FUNCTIONS[name]) for name in _NAMES},
    diagonal=guarded(_linalg_diagonal),
    trace=guarded(_linalg_trace),
)
FUNCTIONS["linalg"] = linalg

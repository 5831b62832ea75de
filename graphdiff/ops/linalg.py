"""Linear algebra over the last two axes.

Derivatives of matrix functions: M. B. Giles, Collected matrix derivative results for forward and reverse mode
algorithmic differentiation, in Advances in Automatic Differentiation (2008).
"""

from __future__ import annotations

import math
from numbers import Real
from types import SimpleNamespace
from typing import Any

from graphdiff import host
from graphdiff.errors import OpError, ShapeError
from graphdiff.op import FUNCTIONS, as_tensor, custom, function, sum_to
from graphdiff.ops.products import turned
from graphdiff.ops.shape import _axis, expand_dims, reshape
from graphdiff.tensor import Tensor


def _square(x: Tensor, name: str) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{name} takes square matrices, not {x.describe()}")
    return x if x.dtype.kind == "f" else x.astype("float64")  # type: ignore[no-any-return]


def _over_stacks(name: str) -> Any:
    """Batch by the leading axes, over which the op works anyway."""

    def batch(F: Any, operands: Any, flags: Any, size: int, **attributes: Any) -> Any:
        return FUNCTIONS[name](*operands, **attributes)

    return batch


def _same(x: Tensor) -> tuple[host.Shape, host.DType]:
    return x.shape, x.dtype


# NumPy's functions around LAPACK check and convert for as long as eight calls take.
_cubic: dict[str, Any] = {"flops": lambda out, x, *rest: 2 * x.size * x.shape[-1], "calls": 8}

_inv: Any = custom(
    "inv",
    tangent=lambda F, tangents, out, x: -F.matmul(F.matmul(out, tangents[0]), out),
    adjoint=lambda F, cotangent, position, out, x: -F.matmul(F.matmul(turned(F, out), cotangent), turned(F, out)),
    evaluate=lambda F, x: F.linalg.inv(x),
    infer=_same,
    batch=_over_stacks("inv"),
    **_cubic,
)


def _solve_tangent(F: Any, tangents: Any, out: Any, a: Any, b: Any) -> Any:
    change = None if tangents[0] is None else -F.matmul(tangents[0], out)
    if tangents[1] is not None:
        change = tangents[1] if change is None else change + tangents[1]
    return F.solve(a, change)


def _solve_adjoint(F: Any, cotangent: Any, position: int, out: Any, a: Any, b: Any) -> Any:
    b_bar = F.solve(turned(F, a), cotangent)
    if position == 1:
        return sum_to(F, b_bar, b.shape)
    return sum_to(F, -F.matmul(b_bar, turned(F, out)), a.shape)


def _solve_infer(a: Tensor, b: Tensor) -> tuple[host.Shape, host.DType]:
    return (*host.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), host.result_dtype(a.dtype, b.dtype)


def _solve_batch(F: Any, operands: Any, flags: Any, size: int) -> Tensor:
    rank = max(operand.ndim - batched for operand, batched in zip(operands, flags, strict=True))
    aligned = [
        reshape(operand, (size, *(1,) * (rank + 1 - operand.ndim), *operand.shape[1:])) if batched else operand
        for operand, batched in zip(operands, flags, strict=True)
    ]
    return _solve(*aligned)


def _solve_evaluate(F: Any, a: Any, b: Any) -> Any:
    namespace = F.array_namespace
    lead = host.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    return namespace.linalg.solve(
        namespace.broadcast_to(a, (*lead, *a.shape[-2:])), namespace.broadcast_to(b, (*lead, *b.shape[-2:]))
    )


_solve: Any = custom(
    "solve",
    tangent=_solve_tangent,
    adjoint=_solve_adjoint,
    evaluate=_solve_evaluate,
    infer=_solve_infer,
    batch=_solve_batch,
    **_cubic,
)


def _scalars_for(x: Any) -> host.Shape:
    return tuple(x.shape[:-2])


def _det_slope(F: Any, out: Any, x: Any) -> Any:
    return F.expand_dims(F.expand_dims(out, axis=-1), axis=-1) * turned(F, F.inv(x))


def _against(F: Any, tangent: Any, slope: Any) -> Any:
    return F.sum(tangent * slope, axis=(len(slope.shape) - 2, len(slope.shape) - 1))


def _along(F: Any, cotangent: Any, slope: Any) -> Any:
    return F.expand_dims(F.expand_dims(cotangent, axis=-1), axis=-1) * slope


_det: Any = custom(
    "det",
    tangent=lambda F, tangents, out, x: _against(F, tangents[0], _det_slope(F, out, x)),
    adjoint=lambda F, cotangent, position, out, x: _along(F, cotangent, _det_slope(F, out, x)),
    evaluate=lambda F, x: F.linalg.det(x),
    infer=lambda x: (_scalars_for(x), x.dtype),
    batch=_over_stacks("det"),
    **_cubic,
)

_logabsdet: Any = custom(
    "logabsdet",
    tangent=lambda F, tangents, out, x: _against(F, tangents[0], turned(F, F.inv(x))),
    adjoint=lambda F, cotangent, position, out, x: _along(F, cotangent, turned(F, F.inv(x))),
    evaluate=lambda F, x: F.linalg.slogdet(x)[1],
    infer=lambda x: (_scalars_for(x), x.dtype),
    batch=_over_stacks("logabsdet"),
    **_cubic,
)

_sign_of_det: Any = custom(
    "sign_of_det",
    tangent=lambda F, tangents, out, x: None,
    adjoint=lambda F, cotangent, position, out, x: None,
    evaluate=lambda F, x: F.linalg.slogdet(x)[0],
    infer=lambda x: (_scalars_for(x), x.dtype),
    batch=_over_stacks("sign_of_det"),
    **_cubic,
)


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
    infer=_same,
    batch=_over_stacks("cholesky"),
    **_cubic,
)


def _eigh_parts(F: Any, packed: Any) -> tuple[Any, Any]:
    """Return (eigenvalues, eigenvectors) of what the op returns: the values as a row above the matrix of vectors."""
    return packed[..., 0, :], packed[..., 1:, :]


def _eigh_gaps(F: Any, values: Any) -> Any:
    """Return 1 / (w_j - w_i), and 0 where they are equal: there the eigenvectors' derivative is not defined."""
    gaps = F.expand_dims(values, axis=-2) - F.expand_dims(values, axis=-1)
    safe = F.where(gaps == 0, F.ones_like(gaps), gaps)
    return F.where(gaps == 0, F.zeros_like(gaps), 1 / safe)


def _eigh_tangent(F: Any, tangents: Any, out: Any, x: Any) -> Any:
    values, vectors = _eigh_parts(F, out)
    moved = 0.5 * (tangents[0] + turned(F, tangents[0]))
    rotated = F.matmul(F.matmul(turned(F, vectors), moved), vectors)
    identity = F.eye(x.shape[-1], dtype=x.dtype)
    values_dot = F.sum(rotated * identity, axis=len(x.shape) - 1)
    vectors_dot = F.matmul(vectors, _eigh_gaps(F, values) * rotated)
    return F.concat((F.expand_dims(values_dot, axis=-2), vectors_dot), axis=-2)


def _eigh_adjoint(F: Any, cotangent: Any, position: int, out: Any, x: Any) -> Any:
    values, vectors = _eigh_parts(F, out)
    values_bar, vectors_bar = _eigh_parts(F, cotangent)
    identity = F.eye(x.shape[-1], dtype=x.dtype)
    inner = F.expand_dims(values_bar, axis=-2) * identity
    inner = inner + _eigh_gaps(F, values) * F.matmul(turned(F, vectors), vectors_bar)
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
    **_cubic,
)


@function()
def inv(x: Any, /) -> Tensor:
    """Inverse of square matrices."""
    return _inv(_square(x, "inv"))


@function()
def solve(a: Any, b: Any, /) -> Tensor:
    """Solve a @ x = b; b is a vector (1-d) or matrices."""
    a, b = _square(a, "solve"), as_tensor(b)
    column = b.ndim == 1
    right = expand_dims(b, -1) if column else b
    if not b.ndim or right.shape[-2] != a.shape[-1]:
        raise ShapeError(f"solve: {a.describe()} and {b.describe()} do not fit")
    found = _solve(a, right)
    return found[..., 0] if column else found


@function()
def det(x: Any, /) -> Tensor:
    """Determinant of square matrices."""
    return _det(_square(x, "det"))


@function()
def slogdet(x: Any, /) -> tuple[Tensor, Tensor]:
    """Sign and logarithm of the absolute value of the determinant."""
    x = _square(x, "slogdet")
    return _sign_of_det(x), _logabsdet(x)


@function()
def cholesky(x: Any, /) -> Tensor:
    """Lower triangular L with L @ Lᵀ = x, for symmetric positive definite x; only its symmetric part is used."""
    return _cholesky(_square(x, "cholesky"))


@function()
def eigh(x: Any, /) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors (columns) of symmetric matrices; only the symmetric part is used.

    The derivative of eigenvectors of equal eigenvalues is not defined; it is taken as 0.
    """
    packed = _eigh(_square(x, "eigh"))
    return packed[..., 0, :], packed[..., 1:, :]


def _norm_evaluate(F: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool = False) -> Any:
    # Scaled by the largest element: the squares of large numbers overflow where their norm does not.
    top = F.max(F.abs(x), axis=axis, keepdims=True) if x.size else F.zeros((), dtype=x.dtype)
    scale = F.where((top > 0) & F.isfinite(top), top, F.ones_like(top))
    shrunk = x / scale
    length = scale * F.sqrt(F.sum(shrunk * shrunk, axis=axis, keepdims=True))
    kept = tuple(1 if place in axis else n for place, n in enumerate(x.shape))
    gone = tuple(n for place, n in enumerate(x.shape) if place not in axis)
    return F.reshape(length, kept if keepdims else gone)


def _direction(F: Any, out: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Return x / |x|, and 0 where x is 0."""
    length = F.reshape(out, tuple(1 if place in axis else n for place, n in enumerate(x.shape)))
    return x / F.where(length == 0, F.ones_like(length), length)


_norm: Any = custom(
    "norm",
    tangent=lambda F, tangents, out, x, *, axis, keepdims=False: F.sum(
        tangents[0] * _direction(F, out, x, axis, keepdims), axis=axis, keepdims=keepdims
    ),
    adjoint=lambda F, cotangent, position, out, x, *, axis, keepdims=False: (
        F.reshape(cotangent, tuple(1 if place in axis else n for place, n in enumerate(x.shape)))
        * _direction(F, out, x, axis, keepdims)
    ),
    evaluate=_norm_evaluate,
    infer=lambda x, *, axis, keepdims=False: (
        tuple(1 if i in axis else n for i, n in enumerate(x.shape) if keepdims or i not in axis),
        x.dtype,
    ),
    batch=lambda F, operands, flags, size, *, axis, keepdims=False: _norm(
        operands[0], axis=tuple(place + 1 for place in axis), keepdims=keepdims
    ),
    symbol="‖·‖",
    flops=lambda out, x: 2 * x.size,
)


@function()
def norm(x: Any, /, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Vector norm over axes (all by default): Euclidean, or of order 1, inf, -inf or p. Its derivative at 0 is 0.

    Over two axes, `ord` "fro" or None is the Frobenius norm. Order 0 counts the elements that are not 0.
    """
    if ord is not None and ord != "fro" and (not isinstance(ord, Real) or math.isnan(ord)):
        raise OpError(f'norm: an order is a number, "fro" or None, not {ord!r}')
    x = as_tensor(x)
    x = x if x.dtype.kind == "f" else x.astype("float64")
    axes = (
        host.normalize_axes(axis, x.ndim)
        if axis is None
        else tuple(_axis(x, place, "norm") for place in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    )
    if ord in (None, 2, "fro") and not (ord == 2 and len(axes) == 2):
        return _norm(x, axis=axes, keepdims=bool(keepdims))
    if len(axes) != 1 and not (axis is None and x.ndim == 1):
        raise ShapeError(f"norm: order {ord!r} is for vectors; give one axis of {x.describe()}")
    size = FUNCTIONS["abs"](x)
    if ord in (host.inf, -host.inf):
        return FUNCTIONS["max" if ord > 0 else "min"](size, axis=axes, keepdims=keepdims)
    if ord == 0:
        return FUNCTIONS["sum"]((size != 0).astype(x.dtype), axis=axes, keepdims=keepdims)
    if ord == 1:
        return FUNCTIONS["sum"](size, axis=axes, keepdims=keepdims)
    return FUNCTIONS["sum"](size**ord, axis=axes, keepdims=keepdims) ** (1 / ord)


_NAMES = (
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "inv",
    "matmul",
    "matrix_transpose",
    "norm",
    "outer",
    "slogdet",
    "solve",
    "tensordot",
    "trace",
    "vecdot",
)
linalg = SimpleNamespace(**{name: FUNCTIONS[name] for name in _NAMES})
FUNCTIONS["linalg"] = linalg  # type: ignore[assignment]

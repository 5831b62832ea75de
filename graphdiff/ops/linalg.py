"""Products of matrices and tensors, and linear algebra over the last two axes.

Derivatives of matrix functions: M. B. Giles, Collected matrix derivative results for forward and reverse mode
algorithmic differentiation, in Advances in Automatic Differentiation (2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from graphdiff import host
from graphdiff.errors import OpError, ShapeError
from graphdiff.op import FUNCTIONS, as_tensor, as_tensors, custom, function, multilinear, sum_to
from graphdiff.ops.index import diagonal
from graphdiff.ops.shape import _axis, expand_dims, moveaxis, reshape
from graphdiff.tensor import Tensor

# Matrix products -------------------------------------------------------------------------------------------------


def _matmul_infer(x: Tensor, y: Tensor) -> tuple[host.Shape, host.DType]:
    if not x.ndim or not y.ndim:
        raise ValueError("matmul takes vectors and matrices, not scalars")
    if x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise ValueError("the inner lengths differ")
    lead = host.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    rows = x.shape[-2:-1] if x.ndim > 1 else ()
    columns = y.shape[-1:] if y.ndim > 1 else ()
    return (*lead, *rows, *columns), host.result_dtype(x.dtype, y.dtype)


def _turned(F: Any, x: Any) -> Any:
    return F.matrix_transpose(x)


def _matmul_transpose(F: Any, cotangent: Any, position: int, x: Any, y: Any) -> Any:
    """Return out_bar @ yᵀ or xᵀ @ out_bar, vectors taken as the row or column that they stand for."""
    if len(x.shape) == len(y.shape) == 2:
        return F.matmul(cotangent, _turned(F, y)) if position == 0 else F.matmul(_turned(F, x), cotangent)
    row, column = len(x.shape) == 1, len(y.shape) == 1
    rows = F.expand_dims(x, axis=0) if row else x
    columns = F.expand_dims(y, axis=1) if column else y
    if column:
        cotangent = F.expand_dims(cotangent, axis=len(cotangent.shape))
    if row:
        cotangent = F.expand_dims(cotangent, axis=len(cotangent.shape) - 1)
    if position == 0:
        full = F.matmul(cotangent, _turned(F, columns))
        return F.reshape(sum_to(F, full, rows.shape), x.shape)
    full = F.matmul(_turned(F, rows), cotangent)
    return F.reshape(sum_to(F, full, columns.shape), y.shape)


def _matmul_batch(F: Any, operands: Any, flags: Any, size: int) -> Tensor:
    x, y = operands
    if flags[0] and not flags[1] and y.ndim <= 2:
        # A batch of vectors is a matrix, and a batch of matrices one tall matrix.
        rows = reshape(x, (-1, x.shape[-1])) if x.ndim > 2 and x.size else x
        product = matmul(rows, y)
        return reshape(product, (*x.shape[:-1], *product.shape[1:])) if rows is not x else product
    if flags[1] and y.ndim == 2 and not flags[0] and x.ndim == 2:
        return matmul(y, _turned(F, x))
    if flags[1] and y.ndim == 3 and y.shape[-1] == 1 < x.shape[-1] and not flags[0] and x.ndim == 2:
        # So is a batch of columns; product by product it would take as many calls of BLAS.
        return reshape(matmul(reshape(y, y.shape[:2]), _turned(F, x)), (size, x.shape[0], 1))
    ranks = [operand.ndim - batched for operand, batched in zip(operands, flags, strict=True)]
    lead = max(max(ranks) - 2, 0)
    aligned = []
    for position, (operand, batched, rank) in enumerate(zip(operands, flags, ranks, strict=True)):
        inner = operand.shape[1:] if batched else operand.shape
        core = (1, *inner) if rank == 1 and position == 0 else (*inner, 1) if rank == 1 else inner
        missing = lead - (len(core) - 2)
        aligned.append(reshape(operand, (*((size,) if batched else ()), *(1,) * missing * batched, *core)))
    if aligned[0].shape[-1] == 1:
        product = aligned[0] * aligned[1]  # outer products
    else:
        product = matmul(*aligned)
    shape = list(product.shape)
    if ranks[0] == 1:
        del shape[-2]
    if ranks[1] == 1:
        del shape[-1]
    return reshape(product, tuple(shape))


_matmul: Any = multilinear(
    "matmul",
    _matmul_transpose,
    infer=_matmul_infer,
    batch=_matmul_batch,
    symbol="@",
    flops=lambda out, x, y: out.size * max(0, 2 * x.shape[-1] - 1),
)


@function()
def matmul(x: Any, y: Any, /) -> Tensor:
    """Matrix product over the last two axes, the others broadcast; vectors as in NumPy.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.matmul([[1.0, 2.0]], [[3.0], [4.0]]).tolist()
    [[11.0]]
    """
    return _matmul(x, y)


@function()
def dot(x: Any, y: Any, /) -> Tensor:
    """NumPy's dot: product with a scalar, inner product of vectors, or sum over x's last and y's last-but-one axis."""
    x, y = as_tensors((x, y))
    if not x.ndim or not y.ndim:
        return x * y
    if x.ndim <= 2 and y.ndim <= 2:
        return matmul(x, y)
    return tensordot(x, y, axes=((-1,), (-2 if y.ndim > 1 else -1,)))


@function()
def outer(x: Any, y: Any, /) -> Tensor:
    """All products of an element of x with one of y, both flattened."""
    x, y = as_tensors((x, y))
    return reshape(x, (x.size, 1)) * reshape(y, (1, y.size))


@function()
def vecdot(x: Any, y: Any, /, axis: int = -1) -> Tensor:
    """Inner products along an axis."""
    return _sum_as_it_is(as_tensor(x) * y, axis)


def _sum_as_it_is(x: Tensor, axis: Any) -> Tensor:
    """Sum in the dtype of x: small integers too, which `sum` widens."""
    return FUNCTIONS["sum"](x, axis=axis).astype(x.dtype)  # type: ignore[no-any-return]


@function()
def tensordot(x: Any, y: Any, /, axes: int | Sequence[Any] = 2) -> Tensor:
    """Sum of products over pairs of axes: x's last `axes` with y's first, or the axes named."""
    x, y = as_tensors((x, y))
    if isinstance(axes, int):
        left, right = tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes))
    else:
        left, right = (tuple(a) if isinstance(a, (tuple, list)) else (a,) for a in axes)
    left = tuple(_axis(x, place, "tensordot") for place in left)
    right = tuple(_axis(y, place, "tensordot") for place in right)
    if [x.shape[place] for place in left] != [y.shape[place] for place in right]:
        raise ShapeError(f"tensordot: axes {left} of {x.describe()} and {right} of {y.describe()} do not match")
    count = 1
    for place in left:
        count *= x.shape[place]
    kept_left = [place for place in range(x.ndim) if place not in left]
    kept_right = [place for place in range(y.ndim) if place not in right]
    rows = reshape(FUNCTIONS["permute_dims"](x, (*kept_left, *left)), (_lengths(x, kept_left)[1], count))
    columns = reshape(FUNCTIONS["permute_dims"](y, (*right, *kept_right)), (count, _lengths(y, kept_right)[1]))
    return reshape(matmul(rows, columns), (*_lengths(x, kept_left)[0], *_lengths(y, kept_right)[0]))


def _lengths(x: Tensor, places: Sequence[int]) -> tuple[tuple[int, ...], int]:
    lengths = tuple(x.shape[place] for place in places)
    product = 1
    for length in lengths:
        product *= length
    return lengths, product


# Einstein summation ----------------------------------------------------------------------------------------------


def _einsum_infer(*operands: Tensor, subscripts: str) -> tuple[host.Shape, host.DType]:
    given, result = subscripts.split("->")
    lengths: dict[str, int] = {}
    for letters, operand in zip(given.split(","), operands, strict=True):
        for letter, length in zip(letters, operand.shape, strict=True):
            if lengths.get(letter, 1) == 1:
                lengths[letter] = length
            elif length not in (1, lengths[letter]):
                raise ValueError(f"the lengths of {letter!r} differ: {lengths[letter]} and {length}")
    return tuple(lengths[letter] for letter in result), host.result_dtype(*[operand.dtype for operand in operands])


def _einsum_transpose(F: Any, cotangent: Any, position: int, *operands: Any, subscripts: str) -> Any:
    """Swap the operand's subscripts with the result's.

    Every letter of the operand stands in the result or in another operand: `einsum` has summed over the others before.
    """
    given, result = subscripts.split("->")
    letters = given.split(",")
    own = letters[position]
    others = [i for i in range(len(operands)) if i != position]
    swapped = ",".join([result, *(letters[i] for i in others)]) + "->" + own
    moved = F.einsum_op(cotangent, *(operands[i] for i in others), subscripts=swapped)
    # A letter may have length 1 here and more elsewhere, to be summed over, or the other way round, to be repeated.
    shape = operands[position].shape
    narrow = tuple(min(pair) for pair in zip(moved.shape, shape, strict=True))
    summed = sum_to(F, moved, narrow)
    return summed if narrow == tuple(shape) else F.broadcast_to(summed, shape)


def _einsum_batch(F: Any, operands: Any, flags: Any, size: int, *, subscripts: str) -> Tensor:
    given, result = subscripts.split("->")
    free = next(letter for letter in _LETTERS if letter not in subscripts)
    letters = [free + own if batched else own for own, batched in zip(given.split(","), flags, strict=True)]
    return _einsum(*operands, subscripts=f"{','.join(letters)}->{free}{result}")


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _einsum_flops(out: Any, *operands: Any) -> int:
    elements = out.size
    for operand in operands:
        elements = max(elements, operand.size)
    return len(operands) * elements


def _einsum_evaluate(F: Any, *operands: Any, subscripts: str) -> Any:
    """Multiply and sum, for namespaces without an einsum of their own."""
    given, result = subscripts.split("->")
    summed = "".join(dict.fromkeys(letter for letter in given.replace(",", "") if letter not in result))
    order = result + summed
    product: Any = 1
    for letters, operand in zip(given.split(","), operands, strict=True):
        present = [letter for letter in order if letter in letters]
        turned = F.permute_dims(operand, tuple(letters.index(letter) for letter in present))
        lengths = iter(turned.shape)
        product = F.reshape(turned, tuple(next(lengths) if letter in letters else 1 for letter in order)) * product
    return F.sum(product, axis=tuple(range(len(result), len(order)))) if summed else product


_einsum: Any = multilinear(
    "einsum_op",
    _einsum_transpose,
    evaluate=_einsum_evaluate,
    infer=_einsum_infer,
    batch=_einsum_batch,
    symbol="einsum",
    flops=_einsum_flops,
)


@function()
def einsum(subscripts: str, /, *operands: Any, optimize: Any = None) -> Tensor:
    """Sum of products in Einstein's notation, as NumPy's einsum.

    Parameters
    ----------
    subscripts : str
        For example ``"ij,jk->ik"``. ``...`` stands for any further axes; without ``->`` the result has the letters
        that occur once, in alphabetical order.
    optimize
        NumPy's choice of an order of evaluation; taken so that its callers go on working, and passed over.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.einsum("ii->", [[1.0, 2.0], [3.0, 4.0]]).item()
    5.0
    """
    if not isinstance(subscripts, str):
        raise OpError(f"einsum takes the subscripts as text, such as 'ij,jk->ik', not a {type(subscripts).__name__}")
    tensors = list(as_tensors(operands))
    letters, result = _explicit(subscripts.replace(" ", ""), tensors)
    for position, own in enumerate(letters):
        tensors[position], letters[position] = _simplified(
            tensors[position], own, letters[:position] + letters[position + 1 :], result
        )
    return _einsum(*tensors, subscripts=f"{','.join(letters)}->{result}")


def _explicit(subscripts: str, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    given, arrow, result = subscripts.partition("->")
    letters = given.split(",")
    if len(letters) != len(tensors):
        raise ShapeError(f"einsum: {subscripts!r} names {len(letters)} operands, and {len(tensors)} are given")
    spare = [letter for letter in _LETTERS if letter not in subscripts]
    ranks = [
        tensor.ndim - len(own.replace("...", "")) if "..." in own else 0
        for own, tensor in zip(letters, tensors, strict=True)
    ]
    hidden = "".join(spare[: max(ranks, default=0)])
    letters = [own.replace("...", hidden[len(hidden) - n :]) for own, n in zip(letters, ranks, strict=True)]
    for own, tensor in zip(letters, tensors, strict=True):
        if len(own) != tensor.ndim or (not own.isalpha() and own):
            raise ShapeError(f"einsum: the subscripts {own!r} do not fit {tensor.describe()}")
    joined = "".join(letters)
    if arrow:
        result = result.replace("...", hidden)
    else:
        result = hidden + "".join(sorted({x for x in joined if joined.count(x) == 1 and x not in hidden}))
    if len(set(result)) != len(result) or not set(result) <= set(joined):
        raise ShapeError(f"einsum: the result subscripts {result!r} repeat a letter or name one that no operand has")
    return letters, result


def _simplified(x: Tensor, own: str, others: Sequence[str], result: str) -> tuple[Tensor, str]:
    """Take diagonals of repeated letters, and sum over letters that occur nowhere else."""
    for letter in dict.fromkeys(own):
        while own.count(letter) > 1:
            first = own.index(letter)
            second = own.index(letter, first + 1)
            x = diagonal(x, 0, first, second)
            own = own[:first] + own[first + 1 : second] + own[second + 1 :] + letter
    lonely = [letter for letter in own if letter not in result and not any(letter in other for other in others)]
    if lonely:
        x = _sum_as_it_is(x, tuple(own.index(letter) for letter in lonely))
        own = "".join(letter for letter in own if letter not in lonely)
    return x, own


# Vectors -----------------------------------------------------------------------------------------------------


@function()
def trace(x: Any, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Sum of a diagonal."""
    return FUNCTIONS["sum"](diagonal(x, offset, axis1, axis2), axis=-1)


@function()
def cross(x: Any, y: Any, /, axis: int = -1) -> Tensor:
    """Vector product of vectors of three components along an axis."""
    x, y = as_tensors((x, y))
    for operand in (x, y):
        if not operand.ndim or operand.shape[_axis(operand, axis, "cross")] != 3:
            raise ShapeError(f"cross: {operand.describe()} has no three components along axis {axis}")
    u, v = moveaxis(x, axis, -1), moveaxis(y, axis, -1)
    after, before = [1, 2, 0], [2, 0, 1]
    product = u[..., after] * v[..., before] - u[..., before] * v[..., after]
    return moveaxis(product, -1, axis)


# Linear algebra --------------------------------------------------------------------------------------------------


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
    adjoint=lambda F, cotangent, position, out, x: -F.matmul(F.matmul(_turned(F, out), cotangent), _turned(F, out)),
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
    b_bar = F.solve(_turned(F, a), cotangent)
    if position == 1:
        return sum_to(F, b_bar, b.shape)
    return sum_to(F, -F.matmul(b_bar, _turned(F, out)), a.shape)


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
    return F.expand_dims(F.expand_dims(out, axis=-1), axis=-1) * _turned(F, F.inv(x))


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
    tangent=lambda F, tangents, out, x: _against(F, tangents[0], _turned(F, F.inv(x))),
    adjoint=lambda F, cotangent, position, out, x: _along(F, cotangent, _turned(F, F.inv(x))),
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
    lower = 0.5 * (tangents[0] + _turned(F, tangents[0]))
    inner = F.solve(out, _turned(F, F.solve(out, lower)))
    return F.matmul(out, _half_lower(F, inner))


def _cholesky_adjoint(F: Any, cotangent: Any, position: int, out: Any, x: Any) -> Any:
    inner = _half_lower(F, F.matmul(_turned(F, out), cotangent))
    upper = _turned(F, out)
    # L⁻ᵀ P L⁻¹ by two solves: the second on the transposed problem.
    once = F.solve(upper, inner)
    twice = _turned(F, F.solve(upper, _turned(F, once)))
    return 0.5 * (twice + _turned(F, twice))


_cholesky: Any = custom(
    "cholesky",
    tangent=_cholesky_tangent,
    adjoint=_cholesky_adjoint,
    evaluate=lambda F, x: F.linalg.cholesky(0.5 * (x + _turned(F, x))),
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
    moved = 0.5 * (tangents[0] + _turned(F, tangents[0]))
    rotated = F.matmul(F.matmul(_turned(F, vectors), moved), vectors)
    identity = F.eye(x.shape[-1], dtype=x.dtype)
    values_dot = F.sum(rotated * identity, axis=len(x.shape) - 1)
    vectors_dot = F.matmul(vectors, _eigh_gaps(F, values) * rotated)
    return F.concat((F.expand_dims(values_dot, axis=-2), vectors_dot), axis=-2)


def _eigh_adjoint(F: Any, cotangent: Any, position: int, out: Any, x: Any) -> Any:
    values, vectors = _eigh_parts(F, out)
    values_bar, vectors_bar = _eigh_parts(F, cotangent)
    identity = F.eye(x.shape[-1], dtype=x.dtype)
    inner = F.expand_dims(values_bar, axis=-2) * identity
    inner = inner + _eigh_gaps(F, values) * F.matmul(_turned(F, vectors), vectors_bar)
    full = F.matmul(F.matmul(vectors, inner), _turned(F, vectors))
    return 0.5 * (full + _turned(F, full))


def _eigh_evaluate(F: Any, x: Any) -> Any:
    values, vectors = F.linalg.eigh(0.5 * (x + _turned(F, x)))
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


# Norm --------------------------------------------------------------------------------------------------------


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

    Over two axes, `ord` "fro" or None is the Frobenius norm.
    """
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

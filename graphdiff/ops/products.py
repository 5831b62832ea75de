"""Products of vectors, matrices and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphdiff import host
from graphdiff.arguments import axis_of, require_real, whole, wholes
from graphdiff.errors import OpError, ShapeError
from graphdiff.op import FUNCTIONS, Applied, Work, as_tensors, function, multilinear, sum_to
from graphdiff.ops.index import diagonal
from graphdiff.ops.shape import moveaxis, reshape
from graphdiff.tensor import Tensor
from graphdiff.typing import Array, ArrayLike, Axis, Namespace


def _matmul_infer(x: Tensor, y: Tensor) -> tuple[host.Shape, host.DType]:
    if not x.ndim or not y.ndim:
        raise ValueError("matmul takes vectors and matrices, not scalars")
    if x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise ValueError("the inner lengths differ")
    lead = host.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    rows = x.shape[-2:-1] if x.ndim > 1 else ()
    columns = y.shape[-1:] if y.ndim > 1 else ()
    return (*lead, *rows, *columns), host.result_dtype(x.dtype, y.dtype)


def turned(F: Namespace, x: Array) -> Array:
    """Return matrices transposed: the rules of products and of matrix functions are full of them."""
    return F.matrix_transpose(x)


def _matmul_transpose(F: Namespace, cotangent: Array, position: int, x: Array, y: Array) -> Array:
    """Return out_bar @ yᵀ or xᵀ @ out_bar, vectors taken as the row or column that they stand for."""
    if len(x.shape) == len(y.shape) == 2:
        return F.matmul(cotangent, turned(F, y)) if position == 0 else F.matmul(turned(F, x), cotangent)
    row, column = len(x.shape) == 1, len(y.shape) == 1
    rows = F.expand_dims(x, axis=0) if row else x
    columns = F.expand_dims(y, axis=1) if column else y
    if column:
        cotangent = F.expand_dims(cotangent, axis=len(cotangent.shape))
    if row:
        cotangent = F.expand_dims(cotangent, axis=len(cotangent.shape) - 1)
    if position == 0:
        full = F.matmul(cotangent, turned(F, columns))
        return F.reshape(sum_to(F, full, rows.shape), x.shape)
    full = F.matmul(turned(F, rows), cotangent)
    return F.reshape(sum_to(F, full, columns.shape), y.shape)


def _matmul_batch(F: Namespace, operands: Sequence[Array], flags: Sequence[bool], size: int) -> Tensor:
    x, y = operands
    if flags[0] and not flags[1] and y.ndim <= 2:
        # A batch of vectors is a matrix, and a batch of matrices one tall matrix.
        rows = reshape(x, (-1, x.shape[-1])) if x.ndim > 2 and x.size else x
        product = matmul(rows, y)
        return reshape(product, (*x.shape[:-1], *product.shape[1:])) if rows is not x else product
    if flags[1] and y.ndim == 2 and not flags[0] and x.ndim == 2:
        return matmul(y, turned(F, x))
    if flags[1] and y.ndim == 3 and y.shape[-1] == 1 < x.shape[-1] and not flags[0] and x.ndim == 2:
        # So is a batch of columns; product by product it would take as many calls of BLAS.
        return reshape(matmul(reshape(y, y.shape[:2]), turned(F, x)), (size, x.shape[0], 1))
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


def _matmul_work(out: Tensor, x: Tensor, y: Tensor) -> Work:
    inner = x.shape[-1]
    multiplications, additions = out.size * inner, out.size * max(0, inner - 1)
    return Work(multiplications, additions, products=multiplications + additions, by_rows=False)


_matmul: Applied = multilinear(
    "matmul",
    _matmul_transpose,
    infer=_matmul_infer,
    batch=_matmul_batch,
    symbol="@",
    flops=lambda out, x, y: out.size * max(0, 2 * x.shape[-1] - 1),
    work=_matmul_work,
)


@function()
def matmul(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """Matrix product over the last two axes, the others broadcast; vectors as in NumPy.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.matmul([[1.0, 2.0]], [[3.0], [4.0]]).tolist()
    [[11.0]]
    """
    return _matmul(x, y)


@function()
def dot(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """NumPy's dot: product with a scalar, inner product of vectors, or sum over x's last and y's last-but-one axis."""
    x, y = as_tensors((x, y))
    if not x.ndim or not y.ndim:
        return x * y
    if x.ndim <= 2 and y.ndim <= 2:
        return matmul(x, y)
    return tensordot(x, y, axes=((-1,), (-2 if y.ndim > 1 else -1,)))


@function()
def outer(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """All products of an element of x with one of y, both flattened."""
    x, y = as_tensors((x, y))
    return reshape(x, (x.size, 1)) * reshape(y, (1, y.size))


@function()
def vecdot(x: ArrayLike, y: ArrayLike, /, axis: int = -1) -> Tensor:
    """Inner products along an axis, which both have, of one length."""
    x, y = as_tensors((x, y))
    for operand in (x, y):
        require_real(operand, "vecdot")
    lengths = [operand.shape[axis_of(operand, axis, "vecdot")] for operand in (x, y)]
    if lengths[0] != lengths[1]:
        raise ShapeError(f"vecdot: {x.describe()} and {y.describe()} differ in length along axis {axis}")
    return _sum_as_it_is(x * y, axis)


def _sum_as_it_is(x: Tensor, axis: Axis) -> Tensor:
    """Sum in the dtype of x: small integers too, which `sum` widens."""
    return FUNCTIONS["sum"](x, axis=axis).astype(x.dtype)


@function()
def tensordot(x: ArrayLike, y: ArrayLike, /, axes: int | Sequence[Any] = 2) -> Tensor:
    """Sum of products over pairs of axes: x's last `axes` with y's first, or the axes named."""
    x, y = as_tensors((x, y))
    left, right = _paired_axes(x, y, axes)
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


def _paired_axes(x: Tensor, y: Tensor, axes: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return which axes of x are summed over together with which of y."""
    if getattr(axes, "ndim", None) or isinstance(axes, (tuple, list)):
        pairs = list(axes)
        if len(pairs) != 2:
            raise ShapeError(f"tensordot: axes are a number, or those of x and those of y, not {axes!r}")
        left, right = (wholes(each, "tensordot: an axis") for each in pairs)
    else:
        count = whole(axes, "tensordot: the number of axes", 0)
        if count > min(x.ndim, y.ndim):
            raise ShapeError(f"tensordot: {x.describe()} and {y.describe()} have no {count} axes to sum over")
        left, right = tuple(range(x.ndim - count, x.ndim)), tuple(range(count))
    if len(left) != len(right):
        raise ShapeError(f"tensordot: {len(left)} axes of x do not pair up with {len(right)} of y")
    left = tuple(axis_of(x, place, "tensordot") for place in left)
    right = tuple(axis_of(y, place, "tensordot") for place in right)
    if len(set(left)) < len(left) or len(set(right)) < len(right):
        raise ShapeError(f"tensordot: an axis is named twice in {axes!r}")
    return left, right


def _lengths(x: Tensor, places: Sequence[int]) -> tuple[tuple[int, ...], int]:
    lengths = tuple(x.shape[place] for place in places)
    product = 1
    for length in lengths:
        product *= length
    return lengths, product


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


def _einsum_transpose(F: Namespace, cotangent: Array, position: int, *operands: Array, subscripts: str) -> Array:
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


def _einsum_batch(
    F: Namespace, operands: Sequence[Array], flags: Sequence[bool], size: int, *, subscripts: str
) -> Tensor:
    given, result = subscripts.split("->")
    free = next(letter for letter in _LETTERS if letter not in subscripts)
    letters = [free + own if batched else own for own, batched in zip(given.split(","), flags, strict=True)]
    return _einsum(*operands, subscripts=f"{','.join(letters)}->{free}{result}")


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _einsum_flops(out: Any, *operands: Any) -> int:
    elements = out.size
    for operand in operands:
        elements = max(elements, operand.size)
    result: int = len(operands) * elements
    return result


def _einsum_evaluate(F: Namespace, *operands: Array, subscripts: str) -> Array:
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


_einsum: Applied = multilinear(
    "einsum_op",
    _einsum_transpose,
    evaluate=_einsum_evaluate,
    infer=_einsum_infer,
    batch=_einsum_batch,
    symbol="einsum",
    flops=_einsum_flops,
    internal=True,
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


@function()
def trace(x: ArrayLike, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Sum of a diagonal."""
    return FUNCTIONS["sum"](diagonal(x, offset, axis1, axis2), axis=-1)


@function()
def cross(x: ArrayLike, y: ArrayLike, /, axis: int = -1) -> Tensor:
    """Vector product of vectors of three components along an axis."""
    x, y = as_tensors((x, y))
    for operand in (x, y):
        if not operand.ndim or operand.shape[axis_of(operand, axis, "cross")] != 3:
            raise ShapeError(f"cross: {operand.describe()} has no three components along axis {axis}")
    u, v = moveaxis(x, axis, -1), moveaxis(y, axis, -1)
    after, before = [1, 2, 0], [2, 0, 1]
    product = u[..., after] * v[..., before] - u[..., before] * v[..., after]
    return moveaxis(product, -1, axis)

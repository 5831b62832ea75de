"""Sorting and what is read off sorted elements: the greatest few, medians, quantiles.

Derivatives go to the elements that are chosen. Of equal ones those count that a stable sort puts there, as in JAX.
"""

from __future__ import annotations

from typing import cast

from graphdiff import host
from graphdiff.arguments import axis_of, real_floating
from graphdiff.errors import OpError, ShapeError
from graphdiff.op import GRAPH, Applied, as_tensor, function, linear
from graphdiff.ops.checks import demand
from graphdiff.ops.elementwise import ceil, floor, isnan
from graphdiff.ops.elementwise import round as nearest
from graphdiff.ops.index import take, take_along_axis
from graphdiff.ops.reduce import _axes, _last, reduced_shape, widened
from graphdiff.ops.selection import where
from graphdiff.ops.shape import astype, flip, moveaxis, reshape
from graphdiff.tensor import Tensor
from graphdiff.typing import ArrayLike, Axis

_argsort: Applied = linear(
    "argsort",
    evaluate=lambda F, x, *, axis: F.astype(F.array_namespace.argsort(x, axis=axis, stable=True), F.int64),
    infer=lambda x, *, axis: (x.shape, host.int64),
    batch=lambda F, operands, flags, size, *, axis: _argsort(operands[0], axis=axis + 1),
    work="move",
)


def _flat_unless(x: ArrayLike, axis: int | None) -> tuple[Tensor, int]:
    x = as_tensor(x)
    return (reshape(x, (-1,)), 0) if axis is None else (x, axis)


@function()
def argsort(x: ArrayLike, /, axis: int | None = -1) -> Tensor:
    """Return the indices that sort x along an axis; equal elements keep their order. None flattens first."""
    x, axis = _flat_unless(x, axis)
    return _argsort(x, axis=axis_of(x, axis, "argsort"))


@function()
def sort(x: ArrayLike, /, axis: int | None = -1) -> Tensor:
    """Sort x along an axis; of equal elements the first to stand in x keeps the first place, and its derivative.

    None flattens first.
    """
    x, axis = _flat_unless(x, axis)
    return take_along_axis(x, argsort(x, axis), axis)


@function("top_k")
def topk(x: ArrayLike, k: int, /, axis: int = -1) -> tuple[Tensor, Tensor]:
    """Return the k greatest elements along an axis, greatest first, and where they stand; of equal ones the first.

    Parameters
    ----------
    x : Tensor or array-like
    k : int
        At least 0, and at most as many as there are along the axis.
    axis : int

    Returns
    -------
    tuple of Tensor
        Values and indices (int64), both of x's shape with k along the axis. NaN counts as greater than all.

    Raises
    ------
    ShapeError
        There are no k elements.

    Examples
    --------
    >>> import graphdiff as gd
    >>> values, places = gd.topk(gd.constant([3.0, 1.0, 5.0, 3.0]), 2)
    >>> values.tolist(), places.tolist()
    ([5.0, 3.0], [2, 0])
    """
    x = as_tensor(x)
    place = axis_of(x, axis, "topk")
    length = x.shape[place]
    if not host.is_integer(k) or not 0 <= k <= length:
        raise ShapeError(f"topk: there are {length} elements along axis {axis} of {x.describe()}, and {k!r} are asked")
    # A stable sort from the back: of equal elements the first comes last, and stands first when turned around.
    descending = (length - 1) - flip(argsort(flip(x, axis=place), axis=place), axis=place)
    chosen = descending[(*(slice(None),) * place, slice(0, k))]
    return take_along_axis(x, chosen, axis=place), chosen


_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _places(position: Tensor, method: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return between which ranks a quantile lies, and how far along: 0 at the lower, 1 at the upper."""
    below, above = floor(position), ceil(position)
    if method == "nearest":
        below = above = nearest(position)
    elif method in ("lower", "higher"):
        below = above = below if method == "lower" else above
    part = position - below if method == "linear" else 0.5 * (above - below)
    return astype(below, "int64"), astype(above, "int64"), part


@function()
def quantile(
    x: ArrayLike, q: ArrayLike, /, axis: Axis = None, *, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """Return the values below which the fractions q of the elements lie; by default between the two nearest in rank.

    Parameters
    ----------
    x : Tensor or array-like
    q : Tensor or array-like
        Fractions from 0 to 1; with "linear", derivatives flow to them too.
    axis : int, tuple of int or None
        None takes all elements.
    method : {"linear", "lower", "higher", "midpoint", "nearest"}
        What to return between two ranks.
    keepdims : bool
        Keep the reduced axes with length 1.

    Returns
    -------
    Tensor
        The axes of q, then those of x that are left. NaN where an element is NaN.

    Raises
    ------
    OpError
        A fraction outside 0 to 1, or an unknown method.
    ShapeError
        There are no elements.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.constant([4.0, 1.0, 2.0])
    >>> gd.quantile(x, 0.75).item()
    3.0
    >>> gd.grad(lambda x: gd.quantile(x, 0.75))(x).tolist()
    [0.5, 0.0, 0.5]
    """
    if method not in _METHODS:
        raise OpError(f"quantile: the methods are {', '.join(_METHODS)}, not {method!r}")
    x = real_floating(as_tensor(x), "quantile")
    kind = q.dtype if isinstance(q, Tensor) and q.dtype.kind == "f" else x.dtype
    q = astype(as_tensor(q), "float64")  # ranks of many elements are numbers of no narrower kind
    result, x = (
        host.result_dtype(x.dtype, kind),
        cast(Tensor, widened(GRAPH, x)),
    )  # halves may lie farther apart than a half reaches
    axes = _axes(x, axis, "quantile")
    rows = _last(GRAPH, x, axes)
    count = rows.shape[-1]
    if not count:
        raise ShapeError(f"quantile: {x.describe()} has no elements along {axis!r}")
    if q.has_value and not ((q >= 0) & (q <= 1)).numpy().all():
        raise OpError(f"quantile: fractions lie between 0 and 1, unlike {q.describe()}")
    q = demand(q, q, 0, 1, "quantile: fractions lie between 0 and 1")
    ranked = sort(rows)
    below, above, part = _places(q * (count - 1), method)
    lower, upper = take(ranked, below, axis=-1), take(ranked, above, axis=-1)
    between = lower + (upper - lower) * astype(part, host.result_dtype(x.dtype, kind))
    # An infinite neighbour counts only where there is a way to go to it; NaN stands last.
    found = where(part > 0, between, lower)
    last = reshape(ranked[..., -1], (*rows.shape[:-1], *(1,) * q.ndim))
    found = astype(where(isnan(last), last, found), result)
    found = moveaxis(found, tuple(range(rows.ndim - 1, rows.ndim - 1 + q.ndim)), tuple(range(q.ndim)))
    return reshape(found, (*q.shape, *reduced_shape(x.shape, axes, True))) if keepdims else found


@function()
def percentile(
    x: ArrayLike, q: ArrayLike, /, axis: Axis = None, *, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """`quantile` of q per cent."""
    x = real_floating(as_tensor(x), "percentile")
    fractions = q / 100 if isinstance(q, Tensor) else as_tensor(q).numpy() / 100
    return quantile(x, fractions, axis, method=method, keepdims=keepdims)


@function()
def median(x: ArrayLike, /, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """Middle element in rank over axes; of an even number the mean of both middle ones, which share the derivative."""
    return quantile(x, 0.5, axis, keepdims=keepdims)

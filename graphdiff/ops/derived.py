"""Functions that NumPy's users expect by name, each a line or two of others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphdiff import host
from graphdiff.arguments import axis_of, listed, require_real, whole
from graphdiff.errors import OpError, ShapeError
from graphdiff.op import FUNCTIONS, GRAPH, as_tensor, as_tensors, function
from graphdiff.ops.elementwise import round as _nearest
from graphdiff.tensor import Tensor
from graphdiff.typing import ArrayLike, Axis

# Element by element ------------------------------------------------------------------------------------------


_MOST_DECIMALS = 308
"""Powers of ten beyond are no float64."""


@function("around", "rint")
def round(x: ArrayLike, /, decimals: int = 0) -> Tensor:
    """Nearest number of so many decimals (-308 to 308), halves to even; derivative 0."""
    if not host.is_integer(decimals) or abs(decimals) > _MOST_DECIMALS:
        raise OpError(f"round: decimals is an integer between -308 and 308, not {decimals!r}")
    x, decimals = as_tensor(x), int(decimals)
    if not decimals or (x.dtype.kind in "iu" and decimals > 0):
        return _nearest(x)
    if x.dtype.kind in "iu":
        return GRAPH.astype(round(x.astype("float64"), decimals), x.dtype)
    if decimals < 0:
        result: Tensor = _nearest(as_tensor(x) / 10**-decimals) * 10**-decimals
        return result
    result = _nearest(as_tensor(x) * 10**decimals) / 10**decimals
    return result


@function("radians")
def deg2rad(x: ArrayLike, /) -> Tensor:
    """Degrees in radians."""
    return as_tensor(x) * (math.pi / 180)


@function("degrees")
def rad2deg(x: ArrayLike, /) -> Tensor:
    """Radians in degrees."""
    return as_tensor(x) * (180 / math.pi)


@function()
def exp2(x: ArrayLike, /) -> Tensor:
    """Two to the power x."""
    return 2.0 ** as_tensor(x)


@function()
def nan_to_num(x: ArrayLike, /, nan: float = 0.0) -> Tensor:
    """Return x with NaN replaced, and infinities by the largest numbers; what is replaced has derivative 0."""
    x = as_tensor(x)
    if x.dtype.kind != "f":
        return x
    lowest, highest = host.float_limits(x.dtype)
    known = GRAPH.where(GRAPH.isnan(x), nan, x)
    return GRAPH.where(known > highest, highest, GRAPH.where(known < lowest, lowest, known))


round.op = _nearest.op  # type: ignore[attr-defined]


# Laying side by side -----------------------------------------------------------------------------------------


@function()
def atleast_1d(x: ArrayLike, /) -> Tensor:
    """Return x with at least one axis."""
    x = as_tensor(x)
    return x if x.ndim else GRAPH.reshape(x, (1,))


@function()
def atleast_2d(x: ArrayLike, /) -> Tensor:
    """Return x with at least two axes, new ones in front."""
    x = as_tensor(x)
    return x if x.ndim >= 2 else GRAPH.reshape(x, (1, x.size))


@function()
def vstack(parts: Sequence[ArrayLike], /) -> Tensor:
    """Join along the first axis, vectors as rows."""
    return GRAPH.concatenate([atleast_2d(part) for part in listed(parts, "vstack")], axis=0)


@function()
def hstack(parts: Sequence[ArrayLike], /) -> Tensor:
    """Join along the second axis, vectors along their only one."""
    tensors = [atleast_1d(part) for part in listed(parts, "hstack")]
    return GRAPH.concatenate(tensors, axis=0 if tensors and tensors[0].ndim == 1 else 1)


@function()
def column_stack(parts: Sequence[ArrayLike], /) -> Tensor:
    """Join along the second axis, vectors as columns."""
    tensors = [as_tensor(part) for part in listed(parts, "column_stack")]
    columns = [part if part.ndim >= 2 else GRAPH.reshape(part, (part.size, 1)) for part in tensors]
    return GRAPH.concatenate(columns, axis=1)


@function()
def append(x: ArrayLike, values: ArrayLike, /, axis: int | None = None) -> Tensor:
    """Join values to the end of x along an axis; None flattens both first."""
    return GRAPH.concatenate(as_tensors([x, values]), axis=axis)


@function()
def unstack(x: ArrayLike, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut x into the pieces along an axis, without that axis."""
    x = as_tensor(x)
    return tuple(GRAPH.moveaxis(x, axis_of(x, axis, "unstack"), 0))


@function()
def meshgrid(*axes: Any, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Return the coordinates of the points of a grid, one tensor per axis; "xy" swaps the first two axes, "ij" not."""
    if indexing not in ("xy", "ij"):
        raise OpError(f"meshgrid: indexing is 'xy' or 'ij', not {indexing!r}")
    flat = [GRAPH.reshape(axis, (-1,)) for axis in map(as_tensor, axes)]
    shape = tuple(axis.size for axis in flat)
    grids = [
        GRAPH.broadcast_to(GRAPH.reshape(axis, tuple(axis.size if i == place else 1 for i in range(len(flat)))), shape)
        for place, axis in enumerate(flat)
    ]
    return tuple(GRAPH.swapaxes(grid, 0, 1) if indexing == "xy" and len(flat) > 1 else grid for grid in grids)


@function()
def flipud(x: ArrayLike, /) -> Tensor:
    """Reverse the order of the rows."""
    return GRAPH.flip(x, axis=0)


@function()
def fliplr(x: ArrayLike, /) -> Tensor:
    """Reverse the order of the columns."""
    return GRAPH.flip(x, axis=1)


@function()
def copy(x: ArrayLike, /) -> Tensor:
    """Return another tensor of the same value: a variable's, as it is now; derivatives flow through."""
    x = as_tensor(x)
    if x.dtype.kind == "b":
        return GRAPH.bitwise_or(x, x)
    return GRAPH.positive(x)


# Differences, sums and products ------------------------------------------------------------------------------


@function()
def diff(x: ArrayLike, /, n: int = 1, axis: int = -1) -> Tensor:
    """Differences of neighbours along an axis, n times over."""
    x = as_tensor(x)
    place = axis_of(x, axis, "diff")
    n = whole(n, "diff: the number of times", 0)
    front = (slice(None),) * place
    for _ in range(n):
        x = x[(*front, slice(1, None))] - x[(*front, slice(None, -1))]
    return x


@function()
def trapezoid(y: ArrayLike, x: ArrayLike | None = None, dx: float = 1.0, axis: int = -1) -> Tensor:
    """Integral along an axis by the trapezoidal rule, over the places x, or equal steps dx."""
    y = as_tensor(y)
    place = axis_of(y, axis, "trapezoid")
    front = (slice(None),) * place
    means = (y[(*front, slice(1, None))] + y[(*front, slice(None, -1))]) / 2.0
    if x is None:
        return GRAPH.sum(means * dx, axis=place)
    places = as_tensor(x)
    if places.ndim not in (1, y.ndim):
        raise ShapeError(f"trapezoid: {places.describe()} has neither one axis nor as many as {y.describe()}")
    steps = diff(places, axis=-1 if places.ndim == 1 else place)
    if places.ndim == 1:
        steps = GRAPH.reshape(steps, (-1, *(1,) * (y.ndim - place - 1)))
    return GRAPH.sum(means * steps, axis=place)


@function()
def average(x: ArrayLike, /, axis: int | None = None, weights: ArrayLike | None = None) -> Tensor:
    """Mean, each element counted by its weight; weights are of x's shape, or of the axis's length."""
    if weights is None:
        return GRAPH.mean(x, axis=axis)
    x, weights = as_tensors([x, weights])
    if weights.shape != x.shape:
        if axis is None or weights.ndim != 1:
            raise ShapeError(
                f"average: the weights {weights.describe()} have neither the shape of {x.describe()} nor, with axis=…, "
                "one number for each place along that axis"
            )
        place = axis_of(x, axis, "average")
        if weights.size != x.shape[place]:
            raise ShapeError(f"average: {weights.size} weights for {x.shape[place]} places of {x.describe()}")
        weights = GRAPH.broadcast_to(GRAPH.reshape(weights, (-1, *(1,) * (x.ndim - place - 1))), x.shape)
    total = GRAPH.sum(weights, axis=axis)
    if total.has_value and not bool(GRAPH.all(total != 0)):
        raise OpError("average: the weights sum up to 0, and nothing is left to divide by")
    return GRAPH.sum(x * weights, axis=axis) / total


@function()
def ptp(x: ArrayLike, /, axis: Axis = None) -> Tensor:
    """Maximum less minimum over axes."""
    return GRAPH.max(x, axis=axis) - GRAPH.min(x, axis=axis)


@function()
def inner(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """Sum of products over the last axes of x and y."""
    x, y = as_tensors([x, y])
    return GRAPH.tensordot(x, y, axes=((-1,), (-1,))) if x.ndim and y.ndim else x * y


@function()
def vdot(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """Inner product of x and y, both flattened."""
    x, y = as_tensors([x, y])
    for operand in (x, y):
        require_real(operand, "vdot")
    if x.size != y.size:
        raise ShapeError(f"vdot: {x.describe()} and {y.describe()} differ in size")
    return GRAPH.dot(GRAPH.ravel(x), GRAPH.ravel(y))


@function()
def kron(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """Kronecker product: y, times each element of x in its place; fewer axes are filled up with ones in front."""
    x, y = as_tensors([x, y])
    rank = max(x.ndim, y.ndim)
    rows, columns = ((1,) * (rank - each.ndim) + each.shape for each in (x, y))
    outer = GRAPH.reshape(x, tuple(n for length in rows for n in (length, 1)))
    blocks = outer * GRAPH.reshape(y, tuple(n for length in columns for n in (1, length)))
    return GRAPH.reshape(blocks, tuple(a * b for a, b in zip(rows, columns, strict=True)))


@function()
def interp(x: ArrayLike, places: ArrayLike, values: ArrayLike, /) -> Tensor:
    """Value at x of the function that is linear between `values` at ascending `places`, and constant outside."""
    x, places, values = as_tensors([x, places, values])
    if places.ndim != 1 or places.shape != values.shape or not places.size:
        raise ShapeError(f"interp: {places.describe()} and {values.describe()} are not two vectors of one length")
    if places.size == 1:
        joined = host.quotient_dtype(x.dtype, places.dtype, values.dtype)
        return GRAPH.broadcast_to(values[0], x.shape).astype(joined)
    inside = GRAPH.clip(x, places[0], places[-1])
    # The segment is counted, not searched, so that it can be traced: the places that lie at x or below it.
    below = GRAPH.sum(GRAPH.astype(inside[..., None] >= places[1:-1], "int64"), axis=-1)
    width = GRAPH.take(places, below + 1) - GRAPH.take(places, below)
    part = (inside - GRAPH.take(places, below)) / width
    return GRAPH.take(values, below) * (1 - part) + GRAPH.take(values, below + 1) * part


FUNCTIONS["empty_like"] = FUNCTIONS["zeros_like"]

"""Ops that move elements about: all linear, each with its transpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphdiff import host
from graphdiff.arguments import axis_of, lengths, listed, whole, wholes
from graphdiff.errors import DTypeError, ShapeError
from graphdiff.op import FUNCTIONS, Applied, as_tensor, as_tensors, function, linear, raise_complex, sum_to
from graphdiff.tensor import Tensor
from graphdiff.typing import Array, ArrayLike, Axis, DTypeLike, Namespace


def _axes(x: Tensor, axis: Axis, name: str) -> tuple[int, ...]:
    """Return axes non-negative, in the order given."""
    if axis is None:
        return tuple(range(x.ndim))
    found = tuple(axis_of(x, position, name) for position in wholes(axis, f"{name}: an axis"))
    if len(set(found)) < len(found):
        raise ShapeError(f"{name}({x.describe()}): an axis is named twice in {axis!r}")
    return found


# Reshape -----------------------------------------------------------------------------------------------------

_reshape: Applied = linear(
    "reshape",
    lambda F, cotangent, x, *, shape: F.reshape(cotangent, x.shape),
    evaluate=lambda F, x, *, shape: F.reshape(x, shape),
    infer=lambda x, *, shape: (shape, x.dtype),
    batch=lambda F, operands, flags, size, *, shape: _reshape(operands[0], shape=(size, *shape)),
    flops=0,
    work="view",
    keeps="elements",
)


def _resolve(x: Tensor, shape: Any) -> host.Shape:
    asked = wholes(shape, "reshape: a length of a shape", -1)
    known = 1
    for length in asked:
        known *= length if length != -1 else 1
    if asked.count(-1) == 1 and known and x.size % known == 0:
        place = asked.index(-1)
        return (*asked[:place], x.size // known, *asked[place + 1 :])
    if -1 in asked or known != x.size:
        raise ShapeError(f"reshape: {x.describe()} has {x.size} elements, which do not fill the shape {asked}")
    return asked


@function()
def reshape(x: ArrayLike, /, shape: int | Sequence[int]) -> Tensor:
    """Give x another shape of the same size; one length may be -1."""
    x = as_tensor(x)
    return _reshape(x, shape=_resolve(x, shape))


@function("flatten")
def ravel(x: ArrayLike, /) -> Tensor:
    """Return x with one axis."""
    return reshape(x, (-1,)) if as_tensor(x).size else reshape(x, (0,))


@function()
def expand_dims(x: ArrayLike, /, axis: int | Sequence[int] = 0) -> Tensor:
    """Insert axes of length 1 at the positions `axis` of the result."""
    x = as_tensor(x)
    places = wholes(axis, "expand_dims: an axis")
    rank = x.ndim + len(places)
    try:
        inserted = host.normalize_axes(places, rank)
    except (ValueError, TypeError) as error:
        raise ShapeError(f"expand_dims({x.describe()}): {error}") from error
    given = iter(x.shape)
    return _reshape(x, shape=tuple(1 if place in inserted else next(given) for place in range(rank)))


@function()
def squeeze(x: ArrayLike, /, axis: int | Sequence[int] | None = None) -> Tensor:
    """Drop axes of length 1: all of them, or those named."""
    x = as_tensor(x)
    if axis is None:
        dropped = tuple(place for place, length in enumerate(x.shape) if length == 1)
    else:
        dropped = _axes(x, axis, "squeeze")
    if any(x.shape[place] != 1 for place in dropped):
        raise ShapeError(f"squeeze({x.describe()}, axis={axis}): only axes of length 1 can be dropped")
    return _reshape(x, shape=tuple(length for place, length in enumerate(x.shape) if place not in dropped))


# Permute -----------------------------------------------------------------------------------------------------


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


_permute: Applied = linear(
    "permute_dims",
    lambda F, cotangent, x, *, axes: F.permute_dims(cotangent, _inverse(axes)),
    evaluate=lambda F, x, *, axes: F.permute_dims(x, axes),
    infer=lambda x, *, axes: (tuple(x.shape[place] for place in axes), x.dtype),
    batch=lambda F, operands, flags, size, *, axes: _permute(operands[0], axes=(0, *(place + 1 for place in axes))),
    symbol="ᵀ",
    flops=0,
    work="view",
    keeps="elements",
)


@function()
def permute_dims(x: ArrayLike, /, axes: Sequence[int]) -> Tensor:
    """Put the axes of x in the order `axes`."""
    x = as_tensor(x)
    order = _axes(x, axes, "permute_dims")
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(f"permute_dims: {axes} is no permutation of the axes of {x.describe()}")
    return _permute(x, axes=order)


@function()
def transpose(x: ArrayLike, /, axes: Sequence[int] | None = None) -> Tensor:
    """Reverse the order of the axes, or put them in the order `axes`."""
    x = as_tensor(x)
    return permute_dims(x, tuple(reversed(range(x.ndim))) if axes is None else axes)


@function()
def matrix_transpose(x: ArrayLike, /) -> Tensor:
    """Swap the last two axes."""
    return swapaxes(x, -1, -2)


@function()
def swapaxes(x: ArrayLike, /, axis1: int, axis2: int) -> Tensor:
    """Swap two axes."""
    x = as_tensor(x)
    first, second = axis_of(x, axis1, "swapaxes"), axis_of(x, axis2, "swapaxes")
    order = list(range(x.ndim))
    order[first], order[second] = second, first
    return _permute(x, axes=tuple(order))


@function()
def moveaxis(x: ArrayLike, /, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Move axes to other positions, the others keeping their order."""
    x = as_tensor(x)
    if source is None or destination is None:
        raise ShapeError("moveaxis: an axis is an integer, not None")
    moved, places = _axes(x, source, "moveaxis"), _axes(x, destination, "moveaxis")
    if len(moved) != len(places):
        raise ShapeError(f"moveaxis: {source} and {destination} do not pair up as distinct axes")
    order = [place for place in range(x.ndim) if place not in moved]
    for place, origin in sorted(zip(places, moved, strict=True)):
        order.insert(place, origin)
    return _permute(x, axes=tuple(order))


# Broadcast, join, repeat -----------------------------------------------------------------------------------------


def _broadcast_batch(
    F: Namespace, operands: Sequence[Array], flags: Sequence[bool], size: int, *, shape: host.Shape
) -> Tensor:
    (x,) = operands
    padded = reshape(x, (size, *(1,) * (len(shape) + 1 - x.ndim), *x.shape[1:]))
    return _broadcast_to(padded, shape=(size, *shape))


_broadcast_to: Applied = linear(
    "broadcast_to",
    lambda F, cotangent, x, *, shape: sum_to(F, cotangent, x.shape),
    evaluate=lambda F, x, *, shape: F.broadcast_to(x, shape),
    infer=lambda x, *, shape: (shape, x.dtype),
    batch=_broadcast_batch,
    flops=0,
    work="view",
    keeps="elements",
)


@function()
def broadcast_to(x: ArrayLike, /, shape: int | Sequence[int]) -> Tensor:
    """Repeat x along new axes and axes of length 1, up to `shape`."""
    x = as_tensor(x)
    wide = lengths(shape, "broadcast_to")
    if not host.broadcasts_to(x.shape, wide):
        raise ShapeError(f"broadcast_to: {x.describe()} does not broadcast to {wide}")
    return _broadcast_to(x, shape=wide)


def _concatenate_transpose(F: Namespace, cotangent: Array, position: int, *parts: Array, axis: int) -> Array:
    start = sum(part.shape[axis] for part in parts[:position])
    return cotangent[(slice(None),) * axis + (slice(start, start + parts[position].shape[axis]),)]


def _concatenate_infer(*parts: Tensor, axis: int) -> tuple[host.Shape, host.DType]:
    first = parts[0].shape
    for part in parts:
        if part.ndim != len(first) or part.shape[:axis] + part.shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise ValueError("all parts must have the same shape but for the joined axis")
    length = sum(part.shape[axis] for part in parts)
    return (*first[:axis], length, *first[axis + 1 :]), host.result_dtype(*[part.dtype for part in parts])


def _concatenate_batch(
    F: Namespace, operands: Sequence[Array], flags: Sequence[bool], size: int, *, axis: int
) -> Tensor:
    whole = [
        part if batched else _broadcast_to(part, shape=(size, *part.shape))
        for part, batched in zip(operands, flags, strict=True)
    ]
    return _concatenate(*whole, axis=axis + 1)


_concatenate: Applied = linear(
    "concatenate",
    each=_concatenate_transpose,
    evaluate=lambda F, *parts, axis: F.concat(parts, axis=axis),
    infer=_concatenate_infer,
    batch=_concatenate_batch,
    flops=0,
    work="move",
    keeps="elements",
)


@function("concat")
def concatenate(parts: Sequence[ArrayLike], /, axis: int | None = 0) -> Tensor:
    """Join tensors along an existing axis; None flattens them first."""
    tensors = as_tensors(listed(parts, "concatenate"))
    if not tensors:
        raise ShapeError("concatenate: there is nothing to join")
    if axis is None:
        tensors, axis = tuple(ravel(part) for part in tensors), 0
    scalars = [part.describe() for part in tensors if not part.ndim]
    if scalars:
        raise ShapeError(f"concatenate: {scalars[0]} is 0-d and has no axis to join along; gd.stack makes a new one")
    return _concatenate(*tensors, axis=axis_of(tensors[0], axis, "concatenate"))


@function()
def stack(parts: Sequence[ArrayLike], /, axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis."""
    tensors = as_tensors(listed(parts, "stack"))
    if not tensors:
        raise ShapeError("stack: there is nothing to join")
    if len({part.shape for part in tensors}) > 1:
        raise ShapeError("stack: the shapes differ: " + ", ".join(part.describe() for part in tensors))
    return concatenate([expand_dims(part, axis) for part in tensors], axis=axis)


@function()
def split(x: ArrayLike, /, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Cut x along an axis into equal parts, or at the given indices."""
    x = as_tensor(x)
    place = axis_of(x, axis, "split")
    length = x.shape[place]
    if isinstance(indices_or_sections, (tuple, list, range)) or getattr(indices_or_sections, "ndim", 0) == 1:
        cuts = [0, *wholes(indices_or_sections, "split: an index"), length]
    else:
        count = whole(indices_or_sections, "split: the count of parts", 1)
        if length % count:
            raise ShapeError(f"split: axis {axis} of {x.describe()} does not divide into {count} parts")
        cuts = [part * (length // count) for part in range(count + 1)]
    return [x[(slice(None),) * place + (slice(a, b),)] for a, b in zip(cuts[:-1], cuts[1:], strict=True)]


@function()
def tile(x: ArrayLike, /, repetitions: int | Sequence[int]) -> Tensor:
    """Lay copies of x side by side, `repetitions` times along each axis."""
    x = as_tensor(x)
    counts = wholes(repetitions, "tile: a count of copies", 0)
    rank = max(len(counts), x.ndim)
    counts = (1,) * (rank - len(counts)) + counts
    shape = (1,) * (rank - x.ndim) + x.shape
    apart = reshape(x, tuple(n for length in shape for n in (1, length)))
    copied = _broadcast_to(apart, shape=tuple(n for pair in zip(counts, shape, strict=True) for n in pair))
    return _reshape(copied, shape=tuple(c * n for c, n in zip(counts, shape, strict=True)))


@function()
def repeat(x: ArrayLike, /, repeats: ArrayLike, axis: int | None = None) -> Tensor:
    """Repeat each element along an axis; None flattens first. `repeats` is a number, or one per element."""
    x = as_tensor(x)
    if axis is None:
        x, axis = ravel(x), 0
    place = axis_of(x, axis, "repeat")
    counts = wholes(repeats, "repeat: a count", 0)
    if len(counts) == 1:
        counts *= x.shape[place]
    if len(counts) != x.shape[place]:
        raise ShapeError(f"repeat: {len(counts)} counts for {x.shape[place]} elements of {x.describe()}")
    sources = [position for position, count in enumerate(counts) for _ in range(count)]
    return FUNCTIONS["take"](x, host.as_host(sources).astype(host.int64), axis=place)


_flip: Applied = linear(
    "flip",
    lambda F, cotangent, x, *, axis: F.flip(cotangent, axis=axis),
    infer=lambda x, *, axis: (x.shape, x.dtype),
    batch=lambda F, operands, flags, size, *, axis: _flip(operands[0], axis=tuple(place + 1 for place in axis)),
    flops=0,
    work="move",
    keeps="elements",
)


@function()
def flip(x: ArrayLike, /, axis: int | Sequence[int] | None = None) -> Tensor:
    """Reverse the order of the elements along axes; None means all."""
    x = as_tensor(x)
    return _flip(x, axis=_axes(x, axis, "flip"))


_roll: Applied = linear(
    "roll",
    lambda F, cotangent, x, *, shift, axis: F.roll(cotangent, tuple(-step for step in shift), axis=axis),
    evaluate=lambda F, x, *, shift, axis: F.roll(x, shift, axis=axis),
    infer=lambda x, *, shift, axis: (x.shape, x.dtype),
    batch=lambda F, operands, flags, size, *, shift, axis: _roll(
        operands[0], shift=shift, axis=tuple(place + 1 for place in axis)
    ),
    flops=0,
    work="move",
    keeps="elements",
)


@function()
def roll(x: ArrayLike, /, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Tensor:
    """Shift elements along axes, those pushed out coming in at the other end; None rolls the flattened x."""
    x = as_tensor(x)
    steps = wholes(shift, "roll: a shift")
    if axis is None:
        return reshape(_roll(ravel(x), shift=(sum(steps),), axis=(0,)), x.shape)
    places = tuple(axis_of(x, place, "roll") for place in wholes(axis, "roll: an axis"))
    if len(steps) != len(places) and 1 not in (len(steps), len(places)):
        raise ShapeError(f"roll: {len(steps)} shifts for {len(places)} axes")
    count = max(len(steps), len(places))
    steps, places = (each * count if len(each) == 1 else each for each in (steps, places))
    return _roll(x, shift=steps, axis=places)


def _pad_evaluate(F: Namespace, x: Array, *, widths: Sequence[tuple[int, int]]) -> Array:
    for place, (before, after) in enumerate(widths):
        if before or after:
            sides = [
                F.zeros((*x.shape[:place], width, *x.shape[place + 1 :]), dtype=x.dtype) for width in (before, after)
            ]
            x = F.concat((sides[0], x, sides[1]), axis=place)
    return x


_pad: Applied = linear(
    "pad",
    lambda F, cotangent, x, *, widths: cotangent[
        tuple(slice(before, before + length) for (before, _), length in zip(widths, x.shape, strict=True))
    ],
    evaluate=_pad_evaluate,
    infer=lambda x, *, widths: (tuple(n + sum(pair) for n, pair in zip(x.shape, widths, strict=True)), x.dtype),
    batch=lambda F, operands, flags, size, *, widths: _pad(operands[0], widths=((0, 0), *widths)),
    flops=0,
    work="move",
)


@function()
def pad(x: ArrayLike, /, pad_width: Any, mode: str = "constant", constant_values: float = 0) -> Tensor:
    """Add elements before and after along each axis.

    Parameters
    ----------
    pad_width : int, (before, after), or one such pair per axis
    mode : {"constant", "edge", "reflect", "wrap"}
    constant_values : number
        For mode "constant".
    """
    x = as_tensor(x)
    pairs = host.as_host(pad_width)
    if pairs.ndim <= 1 and pairs.size in (1, 2) and x.ndim:
        pairs = pairs.reshape(1, -1).repeat(x.ndim, 0).reshape(x.ndim, -1)
    fits = pairs.shape in ((x.ndim, 1), (x.ndim, 2)) if x.ndim else pairs.size in (1, 2)
    if not fits or pairs.dtype.kind not in "iu" or (pairs < 0).any():
        raise ShapeError(f"pad: {pad_width!r} gives no pair of widths per axis of {x.describe()}")
    widths = tuple((row[0], row[-1]) for row in pairs.tolist()) if x.ndim else ()
    if mode == "constant":
        padded = _pad(x, widths=widths)
        if not constant_values:
            return padded
        inside = _pad(FUNCTIONS["ones_like"](x, dtype="bool"), widths=widths)
        return FUNCTIONS["where"](inside, padded, constant_values)
    if mode not in {"edge", "reflect", "wrap"}:
        raise ShapeError(f"pad: there is no mode {mode!r}; there are constant, edge, reflect and wrap")
    for place, (before, after) in enumerate(widths):
        sources = host.padded_positions(x.shape[place], before, after, mode)
        x = FUNCTIONS["take"](x, sources, axis=place)
    return x


# Dtype -------------------------------------------------------------------------------------------------------


def _astype_transpose(F: Namespace, cotangent: Array, x: Array, *, dtype: host.DType) -> Array | None:
    if dtype.kind == "c":
        raise_complex()
    return F.astype(cotangent, x.dtype) if dtype.kind == "f" else None


def _astype_evaluate(F: Namespace, x: Array, *, dtype: host.DType) -> Array:
    return F.astype(x, dtype if F.is_graph else F.backend.native_dtype(dtype))


_astype: Applied = linear(
    "astype",
    _astype_transpose,
    evaluate=_astype_evaluate,
    infer=lambda x, *, dtype: (x.shape, dtype),
    batch=lambda F, operands, flags, size, *, dtype: _astype(operands[0], dtype=dtype),
    flops=0,
    work="move",
    keeps="places",
)


@function("cast")
def astype(x: ArrayLike, dtype: DTypeLike, /) -> Tensor:
    """Return x in another dtype; x itself where it has it already."""
    x = as_tensor(x)
    wanted = host.dtype(dtype)
    if wanted.kind not in "biufc":
        raise DTypeError(f"astype: {x.describe()} cannot become {wanted}: numbers and booleans only")
    return x if wanted == x.dtype else _astype(x, dtype=wanted)

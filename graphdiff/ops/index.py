"""Indexing, its transpose, and what is made of them."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from types import EllipsisType
from typing import Any, SupportsIndex, cast

from graphdiff import host
from graphdiff.arguments import axis_of, whole
from graphdiff.backend import ARRAY, fill_index
from graphdiff.errors import BackendError, DTypeError, IndexOutsideError, NoValueError, ShapeError
from graphdiff.op import FUNCTIONS, Applied, as_tensor, custom, function, linear, sum_to, summing
from graphdiff.ops.shape import broadcast_to, moveaxis, reshape
from graphdiff.tensor import Tensor
from graphdiff.typing import Array, ArrayLike, DTypeLike, Index, Namespace

Template = tuple["int | slice | EllipsisType | str | None", ...]
_INTEGERS = "iu"


# Bringing an index to one form -----------------------------------------------------------------------------------


def _as_index_arrays(entry: Any) -> tuple[list[Tensor], host.Shape | None]:
    """Return an index array as integer tensors: one, or for a mask one per axis that it covers, and its shape."""
    array = entry if isinstance(entry, Tensor) else as_tensor(host.as_host(entry))
    if array.dtype.kind == "b" and not array.ndim:
        raise DTypeError(f"a single truth value is no index: {entry!r}; gd.where(condition, x, y) chooses")
    if array.size == 0 and not isinstance(entry, Tensor) and array.dtype.kind == "f":
        array = array.astype("int64")  # an empty list is an index of no elements
    if array.dtype.kind == "b":
        return list(nonzero(array)), array.shape
    if array.dtype.kind not in _INTEGERS:
        raise DTypeError(f"an index array is of integers or booleans, not {array.describe()}")
    return [array], None


@function()
def nonzero(x: ArrayLike, /) -> tuple[Tensor, ...]:
    """Return, for each axis, where along it the elements are that are not zero: an index of these.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.constant([3.0, 0.0, 5.0])
    >>> x[gd.nonzero(x > 0)].tolist()
    [3.0, 5.0]
    """
    x = as_tensor(x)
    if not x.has_value:
        raise NoValueError(
            f"the mask {x.describe()} has no value yet, and the shape of its result depends on it; "
            "gd.where(mask, x, 0) keeps the shape"
        )
    if not x.ndim:
        raise ShapeError(f"nonzero: {x.describe()} is 0-d and has no axis to name places on")
    return tuple(as_tensor(places) for places in host.nonzero(x.backend.to_host(x.value)))


_TORN = (
    "between index arrays stands an ellipsis for no axes, where NumPy moves the arrays' axes to the front; "
    "leave the ellipsis out, and move them with gd.moveaxis if that is wanted"
)


def normalize_index(x: Tensor, index: Index) -> tuple[Template, tuple[Tensor, ...]]:
    """Return an index as a template with one entry per axis, and the integer tensors that fill its `ARRAY` places."""
    entries = list(index) if isinstance(index, tuple) else [index]
    template: list[int | slice | EllipsisType | str | None] = []
    arrays: list[Tensor] = []
    covered = 0
    ellipsis_at: int | None = None
    masks: list[tuple[int, bool, host.Shape]] = []
    for entry in entries:
        if entry is None:
            template.append(None)
        elif entry is Ellipsis:
            if ellipsis_at is not None:
                raise _index_error(x, index, "an index has at most one ellipsis")
            ellipsis_at = len(template)
        elif isinstance(entry, slice):
            template.append(entry)
            covered += 1
        elif host.is_integer(entry) or (isinstance(entry, Tensor) and not entry.shape and entry.has_value):
            if isinstance(entry, Tensor) and entry.dtype.kind not in _INTEGERS:
                raise DTypeError(f"an index is an integer, not {entry.describe()}")
            template.append(operator.index(cast(SupportsIndex, entry)))
            covered += 1
        else:
            found, mask = _as_index_arrays(entry)
            if mask is not None:
                masks.append((covered, ellipsis_at is not None, mask))
            template += [ARRAY] * len(found)
            arrays += found
            covered += len(found)
    rank = x.ndim
    if covered > rank:
        raise _index_error(x, index, f"{covered} indices for {rank} axes")
    if masks:
        _require_fitting(x, index, masks, rank - covered)
    place = len(template) if ellipsis_at is None else ellipsis_at
    if ellipsis_at is not None and covered == rank and _tears(template, place):
        raise _index_error(x, index, _TORN)
    template[place:place] = [slice(None)] * (rank - covered)
    return tuple(template), tuple(arrays)


def _require_fitting(x: Tensor, index: Index, masks: Sequence[tuple[int, bool, host.Shape]], between: int) -> None:
    """Refuse masks that are not of the shape of the axes that they cover; an ellipsis stands for `between` axes."""
    for before, after_ellipsis, mask in masks:
        first = before + (between if after_ellipsis else 0)
        lengths = x.shape[first : first + len(mask)]
        if lengths != mask and mask != (0,):  # an empty list takes nothing, as in NumPy
            raise _index_error(x, index, f"the shape of a mask is that of the axes it covers, {lengths}, not {mask}")


def _index_error(x: Tensor, index: Index, reason: str) -> ShapeError:
    return IndexOutsideError(f"cannot index {x.describe()} (made at {x.source}) with {index!r}: {reason}")


def _result_shape(shape: host.Shape, template: Template, arrays: Sequence[Array]) -> host.Shape:
    stand_ins = [host.zero_index(tuple(array.shape)) for array in arrays]
    return host.indexed_shape(shape, fill_index(template, tuple(stand_ins)))


def _tears(template: Sequence[object], place: int) -> bool:
    """Whether index arrays that follow each other would be torn apart by something at a place between them."""
    places = [index for index, entry in enumerate(template) if entry is ARRAY or isinstance(entry, int)]
    together = ARRAY in template and len(places) < len(template) and places[-1] - places[0] == len(places) - 1
    return together and places[0] < place <= places[-1]


# The ops -----------------------------------------------------------------------------------------------------


def _advanced_place(template: Template) -> int | None:
    """Return where the axes of the index arrays stand in the result; None if in front, torn from their places.

    NumPy leaves them in place if the arrays, and integers among them, follow each other.
    """
    places = [place for place, entry in enumerate(template) if entry is ARRAY or isinstance(entry, int)]
    return places[0] if places == list(range(places[0], places[-1] + 1)) else None


def _batched_index(
    F: Namespace, template: Template, arrays: Sequence[Array], flags: Sequence[bool], size: int
) -> tuple[Template, tuple[Array, ...], tuple[int, ...], tuple[int, ...]]:
    """Return the index into an array with a leading batch axis, and which axes of its result to move where."""
    if not arrays:
        return (slice(None), *template), (), (), ()
    inner = [array.ndim - batched for array, batched in zip(arrays, flags, strict=True)]
    rank, place = max(inner), _advanced_place(template)
    if not any(flags):
        # Torn to the front, the arrays' axes stand before the batch axis.
        torn = (rank,) if place is None else ()
        return (slice(None), *template), tuple(arrays), torn, (0,) * len(torn)
    rows = reshape(FUNCTIONS["arange"](size), (size, *(1,) * rank))
    padded = [
        reshape(array, (size, *(1,) * (rank - own), *array.shape[1:])) if batched else array
        for array, own, batched in zip(arrays, inner, flags, strict=True)
    ]
    source = tuple(range(1, rank + 1)) if place else ()
    return (ARRAY, *template), (rows, *padded), source, tuple((place or 0) + axis for axis in source)


def _whole(x: Array, batched: bool, size: int) -> Array:
    return x if batched else broadcast_to(x, (size, *x.shape))


def _getitem_batch(
    F: Namespace, operands: Sequence[Array], flags: Sequence[bool], size: int, *, template: Template
) -> Tensor:
    x, *arrays = operands
    wider, filled, source, destination = _batched_index(F, template, arrays, flags[1:], size)
    taken = _getitem(_whole(x, flags[0], size), *filled, template=wider)
    return moveaxis(taken, source, destination) if source else taken


def _flat_places(F: Namespace, shape: host.Shape, template: Template, arrays: Sequence[Array]) -> Array:
    """Return the taken elements' places in the flattened array: the array API's `take` knows one 1-d index array."""
    return F.asarray(host.flat_places(shape, fill_index(template, tuple(map(host.as_host, arrays)))))


def _getitem_evaluate(F: Namespace, x: Array, *arrays: Array, template: Template) -> Array:
    if not arrays:
        return x[template]
    taken = F.take(F.reshape(x, (-1,)), _flat_places(F, tuple(x.shape), template, arrays), axis=0)
    return F.reshape(taken, _result_shape(tuple(x.shape), template, arrays))


_getitem: Applied = linear(
    "getitem",
    lambda F, cotangent, x, *arrays, template: F.scatter_add(cotangent, *arrays, shape=x.shape, template=template),
    evaluate=_getitem_evaluate,
    infer=lambda x, *arrays, template: (_result_shape(x.shape, template, arrays), x.dtype),
    batch=_getitem_batch,
    symbol="[·]",
    flops=0,
    work="view",
    chooses=True,
    keeps="elements",
    internal=True,
)


def _scatter_batch(
    F: Namespace, operands: Sequence[Array], flags: Sequence[bool], size: int, *, shape: host.Shape, template: Template
) -> Tensor:
    values, *arrays = operands
    wider, filled, source, destination = _batched_index(F, template, arrays, flags[1:], size)
    whole = _whole(values, flags[0], size)
    placed = moveaxis(whole, destination, source) if source else whole
    return _scatter_add(placed, *filled, shape=(size, *shape), template=wider)


def _scatter_evaluate(F: Namespace, values: Array, *arrays: Array, shape: host.Shape, template: Template) -> Array:
    if arrays:
        # Without a scattering add, a product with the 0-1 matrix of places; backends that have one override this.
        places = _flat_places(F, shape, template, arrays)
        columns = F.arange(math.prod(shape), dtype=places.dtype)
        chosen = F.astype(F.expand_dims(places, axis=1) == columns, values.dtype)
        return F.reshape(F.matmul(F.reshape(values, (-1,)), chosen), shape)
    result = F.zeros(shape, dtype=values.dtype)
    plain = tuple(entry for entry in template if entry is not None)
    result[plain] = F.reshape(values, _result_shape(shape, plain, ()))
    return result


_scatter_add: Applied = linear(
    "scatter_add",
    lambda F, cotangent, values, *arrays, shape, template: F.getitem(cotangent, *arrays, template=template),
    evaluate=_scatter_evaluate,
    infer=lambda values, *arrays, shape, template: (shape, values.dtype),
    batch=_scatter_batch,
    work=lambda out, values, *arrays: summing(out, values)._replace(by_rows=False),
    internal=True,
)


def _set_adjoint(
    F: Namespace, cotangent: Array, position: int, x: Array, values: Array, *arrays: Array, template: Template
) -> Array | None:
    if position == 0:
        return F.index_set(cotangent, F.zeros_like(values), *arrays, template=template)
    if position == 1:
        taken = F.getitem(cotangent, *arrays, template=template)
        if arrays:
            taken = F.where(_winners(F, x, taken.shape, arrays, template), taken, F.zeros_like(taken))
        return sum_to(F, taken, values.shape)
    return None


def _winners(F: Namespace, x: Array, shape: host.Shape, arrays: Sequence[Array], template: Template) -> Array:
    """Return which of the values are still there after setting: of an element named twice, one."""
    numbers = F.reshape(F.arange(math.prod(shape)), shape)
    kept = F.index_set(F.zeros(x.shape, dtype=numbers.dtype), numbers, *arrays, template=template)
    return F.getitem(kept, *arrays, template=template) == numbers


def _set_tangent(
    F: Namespace,
    tangents: Sequence[Array | None],
    out: Array,
    x: Array,
    values: Array,
    *arrays: Array,
    template: Template,
) -> Array:
    moved = [
        F.zeros_like(operand) if tangent is None else tangent
        for tangent, operand in zip(tangents[:2], (x, values), strict=True)
    ]
    return F.index_set(*moved, *arrays, template=template)


def _set_batch(
    F: Namespace, operands: Sequence[Array], flags: Sequence[bool], size: int, *, template: Template
) -> Tensor:
    x, values, *arrays = operands
    indexed = _result_shape(x.shape[1:] if flags[0] else x.shape, template, _unbatched(arrays, flags[2:]))
    wider, filled, source, destination = _batched_index(F, template, arrays, flags[2:], size)
    inner = values.shape[1:] if flags[1] else values.shape
    lead = (size,) if flags[1] else (1,)
    whole = broadcast_to(reshape(values, (*lead, *(1,) * (len(indexed) - len(inner)), *inner)), (size, *indexed))
    placed = moveaxis(whole, destination, source) if source else whole
    return _index_set(_whole(x, flags[0], size), placed, *filled, template=wider)


def _unbatched(arrays: Sequence[Array], flags: Sequence[bool]) -> list[Array]:
    return [array[0] if batched else array for array, batched in zip(arrays, flags, strict=True)]


def _set_evaluate(F: Namespace, x: Array, values: Array, *arrays: Array, template: Template) -> Array:
    if arrays:
        raise BackendError("this backend sets elements at slices only, not at index arrays")
    result = F.asarray(x, copy=True)
    result[template] = F.broadcast_to(values, result[template].shape)
    return result


_index_set: Applied = custom(
    "index_set",
    tangent=_set_tangent,
    adjoint=lambda F, cotangent, position, out, x, values, *arrays, template: _set_adjoint(
        F, cotangent, position, x, values, *arrays, template=template
    ),
    evaluate=_set_evaluate,
    infer=lambda x, values, *arrays, template: (x.shape, x.dtype),
    batch=_set_batch,
    poles=False,
    chooses=True,
    flops=0,
    work="move",
    internal=True,
)


def getitem(x: Tensor, index: Index) -> Tensor:
    """Return ``x[index]`` for everything that NumPy takes: integers, slices, ellipsis, None, index arrays, masks."""
    template, arrays = normalize_index(x, index)
    return _getitem(x, *arrays, template=template)


class At:
    """A place in a tensor, at which `set` and `add` return a changed copy; made by `at`."""

    def __init__(self, x: Tensor, index: Index) -> None:
        self._x = x
        self._template, self._arrays = normalize_index(x, index)

    def _values(self, values: ArrayLike) -> Tensor:
        tensor = as_tensor(values)
        indexed = _result_shape(self._x.shape, self._template, self._arrays)
        if not host.broadcasts_to(tensor.shape, indexed):
            raise ShapeError(f"{tensor.describe()} does not fit the indexed part of {self._x.describe()}, {indexed}")
        return tensor.astype(self._x.dtype)

    def set(self, values: ArrayLike) -> Tensor:
        """Return a copy with the indexed elements replaced; which value wins at an index named twice is not fixed."""
        return _index_set(self._x, self._values(values), *self._arrays, template=self._template)

    def add(self, values: ArrayLike) -> Tensor:
        """Return a copy with `values` added to the indexed elements; an index named twice is added to twice."""
        indexed = _result_shape(self._x.shape, self._template, self._arrays)
        whole = broadcast_to(self._values(values), indexed)
        return self._x + _scatter_add(whole, *self._arrays, shape=self._x.shape, template=self._template)


@function()
def at(x: ArrayLike, index: Index) -> At:
    """Name a place in x, to `set` or `add` there without changing x.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.at(gd.constant([1.0, 2.0, 3.0]), slice(1, None)).set(0.0).tolist()
    [1.0, 0.0, 0.0]
    """
    return At(as_tensor(x), index)


# Taking ------------------------------------------------------------------------------------------------------


@function()
def take(x: ArrayLike, indices: ArrayLike, /, axis: int | None = None) -> Tensor:
    """Take elements along an axis; None flattens first."""
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    place = axis_of(x, axis, "take")
    chosen = indices if isinstance(indices, Tensor) else host.as_host(indices)
    return getitem(x, (*(slice(None),) * place, chosen))


@function()
def take_along_axis(x: ArrayLike, indices: ArrayLike, /, axis: int = -1) -> Tensor:
    """Take, along an axis, the elements that `indices`, of the same rank, names for each line."""
    x, chosen = as_tensor(x), as_tensor(indices)
    if chosen.dtype.kind not in _INTEGERS:
        raise DTypeError(f"take_along_axis: the indices are integers, not {chosen.describe()}")
    if chosen.ndim != x.ndim:
        raise ShapeError(f"take_along_axis: {x.describe()} and {chosen.describe()} differ in rank")
    place = axis_of(x, axis, "take_along_axis")
    grids: list[Any] = []
    for other, length in enumerate(x.shape):
        rows = reshape(FUNCTIONS["arange"](length), tuple(length if axis == other else 1 for axis in range(x.ndim)))
        grids.append(chosen if other == place else rows)
    return _getitem(x, *grids, template=(ARRAY,) * x.ndim)


@function()
def one_hot(indices: ArrayLike, classes: int, /, *, dtype: DTypeLike = "float64") -> Tensor:
    """Return rows of zeros with a one at each index; an index outside the classes gives zeros."""
    chosen = as_tensor(indices)
    if chosen.dtype.kind not in _INTEGERS:
        raise DTypeError(f"one_hot: the indices are integers, not {chosen.describe()}")
    classes = whole(classes, "one_hot: the count of classes", 0)
    return (chosen[..., None] == FUNCTIONS["arange"](classes)).astype(dtype)


def _label_weights(F: Namespace, labels: Array, *, classes: int, value: float, dtype: host.DType) -> Array:
    native = dtype if F.is_graph else F.backend.native_dtype(dtype)
    column = F.expand_dims(labels, axis=-1)
    row = F.arange(classes)
    weights = value * F.astype(column == row, native)
    inside = F.logical_and(column >= 0, column < classes)
    return F.where(inside, weights, F.full((), math.nan, dtype=native))


label_weights: Applied = linear(
    "label_weights",
    evaluate=_label_weights,
    infer=lambda labels, *, classes, value, dtype: ((*labels.shape, classes), dtype),
    batch=lambda F, operands, flags, size, **attributes: label_weights(operands[0], **attributes),
    work="move",
    doc="A row per label: `value` at the label, 0 elsewhere; a label outside the classes is refused, on a device NaN.",
    internal=True,
)


@function()
def diagonal(x: ArrayLike, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Return a diagonal of the matrices spanned by two axes, as the last axis."""
    x, offset = as_tensor(x), whole(offset, "diagonal: the offset")
    if x.ndim < 2:
        raise ShapeError(f"diagonal takes matrices, not {x.describe()}")
    if axis_of(x, axis1, "diagonal") == axis_of(x, axis2, "diagonal"):
        raise ShapeError(f"diagonal: axis1 and axis2 of {x.describe()} are the same, {axis1} and {axis2}")
    moved = moveaxis(x, (axis1, axis2), (-2, -1))
    rows, columns = moved.shape[-2:]
    count = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    steps = FUNCTIONS["arange"](count)
    return getitem(moved, (..., steps + max(0, -offset), steps + max(0, offset)))


@function()
def diag(x: ArrayLike, /, k: int = 0) -> Tensor:
    """Return the diagonal of a matrix, or the matrix with a given diagonal."""
    x, k = as_tensor(x), whole(k, "diag: the number of a diagonal")
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag takes a vector or a matrix, not {x.describe()}")
    side = x.shape[0] + abs(k)
    steps = FUNCTIONS["arange"](x.shape[0])
    template, arrays = (ARRAY, ARRAY), (steps + max(0, -k), steps + max(0, k))
    return _scatter_add(x, *arrays, shape=(side, side), template=template)


def _triangle(name: str) -> Any:
    def evaluate(F: Namespace, x: Array, *, k: int) -> Array:
        result: Array = getattr(F, name)(x, k=k)
        return result

    def batch(F: Namespace, operands: Sequence[Array], flags: Sequence[bool], size: int, *, k: int) -> Array:
        return op(operands[0], k=k)

    op = linear(
        name,
        lambda F, cotangent, x, *, k: getattr(F, name)(cotangent, k=k),
        evaluate=lambda F, x, *, k: getattr(F.array_namespace, name)(x, k=k),
        infer=lambda x, *, k: (x.shape, x.dtype),
        batch=batch,
        chooses=True,
        flops=0,
        work="move",
    )
    return op


_tril, _triu = _triangle("tril"), _triangle("triu")


@function()
def tril(x: ArrayLike, /, k: int = 0) -> Tensor:
    """Return the matrix with zeros above its k-th diagonal."""
    result: Tensor = _tril(_matrix(x, "tril"), k=whole(k, "tril: the number of a diagonal"))
    return result


@function()
def triu(x: ArrayLike, /, k: int = 0) -> Tensor:
    """Return the matrix with zeros below its k-th diagonal."""
    result: Tensor = _triu(_matrix(x, "triu"), k=whole(k, "triu: the number of a diagonal"))
    return result


def _matrix(x: ArrayLike, name: str) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"{name} takes a matrix, not {x.describe()}")
    return x

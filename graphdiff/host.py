"""The host boundary: the one module of the engine that touches NumPy.

It serves dtypes, shapes and the conversion of a user's numbers; no array is computed on here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias, TypeGuard

import numpy as np

from graphdiff.errors import ArgumentError, DTypeError, GraphDiffError

DType = np.dtype[Any]
Shape = tuple[int, ...]

float64: DType = np.dtype(np.float64)
float32: DType = np.dtype(np.float32)
int64: DType = np.dtype(np.int64)
int8: DType = np.dtype(np.int8)
boolean: DType = np.dtype(np.bool_)

pi = float(np.pi)
e = float(np.e)
inf = float("inf")
nan = float("nan")
newaxis = None

Generator: TypeAlias = "np.random.Generator"  # written, not looked up: numpy.random is loaded when it is used
HostArray: TypeAlias = np.ndarray[Any, DType]
ARRAY = np.ndarray
"""The class of arrays on the host."""
PYTHON_SCALARS = (bool, int, float, complex)

_WEAK_RANK = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def dtype(spec: str | type | DType) -> DType:
    """Return the NumPy dtype that `spec` (a name, a type or a dtype of any array library) stands for.

    Raises
    ------
    DTypeError
        It is none that NumPy knows, or one of other things than numbers and booleans.
    """
    named = spec
    if spec.__class__ is not str and not isinstance(spec, (type, np.dtype)):
        named = getattr(spec, "name", None) or str(spec).rsplit(".", 1)[-1]
    try:
        found = np.dtype(named)
    except (TypeError, ValueError, SyntaxError) as error:
        raise DTypeError(f"{spec!r} is no dtype that tensors can have: {error}") from None
    require_numeric(found)
    result: DType = found
    return result


def require_numeric(kind_of: DType) -> None:
    """Raise DTypeError for text, dates, objects and structures: tensors are of numbers and booleans."""
    if kind_of.kind not in _WEAK_RANK:
        raise DTypeError(f"cannot make a tensor of {kind_of} data: numbers and booleans only")


def is_real_floating(kind_of: DType) -> bool:
    """Whether tensors of this dtype carry gradients."""
    return kind_of.kind == "f"


def result_dtype(*dtypes: DType) -> DType:
    """NumPy 2's promotion."""
    return np.result_type(*dtypes)


def weak_dtype(scalar: bool | int | float | complex, strong: DType) -> DType:
    """Return the dtype of a Python scalar beside a tensor of dtype `strong`: NumPy 2's weak promotion."""
    return np.result_type(strong, scalar)


@lru_cache(maxsize=1024)
def float_result(*dtypes: DType) -> DType:
    """Return the dtype of a function such as `exp`: floats stay, integers become the float NumPy chooses."""
    return np.result_type(*dtypes, np.float16)


@lru_cache(maxsize=1024)
def quotient_dtype(*dtypes: DType) -> DType:
    """Return the dtype of a true division: integers of any width become float64."""
    joined = np.result_type(*dtypes)
    return joined if joined.kind in "fc" else float64


def magnitude_dtype(kind_of: DType) -> DType:
    """Return the dtype of an absolute value: of complex numbers a real one."""
    return kind_of.type(0).real.dtype if kind_of.kind == "c" else kind_of


def number_dtype(*dtypes: DType) -> DType:
    """Return the dtype of a function such as `power`, which NumPy has for numbers only: booleans become int8."""
    joined = np.result_type(*dtypes)
    return int8 if joined == boolean else joined


def accumulator_dtype(kind_of: DType) -> DType:
    """Return the dtype of a sum or product: small integers and booleans widen as in NumPy."""
    if kind_of.kind in "bi":
        return np.result_type(kind_of, np.int64)
    return np.result_type(kind_of, np.uint64) if kind_of.kind == "u" else kind_of


def broadcast_shapes(*shapes: Shape) -> Shape:
    """Return the common shape; ValueError where there is none."""
    first = shapes[0]
    for shape in shapes:
        if shape != first:
            try:
                return np.broadcast_shapes(*shapes)
            except RuntimeError as error:  # more axes than it can count
                raise ValueError(str(error)) from error
    return first


def broadcasts_to(shape: Shape, wanted: Shape) -> bool:
    """Whether an array of one shape can be broadcast to the other."""
    try:
        return broadcast_shapes(shape, wanted) == wanted
    except ValueError:
        return False


def normalize_axes(axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Return axes as a sorted tuple of non-negative integers; None means all."""
    if axis is None:
        return tuple(range(rank))
    if axis.__class__ is int and -rank <= axis < rank:
        return (axis % rank,)
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    if any(each is True or each is False for each in axes):
        raise TypeError(f"an axis is an integer, not {axis!r}")
    from numpy.lib.array_utils import normalize_axis_tuple

    return tuple(sorted(normalize_axis_tuple(axes, rank)))


def indexed_shape(shape: Shape, index: tuple[Any, ...]) -> Shape:
    """Return the shape of ``array[index]``, by indexing an array of that shape that owns a single byte."""
    # Every axis has at least one element here, so that a stand-in index of zeros is never out of range.
    lengths = tuple(max(length, 1) if entry_is_array else length for length, entry_is_array in _axes_of(shape, index))
    result: Shape = np.broadcast_to(np.zeros((), np.int8), lengths)[index].shape
    return result


def flat_places(shape: Shape, index: tuple[Any, ...]) -> HostArray:
    """Return, for every element that the index takes, its place in the flattened array."""
    result: HostArray = np.arange(math.prod(shape)).reshape(shape)[index].reshape(-1)
    return result


def _axes_of(shape: Shape, index: tuple[object, ...]) -> list[tuple[int, bool]]:
    entries = [entry for entry in index if entry is not None]
    return [(length, isinstance(entry, np.ndarray)) for length, entry in zip(shape, entries, strict=True)]


def as_host(value: object) -> HostArray:
    """Return `value` (nested sequences, numbers, arrays) as a NumPy array."""
    refuse_masked(value)
    try:
        return np.asarray(value)
    except (ValueError, TypeError, ArithmeticError) as error:
        if isinstance(error, GraphDiffError):
            raise
        raise ArgumentError(f"cannot make an array of this: {error}") from error


class _Departed:
    """The base of an array that left the graph: whatever is a view of that array can be told by it."""

    __slots__ = ("__array_interface__", "array", "departure")

    def __init__(self, array: HostArray, departure: object) -> None:
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], True)}  # not to be written into
        self.array, self.departure = array, departure


def departed(array: HostArray, departure: object) -> HostArray:
    """Return a view that cannot be written into, of which `departure_in` finds what is given here."""
    return np.asarray(_Departed(array, departure))


def departure_in(value: object) -> Any:
    """Return what `departed` was given for the array that this one is a view of, or None."""
    base = getattr(value, "base", None)
    while base is not None:
        if base.__class__ is _Departed:
            return base.departure
        base = getattr(base, "base", None)
    return None


def refuse_masked(value: object) -> None:
    """Raise DTypeError for a masked array: its mask would be lost, and what it hides be counted."""
    inside = value.__class__ in (tuple, list) and len(value) and isinstance(value[0], np.ma.MaskedArray)
    if inside or (value.__class__ is not np.ndarray and isinstance(value, np.ma.MaskedArray)):
        raise DTypeError(
            "a masked array has values that do not count, which a tensor has not: give what stands in their place, "
            "array.filled(0.0), or the values that count, array.compressed()"
        )


def is_host_array(value: object) -> TypeGuard[HostArray]:
    """Whether `value` is a NumPy array or array scalar."""
    return isinstance(value, (np.ndarray, np.generic))


def with_rows(value: Any) -> Any:
    """Return an array as it is, and as a NumPy array what an index of rows is none for: lists, tables of columns."""
    return value if hasattr(value, "shape") and not hasattr(value, "iloc") else np.asarray(value)


def is_integer(value: object) -> bool:
    """Whether `value` is an integer number, of Python or NumPy, and no boolean."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))


def plain(value: Any) -> Any:
    """Return what holds NumPy's integers and truth values, in tuples, lists, dicts and slices too, with Python's."""
    if isinstance(value, (np.integer, np.bool_)):
        return value.item()
    if isinstance(value, slice):
        return slice(plain(value.start), plain(value.stop), plain(value.step))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if value.__class__ in (tuple, list):
        return value.__class__(map(plain, value))
    return value


def integer_limits(kind_of: DType) -> tuple[int, int]:
    """Return the least and the greatest value of an integer dtype."""
    limits = np.iinfo(kind_of)
    return int(limits.min), int(limits.max)


def epsilon(kind_of: DType) -> float:
    """Return the distance of 1 to the next number of a floating dtype."""
    return float(np.finfo(kind_of).eps)


def float_limits(kind_of: DType) -> tuple[float, float]:
    """Return the least and the greatest finite value of a floating dtype."""
    limits = np.finfo(kind_of)
    return float(limits.min), float(limits.max)


@lru_cache(maxsize=16)
def normal_range(kind_of: DType) -> tuple[float, float]:
    """Return the least positive number of full precision and the greatest finite one of a floating dtype."""
    limits = np.finfo(kind_of)
    return float(limits.smallest_normal), float(limits.max)


def nonzero(mask: object) -> tuple[HostArray, ...]:
    """Return the indices of the True entries of a boolean mask."""
    return np.nonzero(np.asarray(mask))


def describe(value: object, width: int = 72) -> str:
    """Return a short text for an array: in full where it is small, shape and range where it is not."""
    array = np.asarray(value)
    if array.size <= 16:
        text = np.array2string(array, precision=4, separator=", ", threshold=16, floatmode="maxprec")
        text = " ".join(text.split())
        if len(text) <= width:
            return text
    if array.size == 0 or array.dtype.kind not in "fiub":
        return f"{array.dtype}{list(array.shape)}"
    numbers = array.astype(np.float64)
    low, mean, high = numbers.min(), numbers.mean(), numbers.max()
    if low == high:
        return f"all {low:.3g}"
    if array.dtype.kind == "f" and abs(mean) < np.finfo(array.dtype).eps * max(-low, high):
        mean = 0.0  # what is left of numbers that cancel is rounding
    return f"mean {mean:.3g}, min {low:.3g}, max {high:.3g}"


def count_nan(array: HostArray) -> int:
    """Return how many elements are NaN."""
    return int(np.count_nonzero(np.isnan(array)))


def count_infinite(array: HostArray) -> int:
    """Return how many elements are infinite."""
    return int(np.count_nonzero(np.isinf(array)))


def padded_positions(length: int, before: int, after: int, mode: str) -> HostArray:
    """Return which positions of an axis a padded axis shows, in NumPy's `mode`."""
    result: HostArray = np.pad(np.arange(length), (before, after), mode=mode)  # type: ignore[call-overload]
    return result


def zero_index(shape: Shape) -> HostArray:
    """Return an index array of zeros that owns a single element."""
    return np.broadcast_to(np.zeros((), np.int64), shape)


def random_generator(seed: int | tuple[int, ...]) -> np.random.Generator:
    """Return a stream of random numbers; a counter-based generator, so that it can be had on other devices too."""
    return np.random.Generator(np.random.Philox(seed))


def is_random_generator(value: object) -> bool:
    """Whether `value` is a stream of random numbers. NumPy loads its random module when it is first used."""
    return isinstance(value, np.random.Generator)

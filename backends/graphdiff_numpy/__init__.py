"""The NumPy backend of graphdiff."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from graphdiff.backend import Backend, fill_index, require_labels, require_within

__all__ = ["NumpyBackend", "label_table", "weighted_dot"]

_SMALL = 1 << 16
"""Elements up to which a broadcast is written out."""
_EXACT = 1 << 10
"""Elements up to which a sum along an axis is a product with ones."""
_FLOATS = (np.dtype("float32"), np.dtype("float64"))
_add_reduce: Any = np.add.reduce
_multiply_reduce: Any = np.multiply.reduce
_maximum_reduce: Any = np.maximum.reduce
_minimum_reduce: Any = np.minimum.reduce


def _scatter_add(values: Any, *arrays: Any, shape: tuple[int, ...], template: tuple[Any, ...]) -> Any:
    result = np.zeros(shape, values.dtype)
    if arrays:
        # An index array may name an element twice; only `add.at` counts both.
        np.add.at(result, fill_index(template, arrays), values)
    else:
        result[template] = values
    return result


def _getitem(array: Any, *arrays: Any, template: tuple[Any, ...]) -> Any:
    return array[fill_index(template, arrays) if arrays else template]


def _index_set(array: Any, values: Any, *arrays: Any, template: tuple[Any, ...]) -> Any:
    result = np.array(array)
    result[fill_index(template, arrays)] = values
    return result


def _broadcast_to(array: Any, shape: tuple[int, ...]) -> Any:
    # Filling a small array takes a fifth of the time that `np.broadcast_to` needs to make a view.
    if math.prod(shape) > _SMALL:
        return np.broadcast_to(array, shape)
    result = np.empty(shape, array.dtype)
    result[...] = array
    return result


def _reshape(array: Any, shape: tuple[int, ...]) -> Any:
    return array.reshape(shape)


def _matrix_transpose(array: Any) -> Any:
    return array.swapaxes(-1, -2)


@lru_cache(maxsize=64)
def _ones(length: int, dtype: Any) -> Any:
    return np.ones(length, dtype)


def _sum(array: Any, axis: Any = None, keepdims: bool = False) -> Any:
    # A product with ones takes a third of the time; over longer axes NumPy's pairwise sum is the more accurate.
    if array.ndim == 2 and axis.__class__ is tuple and len(axis) == 1 and array.dtype in _FLOATS:
        along = axis[0]
        length = array.shape[along]
        if 0 < length <= _EXACT:
            ones = _ones(length, array.dtype)
            summed = array.dot(ones) if along == 1 else ones.dot(array)
            return summed if not keepdims else summed[:, None] if along == 1 else summed[None]
    if array.dtype.char == "e":
        return _wide_sum(array, axis, keepdims).astype(array.dtype)
    return _add_reduce(array, axis, None, None, keepdims)


def _wide_sum(array: Any, axis: Any, keepdims: bool) -> Any:
    """Sum in single precision: half precision ends at 65,504, and adds nothing below 1 to 2,048."""
    return _add_reduce(array, axis, np.float32, None, keepdims)


def _mean(array: Any, axis: Any = None, keepdims: bool = False) -> Any:
    half = array.dtype.char == "e"
    total = _wide_sum(array, axis, keepdims) if half else _add_reduce(array, axis, None, None, keepdims)
    # Where nothing is left to average over, NumPy's own mean warns and returns NaN.
    if not total.size:
        return np.mean(array, axis, keepdims=keepdims)
    mean = total / (array.size // total.size)
    return mean.astype(array.dtype) if half else mean


def _prod(array: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _multiply_reduce(array, axis, None, None, keepdims)


def _max(array: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _maximum_reduce(array, axis, None, None, keepdims)


def _min(array: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _minimum_reduce(array, axis, None, None, keepdims)


def _astype(array: Any, dtype: Any) -> Any:
    return array.astype(dtype)


def _cumulative_sum(array: Any, *, axis: int) -> Any:
    return np.cumsum(array, axis)


def _cumulative_prod(array: Any, *, axis: int) -> Any:
    return np.cumprod(array, axis)


def _einsum(*operands: Any, subscripts: str) -> Any:
    # The search for a contraction path costs more than it saves on two operands without a matrix product.
    return np.einsum(subscripts, *operands, optimize=len(operands) > 1)


@lru_cache(maxsize=64)
def label_table(classes: int, value: float, dtype: Any) -> Any:
    """Return the rows that labels 0 … classes - 1 stand for, and a row of NaN for those beyond."""
    table = np.full((classes + 1, classes), math.nan, dtype)
    table[:classes] = np.eye(classes, dtype=dtype) * value
    return table


def _label_weights(labels: Any, classes: int, value: float, dtype: Any) -> Any:
    require_labels(labels, classes)
    return label_table(classes, value, dtype).take(labels, 0, mode="clip")


def weighted_dot(x: Any, weights: Any) -> Any:
    """Return the inner product of two vectors, in which what has weight 0 does not count: not infinity either."""
    found = x.dot(weights)
    if found == found:
        return found
    counted = weights != 0
    return x[counted].dot(weights[counted])


def _weighted_total(x: Any, weights: Any) -> Any:
    if x.ndim == 2 and x.dtype.itemsize > 2:  # whose sums are kept in single
        found = np.vdot(x, weights)  # says nothing of infinity times 0, as dot does
        if found == found:
            return found
    return _sum(np.multiply(x, weights, out=np.zeros_like(x), where=weights != 0), (x.ndim - 2, x.ndim - 1))


def _within(x: Any, values: Any, low: float, high: float, told: str) -> Any:
    require_within(values, low, high, told)
    return x


class NumpyBackend(Backend):
    """NumPy arrays on the CPU. A 0-d value is always a NumPy array scalar (`np.float64(2.0)`), as NumPy's own are."""

    name = "numpy"
    namespace = np
    in_place = True
    plan_passes = ("fuse", "layout", "keep", "place", "reuse", "tile")
    engines = ("c", "numpy")
    # Python's operators reach NumPy's scalar arithmetic ten times faster than the ufuncs do, and arrays no slower.
    kernels: Mapping[str, Callable[..., Any]] = {
        "add": operator.add,
        "subtract": operator.sub,
        "multiply": operator.mul,
        "divide": operator.truediv,
        "negative": operator.neg,
        "matmul": operator.matmul,
        # NumPy's public functions wrap these in several calls of Python, which is most of their time on small arrays.
        "sum": _sum,
        "mean": _mean,
        "prod": _prod,  # whole, not opened into a tree: that multiplies in another order, and 0 by what has overflowed
        "max": _max,
        "min": _min,
        "reshape": _reshape,
        "broadcast_to": _broadcast_to,
        "matrix_transpose": _matrix_transpose,
        "astype": _astype,
        "einsum_op": _einsum,
        "cumsum": _cumulative_sum,
        "cumprod": _cumulative_prod,
        "getitem": _getitem,
        "scatter_add": _scatter_add,
        "index_set": _index_set,
        "label_weights": _label_weights,
        "within": _within,
        "weighted_total": _weighted_total,
    }
    normal = frozenset({"sum", "mean", "max", "min", "getitem"})

    @staticmethod
    def planner(
        program: Any, disable: frozenset[str], precision: str, engine: str = "auto", calls: int | None = None
    ) -> Any:
        """Make a program ready to run; there is one precision."""
        from graphdiff_numpy.engines import planned

        return planned(program, disable, engine, calls)

    def from_host(self, array: Any, dtype: Any = None) -> Any:
        """Return the array itself where it already is one of the right dtype: no copy is made."""
        array = np.asarray(array, dtype)
        return array if array.ndim else array[()]  # a view would be another object

    def host_dtype(self, array: Any) -> Any:
        """Return the array's dtype, which is NumPy's already."""
        return array.dtype

    def native_dtype(self, dtype: Any) -> Any:
        """Return the dtype itself."""
        return dtype

    def owns(self, array: Any) -> bool:
        """Whether `array` is a NumPy array or array scalar."""
        return isinstance(array, (np.ndarray, np.generic))

    def copy(self, array: Any) -> Any:
        """Return a copy that shares no memory."""
        return np.array(array) if array.ndim else array[()]  # a view would be another object

    def shown(self, array: Any) -> Any:
        """Return a view that cannot be written into; array scalars cannot be anyway."""
        if type(array) is not np.ndarray:
            return array
        view = array.view()
        view.flags.writeable = False
        return view

    def normalize(self, value: Any) -> Any:
        """Turn a 0-d array into an array scalar."""
        return value[()] if type(value) is np.ndarray and value.ndim == 0 else value

    def quiet(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context without floating-point warnings."""
        return np.errstate(all="ignore")

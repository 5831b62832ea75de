"""Evaluations that CuPy lacks, or computes in more calls than it must, written over its namespace."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from graphdiff.backend import fill_index

__all__ = ["kernels_for"]


def kernels_for(xp: Any) -> Mapping[str, Callable[..., Any]]:
    """Return evaluations by op name over an array module that is CuPy or has its names.

    Parameters
    ----------
    xp : module
    """
    reference = _Indexing(xp)
    return {
        "getitem": reference.take,
        "scatter_add": reference.scatter_add,
        "index_set": reference.put,
        "label_weights": reference.label_weights,
        "astype": lambda array, dtype: array.astype(dtype),
        "reshape": lambda array, shape: array.reshape(shape),
        "matrix_transpose": lambda array: array.swapaxes(-1, -2),
        "cumsum": lambda array, *, axis: xp.cumsum(array, axis),
        "cumprod": lambda array, *, axis: xp.cumprod(array, axis),
        "einsum_op": lambda *operands, subscripts: xp.einsum(subscripts, *operands),
        "argsort": lambda array, *, axis: xp.argsort(array, axis=axis, kind="stable").astype("int64"),
    }


class _Indexing:
    """Elements taken, set and added up, by templates of slices, integers and index arrays."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def take(self, array: Any, *arrays: Any, template: tuple[Any, ...]) -> Any:
        return array[fill_index(template, arrays)]

    def put(self, array: Any, values: Any, *arrays: Any, template: tuple[Any, ...]) -> Any:
        result = self.xp.array(array)
        result[fill_index(template, arrays)] = values
        return result

    def scatter_add(self, values: Any, *arrays: Any, shape: tuple[int, ...], template: tuple[Any, ...]) -> Any:
        """Add values up where they belong.

        Sorted by place first: atomic additions would be made in another order, and so rounded otherwise, in every run.
        """
        xp = self.xp
        result = xp.zeros(shape, values.dtype)
        if not arrays:
            result[template] = values
            return result
        taken = xp.arange(math.prod(shape)).reshape(shape)[fill_index(template, arrays)]
        places = taken.reshape(-1)
        added = xp.broadcast_to(values, taken.shape).reshape(-1)
        if not added.size:
            return result
        order = xp.argsort(places, kind="stable")
        places, added = places[order], added[order]
        (starts,) = xp.nonzero(xp.concatenate([xp.ones(1, dtype=bool), places[1:] != places[:-1]]))
        longest = int(xp.max(xp.diff(starts, append=added.size)))
        flat = result.reshape(-1)
        flat[places[starts]] = _sums_from(xp, added, places, longest)[starts]
        return flat.reshape(shape)

    def label_weights(self, labels: Any, *, classes: int, value: float, dtype: Any) -> Any:
        xp = self.xp
        column = labels[..., None]
        weights = xp.where(column == xp.arange(classes), value, 0.0)
        inside = (column >= 0) & (column < classes)
        return xp.where(inside, weights, math.nan).astype(dtype)


def _sums_from(xp: Any, values: Any, places: Any, longest: int) -> Any:
    """Return for every value the sum of it and of those behind it that have the same place.

    Sums of twice as many values each turn, since CuPy's `add.reduceat` takes differences of sums over all values: what
    is small beside them is lost, and one infinity makes NaN of all that follows.

    Parameters
    ----------
    xp : module
    values, places : array, shape (n,)
        Equal places lie side by side.
    longest : int
        How many equal places there are at most.
    """
    sums, step = xp.array(values), 1
    while step < longest:
        same = places[step:] == places[:-step]
        sums[:-step] = sums[:-step] + xp.where(same, sums[step:], 0)
        step *= 2
    return sums

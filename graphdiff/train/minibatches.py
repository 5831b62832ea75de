"""Cutting data into minibatches, shuffled afresh each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphdiff.errors import DataError

__all__ = ["check_data", "minibatches"]


def check_data(arrays: Sequence[Any], names: Sequence[str] = ("X", "y")) -> list[Any]:
    """Return data as NumPy arrays, refused where it cannot be trained on.

    Raises
    ------
    DataError
        Empty data, different numbers of rows, or a value that is NaN or infinite (named by row and column).
    """
    checked = [np.asarray(array) for array in arrays]
    for name, array in zip(names, checked):
        if array.ndim == 0 or len(array) == 0:
            raise DataError(f"{name} has no rows")
        if len(array) != len(checked[0]):
            raise DataError(f"{names[0]} has {len(checked[0])} rows and {name} has {len(array)}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            row, *rest = np.argwhere(~np.isfinite(array))[0].tolist()
            column = f", column {', '.join(map(str, rest))}" if rest else ""
            raise DataError(f"{name} has {array[(row, *rest)]} in row {row}{column}")
    return checked


def minibatches(
    arrays: Sequence[Any],
    batch_size: int,
    *,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = True,
    drop_last: bool = False,
) -> Iterator[tuple[Any, ...]]:
    """Yield tuples of rows of `arrays`, `batch_size` at a time.

    Parameters
    ----------
    arrays : sequence of array
        With the same number of rows.
    batch_size : int
    seed, epoch : int
        Together they fix the order: another epoch, another order.
    shuffle : bool
    drop_last : bool
        Leave out a last batch that is smaller.

    Examples
    --------
    >>> import numpy as np
    >>> [len(x) for x, in minibatches((np.arange(5.0),), 2)]
    [2, 2, 1]
    """
    if batch_size < 1:
        raise DataError(f"a batch has at least one row, not {batch_size}")
    count = len(arrays[0])
    if any(len(array) != count for array in arrays):
        raise DataError(f"the arrays have different numbers of rows: {[len(array) for array in arrays]}")
    order = np.random.default_rng((seed, epoch)).permutation(count) if shuffle else np.arange(count)
    end = count - count % batch_size if drop_last else count
    for start in range(0, end, batch_size):
        rows = order[start : start + batch_size]
        yield tuple(array[rows] for array in arrays)

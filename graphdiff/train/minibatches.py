"""Cutting data into minibatches, shuffled afresh each epoch."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from graphdiff import host
from graphdiff.errors import DataError
from graphdiff.guard import guarded
from graphdiff.host import HostArray, with_rows
from graphdiff.train.augment import Augmentation
from graphdiff.train.prefetch import prefetched
from graphdiff.train.scaling import blocks_of
from graphdiff.typing import ArrayLike

__all__ = [
    "Batch",
    "BatchSize",
    "Change",
    "Growing",
    "Inputs",
    "array_of",
    "batch_size_at",
    "check_data",
    "cut_batches",
    "epoch_order",
    "minibatches",
    "require_pair",
]

Inputs: TypeAlias = "ArrayLike | Mapping[str, ArrayLike]"
"""What a model is called with: an array, a tuple of arrays, or a dict of them by the arguments' names."""

BatchSize = int | Callable[[int], int]
"""Rows per batch: a number, or a function of the epoch, which counts from 0."""

Batch: TypeAlias = tuple[HostArray, ...]
Change: TypeAlias = Callable[[list[HostArray], np.random.Generator], list[HostArray]]
"""Of a batch's arrays and a random stream; returns them changed."""


@dataclasses.dataclass(frozen=True)
class Growing:
    """A batch size that grows from epoch to epoch: noisy steps at first, exact ones at the end.

    Parameters
    ----------
    start : int
    factor : float
        What the size is multiplied by …
    every : int
        … after so many epochs.
    limit : int, optional
        The greatest size.

    Examples
    --------
    >>> size = Growing(32, factor=2, every=5, limit=100)
    >>> [size(epoch) for epoch in (0, 4, 5, 10, 99)]
    [32, 32, 64, 100, 100]
    """

    start: int
    factor: float = 2.0
    every: int = 1
    limit: int | None = None

    @guarded
    def __post_init__(self) -> None:
        if self.start < 1 or self.factor < 1 or self.every < 1 or (self.limit is not None and self.limit < self.start):
            raise DataError(f"no growing batch size: {self}")

    def __call__(self, epoch: int) -> int:
        limit = 2**62 if self.limit is None else self.limit
        try:
            return min(int(self.start * self.factor ** (epoch // self.every)), limit)
        except OverflowError:
            return limit


def batch_size_at(batch_size: BatchSize, epoch: int) -> int:
    """Return the number of rows per batch in an epoch."""
    size = batch_size(epoch) if callable(batch_size) else batch_size
    try:
        rows = operator.index(size)
    except TypeError as error:
        raise DataError(f"a batch has a whole number of rows, not {size!r}") from error
    if rows < 1:
        raise DataError(f"a batch has at least one row, not {rows}")
    return rows


def require_pair(data: object, names: tuple[str, str]) -> tuple[Inputs, ArrayLike]:
    """Return inputs and targets; DataError if data is no pair of them."""
    if isinstance(data, np.ndarray) or not isinstance(data, Sequence) or len(data) != 2:
        raise DataError(f"data is a pair ({', '.join(names)}), not {_told(data)}")
    return data[0], data[1]


def check_data(arrays: Sequence[Inputs], names: Sequence[str]) -> list[HostArray]:
    """Return data as NumPy arrays, refused where it cannot be trained on. Maps of files stay on disk.

    Raises
    ------
    DataError
        Empty data, different numbers of rows, or a value that is no finite number (named by row and column).
    """
    checked = [array_of(array, name) for name, array in zip(names, arrays, strict=True)]
    for name, array in zip(names, checked):
        if array.ndim == 0 or len(array) == 0:
            raise DataError(f"{name} has no rows")
        if len(array) != len(checked[0]):
            raise DataError(f"{names[0]} has {len(checked[0])} rows and {name} has {len(array)}")
        if array.dtype.kind == "f":
            _require_finite(array, name)
    return checked


def _told(data: object) -> str:
    shape = getattr(data, "shape", None)
    kind = type(data).__name__
    if shape is not None:
        return f"one {kind} of shape {list(shape)}"
    return f"a {kind} of {len(data)}" if isinstance(data, Sequence) else f"a {kind}"


def array_of(given: Inputs, name: str) -> HostArray:
    """Return data as a NumPy array of numbers."""
    if hasattr(given, "toarray"):
        raise DataError(f"{name} is sparse, and layers take dense arrays: give {name}.toarray()")
    try:
        array = host.as_host(given)
    except ValueError as error:
        raise DataError(f"{name} is no array: its rows differ in length") from error
    if array.dtype.kind == "O":  # such as a table some columns of which are of Booleans, others of numbers
        array = _numbers_of(array, name)
    if array.dtype.kind not in "biufc":
        kind = "text" if array.dtype.kind in "US" else array.dtype
        mend = "classes, y = numpy.unique(y, return_inverse=True) numbers them" if name.endswith("y") else "encode it"
        raise DataError(f"{name} is {kind}, and a network takes numbers: {mend}")
    return array


def _numbers_of(array: HostArray, name: str) -> HostArray:
    numbers = np.empty(array.shape)
    for place, value in np.ndenumerate(array):
        try:
            numbers[place] = np.nan if value is None else value
        except (TypeError, ValueError) as error:
            raise DataError(f"{name} has {value!r} in {_place(place)}, and a network takes numbers") from error
    return numbers


def _place(place: Sequence[int]) -> str:
    row, *rest = place
    return f"row {row}" + (f", column {', '.join(map(str, rest))}" if rest else "")


def _require_finite(array: HostArray, name: str) -> None:
    done = 0
    for block in blocks_of(array):
        finite = np.isfinite(block)
        if not finite.all():
            row, *rest = place = np.argwhere(~finite)[0].tolist()
            raise DataError(f"{name} has {block[tuple(place)]} in {_place([done + row, *rest])}")
        done += len(block)


def _rows(array: HostArray, rows: HostArray) -> HostArray:
    """Return rows of an array; of NumPy's own by `take`, a fifth of the time of an index."""
    return array.take(rows, 0) if type(array) is np.ndarray else array[rows]


@guarded
def minibatches(
    arrays: Sequence[ArrayLike],
    batch_size: BatchSize,
    *,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = True,
    drop_last: bool = False,
    rows: HostArray | None = None,
    first: int = 0,
    augment: Augmentation | None = None,
    prefetch: int = 0,
) -> Generator[Batch, None, None]:
    """Yield tuples of rows of `arrays`, `batch_size` at a time.

    Arrays that are maps of files (``numpy.load(path, mmap_mode="r")``) are read batch by batch.

    Parameters
    ----------
    arrays : sequence of array
        With the same number of rows.
    batch_size : int or callable
        A function of the epoch, such as `Growing`, makes batches of changing size.
    seed, epoch : int
        Together they fix the order: another epoch, another order.
    shuffle : bool
    drop_last : bool
        Leave out a last batch that is smaller.
    rows : integer array, optional
        Use these rows only.
    first : int
        Begin with this batch of the epoch.
    augment : callable, optional
        Changes the first array's batches, as the functions of `gd.train.augment` do. It is given a random stream that
        depends on seed, epoch and the batch's number alone.
    prefetch : int
        So many batches are prepared ahead by a thread in the background, which pays where reading or augmenting takes
        long; the batches are the same.

    Examples
    --------
    >>> import numpy as np
    >>> [len(x) for x, in minibatches((np.arange(5.0),), 2)]
    [2, 2, 1]
    >>> [len(x) for x, in minibatches((np.arange(5.0),), Growing(2), epoch=1)]
    [4, 1]
    """
    held: list[HostArray] = [with_rows(array) for array in arrays]
    if any(len(array) != len(held[0]) for array in held):
        raise DataError(f"the arrays have different numbers of rows: {[len(array) for array in held]}")
    change = None
    if augment is not None:

        def change(batch: list[HostArray], stream: np.random.Generator) -> list[HostArray]:
            return [augment(batch[0], stream), *batch[1:]]

    size = batch_size_at(batch_size, epoch)
    order = epoch_order(len(held[0]), size, seed, epoch, shuffle=shuffle, drop_last=drop_last, rows=rows)
    return cut_batches(held, order, size, (seed, epoch), first=first, change=change, prefetch=prefetch)


def epoch_order(
    count: int, size: int, seed: int, epoch: int, *, shuffle: bool, drop_last: bool, rows: HostArray | None
) -> HostArray:
    """Return which of `count` rows an epoch goes through, in its order; arguments are those of `minibatches`."""
    count = count if rows is None else len(rows)
    order = np.random.default_rng((seed, epoch)).permutation(count) if shuffle else np.arange(count)
    if rows is not None:
        order = np.asarray(rows)[order]
    return order[: count - count % size] if drop_last else order


def cut_batches(
    arrays: Sequence[HostArray],
    order: HostArray,
    size: int,
    stream: tuple[int, int],
    *,
    first: int = 0,
    change: Change | None = None,
    prefetch: int = 0,
) -> Generator[Batch, None, None]:
    """Return a generator of batches of the rows in `order`; other arguments are those of `minibatches`.

    Parameters
    ----------
    arrays : sequence of array
    order : integer array
    size : int
        Rows per batch.
    stream : (seed, epoch)
    first : int
    change : callable, optional
        Given a batch's arrays and a stream of random numbers that depends on `stream` and the batch's number alone.
    prefetch : int
    """
    if prefetch < 0:
        raise DataError(f"the number of batches to prepare ahead is not negative, not {prefetch}")

    def cut() -> Generator[Batch, None, None]:
        for batch in range(first, -(-len(order) // size)):
            taken = order[batch * size : (batch + 1) * size]
            parts = [_rows(array, taken) for array in arrays]
            if change is not None:
                # Batches count from 1 here: (seed, epoch) and (seed, epoch, 0) are the same seed.
                parts = change(parts, np.random.default_rng((*stream, batch + 1)))
            yield tuple(parts)

    return prefetched(cut(), prefetch) if prefetch else cut()

"""Memory before it is there: stretches of it, and strided views of them.

Nothing here knows an array library; sizes, strides and shifts count elements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

__all__ = ["Shape", "Storage", "View", "dense_strides"]

Shape = tuple[int, ...]


@lru_cache(maxsize=4096)
def dense_strides(shape: Shape, columns: bool = False) -> Shape:
    """Return the strides, in elements, of an array without gaps: by rows, or with the first axis running fastest."""
    strides, step = [], 1
    for length in shape if columns else reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(strides) if columns else tuple(reversed(strides))


class Storage:
    """A stretch of memory.

    Attributes
    ----------
    size : int
        In elements.
    dtype : dtype
    kind : {"scratch", "variable", "constant", "slot", "argument", "fresh", "allocated"}
        Scratch lies in the workspace; a slot holds a number that changes from step to step; an argument is the
        caller's memory; what is fresh is made by every run and handed out; what is allocated is made by a kernel.
    source : object
        The variable or the array behind it; the shape of fresh memory, and whether it lies by columns.
    private : bool
        Scratch that shares its memory with nothing else, because some of it must outlast the step.
    spare : int
        Elements behind the values, which hold ones.
    """

    def __init__(self, size: int, dtype: Any, kind: str = "scratch", source: Any = None, private: bool = False) -> None:
        self.size = size
        self.dtype = dtype
        self.kind = kind
        self.source = source
        self.private = private
        self.spare = 0
        self.offset = 0
        self._alias: tuple[Storage, int] | None = None

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.size * int(self.dtype.itemsize)

    @property
    def is_shared(self) -> bool:
        """Whether it lies in the workspace, where others may lie at other times."""
        return self.kind == "scratch" and not self.private

    def become(self, other: Storage, shift: int) -> None:
        """Lie within another storage from now on."""
        self._alias = other, shift

    def root(self) -> tuple[Storage, int]:
        """Return the storage that this one lies in, and where it begins there."""
        storage, shift = self, 0
        while storage._alias is not None:
            storage, step = storage._alias
            shift += step
        return storage, shift


@dataclass(frozen=True, eq=False)
class View:
    """A strided array within a storage; strides and shift count elements."""

    storage: Storage
    shape: Shape
    strides: Shape
    shift: int
    dtype: Any
    label: str = ""
    """What the source calls it."""

    def _of(self, shape: Shape, strides: Shape, shift: int | None = None) -> View:
        """Return another view of the same storage."""
        return replace(self, shape=shape, strides=strides, shift=self.shift if shift is None else shift)

    @cached_property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @cached_property
    def by_rows(self) -> bool:
        """Whether the elements lie without gaps in the order of the last axis running fastest."""
        return _is_dense(self.shape, self.strides, columns=False)

    @cached_property
    def by_columns(self) -> bool:
        """Whether the elements lie without gaps in the order of the first axis running fastest."""
        return _is_dense(self.shape, self.strides, columns=True)

    @cached_property
    def turned(self) -> bool:
        """Whether the elements lie by columns, and not also by rows as a vector's do."""
        return self.by_columns and not self.by_rows

    def place(self) -> tuple[Storage, int]:
        """Return the root storage and the element where this view begins."""
        root, shift = self.storage.root()
        return root, shift + self.shift

    @property
    def where(self) -> str:
        """Where it lies, for people to read."""
        root, shift = self.place()
        if root.kind == "variable":
            return f"variable {root.source.name or 'parameters'}"
        if root.kind == "fresh":
            return "returned"
        return f"scratch {root.offset + shift * self.dtype.itemsize}" if root.is_shared else "kept"

    def fits(self, other: View) -> bool:
        """Whether both have the same geometry, so that one may be computed in the other's memory."""
        return (
            self.shape == other.shape
            and self.dtype.itemsize == other.dtype.itemsize
            and _significant(self.shape, self.strides) == _significant(other.shape, other.strides)
        )

    def permuted(self, axes: Sequence[int]) -> View:
        """Return the view with its axes in another order."""
        shape, strides = tuple(self.shape[a] for a in axes), tuple(self.strides[a] for a in axes)
        return self._of(shape, strides)

    @property
    def T(self) -> View:
        """The view with its axes reversed."""
        return self.permuted(tuple(reversed(range(len(self.shape)))))

    def flat(self) -> View:
        """Return the elements of a view without gaps as a vector, in the order in which they lie."""
        return self._of((self.size,), (1,))

    def retyped(self, dtype: Any) -> View:
        """Return the same bytes read as another dtype of the same width."""
        return replace(self, dtype=dtype)

    def broadcast(self, shape: Shape) -> View:
        """Return the view repeated up to a shape, without taking memory."""
        lead = len(shape) - len(self.shape)
        strides = [0] * lead
        for length, stride, wanted in zip(self.shape, self.strides, shape[lead:], strict=True):
            strides.append(stride if length == wanted else 0)
        return self._of(shape, tuple(strides))

    def indexed(self, template: Sequence[Any]) -> View | None:
        """Return the view indexed by integers, slices and new axes; None where the template has anything else."""
        shape: list[int] = []
        strides: list[int] = []
        shift, axis = self.shift, 0
        for entry in template:
            if entry is None:
                shape.append(1)
                strides.append(0)
                continue
            if axis >= len(self.shape):
                return None
            length, stride = self.shape[axis], self.strides[axis]
            axis += 1
            if isinstance(entry, slice):
                start, stop, step = entry.indices(length)
                shape.append(len(range(start, stop, step)))
                strides.append(stride * step)
                shift += start * stride
            elif isinstance(entry, int) and not isinstance(entry, bool) and -length <= entry < length:
                shift += (entry % length) * stride
            else:
                return None
        kept, kept_strides = self.shape[axis:], self.strides[axis:]
        return self._of((*shape, *kept), (*strides, *kept_strides), shift)

    def reshaped(self, shape: Shape) -> View | None:
        """Return the view in another shape, or None where that takes a copy."""
        if self.size == 0 or math.prod(shape) != self.size:
            return None
        old = _significant(self.shape, self.strides)
        strides: list[int] = []
        lengths = [length for length in shape if length != 1]
        at = 0
        while at < len(lengths) or old:
            if not old or at >= len(lengths):
                return None
            length, stride = old.pop(0)
            block, new = length, lengths[at]
            run = [lengths[at]]
            at += 1
            while block != new:
                if block < new:
                    if not old:
                        return None
                    following, step = old.pop(0)
                    if stride != following * step:
                        return None
                    block, stride = block * following, step
                else:
                    if at >= len(lengths):
                        return None
                    new *= lengths[at]
                    run.append(lengths[at])
                    at += 1
            strides += [stride * step for step in dense_strides(tuple(run))]
        remaining = iter(strides)
        full = tuple(0 if length == 1 else next(remaining) for length in shape)
        return self._of(shape, full)


def _significant(shape: Shape, strides: Shape) -> list[tuple[int, int]]:
    """Return (length, stride) of the axes longer than 1: the others' strides mean nothing."""
    return [(length, stride) for length, stride in zip(shape, strides, strict=True) if length != 1]


@lru_cache(maxsize=4096)
def _is_dense(shape: Shape, strides: Shape, columns: bool) -> bool:
    """Whether elements lie without gaps, by columns or by rows."""
    dense = dense_strides(shape, columns)
    return math.prod(shape) <= 1 or _significant(shape, strides) == _significant(shape, dense)

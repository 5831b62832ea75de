"""A schedule: calls in order, over views of stretches of memory; and where each stretch lies.

Nothing here knows an array library. A backend's planner says which calls a program becomes; this module finds out how
long each value lives, which calls may write over an operand, and how all values fit into one workspace.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from graphdiff.plan.placing import lowest_places
from graphdiff.tensor import Tensor

__all__ = ["Call", "Instruction", "Local", "Schedule", "Storage", "View", "dense_strides"]

Shape = tuple[int, ...]
ALIGNMENT = 64


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
    kind : {"scratch", "variable", "constant", "slot"}
        Scratch lies in the workspace; a slot holds a number that changes from step to step.
    source : object
        The variable or the array behind it; the shape of fresh memory.
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


@dataclass(eq=False)
class Local:
    """A value that is not in planned memory: an argument, a number, or what a call has allocated.

    Attributes
    ----------
    text : str
        The Python expression for it.
    roots : frozenset of Storage
        Planned memory that it may be a view of.
    plain : bool
        Whether it is a plain Python number.
    """

    text: str
    shape: Shape
    dtype: Any
    roots: frozenset[Storage] = frozenset()
    plain: bool = False


Operand = View | Local | Any


@dataclass(eq=False)
class Call:
    """One call.

    Attributes
    ----------
    function : callable or (View, str)
        What is called: a function, or a method of a planned array by its name.
    operands : tuple of View, Local or constant
    out : View or None
        Planned memory that the call writes.
    keyword : str
        The keyword under which `out` is passed; positional if empty, not passed if "-": then it is the first operand.
    assigns : Local or None
        The name that takes the result.
    node : Tensor or None
        What it computes.
    over : tuple of int
        Operands that the result may be written over.
    elementwise : bool
        Whether it can run tile by tile.
    options : dict
        Further keyword arguments.
    flops : int
    """

    function: Any
    operands: tuple[Operand, ...]
    out: View | None = None
    keyword: str = ""
    assigns: Local | None = None
    node: Tensor | None = None
    over: tuple[int, ...] = ()
    elementwise: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    flops: int = 0

    def touched(self) -> Iterable[Storage]:
        """Return the root storages that the call reads or writes."""
        for operand in (*self.operands, self.out, self.function[0] if isinstance(self.function, tuple) else None):
            if isinstance(operand, View):
                yield operand.storage.root()[0]
            elif isinstance(operand, Local):
                yield from (root.root()[0] for root in operand.roots)

    @property
    def nbytes(self) -> int:
        """Bytes read and written."""
        views = [*self.operands, self.out, self.function[0] if isinstance(self.function, tuple) else None]
        return sum(_bytes(view) for view in views)


@dataclass(frozen=True)
class Instruction:
    """One line of a plan, for people to read.

    Attributes
    ----------
    text : str
        The call.
    op : str
        The op that it computes.
    shape : tuple of int
        Of the result.
    where : str
        Where the result lies: at a byte of the workspace, in a variable, in memory kept between steps, or returned.
    flops, nbytes : int
        Floating-point operations, and bytes read and written.
    """

    text: str
    op: str
    shape: Shape
    where: str
    flops: int
    nbytes: int


def _bytes(operand: Any) -> int:
    if isinstance(operand, (View, Local)):
        return math.prod(operand.shape) * int(operand.dtype.itemsize)
    return 0


def _is_shared(root: Storage) -> bool:
    """Whether a storage lies in the workspace."""
    return root.kind == "scratch" and not root.private


class Schedule:
    """Calls in order: those that compute, and those that then change variables.

    Parameters
    ----------
    compute, commit : list of Call
    kept : iterable of View or Local
        What is read after the last call.
    reuse : bool
        Whether results may share memory.
    returned : sequence of View
        Results that the step gives away. One that fills its storage is made afresh by every run, of kind "fresh",
        instead of being copied out of the workspace.
    linger : int
        For how many more calls memory is not given to other results: these calls then need not wait for its readers.

    Attributes
    ----------
    overwritten : int
        How many results are written over an operand.
    workspace, unshared : int
        Bytes of scratch memory, and what they would be if every result had its own.
    """

    def __init__(
        self,
        compute: list[Call],
        commit: list[Call],
        kept: Iterable[Operand],
        reuse: bool = True,
        returned: Sequence[View] = (),
        linger: int = 0,
    ) -> None:
        self.compute = compute
        self.commit = commit
        self._kept = list(kept)
        lives = self._lifetimes()
        self.unshared = sum(-(-root.nbytes // ALIGNMENT) * ALIGNMENT for root in lives if _is_shared(root))
        self.overwritten = self._write_over_operands(lives) if reuse else 0
        self._give_away(returned)
        self.workspace = self._place(reuse, linger)

    def _give_away(self, returned: Sequence[View]) -> None:
        """Let results that are returned, and that nothing else needs memory within, have memory of their own."""
        roots = [view.place()[0] for view in returned]
        committed = {root for call in self.commit for root in call.touched()}
        elsewhere = [operand.storage.root()[0] for operand in self._kept if isinstance(operand, View)]
        for view, root in zip(returned, roots, strict=True):
            whole = view.place()[1] == 0 and view.size == root.size and (view.by_rows or view.turned)
            alone = elsewhere.count(root) == 1 and root not in committed
            if whole and alone and root.kind == "scratch" and not root.private and not root.spare:
                root.kind, root.source = "fresh", view.T.shape if view.turned else view.shape

    def _scratch(self) -> dict[Storage, tuple[int, int]]:
        """Return when each storage of the workspace is needed."""
        return {root: life for root, life in self._lifetimes().items() if _is_shared(root)}

    @property
    def calls(self) -> list[Call]:
        """All calls in order."""
        return [*self.compute, *self.commit]

    def _lifetimes(self) -> dict[Storage, tuple[int, int]]:
        """Return the first and last call that touches each root storage."""
        lives: dict[Storage, tuple[int, int]] = {}
        for place, call in enumerate(self.calls):
            for root in call.touched():
                lives[root] = (lives.get(root, (place, place))[0], place)
        end = len(self.compute) + len(self.commit)
        for operand in self._kept:
            views = [operand.storage] if isinstance(operand, View) else list(getattr(operand, "roots", ()))
            for storage in views:
                root = storage.root()[0]
                lives[root] = (lives.get(root, (end, end))[0], end)
        return lives

    def _write_over_operands(self, lives: dict[Storage, tuple[int, int]]) -> int:
        """Let results take the memory of operands that nobody needs any more."""
        count = 0
        for place, call in enumerate(self.calls):
            if call.out is None:
                continue
            result = call.out.storage.root()[0]
            if result.kind != "scratch" or lives[result][0] != place:
                continue
            for index in call.over:
                operand = call.operands[index]
                if not isinstance(operand, View) or not operand.fits(call.out):
                    continue
                root, start = operand.place()
                if root is result or root.kind != "scratch" or lives[root][1] != place:
                    continue
                if self._merge(result, call.out.place()[1], root, start):
                    lives[result.root()[0]] = (lives[root][0], lives[result][1])
                    count += 1
                    break
        return count

    @staticmethod
    def _merge(result: Storage, result_start: int, operand: Storage, operand_start: int) -> bool:
        """Make two storages one, aligned so that the views that begin at the two starts coincide."""
        if result.private and operand.private:
            return False
        inner, outer, shift = result, operand, operand_start - result_start
        if result.private or shift < 0 or shift + result.size > operand.size:
            inner, outer, shift = operand, result, result_start - operand_start
        if shift < 0 or shift + inner.size > outer.size or inner.private:
            return False
        inner.become(outer, shift)
        return True

    def _place(self, reuse: bool, linger: int) -> int:
        """Give every scratch storage an offset in the workspace; return its size in bytes.

        Largest first, each at the lowest offset that is free as long as it lives.
        """
        lives = self._scratch()
        order = sorted(lives, key=lambda root: (-root.nbytes, lives[root]))
        sizes = [-(-root.nbytes // ALIGNMENT) * ALIGNMENT for root in order]
        needed = [(lives[root][0], lives[root][1] + linger) if reuse else (0, 0) for root in order]
        offsets = lowest_places(sizes, needed)
        for root, offset in zip(order, offsets, strict=True):
            root.offset = offset
        return max(map(sum, zip(offsets, sizes, strict=True)), default=0)

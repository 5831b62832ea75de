"""The calls that a plan consists of, and how they are told to people."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from graphdiff.plan.lowering.views import Shape, Storage, View
from graphdiff.tensor import Tensor

__all__ = ["Call", "Instruction", "Local", "Operand"]


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
    """

    function: Any
    operands: tuple[Operand, ...]
    out: View | None = None
    keyword: str = ""
    assigns: Local | None = None
    node: Tensor | None = None
    over: tuple[int, ...] = ()
    elementwise: bool = False

    def computed(self) -> list[Tensor]:
        """Return the nodes that it computes, but for those that only it reads and that have no call of their own."""
        return [] if self.node is None else [self.node]

    def touched(self) -> Iterable[Storage]:
        """Return the root storages that the call reads or writes."""
        for operand in self._reached():
            if isinstance(operand, View):
                yield operand.storage.root()[0]
            elif isinstance(operand, Local):
                yield from (root.root()[0] for root in operand.roots)

    @property
    def nbytes(self) -> int:
        """Bytes read and written."""
        return sum(_bytes(operand) for operand in self._reached())

    def _reached(self) -> tuple[Operand, ...]:
        """Return operands, result, and the array whose method is called."""
        return (*self.operands, self.out, self.function[0] if isinstance(self.function, tuple) else None)


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

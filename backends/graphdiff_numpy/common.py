"""What the planner's parts share: thresholds, the registry of lowerings, and small helpers on operands."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from graphdiff.plan.lowering.calls import Local, Operand
from graphdiff.plan.lowering.views import View, dense_strides

if TYPE_CHECKING:
    from graphdiff.plan.program import Tensor
    from graphdiff_numpy.planner import Planner

__all__ = [
    "EXACT",
    "FULL",
    "LISTED",
    "LOWERINGS",
    "PRIVATE",
    "QUICK",
    "SMALL",
    "VIEWS",
    "boxed",
    "compact",
    "ends_at_ones",
    "lowers",
    "numeral",
    "turned",
]

EXACT = 1 << 12
"""Elements up to which a sum may be a product with ones: beyond, NumPy's pairwise sum is more accurate."""
FULL = 1 << 17
"""Elements up to which a constant is kept in full."""
LISTED = 1 << 12
"""Numbers up to which a vector is written as a list."""
PRIVATE = 1 << 16
"""Bytes up to which a layer's input keeps its memory to itself."""
QUICK = 1 << 19
"""Multiplications up to which a product lies by columns."""
SMALL = 1 << 12
"""Elements up to which an argument is copied to lie by columns."""
VIEWS = {"reshape", "permute_dims", "getitem", "broadcast_to"}
"""Ops whose result is a view wherever strides allow."""

Lowering = Callable[["Planner", "Tensor"], bool]
LOWERINGS: dict[str, Lowering] = {}
"""By op name: appends the calls that compute a node, or returns False to leave it to the op's own kernel."""


def lowers(name: str) -> Callable[[Lowering], Lowering]:
    """Register a lowering."""

    def register(lowering: Lowering) -> Lowering:
        LOWERINGS[name] = lowering
        return lowering

    return register


def numeral(number: Any) -> str:
    """Return a number as part of a name."""
    return re.sub(r"\W", "_", f"{float(number):.6g}".replace("-", "minus_")) if np.isrealobj(number) else "constant"


def boxed(operand: Operand) -> Operand:
    """Return a plain number as NumPy's scalar, as everything outside of a plan's own arithmetic expects it."""
    if isinstance(operand, Local) and operand.plain:
        return Local(f"float64({operand.text})", (), operand.dtype)
    return operand


def turned(operand: Operand) -> Operand:
    """Return a matrix transposed."""
    if isinstance(operand, View):
        return operand.T
    return Local(f"{operand.text}.T", tuple(reversed(operand.shape)), operand.dtype, operand.roots)


def compact(view: View) -> tuple[int, ...]:
    """Return the strides of an array without gaps in the order of a view."""
    return dense_strides(view.shape, columns=view.turned)


def ends_at_ones(view: View) -> bool:
    """Whether a matrix lies by columns with a row of ones directly behind it: of a layer's input only the last part."""
    storage = view.storage
    behind = view.shift + view.size == storage.size - storage.spare
    return behind and view.by_columns and storage.spare == view.shape[0]

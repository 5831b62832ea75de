"""What a reduction puts together, in words of C: where it begins, what it adds, and what becomes of the total."""

from __future__ import annotations

import math

from graphdiff.plan.lowering.expressions import IDENTITIES, TYPES, cast, number
from graphdiff.plan.lowering.values import Body, Index
from graphdiff.plan.program import Tensor

__all__ = ["axes_of", "factors", "finished", "identity"]


def axes_of(node: Tensor) -> tuple[int, ...]:
    """Return the axes of its operand that a reduction goes over."""
    return tuple(node.attributes.get("axis", (node.inputs[0].ndim - 1,)))


def identity(node: Tensor) -> str:
    """Return what a reduction begins with."""
    assert node.op is not None
    name, dtype = node.op.name, node.dtype
    if name in IDENTITIES:
        return number(IDENTITIES[name], dtype)
    if dtype.kind == "f":
        return number(-math.inf if name == "max" else math.inf, dtype)
    if dtype.kind == "b":
        return number(name == "min", dtype)
    bits = 8 * dtype.itemsize
    lowest, highest = (0, 2**bits - 1) if dtype.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return number(lowest if name == "max" else highest, dtype)


def finished(node: Tensor, total: str) -> str:
    """Return the result of a reduction whose values are put together."""
    assert node.op is not None
    if node.op.name == "mean":
        return f"{total} / {number(node.inputs[0].size // max(node.size, 1), node.dtype)}"
    if node.op.name == "sum_wide" and node.attributes["scale"] != 1:
        return f"{total} * {number(node.attributes['scale'], node.dtype)}"
    return total


def factors(node: Tensor, body: Body, at: tuple[str, ...]) -> str:
    """Return the k-th product of the row and the column that a matrix product multiplies for the element `at`."""
    x, y = node.inputs
    parts = list(at)
    column = (parts.pop(),) if y.ndim > 1 else ()
    row = (parts.pop(),) if x.ndim > 1 else ()

    def stacked(operand: Tensor, own: tuple[str, ...]) -> tuple[str, ...]:
        """Return the index of the matrix in its stack, then that of the element in the matrix."""
        lengths = operand.shape[: operand.ndim - len(own)]
        outer = parts[len(parts) - len(lengths) :]
        return (*("0" if length == 1 else part for length, part in zip(lengths, outer, strict=True)), *own)

    left, right = stacked(x, (*row, "k")), stacked(y, ("k", *column))
    values = [
        cast(body.value(operand, Index(operand.shape, "", place)), operand.dtype, node.dtype)
        for operand, place in ((x, left), (y, right))
    ]
    return body.let(TYPES[node.dtype.name], " * ".join(values))

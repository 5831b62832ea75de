"""Elementwise ops as ufuncs, and numbers in Python."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from graphdiff.plan.identities import scalar
from graphdiff.plan.lowering.calls import Call, Local, Operand
from graphdiff.plan.lowering.views import View
from graphdiff.plan.program import Tensor
from graphdiff_numpy.common import FULL, lowers

if TYPE_CHECKING:
    from graphdiff_numpy.planner import Planner

__all__ = ["elementwise", "number"]


_TEXT = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "power": "{0} ** {1}",
    "negative": "-{0}",
    "sqrt": "{0} ** 0.5 if {0} > 0 else root({0})",
}


def number(plan: Planner, node: Tensor) -> bool:
    """Compute with numbers in Python's own expressions: NumPy's array scalars are quick there."""
    assert node.op is not None
    operands = [plan.operand(operand) for operand in node.inputs]
    if any(operand.shape for operand in operands) or node.op.kind != "elementwise":
        return False
    name = node.op.name
    if name not in _TEXT or node.dtype.kind != "f" or any(each.dtype != node.dtype for each in node.inputs):
        return False
    texts = [number_text(plan, operand, place) for operand, place in zip(operands, node.inputs, strict=True)]
    if name == "power" and not (isinstance(texts[0], str) and float(texts[0]) > 0):
        return False  # a negative base would give a complex number
    plain = all(isinstance(each, str) or (isinstance(each, Local) and each.plain) for each in texts)
    assigned = Local(plan.fresh(), (), node.dtype, plain=plain)
    plan.calls.append(Call(_TEXT[name], tuple(texts), assigns=assigned, node=node))
    plan.value[node] = assigned
    return True


def number_text(plan: Planner, operand: Operand, node: Tensor) -> Any:
    """Return a constant as text, to be written out; any other number as it is."""
    number = scalar(node)
    if isinstance(operand, View) and number is not None and node.dtype.kind == "f" and math.isfinite(number):
        return repr(number)
    return operand


@lowers("astype")
def cast(plan: Planner, node: Tensor) -> bool:
    """Copy into another dtype; a number that fills a slot is cast by that."""
    source = plan.operand(node.inputs[0])
    if not node.shape:
        if isinstance(source, Local) and node.dtype.kind == "f" and source.dtype.kind == "f":
            only = plan.users.get(node, [])
            if all(user.shape for user in only) and node not in plan.rooted:
                plan.value[node] = plan.slot(source, node.dtype)
                return True
        return False
    out = plan.out(node, isinstance(source, View) and source.turned)
    plan.calls.append(Call(np.copyto, (out, source, "unsafe"), out, "-", node=node))
    plan.value[node] = out
    return True


def elementwise(plan: Planner, node: Tensor) -> bool:
    """Call the ufunc, over an operand that nobody needs any more where there is one."""
    assert node.op is not None
    ufunc = plan.ufunc(node.op)
    if ufunc is None or node.attributes:
        return False
    operands = [plan.array(operand) for operand in node.inputs]
    views = [operand for operand in operands if isinstance(operand, View) and operand.shape == node.shape]
    columns = len(node.shape) == 2 and any(view.turned for view in views)
    out = plan.out(node, columns)
    if ufunc in (np.maximum, np.minimum) and out.size <= FULL:
        for place, given in enumerate(node.inputs):
            number = scalar(given)
            if number is not None and given.size == 1 and (out.by_rows or out.by_columns):
                operands[place] = plan.full(number, out)
    keyword = "out" if ufunc in (np.maximum, np.minimum) else ""
    over = tuple(
        place
        for place, operand in enumerate(operands)
        if isinstance(operand, View) and operand.dtype == node.dtype and operand.shape == node.shape
    )
    if node not in plan.targets and node not in plan.placed and by_column(plan, node, ufunc, operands, out):
        return True
    plan.calls.append(Call(ufunc, tuple(operands), out, keyword, node=node, over=over, elementwise=True))
    plan.value[node] = out
    return True


def by_column(plan: Planner, node: Tensor, ufunc: Any, given: list[Operand], out: View) -> bool:
    """Combine a matrix of two columns with one column in two calls: each takes a third of a broadcast's time."""
    operands = [operand for operand in given if isinstance(operand, View)]
    if len(node.shape) != 2 or node.shape[1] != 2 or len(operands) != 2 or out.by_rows or not out.by_columns:
        return False
    if len(given) != 2 or {operand.shape for operand in operands} != {node.shape, (node.shape[0], 1)}:
        return False
    for source, operand in zip(node.inputs, operands, strict=True):
        last_use = plan.only_user(source) is node and operand.storage.root()[0].kind == "scratch" and owns(plan, source)
        if operand.shape == node.shape and operand.by_columns and last_use and operand.dtype == out.dtype:
            out = operand
    for place in (0, 1):
        parts = [view.indexed((slice(None), place if view.shape[1] > 1 else 0)) for view in operands]
        plan.calls.append(Call(ufunc, tuple(parts), out.indexed((slice(None), place)), node=node))
    plan.value[node] = out
    return True


def owns(plan: Planner, node: Tensor) -> bool:
    """Whether a node's memory was made for it: what it shares with an operand, that operand's other users read, too."""
    own = plan.value[node]
    others = (plan.value.get(operand) for operand in node.inputs)
    return isinstance(own, View) and not any(
        isinstance(other, View) and other.storage.root()[0] is own.storage.root()[0] for other in others
    )


@lowers("multiply")
def multiplied(plan: Planner, node: Tensor) -> bool:
    """Multiply; the adjoint of relu by its bits, a matrix's sums by taking them out of a wide sum."""
    rectified = plan.masks.get(node)
    if rectified is None:
        return scaled_sum(plan, node)
    mask = plan.operand(rectified)
    adjoint_node = next(x for x in node.inputs if x not in plan.skipped)
    adjoint = plan.operand(adjoint_node)
    if not isinstance(mask, View) or not isinstance(adjoint, View):
        return False
    # Unsigned, so that NaN of either sign counts as 1 and lets the adjoint pass: read as signed, the NaN of 0 / 0 is
    # negative, and its product with the adjoint's bits any number. -0.0 does not occur: maximum(x, 0) is 0 for it.
    integer = np.dtype(f"u{node.dtype.itemsize}")
    ones = plan.full(1, mask, integer) if mask.size <= FULL else plan.constant(np.ones((), integer))
    bits = plan.scratch(mask, integer, "mask")
    plan.calls.append(Call(np.fmin, (mask.retyped(integer), ones), bits, node=node, over=(0,), elementwise=True))
    out = plan.out(node, adjoint.turned)
    call = Call(np.multiply, (adjoint.retyped(integer), bits), out.retyped(integer), node=node, over=(0, 1))
    call.elementwise = True
    plan.calls.append(call)
    plan.value[node] = out
    return True


def scaled_sum(plan: Planner, node: Tensor) -> bool:
    """Take a multiple of a matrix's sums out of the wide sum that has them in every column."""
    wide = plan.scaled.get(node)
    summed = None if wide is None else plan.operand(wide)
    if not isinstance(summed, View):
        return False
    plan.value[node] = summed.indexed((slice(None), 0 if len(node.shape) == 1 else slice(0, 1)))
    return True


@lowers("where")
def chosen(plan: Planner, node: Tensor) -> bool:
    """Copy what is chosen over what is not."""
    condition, x, y = (plan.operand(operand) for operand in node.inputs)
    if not node.size or not node.shape or node.inputs[0].dtype.kind != "b":
        return False
    views = [operand for operand in (x, y) if isinstance(operand, View) and operand.shape == node.shape]
    out = plan.out(node, len(node.shape) == 2 and any(v.turned for v in views))
    plan.calls.append(Call(np.copyto, (out, y, "unsafe"), out, "-", node=node))
    plan.calls.append(Call(np.copyto, (out, x, "unsafe", condition), out, "-", node=node))
    plan.value[node] = out
    return True

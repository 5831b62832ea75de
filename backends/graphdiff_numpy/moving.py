"""Ops that move elements: views where strides allow, copies into place where not."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from graphdiff.plan.identities import scalar
from graphdiff.plan.lowering.calls import Call, Local
from graphdiff.plan.lowering.views import View, dense_strides
from graphdiff.plan.program import Tensor
from graphdiff_numpy import label_table
from graphdiff_numpy.common import SMALL, lowers
from graphdiff_numpy.products import beside

if TYPE_CHECKING:
    from graphdiff_numpy.planner import Planner


@lowers("barrier")
def passed(plan: Planner, node: Tensor) -> bool:
    """Let what a barrier keeps apart be the same memory."""
    plan.value[node] = plan.operand(node.inputs[0])
    return True


def viewed_or_copied(plan: Planner, node: Tensor) -> bool:
    """Make a view; where strides do not allow a reshape, a copy."""
    source, op = plan.operand(node.inputs[0]), node.op
    assert op is not None
    if len(node.inputs) > 1:
        return False
    if isinstance(source, View):
        view = plan.viewed(node, source)
        if view is None:
            if op.name != "reshape" or not node.size:
                return False
            out = plan.out(node)
            turned = View(out.storage, source.shape, dense_strides(source.shape), out.shift, out.dtype)
            plan.calls.append(Call(np.copyto, (turned, source), turned, "-", node=node))
            view = out
        plan.value[node] = view
        return True
    if not source.shape and node.dtype.kind == "f":
        boxed = plan.slot(source, node.dtype)
        plan.value[node] = boxed.broadcast(node.shape)
        return True
    if op.name == "reshape":
        taken = Local(plan.fresh(), node.shape, node.dtype, source.roots)
        plan.calls.append(Call(f"{{0}}.reshape({node.shape})", (source,), assigns=taken, node=node))
        plan.value[node] = taken
        return True
    if op.name == "getitem":
        index = ", ".join(map(_subscript, node.attributes["template"]))
        taken = Local(plan.fresh(), node.shape, node.dtype, source.roots)
        plan.calls.append(Call(f"{{0}}[{index}]", (source,), assigns=taken, node=node))
        plan.value[node] = taken
        return True
    if op.name == "permute_dims" and node.attributes["axes"] == tuple(reversed(range(len(node.shape)))):
        plan.value[node] = Local(f"{source.text}.T", node.shape, node.dtype, source.roots)
        return True
    return False


def _subscript(entry: Any) -> str:
    """Return one entry of an index as source."""
    if isinstance(entry, slice):
        parts = (entry.start, entry.stop, entry.step) if entry.step is not None else (entry.start, entry.stop)
        return ":".join("" if part is None else str(operator.index(part)) for part in parts)  # NumPy's integers, too
    return repr(entry)


@lowers("label_weights")
def labels(plan: Planner, node: Tensor) -> bool:
    """Take rows, or columns, of a table."""
    labels, classes = plan.operand(node.inputs[0]), node.attributes["classes"]
    if len(node.shape) != 2 or node.inputs[0].dtype != np.int64 or not node.size:
        return False
    plan.calls.append(Call(_label_check(plan, node), (labels,), node=node))
    table = label_table(classes, node.attributes["value"], node.dtype)
    columns = bool(beside(plan, node))
    out = plan.out(node, columns)
    rows = plan.constant(table.T if columns else table)
    operands = (labels, 1, out.T, "clip") if columns else (labels, 0, out, "clip")
    plan.calls.append(Call((rows, "take"), operands, out, "-", node=node))
    plan.value[node] = out
    return True


def _label_check(plan: Planner, node: Tensor) -> str:
    """Return source that refuses labels outside the classes, at a fifth of what minimum and maximum cost.

    Bytes below 128 are those of no negative number. Labels beyond the classes fall on the table's row of NaN, which the
    loss tells of where it is computed.
    """
    labels, classes = node.inputs[0], node.attributes["classes"]
    ascii_told = classes <= 128 and labels.size <= SMALL
    tests = ["{0}.tobytes().isascii()"] if ascii_told else ["{0}.item({0}.argmin()) >= 0"]
    if not any(user.op is not None and user.op.name == "weighted_total" for user in plan.users.get(node, ())):
        tests.append(f"{{0}}.item({{0}}.argmax()) < {classes}")
    return f"{' and '.join(tests)} or require_labels({{0}}, {classes})"


@lowers("concatenate")
def joined(plan: Planner, node: Tensor) -> bool:
    """Copy the parts that were not computed in place."""
    out = plan.placed.get(node)
    if out is None:
        return False
    if node in plan.listed:
        return listed(plan, node, out)
    shift = 0
    for part in node.inputs:
        piece = View(out.storage, part.shape, (1,), out.shift + shift, out.dtype)
        shift += part.size
        source = plan.operand(part)
        if isinstance(source, View) and source.place() == piece.place() and source.by_rows:
            continue
        if part.size:
            plan.calls.append(Call(np.copyto, (piece, source), piece, "-", node=node))
    plan.value[node] = out
    return True


def listed(plan: Planner, node: Tensor, out: View) -> bool:
    """Write numbers as one list: that takes a tenth of the time that writing them one by one does."""
    numbers = []
    for part in node.inputs:
        given = part if part.op is None else part.inputs[0]
        value = scalar(given)
        numbers.append(plan.operand(given) if value is None else repr(float(value)))
    names = ", ".join(f"{{{place}}}" for place in range(1, len(numbers) + 1))
    plan.calls.append(Call(f"{{0}}[:] = ({names})", (out, *numbers), out, "-", node=node))
    plan.value[node] = out
    return True


@lowers("index_set")
def index_set(plan: Planner, node: Tensor) -> bool:
    """Copy, then write the indexed elements."""
    if len(node.inputs) != 2 or not node.size or not node.shape:
        return False
    out = plan.out(node)
    place = out.indexed(node.attributes["template"])
    if place is None:
        return False
    plan.calls.append(Call(np.copyto, (out, plan.operand(node.inputs[0])), out, "-", node=node))
    plan.calls.append(Call(np.copyto, (place, plan.operand(node.inputs[1]), "unsafe"), place, "-", node=node))
    plan.value[node] = out
    return True


@lowers("scatter_add")
def scattered(plan: Planner, node: Tensor) -> bool:
    """Write zeros, then the indexed elements."""
    if not node.size or not node.shape:
        return False
    if len(node.inputs) == 2 and len(node.shape) == 1 and len(node.attributes["template"]) == 1:
        values, places = (plan.operand(operand) for operand in node.inputs)
        out = plan.out(node)
        plan.calls.append(Call((out, "fill"), (0,), out, "-", node=node))
        # An index array may name an element twice; only `add.at` counts both.
        plan.calls.append(Call(np.add.at, (out, places, values), out, "-", node=node))
        plan.value[node] = out
        return True
    if len(node.inputs) != 1:
        return False
    out = plan.out(node)
    place = out.indexed(node.attributes["template"])
    if place is None:
        return False
    plan.calls.append(Call((out, "fill"), (0,), out, "-", node=node))
    plan.calls.append(Call(np.copyto, (place, plan.operand(node.inputs[0])), place, "-", node=node))
    plan.value[node] = out
    return True

"""Matrix products, in the order of memory that suits what follows, with the bias within where it can be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from graphdiff.plan.lowering.calls import Call, Local, Operand
from graphdiff.plan.lowering.views import View
from graphdiff.plan.program import Tensor
from graphdiff_numpy.common import FULL, QUICK, SMALL, ends_at_ones, lowers, turned
from graphdiff_numpy.patterns import affine_parts

if TYPE_CHECKING:
    from graphdiff_numpy.planner import Planner

__all__ = ["beside", "dot", "product_with_bias"]


def by_columns(plan: Planner, rows: int, columns: int, inner: int) -> bool:
    """Whether a product lies by columns: if it is tall, and small enough for calls to matter more than BLAS."""
    return "layout" not in plan.disable and rows >= columns and rows * columns * inner <= QUICK


def beside(plan: Planner, node: Tensor) -> bool | None:
    """Whether the matrices that `node` is combined with lie by columns; None where there are none yet.

    Combining matrices of both orders takes many times as long as combining two of one.
    """
    for user in plan.users.get(node, []):
        if user.op is not None and user.op.kind == "elementwise" and user.shape == node.shape:
            for other in user.inputs:
                found = None if other is node else lies_by_columns(plan, other, node.shape, 4)
                if found is not None:
                    return found
    return None


def lies_by_columns(plan: Planner, node: Tensor, shape: tuple[int, ...], depth: int) -> bool | None:
    """Whether the nearest lowered matrix below `node` lies by columns; None if there is none of the shape."""
    view = plan.value.get(node)
    if isinstance(view, View):
        return view.turned if view.shape == shape else None
    if depth == 0 or node.op is None or node.op.name in ("matmul", "permute_dims"):
        return None
    found = (lies_by_columns(plan, operand, shape, depth - 1) for operand in node.inputs)
    return next((each for each in found if each is not None), None)


@lowers("add")
def added(plan: Planner, node: Tensor) -> bool:
    """Compute x @ W + b as one product where b lies behind W and x has ones behind it."""
    match = affine_parts(plan, node)
    if match is None:
        return False
    x_node, weights = match
    x = with_ones(plan, x_node)
    if x is None:
        return False
    out = plan.out(node, columns=True)
    dot(plan, weights.T, x, out.T, node)
    plan.value[node] = out
    return True


def with_ones(plan: Planner, node: Tensor) -> View | None:
    """Return a layer's input of shape (features + 1, examples) whose last row is ones, or None."""
    x = plan.operand(node)
    examples, features = node.shape
    if isinstance(x, Local) and node.size <= SMALL and examples >= 2 * features:
        copy = plan.out(node, columns=True)
        plan.calls.append(Call(np.copyto, (copy, x), copy, "-", node=node))
        x = plan.value[node] = copy
        plan.write_ones(copy, node)
    if not isinstance(x, View) or not ends_at_ones(x):
        return None
    return View(x.storage, (features + 1, examples), (examples, 1), x.shift, x.dtype, f"{x.label}_and_ones")


@lowers("matmul")
def product(plan: Planner, node: Tensor) -> bool:
    """Call BLAS, on transposed operands where the result lies by columns."""
    x, y = (plan.operand(operand) for operand in node.inputs)
    if not node.size or not node.inputs[0].size or node.inputs[0].dtype != node.inputs[1].dtype:
        return False
    ranks = len(x.shape), len(y.shape)
    if ranks == (1, 1):
        return inner(plan, node, x, y)
    if max(ranks) > 2:
        out = plan.out(node)
        plan.calls.append(Call(np.matmul, (x, y), out, node=node))
        plan.value[node] = out
        return True
    if node in plan.with_bias and product_with_bias(plan, node):
        return True
    columns = False
    if ranks == (2, 2) and node not in plan.placed:
        likewise = beside(plan, node)
        columns = by_columns(plan, node.shape[0], node.shape[1], x.shape[1]) if likewise is None else likewise
    out = plan.out(node, columns)
    if columns:
        dot(plan, turned(y), turned(x), out.T, node)
    else:
        dot(plan, x, y, out, node)
    plan.value[node] = out
    return True


def dot(plan: Planner, x: Operand, y: Operand, out: View, node: Tensor) -> None:
    """Append a product, by the method of an array that is there beforehand where there is one."""
    x, y = laid_alike(plan, x, y)
    if isinstance(x, View):
        plan.calls.append(Call((x, "dot"), (y,), out, node=node))
    else:
        plan.calls.append(Call("{0}.dot({1}, {2})", (x, y, out), out, "-", node=node))


def laid_alike(plan: Planner, x: Operand, y: Operand) -> tuple[Operand, Operand]:
    """Lay a constant factor the other way where x lies by rows and y by columns: small products take half the time."""
    if isinstance(x, View) and isinstance(y, View) and x.by_rows and y.turned and len(x.shape) == 2:
        if _is_constant(y):
            return x, plan.constant(np.ascontiguousarray(y.storage.source.T))
        if _is_constant(x):
            return plan.constant(np.ascontiguousarray(x.storage.source.T)).T, y
    return x, y


def _is_constant(view: View) -> bool:
    """Whether a view is a whole constant, or its transpose, and small enough to be kept a second time."""
    storage = view.storage
    if storage.kind != "constant" or view.size > FULL:
        return False
    result: bool = storage.source.shape == (view.T.shape if view.turned else view.shape)
    return result


def product_with_bias(plan: Planner, node: Tensor) -> bool:
    """Compute xᵀ @ a and the sum of a's rows in one product."""
    total = plan.with_bias[node]
    turned, adjoint_node = node.inputs
    x = plan.value.get(turned.inputs[0])
    adjoint = plan.operand(adjoint_node)
    if not isinstance(x, View) or not x.storage.spare or total in plan.value:
        return False
    rows = with_ones(plan, turned.inputs[0])
    if rows is None:
        return False
    place = plan.placed[node]
    features, outputs = node.shape
    whole = replace(place, shape=(features + 1, outputs), strides=(outputs, 1), label="gradient_with_bias")
    dot(plan, rows, adjoint, whole, node)
    plan.value[node], plan.value[total] = place, plan.placed[total]
    return True


def inner(plan: Planner, node: Tensor, x: Operand, y: Operand) -> bool:
    """Append an inner product, which gives a number."""
    assigned = Local(plan.fresh(), (), node.dtype)
    if isinstance(x, View):
        call = Call((x, "dot"), (y,), assigns=assigned, node=node)
    else:
        call = Call(np.dot, (x, y), assigns=assigned, node=node)
    plan.calls.append(call)
    plan.value[node] = assigned
    return True

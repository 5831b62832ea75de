"""Sums as products with ones where they are short, extremes, and the sums that come with a product."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphdiff.plan.lowering.calls import Call, Local
from graphdiff.plan.lowering.views import View
from graphdiff.plan.program import Tensor
from graphdiff_numpy import weighted_dot
from graphdiff_numpy.common import EXACT, lowers, turned
from graphdiff_numpy.products import dot, product_with_bias

if TYPE_CHECKING:
    from graphdiff_numpy.planner import Planner


@lowers("sum")
def summed(plan: Planner, node: Tensor) -> bool:
    """Sum."""
    return reduced(plan, node, 1.0)


@lowers("mean")
def averaged(plan: Planner, node: Tensor) -> bool:
    """Sum with a weight."""
    count = math.prod(node.inputs[0].shape[axis] for axis in node.attributes["axis"])
    return bool(count) and reduced(plan, node, 1.0 / count)


def reduced(plan: Planner, node: Tensor, weight: float) -> bool:
    """Sum, and multiply by a weight."""
    x_node = node.inputs[0]
    if node.dtype.kind != "f" or x_node.dtype != node.dtype or not x_node.size or not node.attributes["axis"]:
        return False
    if node.dtype.itemsize == 2:
        return False  # sums of half precision are kept in single, which the op's own kernel does
    if node in plan.contracted and contracted(plan, node, x_node, weight):
        return True
    partner = plan.with_bias.get(node)
    if partner is not None:
        # The product that gives this sum too comes later or earlier; what it needs is there by now.
        for operand in partner.inputs:
            plan.operand(operand)
        if partner not in plan.value and product_with_bias(plan, partner):
            return True
    x = plan.operand(x_node)
    axes = node.attributes["axis"]
    if len(axes) == len(x.shape):
        return total(plan, node, x, weight)
    wide = plan.wide.get(x_node)
    if len(x.shape) == 2 and axes == (1,) and wide is not None and wide.attributes["scale"] == weight:
        summed = plan.operand(wide)
        if isinstance(summed, View):
            column = summed.indexed((slice(None), 0))
            plan.value[node] = (
                column
                if column is None or not node.attributes.get("keepdims")
                else (summed.indexed((slice(None), slice(0, 1))))
            )
            return True
    if len(x.shape) == 2 and x.shape[axes[0]] <= EXACT:
        return summed_matrix(plan, node, x, axes[0], weight)
    out, reduced = reduction_out(plan, node, axes)
    plan.calls.append(Call(np.add.reduce, (x, axes if len(axes) > 1 else axes[0], None), reduced, node=node))
    if weight != 1.0:
        factor = plan.constant(np.asarray(weight, node.dtype))
        plan.calls.append(Call(np.multiply, (out, factor), out, node=node, elementwise=True))
    plan.value[node] = out
    return True


def reduction_out(plan: Planner, node: Tensor, axes: tuple[int, ...]) -> tuple[View, View]:
    """Return the memory for a reduction, with and without the axes that it keeps."""
    out = plan.out(node)
    if not node.attributes.get("keepdims"):
        return out, out
    kept = [axis for axis in range(len(node.shape)) if axis not in axes]
    shape, strides = tuple(out.shape[a] for a in kept), tuple(out.strides[a] for a in kept)
    return out, replace(out, shape=shape, strides=strides)


@lowers("weighted_total")
def weighted_total(plan: Planner, node: Tensor) -> bool:
    """Sum a product of two matrices, of which one may be infinite where the other is 0."""
    if node.shape:
        return False
    pair = vectors(plan, node)
    if pair is None or node.dtype.itemsize == 2:
        plan.by_kernel(node)
    else:
        assigned = plan.value[node] = Local(plan.fresh(), (), node.dtype)
        plan.calls.append(Call(weighted_dot, pair, assigns=assigned, node=node))
    weights = node.inputs[1]
    if weights.op is not None and weights.op.name == "label_weights":
        check = f"{{0}} == {{0}} or require_labels({{1}}, {weights.attributes['classes']})"
        operands = plan.operand(node), plan.operand(weights.inputs[0])
        plan.calls.append(Call(check, operands, node=node))
    return True


def vectors(plan: Planner, product: Tensor) -> tuple[View, View] | None:
    """Return two operands as vectors in one order; None if they do not lie alike."""
    left, right = plan.operand(product.inputs[0]), plan.operand(product.inputs[-1])
    if not isinstance(left, View) or not isinstance(right, View):
        return None
    if not ((left.by_rows and right.by_rows) or (left.by_columns and right.by_columns)):
        return None
    return left.flat(), right.flat()


def contracted(plan: Planner, node: Tensor, product: Tensor, weight: float) -> bool:
    """Sum a product of two arrays as their inner product."""
    pair = vectors(plan, product)
    if pair is None:
        return False
    left, right = pair
    assigned = Local(plan.fresh(), (), node.dtype)
    plan.calls.append(Call((left, "dot"), (right,), assigns=assigned, node=node))
    plan.value[node] = weighted(plan, assigned, weight, node)
    return True


def weighted(plan: Planner, number: Local, weight: float, node: Tensor) -> Local:
    """Multiply a number by a weight."""
    if weight == 1.0:
        return number
    assigned = Local(plan.fresh(), (), node.dtype)
    plan.calls.append(Call("{0} * {1}", (number, repr(weight)), assigns=assigned, node=node))
    return assigned


def total(plan: Planner, node: Tensor, x: View | Local, weight: float) -> bool:
    """Sum everything."""
    if node.shape:
        return False
    assigned = Local(plan.fresh(), (), node.dtype)
    if isinstance(x, View) and x.size <= EXACT and (x.by_rows or x.by_columns):
        flat = x.flat()
        weights = plan.full(weight, flat)
        plan.calls.append(Call((flat, "dot"), (weights,), assigns=assigned, node=node))
        plan.value[node] = assigned
    else:
        plan.calls.append(Call(np.add.reduce, (x, None), assigns=assigned, node=node))
        plan.value[node] = weighted(plan, assigned, weight, node)
    return True


def summed_matrix(plan: Planner, node: Tensor, x: View | Local, axis: int, weight: float) -> bool:
    """Sum along one axis of a matrix, as a product with ones or weights."""
    out = plan.out(node)
    length = x.shape[axis]
    weights = plan.constant(np.full(length, weight, node.dtype))
    vector = replace(out, shape=(x.shape[1 - axis],), strides=(1,))
    dot(plan, x if axis == 1 else turned(x), weights, vector, node)
    plan.value[node] = out
    return True


@lowers("sum_wide")
def wide_sum(plan: Planner, node: Tensor) -> bool:
    """Sum along rows into every column, as a product with a matrix of ones."""
    x = plan.operand(node.inputs[0])
    if not isinstance(x, View) or len(node.shape) != 2 or node.dtype.kind != "f" or node.dtype.itemsize == 2:
        return False
    columns = x.turned
    out = plan.out(node, columns)
    ones = plan.constant(np.full((node.shape[1], node.shape[1]), node.attributes["scale"], node.dtype))
    if columns:
        dot(plan, ones, x.T, out.T, node)
    else:
        dot(plan, x, ones, out, node)
    plan.value[node] = out
    return True


def extreme(plan: Planner, node: Tensor, ufunc: Any) -> bool:
    """Reduce by maximum or minimum; two columns are compared directly, which is quicker."""
    x, axes, size = plan.operand(node.inputs[0]), node.attributes["axis"], node.inputs[0].size
    if not axes or len(axes) == len(x.shape) or not node.size or not size:
        return False
    out, reduced = reduction_out(plan, node, axes)
    if isinstance(x, View) and len(x.shape) == 2 and x.shape[axes[0]] == 2:
        first, second = (x.indexed((slice(None),) * axes[0] + (place,)) for place in (0, 1))
        plan.calls.append(Call(ufunc, (first, second), reduced, "out", node=node))
    else:
        call = Call(ufunc.reduce, (x, axes if len(axes) > 1 else axes[0], None), reduced, node=node)
        plan.calls.append(call)
    plan.value[node] = out
    return True


@lowers("max")
def maximum_along(plan: Planner, node: Tensor) -> bool:
    """Reduce by maximum."""
    return extreme(plan, node, np.maximum)


@lowers("min")
def minimum_along(plan: Planner, node: Tensor) -> bool:
    """Reduce by minimum."""
    return extreme(plan, node, np.minimum)

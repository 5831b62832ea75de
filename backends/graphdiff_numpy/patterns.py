"""What needs no call of its own: found before anything is lowered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphdiff.plan.identities import scalar
from graphdiff.plan.lowering.views import Storage, View, dense_strides
from graphdiff.plan.program import Tensor
from graphdiff_numpy.common import LISTED, VIEWS

if TYPE_CHECKING:
    from graphdiff_numpy.planner import Planner

__all__ = ["affine_parts", "find_affine", "find_patterns", "place_parts"]


def find_affine(plan: Planner) -> set[Tensor]:
    """Return the inputs of layers whose bias lies right behind their weights."""
    found = set()
    for node in plan.order:
        match = affine_parts(plan, node)
        if match is not None:
            found.add(match[0])
    return found


def affine_parts(plan: Planner, node: Tensor) -> tuple[Tensor, View] | None:
    """Return (x, weights with the bias as a last row) where `node` is x @ W + b with b behind W."""
    if node.op is None or node.op.name != "add" or len(node.shape) != 2:
        return None
    product, bias = node.inputs
    if product.op is None or product.op.name != "matmul" or bias.shape != node.shape[1:]:
        return None
    x, weights = product.inputs
    W, b = plan.value.get(weights), plan.value.get(bias)
    if plan.only_user(product) is not node or len(x.shape) != 2 or not node.dtype == x.dtype == product.dtype:
        return None
    if not isinstance(W, View) or not isinstance(b, View) or not W.by_rows or W.storage.kind != "variable":
        return None
    if b.storage is not W.storage or b.shift != W.shift + W.size or not b.by_rows:
        return None
    rows, columns = W.shape
    return x, View(W.storage, (rows + 1, columns), (columns, 1), W.shift, W.dtype, f"{W.label}_with_{b.label}")


def place_parts(plan: Planner) -> None:
    """Let what is joined by a concatenation be computed where it ends up."""
    for node in plan.order:
        if node.op is None or node.op.name != "concatenate" or node.attributes["axis"] != 0 or len(node.shape) != 1:
            continue
        storage = Storage(node.size, node.dtype)
        shift = 0
        owners: list[Tensor] = []
        for part in node.inputs:
            owner = part.inputs[0] if part.op is not None and part.op.name == "reshape" else part
            owners.append(owner)
            computed = owner.op is not None and owner.op.name not in VIEWS | {"concatenate"}
            if computed and owner not in plan.placed and part.dtype == node.dtype and owner.shape:
                strides = dense_strides(owner.shape)
                plan.placed[owner] = View(storage, owner.shape, strides, shift, node.dtype)
            shift += part.size
        plan.placed[node] = View(storage, node.shape, (1,), 0, node.dtype, node.name or "joined")
        for owner, following in zip(owners, owners[1:], strict=False):
            join_bias(plan, owner, following)


def join_bias(plan: Planner, product: Tensor, total: Tensor) -> None:
    """Note that xᵀ @ a and the sum of a over its rows lie side by side: one product gives both."""
    if product.op is None or product.op.name != "matmul" or total.op is None or total.op.name != "sum":
        return
    turned, adjoint = product.inputs
    if turned.op is None or turned.op.name != "permute_dims" or turned.inputs[0] not in plan.affine:
        return
    matches = total.inputs[0] is adjoint and total.attributes["axis"] == (0,) and total.shape == product.shape[1:]
    above, below = plan.placed.get(product), plan.placed.get(total)
    if not matches or above is None or below is None:
        return
    # Layers whose outputs are added share the sum, which lies beside one of their products only.
    if below.storage is above.storage and below.shift == above.shift + product.size:
        plan.with_bias[total] = product
        plan.with_bias[product] = total


def find_patterns(plan: Planner) -> None:
    """Note what needs no call of its own, because the call that uses it does both."""
    for node in plan.order:
        if node.op is None:
            continue
        if affine_parts(plan, node) is not None:
            plan.skipped.add(node.inputs[0])
        if "fuse" in plan.disable:
            continue
        if node.op.name == "multiply":
            find_mask(plan, node)
        elif node.op.name == "concatenate":
            find_listed(plan, node)
        elif node.op.name in ("sum", "mean") and not node.shape:
            x = node.inputs[0]
            if is_product(x) and plan.only_user(x) is node:
                plan.contracted.add(node)
                plan.skipped.add(x)
        elif node.op.name == "sum_wide":
            plan.wide[node.inputs[0]] = node
            find_scaled(plan, node)


def find_listed(plan: Planner, node: Tensor) -> None:
    """Note a vector made of single numbers: it is written as one list."""
    if node.dtype.kind != "f" or len(node.shape) != 1 or not 1 < node.size == len(node.inputs) <= LISTED:
        return
    if not all(part.dtype == node.dtype and _boxes_number(part) for part in node.inputs):
        return
    plan.listed.add(node)
    plan.skipped |= {part for part in node.inputs if part.op is not None and plan.only_user(part) is node}


def _boxes_number(part: Tensor) -> bool:
    """Whether a vector of one element is a constant, or a number in a box."""
    if part.op is None:
        return not part.recorded
    return part.op.name == "reshape" and not part.inputs[0].shape


def find_scaled(plan: Planner, wide: Tensor) -> None:
    """Note multiples of sums that a wide sum holds already."""
    for total in plan.users.get(wide.inputs[0], []):
        if total.op is None or total.op.name != "sum" or total.attributes["axis"] != (1,):
            continue
        product = plan.only_user(total)
        if product is None or product.op is None or product.op.name != "multiply":
            continue
        if product.inputs[0] is total and scalar(product.inputs[1]) == wide.attributes["scale"]:
            plan.scaled[product] = wide
            plan.skipped.add(total)


def is_product(x: Tensor) -> bool:
    """Whether a sum over `x` is an inner product of two arrays."""
    if x.op is None or x.op.name not in ("multiply", "square") or x.dtype.kind != "f" or x.size > 1 << 16:
        return False
    left, right = x.inputs[0], x.inputs[-1]
    return left.shape == right.shape == x.shape and left.dtype == right.dtype and left.recorded and right.recorded


def find_mask(plan: Planner, node: Tensor) -> None:
    """Find g · ¬(relu(x) ≤ 0), the adjoint of relu."""
    for adjoint, mask in (node.inputs, reversed(node.inputs)):
        if mask.op is None or mask.op.name != "astype" or plan.only_user(mask) is not node:
            continue
        passes = mask.inputs[0]
        if passes.op is None or passes.op.name != "bitwise_invert" or plan.only_user(passes) is not mask:
            continue
        test = passes.inputs[0]
        if test.op is None or test.op.name != "less_equal" or plan.only_user(test) is not passes:
            continue
        out, bound = test.inputs
        rectified = out.op is not None and out.op.name == "maximum" and scalar(out.inputs[1]) == 0
        alike = adjoint.shape == out.shape == node.shape and node.dtype == out.dtype == adjoint.dtype
        if rectified and alike and scalar(bound) == 0 and adjoint is not mask and node.dtype.itemsize in (4, 8):
            plan.masks[node] = out
            plan.skipped |= {mask, passes, test}
            return

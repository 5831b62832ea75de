"""Forward mode: tangents, from the inputs up, in topological order. One walk serves numbers and graph."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial, reduce
from typing import Any

from graphdiff.differentiate.zeros import (
    REDUCTIONS,
    along_rows,
    chosen,
    exposed,
    finite_product,
    is_without_sign,
    joined,
    kept,
    some,
)
from graphdiff.graph import collector_paused, inside
from graphdiff.host import is_real_floating
from graphdiff.op import Composite, Elementwise, Multilinear, raise_complex
from graphdiff.tensor import WATCHES, Tensor
from graphdiff.typing import Array, ArrayLike, Namespace

__all__ = ["push_forward"]


@collector_paused
def push_forward(
    order: Sequence[Tensor],
    tangent: dict[Tensor, Any],
    F: Namespace,
    live: dict[Tensor, Any] | None = None,
    at_risk: Collection[Tensor] | None = None,
) -> None:
    """Carry the tangents in `tangent` from the inputs up; nodes without an entry have tangent zero.

    Parameters
    ----------
    order : sequence of Tensor
        Topological.
    tangent : dict
        The inputs' tangents; filled with those of the nodes that depend on them.
    F : namespace
        A backend's numbers, or graphdiff's functions to build graph.
    live : dict, optional
        Where tangents may differ from zero, if not everywhere; filled as `tangent` is.
    at_risk : collection of Tensor, optional
        Nodes whose partial derivatives may be infinite; by default they are looked for.
    """
    as_graph = F.is_graph
    watches = WATCHES and WATCHES.here()
    live = {} if live is None else live
    at_risk = exposed(order, looking=True) if at_risk is None else at_risk
    for node in order:
        if node in tangent or node.op is None:
            continue
        moved = [tangent.get(operand) for operand in node.inputs]
        if all(each is None for each in moved):
            continue
        mask: Any = None
        if isinstance(node.op, Composite):
            result, mask = _push_through(F, node, moved, live, bool(at_risk))
        elif at_risk:
            result, mask = _push_carefully(F, node, moved, live, node in at_risk)
        elif as_graph:
            result = node.op.tangent(F, moved, node, node.inputs, node.attributes)
        else:
            values = [operand._value for operand in node.inputs]
            result = node.op.tangent(F, moved, node._value, values, node.attributes)
        if result is None:
            continue
        if not is_real_floating(node.dtype):
            if node.dtype.kind == "c":
                raise_complex()
            continue
        if tuple(result.shape) != node.shape:
            result = F.broadcast_to(result, node.shape)
        if as_graph:
            result = result.astype(node.dtype)
        elif result.dtype != node._value.dtype:
            result = F.astype(result, node._value.dtype)
        tangent[node] = result
        if mask is not None:
            live[node] = mask if tuple(mask.shape) == node.shape else F.broadcast_to(mask, node.shape)
        for watch in watches:
            watch.tangent(node, result)


def _push_through(F: Namespace, node: Tensor, moved: Sequence[Any], live: dict[Tensor, Array], careful: bool) -> Any:
    """Differentiate a composite by opening it; return its tangent and where that is live."""
    opened, order = inside(node)
    inner = {operand: each for operand, each in zip(node.inputs, moved, strict=True) if each is not None}
    masks = {operand: live[operand] for operand in node.inputs if operand in live}
    push_forward(order, inner, F, masks, set(order) if careful else None)
    return inner.get(opened), masks.get(opened)


def _push_carefully(
    F: Namespace, node: Tensor, moved: Sequence[Any], live: dict[Tensor, Array], at_risk: bool
) -> tuple[Any, Any]:
    """Return a node's tangent and where it is live (None: everywhere), structural zeros kept from infinite partials."""
    op, attributes = node.op, node.attributes
    assert op is not None
    out, values = (node, node.inputs) if F.is_graph else (node._value, [operand._value for operand in node.inputs])
    masks = [live.get(operand) for operand in node.inputs]

    def pushed(vectors: Sequence[object]) -> Any:
        return op.tangent(F, vectors, out, values, attributes)

    if op.__class__ is Elementwise or isinstance(op, Multilinear):
        return _sum_of_terms(F, node, moved, masks, values, at_risk)
    if op.name in REDUCTIONS and (masks[0] is not None or op.chooses):
        return _reduced(F, node, moved[0], masks[0], op.adjoint(F, F.ones_like(out), 0, out, values, attributes))
    result = pushed(moved)
    if result is None:
        return None, None
    if is_without_sign(op):
        if op.keeps == "places" or (op.keeps == "elements" and len(values) == 1 and masks[0] is None):
            return result, masks[0]
        return result, some(F, pushed([_weights(F, *each) for each in zip(moved, masks, strict=True)]))
    met = [mask for vector, mask in zip(moved, masks, strict=True) if vector is not None]
    if any(mask is None for mask in met):
        return result, None
    rows = [along_rows(F, mask, op, attributes, node.shape) for mask in met]
    mask = reduce(partial(joined, F), rows)
    return kept(F, mask, result), mask


def _reduced(F: Namespace, node: Tensor, vector: Any, mask: Any, slope: Any) -> tuple[Any, Any]:
    """Return the tangent of a reduction from its slope by each element, and where it is live."""
    assert node.op is not None
    reached = some(F, slope) if node.op.chooses else mask
    if node.op.chooses and mask is not None:
        reached = F.logical_and(reached, mask)
    axis, keepdims = node.attributes["axis"], node.attributes.get("keepdims", False)
    result = F.sum(kept(F, reached, vector * slope), axis=axis, keepdims=keepdims)
    return result, along_rows(F, reached, node.op, node.attributes, node.shape)


def _weights(F: Namespace, vector: Any, mask: Any) -> Any:
    """Return one where an operand's tangent may differ from zero, and zero elsewhere."""
    if vector is None:
        return None
    return F.ones_like(vector) if mask is None else F.astype(mask, vector.dtype)


def _sum_of_terms(
    F: Namespace, node: Tensor, moved: Sequence[Any], masks: Sequence[Any], values: Sequence[Any], at_risk: bool
) -> tuple[Any, Any]:
    """Return the tangent of an op that adds a term per operand, and where it is live."""
    total: Any = None
    where: Any = None
    for position, (vector, mask) in enumerate(zip(moved, masks, strict=True)):
        if vector is None:
            continue
        term, reached = _term(F, node, position, vector, mask, values, at_risk)
        if term is not None:
            where = reached if total is None else joined(F, where, reached)
            total = term if total is None else total + term
    return total, where


def _term(
    F: Namespace, node: Tensor, position: int, vector: Array, mask: Array, values: Sequence[Any], at_risk: bool
) -> tuple[Any, Any]:
    op, attributes = node.op, node.attributes
    assert op is not None
    out = node if F.is_graph else node._value

    def pushed(vector: ArrayLike, operands: Sequence[object] = values) -> Any:
        alone = [vector if place == position else None for place in range(len(operands))]
        return op.tangent(F, alone, out, operands, attributes)

    if op.chooses:
        reached = chosen(F, pushed, vector, mask, op, attributes, node.shape)
        return (None, None) if reached is None else (kept(F, reached, pushed(vector)), reached)
    if mask is None:
        return pushed(vector), None
    if isinstance(op, Multilinear):
        term = finite_product(F, pushed, position, vector, mask, values) if at_risk else pushed(vector)
        ones = [F.ones_like(value) for value in values]
        if is_without_sign(op):
            return term, some(F, pushed(F.astype(mask, vector.dtype), ones))
        return term, along_rows(F, mask, op, attributes, node.shape)
    term = pushed(vector)
    return (kept(F, mask, term) if at_risk and term is not None else term), mask

"""Forward mode: tangents, from the inputs up, in topological order. One walk serves numbers and graph."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from graphdiff.differentiate.masked import Mask, Part, masked_tangent, read
from graphdiff.differentiate.zeros import exposed
from graphdiff.graph import collector_paused, inside
from graphdiff.host import is_real_floating
from graphdiff.op import Composite, raise_complex
from graphdiff.tensor import WATCHES, Tensor
from graphdiff.typing import Array, Namespace

__all__ = ["push_forward"]


@collector_paused
def push_forward(
    order: Sequence[Tensor],
    tangent: dict[Tensor, Array],
    F: Namespace,
    live: dict[Tensor, Array] | None = None,
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
    watches = WATCHES and WATCHES.here()
    live = {} if live is None else live
    at_risk = exposed(order, looking=True) if at_risk is None else at_risk
    for node in order:
        if node in tangent or node.op is None:
            continue
        moved = [tangent.get(operand) for operand in node.inputs]
        if all(each is None for each in moved):
            continue
        mask: Mask = None
        if isinstance(node.op, Composite):
            result, mask = _push_through(F, node, moved, live, bool(at_risk))
        elif at_risk:
            result, mask = masked_tangent(F, node, moved, live, node in at_risk)
        else:
            op, out, values = read(F, node)
            result = op.tangent(F, moved, out, values, node.attributes)
        if result is not None and node.dtype.kind == "c":
            raise_complex()
        if result is None or not is_real_floating(node.dtype):
            continue
        tangent[node] = result = _fitted(F, result, node)
        if mask is not None:
            live[node] = mask if tuple(mask.shape) == node.shape else F.broadcast_to(mask, node.shape)
        for watch in watches:
            watch.tangent(node, result)


def _fitted(F: Namespace, result: Array, node: Tensor) -> Array:
    """Return a tangent in its node's shape and dtype."""
    if tuple(result.shape) != node.shape:
        result = F.broadcast_to(result, node.shape)
    dtype = node.dtype if F.is_graph else node._value.dtype
    return result if result.dtype == dtype else F.astype(result, dtype)


def _push_through(
    F: Namespace, node: Tensor, moved: Sequence[Array | None], live: dict[Tensor, Array], careful: bool
) -> Part:
    """Differentiate a composite by opening it; return its tangent and where that is live."""
    opened, order = inside(node)
    inner = {operand: each for operand, each in zip(node.inputs, moved, strict=True) if each is not None}
    masks = {operand: live[operand] for operand in node.inputs if operand in live}
    push_forward(order, inner, F, masks, set(order) if careful else None)
    return inner.get(opened), masks.get(opened)

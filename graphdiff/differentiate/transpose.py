"""The rule that a custom op does not declare, from the one that it does.

For given inputs either rule is a linear map of one vector, and each is the other's transpose: u ↦ J u and v ↦ Jᵀ v. So
the declared one is built as graph of a vector that has no value, and pulled back to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from graphdiff.differentiate.reverse import below, fitted, pull_back
from graphdiff.errors import NotDifferentiableError
from graphdiff.graph import topological_order
from graphdiff.op import GRAPH, Custom
from graphdiff.tensor import NO_ATTRIBUTES, Tensor
from graphdiff.typing import Array, Attributes, Namespace

__all__ = ["adjoint_by_tangent", "tangent_by_adjoint"]


def tangent_by_adjoint(
    op: Custom,
    F: Namespace,
    tangents: Sequence[Array | None],
    out: Array,
    inputs: Sequence[Array],
    attributes: Attributes,
) -> Array | None:
    """Return J u by the rule for v ↦ Jᵀ v; see `Op.tangent` for the parameters."""
    assert op.adjoint_rule is not None
    result, *operands = _as_tensors(F, [out, *inputs])
    slot = _like(result)
    images: list[tuple[Tensor, Tensor]] = []
    for position, (tangent, operand) in enumerate(zip(tangents, operands, strict=True)):
        if tangent is not None:
            image: Tensor | None = op.adjoint_rule(GRAPH, slot, position, result, *operands, **attributes)
            if image is not None:
                images.append((fitted(GRAPH, image, operand), _as_tensors(F, [tangent])[0]))
    return _pulled_back(op, F, images, slot, [result, *operands])


def adjoint_by_tangent(
    op: Custom,
    F: Namespace,
    cotangent: Array,
    position: int,
    out: Array,
    inputs: Sequence[Array],
    attributes: Attributes,
) -> Array | None:
    """Return the part of Jᵀ v for one input by the rule for u ↦ J u; see `Op.adjoint` for the parameters."""
    assert op.tangent_rule is not None
    result, seed, *operands = _as_tensors(F, [out, cotangent, *inputs])
    slot = _like(operands[position])
    moved = [slot if place == position else None for place in range(len(operands))]
    image = op.tangent_rule(GRAPH, moved, result, *operands, **attributes)
    if image is None:
        return None
    whole = GRAPH.astype(GRAPH.broadcast_to(image, seed.shape), seed.dtype)
    return _pulled_back(op, F, [(whole, seed)], slot, [result, *operands])


def _as_tensors(F: Namespace, values: Sequence[Array]) -> list[Tensor]:
    """Return a backend's arrays as constants; on graph they are tensors already."""
    if F.is_graph:
        return [cast(Tensor, value) for value in values]
    return [Tensor(None, (), NO_ATTRIBUTES, value, F.backend, False) for value in values]


def _like(tensor: Tensor) -> Tensor:
    return Tensor(None, (), NO_ATTRIBUTES, None, tensor.backend, True, (tensor.shape, tensor.dtype))


def _pulled_back(
    op: Custom, F: Namespace, images: Sequence[tuple[Tensor, Tensor]], slot: Tensor, given: Sequence[Tensor]
) -> Array | None:
    """Return the sum of the images' adjoints, pulled back to the vector that the images are linear in."""
    found: dict[Tensor, Array] = {}
    for image, seed in images:
        found[image] = seed if image not in found else found[image] + seed
    order = topological_order(list(found), boundary=frozenset({slot, *given}))
    pull_back(order, found, GRAPH, below(order, {slot}), boundary={slot})
    if slot not in found:
        return None
    pulled = cast(Tensor, found[slot])
    known = frozenset({*given, *(seed for _, seed in images)})
    if any(node is slot for node in topological_order([pulled], boundary=known)):
        raise NotDifferentiableError(
            f"op {op.name!r} defines one rule, which is not linear in its vector and cannot be transposed: declare "
            "both tangent and adjoint, or use the mode whose rule it has"
        )
    return pulled if F.is_graph else pulled._value

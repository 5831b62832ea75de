"""Batching: the same graph with a leading axis, so that one pass does the work of a loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphdiff.errors import ShapeError
from graphdiff.graph import topological_order
from graphdiff.op import FUNCTIONS, GRAPH, OPS, Composite, Elementwise
from graphdiff.tensor import Tensor

__all__ = ["batch"]


def batch(outputs: Sequence[Tensor], batched: Mapping[Tensor, Tensor], size: int) -> list[Tensor]:
    """Return the outputs with a leading axis of length `size`.

    Parameters
    ----------
    outputs : sequence of Tensor
    batched : mapping of Tensor to Tensor
        For leaves or inner nodes, what to put in their place: their shape with the leading axis.
    size : int

    Returns
    -------
    list of Tensor
        An output that depends on none of `batched` is repeated.
    """
    for leaf, wide in batched.items():
        if wide.shape != (size, *leaf.shape):
            raise ShapeError(f"{wide.describe()} is no batch of {size} of {leaf.describe()}")
    wide_of: dict[Tensor, Tensor] = dict(batched)
    for node in topological_order(outputs):
        if node not in wide_of and any(operand in wide_of for operand in node.inputs):
            flags = [operand in wide_of for operand in node.inputs]
            operands = [wide_of.get(operand, operand) for operand in node.inputs]
            wide_of[node] = _batch_node(node, operands, flags, size)
    return [
        wide_of[output] if output in wide_of else FUNCTIONS["broadcast_to"](output, (size, *output.shape))
        for output in outputs
    ]


def _batch_node(node: Tensor, operands: list[Tensor], flags: list[bool], size: int) -> Tensor:
    op = node.op
    assert op is not None
    if op.batch_rule is not None:
        result: Tensor = op.batch_rule(GRAPH, operands, flags, size, **node.attributes)
        return result
    if isinstance(op, Elementwise) or op is OPS["where"]:
        return op.node(_aligned(operands, flags), node.attributes)
    if isinstance(op, Composite):
        inner = {operand: wide for operand, wide, batched in zip(node.inputs, operands, flags, strict=True) if batched}
        return batch([op.open(node.inputs, node.attributes)], inner, size)[0]
    # An op that declares no rule: once per element, then stacked.
    each = [
        tuple(o[index] if batched else o for o, batched in zip(operands, flags, strict=True)) for index in range(size)
    ]
    return FUNCTIONS["stack"]([op.node(row, node.attributes) for row in each])


def _aligned(operands: list[Tensor], flags: list[bool]) -> tuple[Tensor, ...]:
    """Give batched operands the same rank, so that their leading axes meet."""
    rank = max(operand.ndim - batched for operand, batched in zip(operands, flags, strict=True))
    aligned = []
    for operand, batched in zip(operands, flags, strict=True):
        missing = rank + 1 - operand.ndim
        if batched and missing:
            operand = FUNCTIONS["reshape"](operand, (operand.shape[0], *(1,) * missing, *operand.shape[1:]))
        aligned.append(operand)
    return tuple(aligned)

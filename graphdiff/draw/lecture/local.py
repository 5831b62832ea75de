"""Local derivatives as numbers: what stands on the edges of a graph that has values."""

from __future__ import annotations

from typing import Any

from graphdiff import host
from graphdiff.backend import use_backend, working_on
from graphdiff.differentiate.reverse import adjoints, fitted
from graphdiff.op import OPS, Composite
from graphdiff.tensor import Tensor, variable

__all__ = ["local_derivatives"]


def local_derivatives(node: Tensor) -> list[Any]:
    """Return the derivative of the sum of a node's elements by each operand, as NumPy arrays; None where zero.

    For a scalar node these are the numbers on the edges of the graph, parallel edges apart.
    """
    assert node.op is not None
    backend = node.backend
    if isinstance(node.op, Composite) or node.op is OPS["where"]:
        with use_backend(backend):
            leaves = [variable(operand._value) for operand in node.inputs]
            opened = node.op(*leaves, **node.attributes)
            if not host.is_real_floating(opened.dtype):
                return [None] * len(leaves)
            seed = None if opened.size == 1 else backend.numbers.ones_like(opened.value)
            found = adjoints(opened, seed)
        return [found[leaf].numpy() if leaf in found else None for leaf in leaves]
    if not host.is_real_floating(node.dtype):
        return [None] * len(node.inputs)
    values = [operand._value for operand in node.inputs]
    made: list[Any] = []
    with working_on(backend):
        F = backend.numbers
        seed = F.ones_like(node._value)
        for position, operand in enumerate(node.inputs):
            if not host.is_real_floating(operand.dtype):
                made.append(None)
                continue
            part = node.op.adjoint(F, seed, position, node._value, values, node.attributes)
            if part is not None:
                part = backend.to_host(backend.normalize(fitted(F, part, operand._value)))
                part = host.as_host(part)
            made.append(part)
    return made

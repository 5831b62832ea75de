"""Forward mode: tangents, from the inputs up, in topological order. One walk serves numbers and graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from graphdiff.backend import working_on
from graphdiff.differentiate.seeds import starting_tangent
from graphdiff.errors import GraphError
from graphdiff.graph import collector_paused, topological_order
from graphdiff.host import is_real_floating
from graphdiff.op import GRAPH, Composite, raise_complex
from graphdiff.tensor import WATCHES, Tensor

__all__ = ["push_forward", "tangents"]


@collector_paused
def push_forward(order: Sequence[Tensor], tangent: dict[Tensor, Any], F: Any) -> None:
    """Carry the tangents in `tangent` from the inputs up; nodes without an entry have tangent zero.

    Parameters
    ----------
    order : sequence of Tensor
        Topological.
    tangent : dict
        The inputs' tangents; filled with those of the nodes that depend on them.
    F : namespace
        A backend's numbers, or graphdiff's functions to build graph.
    """
    as_graph = F.is_graph
    watches = WATCHES and WATCHES.here()
    for node in order:
        if node in tangent or node.op is None:
            continue
        moved = [tangent.get(operand) for operand in node.inputs]
        if all(each is None for each in moved):
            continue
        if isinstance(node.op, Composite):
            result = _push_through(F, node, moved)
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
        for watch in watches:
            watch.tangent(node, result)


def _push_through(F: Any, node: Tensor, moved: Sequence[Any]) -> Any:
    """Differentiate a composite by opening it."""
    opened = node.op.open(node.inputs, node.attributes)  # type: ignore[union-attr]
    inner = {operand: each for operand, each in zip(node.inputs, moved, strict=True) if each is not None}
    push_forward(topological_order([opened], boundary=frozenset(node.inputs)), inner, F)
    return inner.get(opened)


def tangents(outputs: Tensor | Collection[Tensor], seeds: Mapping[Tensor, Any]) -> Mapping[Tensor, Tensor]:
    """Return the tangent of every node between the seeded ones and the outputs, as differentiable Tensors.

    Parameters
    ----------
    outputs : Tensor or collection of Tensors
        Where to stop.
    seeds : mapping of Tensor to array-like
        The tangents to start from, each of its node's shape.

    Returns
    -------
    dict of Tensor to Tensor
        A node without an entry does not depend on the seeded ones.

    Raises
    ------
    GraphError
        There are no outputs, or the seeds are no mapping.
    ShapeError, DTypeError, BackendError
        A seed does not have its node's shape, its node is not real floating, or it is on another backend.

    Examples
    --------
    >>> import graphdiff as gd
    >>> a, b = gd.variable(2.0), gd.variable(1.0)
    >>> e = (a + b) * (b + 1)
    >>> gd.tangents(e, {b: 1.0})[e].item()
    5.0
    """
    ends = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    if not ends:
        raise GraphError("tangents needs at least one output to stop at")
    if not isinstance(seeds, Mapping):
        raise GraphError(f"seeds map nodes to their tangents, such as {{x: 1.0}}, and are no {type(seeds).__name__}")
    found: dict[Tensor, Any] = {node: starting_tangent(node, seed) for node, seed in seeds.items()}
    with working_on(ends[0].backend):
        push_forward(topological_order(ends), found, GRAPH)
    return found

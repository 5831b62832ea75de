"""The walks down a graph: what lies below outputs, composites opened, values computed anew.

Every node's serial exceeds its inputs', so that what is reachable, sorted by serial, is in topological order. No walk
is recursive: a graph may be a million nodes deep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import NoReturn, TypeVar

from graphdiff.errors import StaleError
from graphdiff.op import Composite
from graphdiff.tensor import Tensor, Variable
from graphdiff.typing import Array

__all__ = ["evaluated", "inside", "opened", "raise_stale", "reachable", "run_kernel", "topological_order"]

by_serial = attrgetter("serial")
Held = TypeVar("Held")


def topological_order(outputs: Iterable[Tensor], boundary: frozenset[Tensor] = frozenset()) -> list[Tensor]:
    """Return the recorded nodes that `outputs` depend on, inputs before users.

    Since every node's serial exceeds its inputs', the order is the reachable set sorted by serial. The walk stops
    at the nodes of `boundary`, which are included.

    Raises
    ------
    StaleError
        A variable was assigned after a node that uses it had been built.
    """
    seen: set[Tensor] = set()
    found: list[Tensor] = []
    pending = [output for output in outputs if output.recorded]
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        found.append(node)
        if boundary and node in boundary:
            continue
        for operand in node.inputs:
            if operand.recorded:
                if operand.__class__ is Variable and operand.clock[0] > node.serial:
                    raise_stale(operand, node)
                pending.append(operand)
    # Depth-first discovery of a chain is already in descending order, which sorting makes use of.
    found.sort(key=by_serial)
    return found


def raise_stale(leaf: Tensor, user: Tensor) -> NoReturn:
    """Raise the error for a variable that was assigned after `user` had been built from it."""
    raise StaleError(
        f"variable {leaf.describe()} was assigned after {user.describe()} had been built from it at {user.source}. "
        "Build the expression again, or evaluate it at the new value with gd.Graph(output).evaluate()."
    )


def reachable(outputs: Iterable[Tensor], boundary: frozenset[Tensor] = frozenset()) -> list[Tensor]:
    """Return all that `outputs` depend on, constants and stale nodes too, inputs before users."""
    seen: set[Tensor] = set()
    pending = list(outputs)
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            if node not in boundary:
                pending.extend(node.inputs)
    return sorted(seen, key=by_serial)


def inside(node: Tensor, again: bool = False) -> tuple[Tensor, list[Tensor]]:
    """Return what a composite stands for, and the nodes from its operands, included, to that.

    `again` is for a backward pass: see `Composite.again`.
    """
    assert isinstance(node.op, Composite)
    made = (node.op.again if again else node.op.open)(node.inputs, node.attributes)
    return made, topological_order([made], boundary=frozenset(node.inputs))


def opened(
    order: Iterable[Tensor], boundary: frozenset[Tensor] = frozenset()
) -> tuple[list[Tensor], dict[Tensor, Tensor]]:
    """Return the nodes with composites, at any depth, replaced by what they stand for, and what stands for each.

    Those of `boundary` stay closed. Users of a composite still have it, not what stands for it, among their inputs.
    """
    found: list[Tensor] = []
    stands: dict[Tensor, Tensor] = {}
    for node in order:
        if not isinstance(node.op, Composite) or node in boundary:
            found.append(node)
            continue
        made, below = inside(node)
        given = frozenset(node.inputs)
        inner, more = opened([each for each in below if each not in given], boundary)
        stands |= more
        stands[node] = stands.get(made, made)
        found += inner
    return found, stands


def evaluated(
    order: Sequence[Tensor],
    values: dict[Tensor, Held],
    leaf: Callable[[Tensor], Held],
    compute: Callable[[Tensor, list[Held]], Held],
) -> dict[Tensor, Held]:
    """Fill `values` with a value for every node of `order` that has none there yet, and return it.

    ``leaf(node)`` gives that of a leaf, ``compute(node, operands)`` that of any other, such as `run_kernel`.
    """
    for node in order:
        if node not in values:
            operands = [values[operand] for operand in node.inputs]
            values[node] = leaf(node) if node.op is None else compute(node, operands)
    return values


def run_kernel(node: Tensor, operands: Sequence[Array]) -> Array:
    """Compute a node's op on arrays of its backend."""
    assert node.op is not None
    return node.op.kernel(node.backend)(*operands, **node.attributes)

"""Elimination: the Jacobian of a scalar graph, accumulated by eliminating its inner vertices in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from graphdiff.backend import working_on
from graphdiff.differentiate.masked import Masked
from graphdiff.elimination.edges import Factor, product
from graphdiff.elimination.orders import GRAPHS, PLURALS, EliminationOrder, elimination_order, graph_after
from graphdiff.elimination.scalar_graph import ScalarGraph
from graphdiff.elimination.vertices import Vertices
from graphdiff.errors import GraphError
from graphdiff.op import GRAPH, literal
from graphdiff.ops.shape import reshape, stack
from graphdiff.tensor import NO_ATTRIBUTES, Tensor
from graphdiff.typing import Array

__all__ = ["best_order", "check_fits", "eliminate"]


def best_order(vertices: Vertices) -> EliminationOrder:
    """Return the order of fewest multiplications among forward, reverse and the greedy ones."""
    if not vertices.inner:
        return EliminationOrder((), 0, 0, "forward", True)
    orders = [elimination_order(vertices, method) for method in ("forward", "reverse", "markowitz")]
    orders.append(elimination_order(vertices, "markowitz", ties="highest"))
    return min(orders, key=lambda order: order.multiplications)


def check_fits(order: EliminationOrder, vertices: Vertices) -> None:
    """Refuse an order of another graph.

    Raises
    ------
    GraphError
        It does not eliminate exactly what lies between inputs and outputs.
    """
    if order.kind == "vertex":
        fits = sorted(order.numbers) == sorted(vertices.inner)
    else:
        try:
            fits = bool(graph_after(GRAPHS[order.kind](vertices), order.numbers))
        except (GraphError, IndexError):
            fits = False
    if not fits:
        raise GraphError(
            f"the order eliminates {len(order)} {PLURALS[order.kind]}, which are not the ones between the inputs and "
            f"outputs of this function ({len(vertices.inner)} vertices): take it from gd.elimination_order of this "
            "function's gd.Graph"
        )


def eliminate(
    outputs: Sequence[Tensor], leaves: Sequence[Tensor], order: EliminationOrder | None = None, numeric: bool = False
) -> list[list[Tensor]]:
    """Return the Jacobian, entry [output][leaf], by eliminating the inner vertices, edges or faces of the scalar graph.

    Parameters
    ----------
    outputs, leaves : sequence of Tensor
    order : EliminationOrder, optional
        By default the best of the forward, reverse and greedy orders.
    numeric : bool
        Compute numbers; the default builds graph.

    Raises
    ------
    GraphError
        The order is not one of this graph.

    Notes
    -----
    A. Griewank and S. Reese, On the calculation of Jacobian matrices by the Markowitz rule, 1991.
    """
    graph = ScalarGraph(outputs, leaves)
    if order is None:
        order = best_order(graph.vertices)
    check_fits(order, graph.vertices)
    backend = outputs[0].backend
    with working_on(backend):
        factor = graph.factors(backend.numbers if numeric else GRAPH)
        if order.kind == "vertex":
            _eliminate_vertices(graph.vertices, order.numbers, factor)
        else:
            factor = graph_after(GRAPHS[order.kind](graph.vertices, factor), order.numbers).entries()
        return [
            [_block(factor, rows, columns, output, leaf) for columns, leaf in zip(graph.sources, leaves, strict=True)]
            for rows, output in zip(graph.sinks, outputs, strict=True)
        ]


def _eliminate_vertices(vertices: Vertices, order: Sequence[int], factor: dict[tuple[int, int], Factor]) -> None:
    before, after = vertices.copy()
    for v in order:
        tails, heads = sorted(before[v]), sorted(after[v])
        for tail in tails:
            left = factor.pop((tail, v))
            after[tail].discard(v)
            for head in heads:
                term = product(left, factor[v, head])
                earlier = factor.get((tail, head))
                factor[tail, head] = term if earlier is None else earlier + term
                after[tail].add(head)
                before[head].add(tail)
        for head in heads:
            del factor[v, head]
            before[head].discard(v)


def _block(
    factor: dict[tuple[int, int], Factor], rows: Sequence[int], columns: Sequence[int], output: Tensor, leaf: Tensor
) -> Tensor:
    shape, dtype, backend = (*output.shape, *leaf.shape), leaf.dtype, output.backend
    entries = [factor.get((column, row)) for row in rows for column in columns]
    if all(entry is None for entry in entries):
        return GRAPH.zeros(shape, dtype=dtype)
    tensors = []
    for entry in entries:
        entry = entry.value if isinstance(entry, Masked) else entry
        if isinstance(entry, Tensor):
            tensors.append(entry if entry.dtype == dtype else entry.astype(dtype))
        elif entry is None or entry.__class__ in (int, float):
            tensors.append(literal(float(entry or 0), dtype, backend))
        else:
            tensors.append(
                Tensor(None, (), NO_ATTRIBUTES, backend.normalize(cast(Array, entry)), backend, False).astype(dtype)
            )
    return reshape(stack(tensors), shape)

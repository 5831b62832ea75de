"""Which way to a Jacobian is the cheapest, by counted cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from graphdiff.costs import predict
from graphdiff.costs.node import Cost
from graphdiff.differentiate.zeros import is_guarded
from graphdiff.graph import topological_order
from graphdiff.host import is_real_floating
from graphdiff.tensor import Tensor
from graphdiff.text.tables import plain, table

if TYPE_CHECKING:
    from graphdiff.elimination.orders import EliminationOrder

__all__ = ["Choice", "choose", "computed", "is_of_numbers", "predicted"]

MOST_NODES = 5_000
"""Beyond, counting would cost more than it saves, and the sizes decide."""

HANDICAP = 1.05
"""How much elimination must win by on paper: of two ways that cost the same, the plainer one is taken."""

HANDICAP_OF_NUMBERS = 1.35
"""The same on the graph of numbers, where a batched pass loses more of its calls to what a plan merges."""

MOST_NUMBERS = 200
"""Inputs and outputs together, up to which elimination on numbers is considered."""

MOST_ELEMENTS = 100_000
"""Elements of all tensors together, up to which elimination on blocks is considered."""

BATCHED = {"forward": "batched forward", "reverse": "batched reverse"}


@dataclass(frozen=True)
class Choice:
    """The mode chosen for a Jacobian, and what each costs.

    Attributes
    ----------
    mode : {"forward", "reverse", "elimination"}
    costs : dict of str to Cost
    inputs, outputs : int
        Elements.
    order : list of int
        In which blocks are eliminated, if that was looked for.
    title : str
        What is computed.
    """

    mode: str
    costs: dict[str, Cost]
    inputs: int
    outputs: int
    order: Sequence[int] | None = None
    title: str = "Jacobian"

    def __str__(self) -> str:
        headings = ("", "calls", "flops", "transcendental", "bytes", "estimate")
        rows = [
            [
                name,
                *(f"{count:,}" for count in (cost.calls, cost.flops, cost.transcendental, cost.nbytes)),
                f"{1e6 * cost.seconds:,.1f} µs",
            ]
            for name, cost in self.costs.items()
        ]
        title = f"{self.title} of {self.outputs} outputs by {self.inputs} inputs: {self.mode} mode"
        caption = "" if rows else "the graph is too large to count: the sizes decide"
        return plain(table(headings, rows, title=title, caption=caption, right=range(1, 6), rule="none"))


def computed(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> list[Tensor]:
    """Return the nodes between leaves and outputs, outputs included."""
    sources = frozenset(leaves)
    return [
        node for node in topological_order(outputs, boundary=sources) if node not in sources and node.op is not None
    ]


def is_of_numbers(nodes: Sequence[Tensor]) -> bool:
    """Whether a function is written in numbers: every op but those that move elements works on single ones.

    Where these are moved to must be known, which it is not of a place that is computed while a function is traced.
    """

    def is_of_single_ones(node: Tensor) -> bool:
        if node.op is None or node.op.keeps is None:
            return all(each.size == 1 for each in (node, *node.inputs))
        return all(is_real_floating(operand.dtype) or operand.has_value for operand in node.inputs)

    return all(map(is_of_single_ones, nodes))


def _elimination(
    outputs: Sequence[Tensor], leaves: Sequence[Tensor], partials: Cost, order: EliminationOrder | None = None
) -> tuple[Cost, Sequence[int] | None]:
    """Return the cost in the best order found, the value and partial derivatives included, and that order of blocks.

    Memory is not counted: 0.
    """
    if order is not None or is_of_numbers(computed(outputs, leaves)):
        return replace(partials + _scalar_cost(outputs, leaves, order), peak_memory=0), None
    from graphdiff.elimination.accumulate import BlockGraph

    blocks, cost = BlockGraph(outputs, leaves).best_order()
    return replace(partials + cost, peak_memory=0), blocks


def _scalar_cost(outputs: Sequence[Tensor], leaves: Sequence[Tensor], order: EliminationOrder | None) -> Cost:
    """Return the cost of an order on the graph of numbers, by default of the best greedy one."""
    from graphdiff.elimination.eliminate import best_order, check_fits
    from graphdiff.elimination.orders import operations
    from graphdiff.elimination.scalar_graph import ScalarGraph

    vertices = ScalarGraph(outputs, leaves).vertices
    if order is None:
        order = best_order(vertices)
    check_fits(order, vertices)
    _, products, sums = operations(vertices, order.kind, order.numbers)
    itemsize = outputs[0].dtype.itemsize
    # The entries are computed one by one, and put together one by one.
    entries = sum(leaf.size for leaf in leaves) * sum(output.size for output in outputs)
    calls = products + sums + entries
    return Cost(products, sums, 0, calls, 3 * itemsize * calls, numbers=calls)


def predicted(
    outputs: Sequence[Tensor], leaves: Sequence[Tensor], modes: Sequence[str], order: EliminationOrder | None = None
) -> dict[str, Cost]:
    """Return the cost of the Jacobian in each mode, of `graphdiff.costs.MODES` or ``"elimination"``.

    Raises
    ------
    GraphError
        The order is one of another function.
    """
    costs = predict(outputs, leaves, [mode for mode in modes if mode != "elimination"])
    if "elimination" in modes:
        partials = predict(outputs, leaves, ["partials"])["partials"]
        costs["elimination"], _ = _elimination(outputs, leaves, partials, order)
    return costs


def _can_eliminate(order: Sequence[Tensor], outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> bool:
    if not order:
        return False
    if is_of_numbers(order):
        return sum(end.size for end in (*leaves, *outputs)) <= MOST_NUMBERS
    return not is_guarded(order) and sum(node.size for node in order if node.recorded) <= MOST_ELEMENTS


def choose(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> Choice:
    """Return the mode of least estimated time: calls, operations and bytes weighed as in `Cost.seconds`.

    Elimination on the graph of numbers is considered for functions written in numbers alone, elimination of blocks for
    all others.
    """
    inputs, size = sum(leaf.size for leaf in leaves), sum(output.size for output in outputs)
    nodes = computed(outputs, leaves)
    if len(nodes) > MOST_NODES:
        return Choice("forward" if inputs < size else "reverse", {}, inputs, size)
    counted = predict(outputs, leaves, [*BATCHED.values(), "partials"])
    costs = {mode: counted[batched] for mode, batched in BATCHED.items()}
    order: Sequence[int] | None = None
    if _can_eliminate(nodes, outputs, leaves):
        costs["elimination"], order = _elimination(outputs, leaves, counted["partials"])
    handicap = {"elimination": HANDICAP_OF_NUMBERS if order is None else HANDICAP}
    best = min(costs, key=lambda mode: costs[mode].seconds * handicap.get(mode, 1))
    return Choice(best, costs, inputs, size, order)

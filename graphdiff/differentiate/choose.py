"""Which way to a Jacobian is the cheapest, by counted cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphdiff.costs import Cost, predict
from graphdiff.graph import topological_order
from graphdiff.tensor import Tensor

__all__ = ["Choice", "choose", "predicted"]

MOST_NODES = 5_000
"""Beyond, counting would cost more than it saves, and the sizes decide."""

HANDICAP = 1.3
"""How much elimination must win by on paper: fewer multiplications are not reliably faster."""

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
    """

    mode: str
    costs: dict[str, Cost]
    inputs: int
    outputs: int

    def __str__(self) -> str:
        lines = [
            f"Jacobian of {self.outputs} outputs by {self.inputs} inputs: {self.mode} mode",
            f"{'':<14}{'calls':>10}{'flops':>14}{'transcendental':>16}{'bytes':>14}{'estimate':>14}",
        ]
        for name, cost in self.costs.items():
            lines.append(
                f"{name:<14}{cost.calls:>10,}{cost.flops:>14,}{cost.transcendental:>16,}{cost.nbytes:>14,}"
                f"{1e6 * cost.seconds:>11,.1f} µs"
            )
        if not self.costs:
            lines.append("the graph is too large to count: the sizes decide")
        return "\n".join(lines)


def is_of_numbers(nodes: Sequence[Tensor], outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> bool:
    """Whether a function is written in numbers: nothing between its inputs and its outputs has more than one element."""
    ends = {*leaves, *outputs}
    return all(node.size == 1 for node in nodes if node not in ends)


def elimination_cost(outputs: Sequence[Tensor], leaves: Sequence[Tensor], partials: Cost) -> Cost:
    """Return the cost of the accumulation in the best order found, after the value and the partial derivatives."""
    nodes = topological_order(outputs, boundary=frozenset(leaves))
    if is_of_numbers(nodes, outputs, leaves):
        return partials + _scalar_cost(outputs, leaves)
    from graphdiff.differentiate.accumulate import BlockGraph

    return partials + BlockGraph(outputs, leaves).best_order()[1]


def _scalar_cost(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> Cost:
    from graphdiff.differentiate.eliminate import ScalarGraph, best_order

    vertices = ScalarGraph(outputs, leaves).vertices
    order = best_order(vertices)
    _, products, sums = vertices.count(order.numbers)
    itemsize = outputs[0].dtype.itemsize
    # The entries are computed one by one, and put together one by one.
    entries = sum(leaf.size for leaf in leaves) * sum(output.size for output in outputs)
    calls = products + sums + entries
    return Cost(products, sums, 0, calls, 3 * itemsize * calls, numbers=calls)


def predicted(outputs: Sequence[Tensor], leaves: Sequence[Tensor], modes: Sequence[str]) -> dict[str, Cost]:
    """Return the cost of the Jacobian in each mode, of `graphdiff.costs.MODES` or ``"elimination"``."""
    costs = predict(outputs, leaves, [mode for mode in modes if mode != "elimination"])
    if "elimination" in modes:
        costs["elimination"] = elimination_cost(outputs, leaves, predict(outputs, leaves, ["partials"])["partials"])
    return costs


def choose(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> Choice:
    """Return the mode of least counted cost: calls, operations and bytes weighed as in `Cost.seconds`.

    Elimination is considered for functions written in numbers alone.
    """
    inputs, size = sum(leaf.size for leaf in leaves), sum(output.size for output in outputs)
    order = topological_order(outputs, boundary=frozenset(leaves))
    if len(order) > MOST_NODES:
        return Choice("forward" if inputs < size else "reverse", {}, inputs, size)
    modes = list(BATCHED.values())
    ends = {*leaves, *outputs}
    if all(node.size == 1 for node in order if node not in ends) and inputs + size <= 200 and len(order) > 1:
        modes.append("elimination")
    counted = predicted(outputs, leaves, modes)
    costs = {mode.removeprefix("batched "): cost for mode, cost in counted.items()}
    handicap = {"elimination": HANDICAP}
    return Choice(min(costs, key=lambda mode: costs[mode].seconds * handicap.get(mode, 1)), costs, inputs, size)

"""Which results are computed in the memory of the variables that they update, and what must wait for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphdiff.plan.lowering.views import Storage, View
from graphdiff.plan.program import Tensor

if TYPE_CHECKING:
    from graphdiff_numpy.planner import Planner

__all__ = ["find_targets", "late_nodes"]


def find_targets(plan: Planner) -> dict[Tensor, View]:
    """Return the nodes that may be computed in the memory of the variable that they update."""
    targets: dict[Tensor, View] = {}
    for variable, node in plan.program.updates.items():
        if variable.shape and in_place(plan, node) and node not in targets:
            targets[node] = plan.variable_view(variable)
    reads = _Reads(plan)
    late: set[Tensor] = set()
    while targets:
        late = late_nodes(plan, targets)
        bad = next((node for node in targets if not reads.may_write(node, targets[node], late)), None)
        bad = held_up(plan, targets, late) if bad is None else bad
        removed = followed_by_others(plan, targets, late) if bad is None else [bad]
        if not removed:
            break
        for node in removed:
            del targets[node]
    # An operand that only a target needs is late with it already, so that nothing else waits for what follows.
    for node, view in list(targets.items()):
        for operand in node.inputs:
            alone = operand.shape == node.shape and in_place(plan, operand) and plan.only_user(operand) is node
            if alone and reads.may_write(operand, view, late):
                targets[operand] = view
                break
    return targets


def held_up(plan: Planner, targets: dict[Tensor, View], late: set[Tensor]) -> Tensor | None:
    """Return a target that a variable's new value waits for, though that is copied and must be known before."""
    pending = [node for node in plan.program.updates.values() if node in late and node not in targets]
    seen = set(pending)
    while pending:
        for operand in pending.pop().inputs:
            if operand in targets:
                return operand
            if operand in late and operand not in seen:
                seen.add(operand)
                pending.append(operand)
    return None


def followed_by_others(plan: Planner, targets: dict[Tensor, View], late: set[Tensor]) -> list[Tensor]:
    """Return the targets that what is not computed in place waits for."""
    pending = [node for node in late if not in_place(plan, node)]
    seen = set(pending)
    while pending:
        for operand in pending.pop().inputs:
            if operand in late and operand not in seen:
                seen.add(operand)
                pending.append(operand)
    return [node for node in targets if node in seen]


def in_place(plan: Planner, node: Tensor) -> bool:
    """Whether a node is computed elementwise by a ufunc into memory of its own."""
    if node.op is None or node in plan.value or node in plan.placed:
        return False
    arrays = all(
        isinstance(plan.value.get(operand), View) or operand.op is not None or not operand.recorded
        for operand in node.inputs
    )
    written = node.op.kind == "elementwise" and plan.ufunc(node.op) is not None
    return bool(node.ndim and node.size) and written and arrays


def late_nodes(plan: Planner, targets: dict[Tensor, View]) -> set[Tensor]:
    """Return what runs when everything that can fail has been done: what writes variables, and what follows it."""
    late: set[Tensor] = set(targets)
    if not late:
        return late
    for node in plan.order:
        if node.op is not None and any(operand in late for operand in node.inputs):
            late.add(node)
    for node in reversed(plan.order):
        users = plan.users.get(node)
        if users and node not in plan.rooted and in_place(plan, node) and all(user in late for user in users):
            late.add(node)
    return late


class _Reads:
    """Who reads the variables' old values, by the memory that these lie in."""

    def __init__(self, plan: Planner) -> None:
        self._value = plan.value
        self._readers: dict[Storage, list[tuple[int, Tensor]]] = {}
        self._places = {node: place for place, node in enumerate(plan.order)}
        for place, node in enumerate(plan.order):
            for storage in {self._storage(operand) for operand in node.inputs} - {None}:
                self._readers.setdefault(storage, []).append((place, node))
        self._rooted = {self._storage(root) for root in plan.rooted}

    def _storage(self, node: Tensor) -> Any:
        """Return the memory of the variable whose old value a node is, or a view of; else None or another's."""
        value = self._value.get(node)
        return value.storage if isinstance(value, View) else None

    def may_write(self, writer: Tensor, view: View, late: set[Tensor]) -> bool:
        """Whether nobody reads the variable's old value after `writer` has begun to overwrite it."""
        begun = self._places[writer]
        if any(place > begun and node in late for place, node in self._readers.get(view.storage, ())):
            return False
        for operand in writer.inputs:
            if self._storage(operand) is view.storage and not self._value[operand].fits(view):  # type: ignore[union-attr]
                return False
        return view.storage not in self._rooted

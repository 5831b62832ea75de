"""Which results are computed in the memory of the variables that they update, and what must wait for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphdiff.plan.program import Tensor
from graphdiff.plan.views import View

if TYPE_CHECKING:
    from graphdiff_numpy.planner import Planner

__all__ = ["find_targets", "late_nodes"]


def find_targets(plan: Planner) -> dict[Tensor, View]:
    """Return the nodes that may be computed in the memory of the variable that they update."""
    targets: dict[Tensor, View] = {}
    for variable, node in plan.program.updates.items():
        if variable.shape and in_place(plan, node) and node not in targets:
            targets[node] = plan.variable_view(variable)
    while targets:
        late = late_nodes(plan, targets)
        bad = next((node for node in targets if not may_write(plan, node, targets[node], late)), None)
        if bad is None:
            bad = held_up(plan, targets, late)
        if bad is None and all(in_place(plan, node) for node in late):
            break
        targets.pop(bad if bad is not None else next(iter(targets)))
    for node, view in list(targets.items()):
        extend(plan, node, view, targets)
    return targets


def extend(plan: Planner, node: Tensor, view: View, targets: dict[Tensor, View]) -> None:
    """Let an operand that only `node` needs be computed in the variable's memory too."""
    for operand in node.inputs:
        if operand.shape == node.shape and in_place(plan, operand) and plan.only_user(operand) is node:
            tried = {**targets, operand: view}
            late = late_nodes(plan, tried)
            free = held_up(plan, tried, late) is None
            if free and all(may_write(plan, other, place, late) for other, place in tried.items()):
                targets[operand] = view
                return


def held_up(plan: Planner, targets: dict[Tensor, View], late: set[Tensor]) -> Tensor | None:
    """Return a target that a variable's new value waits for, though that is copied and must be known before."""
    for node in plan.program.updates.values():
        if node not in late or node in targets:
            continue
        pending, seen = [node], {node}
        while pending:
            for operand in pending.pop().inputs:
                if operand in targets:
                    return operand
                if operand in late and operand not in seen:
                    seen.add(operand)
                    pending.append(operand)
    return None


def in_place(plan: Planner, node: Tensor) -> bool:
    """Whether a node is computed elementwise by a ufunc into memory of its own."""
    if node.op is None or node in plan.value or node in plan.placed:
        return False
    arrays = all(
        isinstance(plan.value.get(operand), View) or operand.op is not None or not operand.recorded
        for operand in node.inputs
    )
    return bool(node.shape) and node.op.kind == "elementwise" and plan.ufunc(node.op) is not None and arrays


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


def may_write(plan: Planner, writer: Tensor, view: View, late: set[Tensor]) -> bool:
    """Whether nobody reads the variable's old value after `writer` has begun to overwrite it."""
    reached = False
    for node in plan.order:
        if node is writer:
            reached = True
            continue
        if node in late and reached and any(lies_in(plan, operand, view) for operand in node.inputs):
            return False
    for operand in writer.inputs:
        value = plan.value.get(operand)
        if lies_in(plan, operand, view) and not (isinstance(value, View) and value.fits(view)):
            return False
    return not any(lies_in(plan, root, view) for root in plan.rooted)


def lies_in(plan: Planner, node: Tensor, view: View) -> bool:
    """Whether a node is the variable's old value, or a view of it."""
    value = plan.value.get(node)
    return isinstance(value, View) and value.storage is view.storage

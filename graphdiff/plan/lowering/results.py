"""Where results lie: parts where they are joined, new values in their variables, outputs where they stay."""

from __future__ import annotations

from graphdiff.plan.lowering.expressions import has_type
from graphdiff.plan.lowering.instructions import Check, Fallback, Output, Unit
from graphdiff.plan.lowering.lowered import Lowered
from graphdiff.plan.lowering.values import INDEXING, is_aligned, operands_below
from graphdiff.plan.lowering.views import Storage, View, dense_strides
from graphdiff.plan.program import Tensor

__all__ = ["join", "place_parts", "place_results"]


def place_parts(lowering: Lowered) -> None:
    """Let what is joined along the first axis be computed where it is joined."""
    if "fuse" in lowering.disable:
        return
    for node in lowering.order:
        if node.op is None or node.op.name != "concatenate" or node.attributes["axis"] != 0 or not node.size:
            continue
        if not has_type(node.dtype) or any(part.dtype != node.dtype for part in node.inputs):
            continue
        whole = lowering.placed.get(node) or lowering.dense(node, Storage(node.size, node.dtype))
        lowering.placed[node] = whole
        shift = whole.shift
        for part in node.inputs:
            base = part
            while base.op is not None and base.op.name == "reshape":
                base = base.inputs[0]
            fresh = base.op is not None and base.op.name not in INDEXING and base.op.name != "sum_wide"
            if fresh and base not in lowering.placed and base.size and base not in lowering.rooted:
                strides = dense_strides(base.shape)
                lowering.placed[base] = View(whole.storage, base.shape, strides, shift, base.dtype, base.name or "part")
            shift += part.size


def join(lowering: Lowered, node: Tensor) -> None:
    """Copy what is not computed where it is joined."""
    whole = lowering.placed[node]
    shift = whole.shift
    for part in node.inputs:
        place = View(whole.storage, part.shape, dense_strides(part.shape), shift, node.dtype, part.name or "part")
        shift += part.size
        if not part.size:
            continue
        source = lowering.views.get(part)
        if source is None:
            compute_into(lowering, part, place)
        elif source.place() != place.place() or not source.by_rows:
            lowering.copied(part, source, place)
    lowering.views[node] = whole


def compute_into(lowering: Lowered, node: Tensor, place: View) -> None:
    """Compute a node that has no memory into a place, or write a constant number there."""
    unit = Unit(node.shape, [Output(node, place)], members={node})
    unit.reads += lowering.sources(node, None)
    lowering.add(unit)


def place_results(lowering: Lowered) -> None:
    """Find where outputs are, and bring new values into variables."""
    updated = {lowering.variable_view(variable).storage for variable in lowering.program.updates}

    def result(node: Tensor) -> View:
        view = lowering.memory(node)
        # What lies in a variable is overwritten before it is returned.
        return lowering.copied(node, view) if view.storage in updated or not view.by_rows else view

    lowering.outputs = [result(node) for node in lowering.program.outputs]
    lowering.gradients = [(variable, result(node)) for variable, node in lowering.program.gradients.items()]
    for node in lowering.program.kept:
        lowering.memory(node)
    news = []
    for variable, node in lowering.program.updates.items():
        value = lowering.memory(node)
        # What is a variable's old value is copied before anything is written over it.
        if value.storage.kind in ("variable", "constant") or not value.by_rows:
            value = lowering.copied(node, value)
        news.append((node, value, lowering.variable_view(variable)))
    staged = [(node, value, place) for node, value, place in news if not move_into(lowering, value, place)]
    lowering.in_place = len(news) - len(staged)
    for node, value, place in staged:
        lowering.copied(node, value, place)


def move_into(lowering: Lowered, value: View, place: View) -> bool:
    """Compute a variable's new value where it lies, if nobody reads the old one afterwards."""
    root, shift = value.place()
    makers = lowering.makers.get(root, set())
    step = next(iter(makers), None)
    whole = root.is_shared and shift == 0 and root.size == place.storage.size
    if not whole or len(makers) != 1 or not isinstance(step, Unit) or step.reduced is not None or not value.by_rows:
        return False
    at = lowering.steps.index(step)
    later = lowering.steps[at + 1 :]
    if any(isinstance(other, (Fallback, Check)) for other in later):
        return False  # it may raise, and then no variable is changed
    if any(view.place()[0] is place.storage for other in later for view in (*other.reads, *other.writes)):
        return False
    old = [view for view in step.reads if view.place()[0] is place.storage]
    if any(not view.by_rows or view.shape != step.shape or view.shift for view in old):
        return False
    if any(not reads_in_place(lowering, member, place.storage) for member in step.members):
        return False
    root.become(place.storage, 0)
    lowering.makers.setdefault(place.storage, set()).add(step)
    return True


def reads_in_place(lowering: Lowered, member: Tensor, storage: Storage) -> bool:
    """Whether a node reads a variable only at the place that it computes."""
    home = lowering.home_of.get(member)

    def is_computed_along(operand: Tensor) -> bool:
        return operand not in lowering.views or lowering.home_of.get(operand) is home

    return not any(
        operand in lowering.views and lowering.views[operand].place()[0] is storage and not aligned
        for operand, aligned in operands_below([member], is_aligned, is_computed_along)
    )

"""A program lowered for this machine's processor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from graphdiff.op import Composite
from graphdiff.plan.lowering.calls import Call
from graphdiff.plan.lowering.instructions import Fallback, Step
from graphdiff.plan.lowering.lower import Lowering
from graphdiff.plan.lowering.schedule import Schedule
from graphdiff.plan.lowering.target import Target
from graphdiff.plan.lowering.views import Storage, View, dense_strides
from graphdiff.plan.program import Program, Tensor, rewrite

__all__ = ["Native", "lowered", "work_of"]

FEW = 16
"""Features up to which a matrix lies by columns: then its examples make whole vectors."""
TARGET = Target(lambda product: True, epilogs=False, groups=False, draws=False, refuses=True, columns=FEW, line=64)
OPENED = {"weighted_total"}
"""What NumPy has a call for, and loops are the quicker for being written out."""


@dataclass
class Native:
    """A program as steps over memory.

    Attributes
    ----------
    lowering : Lowering
    schedule : Schedule
    segments : list of list of Step
        What lies between two calls of ops' own kernels; these are segments by themselves.
    results : list of View
        Where outputs and then gradients are: numbers in memory of the plan, arrays in memory made by every run.
    """

    lowering: Lowering
    schedule: Schedule
    segments: list[list[Step]]
    results: list[View] = field(default_factory=list)


def lowered(program: Program, disable: frozenset[str]) -> Native:
    """Lower a program."""
    lowering = Lowering(rewrite(program, _opened), disable, TARGET)
    results = _placed(lowering)
    calls = [Call(str, (*step.reads, *step.writes)) for step in lowering.steps]
    schedule = Schedule(calls, [], results)
    segments: list[list[Step]] = [[]]
    for step in lowering.steps:
        if isinstance(step, Fallback):
            segments += [[step], []]
        else:
            segments[-1].append(step)
    return Native(lowering, schedule, segments, results)


def work_of(nodes: Iterable[Tensor]) -> int:
    """Return about how many operations nodes take; unlike what costs count, by their shapes alone."""
    products = (
        node.size * node.inputs[0].shape[-1] for node in nodes if node.op is not None and node.op.name == "matmul"
    )
    return 2 * sum(products) + sum(node.size for node in nodes)


def _opened(node: Tensor, operands: tuple[Tensor, ...]) -> Tensor | None:
    op = node.op
    return op.open(operands, node.attributes) if isinstance(op, Composite) and op.name in OPENED else None


def _placed(lowering: Lowering) -> list[View]:
    """Let outputs and gradients lie where they are handed out from."""
    found: list[View] = []
    nodes = [*lowering.program.outputs, *lowering.program.gradients.values()]
    given = [*lowering.outputs, *(view for _, view in lowering.gradients)]
    roots = [view.place()[0] for view in given]
    for place, (node, view, root) in enumerate(zip(nodes, given, roots, strict=True)):
        storage = Storage(view.size, view.dtype, "output", place)
        out = View(storage, view.shape, dense_strides(view.shape), 0, view.dtype, view.label)
        if not view.shape:
            storage.kind, storage.private = "scratch", True
            lowering.copied(node, view, out)
        elif root.is_shared and view.place()[1] == 0 and root.size == view.size and roots.count(root) == 1:
            root.become(storage, 0)
        elif view.size:
            lowering.copied(node, view, out)
        found.append(out)
    return found

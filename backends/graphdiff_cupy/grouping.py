"""Which units share a kernel: small ones run one after the other in one block, rows each in a block of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphdiff.plan.lowering.instructions import Check, Copied, Fallback, Product, Step, Unit
from graphdiff.plan.lowering.lowered import SMALL
from graphdiff.plan.lowering.values import INDEXING, is_pointwise, operands_below
from graphdiff.plan.lowering.views import Storage, View
from graphdiff.plan.program import Tensor

__all__ = ["Group", "grouped"]

MOST = 1 << 16
"""Elements that one block goes over in one kernel."""
LONGEST = 1 << 14
"""Elements of a row that one block goes over."""
BACK = 6
"""How many kernels back one is looked for that a unit can join."""


@dataclass(eq=False)
class Group:
    """Units that make one kernel.

    Attributes
    ----------
    units : list of Unit
    views : Mapping of Tensor to View
        The memory of nodes.
    rows : int
        Where every row is computed by itself: how many there are; else 0.
    """

    units: list[Unit]
    views: Mapping[Tensor, View]
    rows: int = 0

    @property
    def reads(self) -> list[View]:
        """Memory that it reads."""
        return [view for unit in self.units for view in unit.reads]

    @property
    def writes(self) -> list[View]:
        """Memory that it writes."""
        return [view for unit in self.units for view in unit.writes]

    @property
    def is_small(self) -> bool:
        """Whether one block is enough."""
        return all(unit.work <= SMALL for unit in self.units)


def grouped(steps: list[Step], views: Mapping[Tensor, View], fuse: bool = True) -> list[Group | Product | Fallback]:
    """Put units that follow one another into kernels.

    Parameters
    ----------
    steps : list of Unit, Product or Fallback
    views : Mapping of Tensor to View
    fuse : bool
        Whether kernels may have several units.
    """
    found: list[Group | Product | Fallback] = []
    for step in steps:
        assert not isinstance(step, Check)  # which this target does not ask for
        if not isinstance(step, Unit):
            found.append(step)
        elif not fuse or not (_joins_small(step, found) or _joins_rows(step, found)):
            found.append(Group([step], views))
    return found


def _joins_small(unit: Unit, found: list[Group | Product | Fallback]) -> bool:
    """Add a small unit to the small kernel before it."""
    if not found or unit.work > SMALL:
        return False
    last = found[-1]
    if not isinstance(last, Group) or last.rows or not last.is_small:
        return False
    if sum(other.work for other in last.units) + unit.work > MOST:
        return False
    last.units.append(unit)
    return True


def _joins_rows(unit: Unit, found: list[Group | Product | Fallback]) -> bool:
    """Add a unit to a kernel that works row by row, if it reads of that kernel's results only its own row."""
    read = {view.place()[0] for view in unit.reads}
    for other in reversed(found[-BACK:]):
        if isinstance(other, Group) and unit.work > SMALL and not other.is_small and _shares_rows(other, unit):
            other.rows = unit.shape[0]
            other.units.append(unit)
            return True
        if isinstance(other, Fallback) or any(view.place()[0] in read for view in other.writes):
            return False
    return False


def _shares_rows(group: Group, unit: Unit) -> bool:
    rows = unit.shape[0] if unit.shape else 0
    if rows < 2 or any(not other.shape or other.shape[0] != rows for other in group.units):
        return False
    units = [*group.units, unit]
    if any(other.work // rows > LONGEST for other in units):
        return False
    written = {view.place()[0]: view for other in units for view in other.writes}
    if written.keys() & _overwritten(units) or len(written) < sum(len(other.writes) for other in units):
        return False
    return all(_keeps_rows(other, rows, written, group.views) for other in units)


def _overwritten(units: list[Unit]) -> set[Storage]:
    """Return variables that are computed in place: another row's block may still read them."""
    return {view.place()[0] for unit in units for view in unit.writes if view.place()[0].kind == "variable"}


def _keeps_rows(unit: Unit, rows: int, written: Mapping[Storage, View], views: Mapping[Tensor, View]) -> bool:
    """Whether every row of a unit needs only that row of what is written."""
    if unit.reduced is not None and not _keeps_row(unit.reduced, unit.reduced.inputs[0], rows):
        return False
    if any(not output.view.by_rows for output in unit.outputs):
        return False
    if any(isinstance(output.node, Copied) and output.node.source.place()[0] in written for output in unit.outputs):
        return False
    tops = [unit.reduced] if unit.reduced is not None else [*unit.members]

    def is_computed_along(node: Tensor) -> bool:
        return node not in views or node in unit.members

    for node, kept in operands_below(tops, lambda node, operand: _keeps_row(node, operand, rows), is_computed_along):
        view = views.get(node)
        whole = None if view is None else written.get(view.place()[0])
        if view is not None and whole is not None and not (kept and _is_by_row_of(view, whole)):
            return False
    return True


def _is_by_row_of(view: View, whole: View) -> bool:
    """Whether a row of a view lies within the same row of what is written: not so if it was turned or shifted."""
    step = whole.strides[0]
    return view.shape[:1] == whole.shape[:1] and view.strides[0] == step and 0 <= view.shift - whole.shift < step


def _keeps_row(node: Tensor, operand: Tensor, rows: int) -> bool:
    """Whether a row of a node needs only that row of an operand."""
    assert node.op is not None
    name = node.op.name
    if name in ("matmul", "permute_dims", "flip", "getitem", "concatenate", "index_set", "scatter_add"):
        return False
    if name == "reshape":
        return operand.shape[:1] == node.shape[:1] == (rows,)
    if is_pointwise(node) or name in (*INDEXING, "label_weights", "where"):
        lead = operand.shape[:1] == node.shape[:1] == (rows,)
        return lead and (operand.ndim == node.ndim or name == "label_weights")
    return operand.shape[:1] == (rows,) and 0 not in node.attributes.get("axis", ())

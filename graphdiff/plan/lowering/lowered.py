"""The steps and the memory of a program while it is lowered: which loop computes a node, and where that lies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

from graphdiff.plan.identities import scalar
from graphdiff.plan.lowering.epilogs import Epilog
from graphdiff.plan.lowering.expressions import has_type
from graphdiff.plan.lowering.instructions import Copied, Output, Step, Unit
from graphdiff.plan.lowering.target import Target
from graphdiff.plan.lowering.values import is_aligned, operands_below
from graphdiff.plan.lowering.views import Storage, View, dense_strides
from graphdiff.plan.program import Program, Tensor, Variable
from graphdiff.typing import Shape

__all__ = ["SMALL", "Lowered"]

SMALL = 1 << 13
"""Elements up to which a loop can be one block's."""
WINDOW = 64
"""How many steps back a loop is looked for that a node can join."""


class Lowered(ABC):
    """A program as steps over views of memory.

    Attributes
    ----------
    steps : list of Unit, Product, Fallback or Check
    views : dict of Tensor to View
    arguments : list of View
        Where the arguments' arrays are.
    outputs : list of View
    gradients : list of (Variable, View)
    in_place : int
        How many variables are computed where they lie.
    """

    def __init__(self, program: Program, disable: frozenset[str], target: Target) -> None:
        self.program, self.disable, self.target = program, disable, target
        self.order, self.users = program.nodes(), program.users()
        self.rooted = set(program.roots)
        self.views: dict[Tensor, View] = {}
        self.steps: list[Step] = []
        self.makers: dict[Storage, set[Step]] = {}
        self.draws: dict[int, list[Tensor]] = {}
        self.home_of: dict[Tensor, Unit] = {}
        self.storages: dict[Variable, Storage] = {}
        self.constants: dict[int, View] = {}
        self.placed: dict[Tensor, View] = {}
        self.depth: dict[Tensor, int] = {}
        self.aux: dict[Tensor, View] = {}
        self.narrow: dict[Tensor, View] = {}
        self.casts: dict[tuple[Storage, int, tuple[Shape, Shape], str], View] = {}
        self.epilogs: dict[Tensor, Epilog] = {}
        self.absorbed: set[Tensor] = set()
        self.outputs: list[View] = []
        self.gradients: list[tuple[Variable, View]] = []
        self.in_place = 0

        self.arguments = [self._argument(node) for node in program.arguments]
        for node, variable in program.reads.items():
            self.views[node] = self.variable_view(variable)

    @abstractmethod
    def lower(self, node: Tensor) -> None:
        """Append the steps that compute a node."""

    # Leaves -------------------------------------------------------------------------------------------------------

    def _argument(self, node: Tensor) -> View:
        view = self.views[node] = self.dense(node, Storage(node.size, node.dtype, private=True))
        return view

    @staticmethod
    def dense(node: Tensor, storage: Storage) -> View:
        return View(storage, node.shape, dense_strides(node.shape), 0, node.dtype, node.name or "")

    def variable_view(self, variable: Variable) -> View:
        """Return the memory of a variable."""
        home = variable.home
        if home is not None and variable is not home.flat:
            place = home.place(variable)
            whole = self.variable_view(home.flat)
            return replace(whole, shape=variable.shape, strides=dense_strides(variable.shape), shift=place.start)
        storage = self.storages.get(variable)
        if storage is None:
            storage = self.storages[variable] = Storage(variable.size, variable.dtype, "variable", variable)
        return View(storage, variable.shape, dense_strides(variable.shape), 0, variable.dtype, variable.name or "")

    def constant(self, node: Tensor) -> View | None:
        """Return the memory of a constant, or None where it is a number that kernels write out."""
        if scalar(node) is not None and has_type(node.dtype):
            return None
        found = self.constants.get(id(node._value))
        if found is None:
            storage = Storage(node.size, node.dtype, "constant", node._value)
            found = self.constants[id(node._value)] = self.dense(node, storage)
        return found

    # Steps --------------------------------------------------------------------------------------------------------

    def add(self, step: Step) -> None:
        """Add a step behind all others."""
        self.steps.append(step)
        for view in step.writes:
            self.makers.setdefault(view.place()[0], set()).add(step)

    def memory(self, node: Tensor) -> View:
        """Return the memory of a node, which is computed into it now if it has none yet."""
        found = self.views.get(node)
        if found is not None:
            return found
        if node.op is None:
            # A number of which steps before have written out every element: it must be there at any time.
            view = self.views[node] = self.dense(node, Storage(node.size, node.dtype, "constant", node._value))
            return view
        out = self.placed.get(node) or self.new(node)
        unit = self._unit_for(node)
        unit.outputs.append(Output(node, out))
        self._enter(node, unit)
        self.views[node] = out
        self.makers.setdefault(out.place()[0], set()).add(unit)
        return out

    def new(self, node: Tensor) -> View:
        label = node.name or (node.op.name if node.op is not None else "number")
        strides = self.target.strides(node.shape, node.dtype.itemsize)
        room = sum((length - 1) * stride for length, stride in zip(node.shape, strides, strict=True)) + 1
        return View(Storage(max(room, node.size, 1), node.dtype), node.shape, strides, 0, node.dtype, label)

    def _enter(self, node: Tensor, unit: Unit) -> None:
        unit.members.add(node)
        self.home_of[node] = unit
        unit.reads += self.sources(node, unit)

    def sources(self, node: Tensor, unit: Unit | None) -> list[View]:
        """Return the memory that computing a node reads, without what the unit itself computes at the same place."""

        def is_at_hand(operand: Tensor, aligned: bool) -> bool:
            return aligned and unit is not None and self.home_of.get(operand) is unit

        met = operands_below([node], is_aligned, lambda operand: operand not in self.views)
        return [self.views[each] for each, aligned in met if each in self.views and not is_at_hand(each, aligned)]

    def _earliest(self, node: Tensor) -> int:
        """Return the first place among the steps at which everything that a node reads is there."""
        views = self.sources(node, None)
        steps = {step for view in views for step in self.makers.get(view.place()[0], ())}
        return max((place + 1 for place, step in enumerate(self.steps) if step in steps), default=0)

    def _unit_for(self, node: Tensor) -> Unit:
        """Return the loop that computes a node: one that is there already where it fits, else a new one."""
        if "fuse" in self.disable:
            unit = Unit(node.shape)
            self.steps.append(unit)
            return unit
        last = len(self.steps)
        for place in range(last - 1, max(last - WINDOW, 0) - 1, -1):
            step = self.steps[place]
            if isinstance(step, Unit) and step.reduced is None and step.shape == node.shape and self._fits(node, step):
                return step
            if any(view.place()[0] in self._roots_of(node) for view in step.writes):
                break
        unit = Unit(node.shape)
        self.steps.insert(self._place_for(node) if self.target.groups and node.size <= SMALL else last, unit)
        return unit

    def _roots_of(self, node: Tensor) -> set[Storage]:
        return {view.place()[0] for view in self.sources(node, None)}

    def _fits(self, node: Tensor, unit: Unit) -> bool:
        """Whether a loop can compute a node: it reads of the loop's own results only those at the same place."""
        views = self.sources(node, unit)
        written = {view.place()[0] for view in unit.writes}
        return all(view.place()[0] not in written for view in views)

    def _place_for(self, node: Tensor) -> int:
        """Return where a small loop is put: behind another one, which it may share a kernel with."""
        earliest = self._earliest(node)
        for place in range(len(self.steps) - 1, max(earliest, 1) - 2, -1):
            step = self.steps[place]
            if place + 1 >= earliest and isinstance(step, Unit) and step.work <= SMALL:
                return place + 1
        return len(self.steps)

    def memory_or_number(self, node: Tensor) -> View | None:
        """Return the memory of a node; None for a constant number, which needs none."""
        return None if node.op is None and node not in self.views else self.memory(node)

    def copied(self, node: Tensor, source: View, out: View | None = None, kind: str = "") -> View:
        """Copy memory, in a loop of its own, into memory by rows."""
        if out is None:
            out = self.dense(node, Storage(max(source.size, 1), source.dtype))
            out = replace(out, shape=source.shape, strides=dense_strides(source.shape))
        self.add(Unit(source.shape, [Output(Copied(node, source), out, kind)], reads=[source]))
        return out

    def widen(self, node: Tensor) -> None:
        """Give a value that is stored in the precision of products memory in its own."""
        if node not in self.views and node in self.narrow:
            source = self.narrow[node]
            self.views[node] = self.copied(node, source, self.new(node), f"float32 of {self.target.precision}")

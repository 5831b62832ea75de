"""What a program becomes: units, products and fallbacks, in an order in which they can run.

Decided here is what has memory of its own, what is computed in one loop with what, and where results lie. A node
without memory is computed wherever it is read; that is so for whatever only moves elements, for what is cheap, and for
what is read once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from graphdiff.plan.identities import scalar
from graphdiff.plan.lowering.views import Storage, View, dense_strides
from graphdiff.plan.program import Program, Tensor, Variable
from graphdiff_cupy.emit import INDEXING, can_emit, is_aligned, operands_below
from graphdiff_cupy.expressions import CASTS, REDUCTIONS, TYPES
from graphdiff_cupy.patterns import Epilog, find_epilogs
from graphdiff_cupy.products import multiply
from graphdiff_cupy.results import join, place_parts, place_results
from graphdiff_cupy.units import Copied, Fallback, Output, Step, Unit

__all__ = ["Lowering"]

TINY = 1 << 15
"""Multiplications up to which a product is a loop in a kernel with its neighbours, not a call of cuBLASLt."""
LOOPS = 1 << 24
"""Multiplications up to which a stack of products is a loop in a kernel, not a call of CuPy's between two graphs."""
LONG = 1 << 15
"""Values from which on one result is put together by several blocks, in two stages."""
PARTS = 1 << 8
"""The most results of the first stage."""
SMALL = 1 << 13
"""Elements up to which a loop can be one block's."""
DEPTH = 40
"""How many nodes without memory may lie above one another."""
WINDOW = 64
"""How many steps back a loop is looked for that a node can join."""
CHEAP = {"astype", "negative", "label_weights", "logical_not", "equal", "not_equal", "stop_gradient"}
CHEAP |= {"less", "less_equal", "greater", "greater_equal", *INDEXING}
SUMS = {"sum", "mean", "sum_wide"}


class Lowering:
    """Turns a program into steps over views of memory.

    Parameters
    ----------
    program : Program
    disable : frozenset of str
        "fuse": every node has its own kernel; "epilog": products compute nothing besides.
    supports : callable
        Whether the device has an algorithm for a product.
    precision : str
        In which products of float32 are computed.

    Attributes
    ----------
    steps : list of Unit, Product or Fallback
    views : dict of Tensor to View
    arguments : list of View
        Where the arguments' arrays are copied.
    outputs : list of View
    gradients : list of (Variable, View)
    in_place : int
        How many variables are computed where they lie.
    """

    def __init__(self, program: Program, disable: frozenset[str], supports: Any, precision: str) -> None:
        self.program, self.disable, self.supports, self.precision = program, disable, supports, precision
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
        self.casts: dict[tuple[Storage, int, Any, str], View] = {}
        self.epilogs: dict[Tensor, Epilog] = {}
        self.absorbed: set[Tensor] = set()
        self.outputs: list[View] = []
        self.gradients: list[tuple[Variable, View]] = []
        self.in_place = 0
        self.by_product: set[Tensor] = set()

        self.arguments = [self._argument(node) for node in program.arguments]
        for node, variable in program.reads.items():
            self.views[node] = self.variable_view(variable)
        if "epilog" not in disable:
            # A product whose result is stored in 16 bits would store the sum of its rows so, too.
            sums_masked = precision not in CASTS
            self.epilogs = find_epilogs(self.order, self.users, self.rooted, is_large_product, sums_masked)
            for epilog in self.epilogs.values():
                self.absorbed.update(epilog.absorbed)
                if epilog.total is not None and epilog.masked_by is None:
                    self.absorbed.add(epilog.total)  # it waits for its product
        place_parts(self)
        for node in self.order:
            self.lower(node)
        place_results(self)

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

    def _constant(self, node: Tensor) -> View | None:
        """Return the memory of a constant, or None where it is a number that kernels write out."""
        if scalar(node) is not None and node.dtype.kind in "fiub":
            return None
        found = self.constants.get(id(node._value))
        if found is None:
            storage = Storage(node.size, node.dtype, "constant", node._value)
            found = self.constants[id(node._value)] = self.dense(node, storage)
        return found

    # Nodes --------------------------------------------------------------------------------------------------------

    def lower(self, node: Tensor) -> None:
        if node in self.views or node in self.absorbed:
            return
        if node.op is not None and node.op.name == "permute_dims" and node.inputs[0] in self.narrow:
            self.narrow[node] = self.narrow[node.inputs[0]].permuted(node.attributes["axes"])
            return
        if node.op is None:
            view = self._constant(node)
            if view is not None:
                self.views[node] = view
            return
        if node in self.epilogs:
            multiply(self, self.epilogs[node])
            return
        if node.op.name in INDEXING and len(node.inputs) == 1 and self._viewed(node):
            return
        if node.op.name == "concatenate" and node in self.placed:
            join(self, node)
        elif node.op.name in REDUCTIONS and _can_reduce(node):
            self._reduce(node)
        elif can_emit(node) and node.size:
            if node.op.name == "random_draw":
                self.draws.setdefault(id(node.attributes["generator"]), []).append(node)
            self.depth[node] = 1 + max((self.depth.get(operand, 0) for operand in node.inputs), default=0)
            if self._needs_memory(node):
                self.memory(node)
        else:
            self._fall_back(node)

    def _viewed(self, node: Tensor) -> bool:
        """Let a node be a view of its operand's memory, where strides allow."""
        source = self.views.get(node.inputs[0])
        if source is None:
            return False
        name = node.op.name if node.op is not None else ""
        view = {
            "reshape": lambda: source.reshaped(node.shape),
            "permute_dims": lambda: source.permuted(node.attributes["axes"]),
            "broadcast_to": lambda: source.broadcast(node.shape),
            "getitem": lambda: source.indexed(node.attributes["template"]),
            "barrier": lambda: source,
            "flip": lambda: None,
        }[name]()
        if view is None or not node.size:
            return False
        self.views[node] = view
        return True

    def _readers(self, node: Tensor) -> set[Tensor]:
        """Return what reads a node's elements, seeing through what only moves them."""
        found: set[Tensor] = set()
        pending = [(node, user) for user in self.users.get(node, [])]
        while pending:
            source, user = pending.pop()
            moves = user.op is not None and user.op.name in INDEXING and user not in self.rooted
            if moves and user.inputs[0] is source and user in self.users:
                pending += [(user, further) for further in self.users[user]]
            else:
                found.add(user)
        return found

    def _needs_memory(self, node: Tensor) -> bool:
        if node in self.rooted or "fuse" in self.disable or self.depth[node] > DEPTH:
            return True
        assert node.op is not None
        readers = self._readers(node)
        if any(self._reads_memory(user) for user in readers):
            return True
        if node.size == 1 and self._is_worked_out(node) and any(user.size > 1 for user in readers):
            return True  # once, not by every thread
        if node.op.name in CHEAP:
            return False
        if len(readers) != 1:
            return True
        (user,) = readers
        if user.op is not None and user.op.name in SUMS | {"max", "min", "prod", "any", "all"}:
            return False
        return user.size != node.size or len(self.users[node]) != 1

    def _is_worked_out(self, node: Tensor) -> bool:
        """Whether a node is more than one op away from memory and numbers."""
        return any(operand not in self.views and scalar(operand) is None for operand in node.inputs)

    def _reads_memory(self, user: Tensor) -> bool:
        """Whether a node reads its operands from memory, not by what computes them."""
        if user in self.epilogs or user in self.absorbed or user.op is None:
            return True
        name = user.op.name
        joined = name == "concatenate" and user in self.placed
        return joined or name == "matmul" or not (can_emit(user) or (name in REDUCTIONS and _can_reduce(user)))

    # Units --------------------------------------------------------------------------------------------------------

    def add(self, step: Step) -> None:
        """Add a step behind all others."""
        self.steps.append(step)
        for view in step.writes:
            self.makers.setdefault(view.place()[0], set()).add(step)

    def memory(self, node: Tensor, out: View | None = None) -> View:
        """Return the memory of a node, which is computed into it now if it has none yet."""
        found = self.views.get(node)
        if found is not None:
            return found
        assert node.op is not None or scalar(node) is not None
        out = out or self.placed.get(node) or self.new(node)
        unit = self._unit_for(node)
        unit.outputs.append(Output(node, out))
        self._enter(node, unit)
        self.views[node] = out
        self.makers.setdefault(out.place()[0], set()).add(unit)
        return out

    def new(self, node: Tensor) -> View:
        label = node.name or (node.op.name if node.op is not None else "number")
        return replace(self.dense(node, Storage(max(node.size, 1), node.dtype)), label=label)

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
        self.steps.insert(self._place_for(node) if node.size <= SMALL else last, unit)
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

    def _reduce(self, node: Tensor) -> None:
        assert node.op is not None
        if node.op.name == "matmul":
            for operand in node.inputs:
                self.memory_or_number(operand)
        shape = node.shape[:-1] if node.op.name == "sum_wide" else node.shape
        stored = Storage(node.size if shape == node.shape else node.size // node.shape[-1], node.dtype)
        narrow = View(stored, shape, dense_strides(shape), 0, node.dtype, node.name or node.op.name)
        placed = self.placed.get(node)
        out = replace(narrow, storage=placed.storage, shift=placed.shift) if placed is not None else narrow
        unit = Unit(shape, [Output(node, out)], node)
        if unit.size == 1 and unit.inner > LONG and node.op.name != "matmul":
            unit.partials = self._partials(node)
            unit.reads.append(unit.partials)
        else:
            unit.reads += self.sources(node, None)
        self.add(unit)
        if shape != node.shape:  # every element of a row is the row's sum
            out = replace(out, shape=node.shape, strides=(*out.strides, 0))
        self.views[node] = out
        if node in self.rooted and shape != node.shape:
            self.views[node] = self.copied(node, out)

    def _partials(self, node: Tensor) -> View:
        """Put a long array together in as many parts as keep the whole device busy; return their memory."""
        size = node.inputs[0].size
        chunk = -(-size // min(PARTS, size // LONG * 8))
        count = -(-size // chunk)
        view = View(Storage(count, node.dtype), (count,), (1,), 0, node.dtype, "partial results")
        unit = Unit((count,), [Output(node, view)], node, chunk=chunk)
        unit.reads += self.sources(node, None)
        self.add(unit)
        return view

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
            self.views[node] = self.copied(node, source, self.new(node), f"float32 of {self.precision}")

    # Fallbacks ----------------------------------------------------------------------------------------------------

    def _fall_back(self, node: Tensor) -> None:
        assert node.op is not None
        kernel: Any = node.op.kernel(node.backend)
        if node.attributes:
            kernel = partial(kernel, **node.attributes)
        reads = []
        for operand in node.inputs:
            if operand.op is None and operand not in self.views:
                storage = Storage(operand.size, operand.dtype, "constant", operand._value)
                self.views[operand] = self.dense(operand, storage)
            reads.append(self.memory(operand))
        out = self.placed.get(node) or self.new(node)
        self.add(Fallback(node, kernel, reads, out, _why_not(node)))
        self.views[node] = out


def is_large_product(node: Tensor) -> bool:
    """Whether cuBLASLt computes a node."""
    if node.op is None or node.op.name != "matmul" or any(operand.ndim != 2 for operand in node.inputs):
        return False
    same = all(operand.dtype == node.dtype for operand in node.inputs) and node.dtype.name in ("float32", "float64")
    return same and node.size > 0 and node.size * node.inputs[0].shape[1] > TINY


def _can_reduce(node: Tensor) -> bool:
    """Whether a kernel is generated for a reduction."""
    assert node.op is not None
    source = node.inputs[0]
    if any(each.dtype.name not in TYPES for each in (node, *node.inputs)) or not node.size or not source.size:
        return False
    if node.op.name == "matmul":
        inner = source.shape[-1]
        return node.dtype.kind == "f" and not is_large_product(node) and node.size * inner <= LOOPS
    return node.dtype.kind in "fiub"


def _why_not(node: Tensor) -> str:
    """Return why no kernel is generated for a node."""
    assert node.op is not None
    other = next((each.dtype for each in (node, *node.inputs) if each.dtype.name not in TYPES), None)
    if other is not None:
        return f"{other} has no type in the generated kernels"
    if not node.size or any(not operand.size for operand in node.inputs):
        return "it has no elements to compute or to put together"
    if node.op.name == "random_draw":
        return "only uniform numbers are drawn on the device"
    return f"no kernel is generated for {node.op.name} of these operands"

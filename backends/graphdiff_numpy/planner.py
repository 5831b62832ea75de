"""Which NumPy calls a program becomes.

Every op becomes a call that writes into planned memory, or costs nothing because its result is a view; what NumPy
cannot do so becomes a call of the op's own kernel. The choices below were measured on small arrays, where a call takes
longer than its arithmetic:

- a matrix of shape (examples, features) lies by columns where it is tall, so that reductions over the features and
  broadcasts along them run over long rows;
- a layer's bias is one more row of its weights wherever they lie side by side, if the layer's input has one more row of
  ones: the product adds the bias, and its transpose sums the bias's gradient;
- a sum along an axis of a matrix is a product with a vector of ones;
- a constant that is combined with a small array is kept in full: equal shapes take the shortest way through NumPy;
- the derivative of relu multiplies the bits of the adjoint, read as integers, by 0 or 1: where relu is 0 the result
  is 0 whatever the adjoint is, and where relu is NaN the adjoint passes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from graphdiff.plan.lowering.calls import Call, Local, Operand
from graphdiff.plan.lowering.schedule import Schedule
from graphdiff.plan.lowering.views import Storage, View, dense_strides
from graphdiff.plan.program import Program, Tensor, Variable
from graphdiff.typing import Operation
from graphdiff_numpy import moving, reductions  # noqa: F401 - they register their lowerings
from graphdiff_numpy.common import FULL, LOWERINGS, PRIVATE, VIEWS, boxed, compact, ends_at_ones, numeral
from graphdiff_numpy.elementwise import elementwise, number
from graphdiff_numpy.moving import viewed_or_copied
from graphdiff_numpy.patterns import find_affine, find_patterns, place_parts
from graphdiff_numpy.targets import find_targets, late_nodes
from graphdiff_numpy.tiles import LARGE

__all__ = ["Planner"]


class Planner:
    """Turns a program into a schedule of NumPy calls.

    Attributes
    ----------
    schedule : Schedule
    outputs : list of View or Local
        Where the program's outputs are after a run.
    numbers : list of (Variable, Local)
        0-d variables and the new values that they take.
    gradients : list of (Variable, View or Local)
    kept : list of View or Local
        All of these: what is read after the last call.
    late : set of Tensor
        What is computed when everything that can fail has been done.
    """

    def __init__(self, program: Program, disable: frozenset[str] = frozenset()) -> None:
        self.program = program
        self.disable = disable
        self.users = program.users()
        self.order = program.nodes()
        self.value: dict[Tensor, Operand] = {}
        self.calls: list[Call] = []
        self.filling = self.calls  # numbers are put into their slots before anything is committed
        self.constants: dict[Any, View] = {}
        self.slots: dict[str, View] = {}
        self.placed: dict[Tensor, View] = {}
        self.skipped: set[Tensor] = set()
        self.masks: dict[Tensor, Tensor] = {}
        self.contracted: set[Tensor] = set()
        self.listed: set[Tensor] = set()
        self.wide: dict[Tensor, Tensor] = {}
        self.scaled: dict[Tensor, Tensor] = {}
        self._names = 0
        self._storages: dict[Variable, Storage] = {}
        roots = program.roots
        self.rooted = set(roots)

        self._lower_leaves()
        self._lower_static_views()
        self.affine = set() if "layout" in disable else find_affine(self)
        self.with_bias: dict[Tensor, Tensor] = {}
        if "place" not in disable:
            place_parts(self)
        self.targets = {} if "place" in disable else find_targets(self)
        find_patterns(self)

        self.late = late = late_nodes(self, self.targets)
        for node in self.order:
            if node.op is not None and node not in late:
                self.lower(node)
        staged = self._updates()
        compute = self.filling = self.calls
        self.calls = []
        for node in self.order:
            if node in late and node.op is not None:
                self.lower(node)
        commit = self.calls + staged
        self.outputs = [boxed(self.operand(node)) for node in program.outputs]
        self.gradients = [(variable, boxed(self.operand(node))) for variable, node in program.gradients.items()]
        self.kept = [*self.outputs, *(operand for _, operand in self.gradients), *(local for _, local in self.numbers)]
        arrays = [operand for operand in self.outputs if isinstance(operand, View) and operand.shape]
        given = [view for view in arrays if 0 < view.size < LARGE]
        self.schedule = Schedule(compute, commit, self.kept, "reuse" not in disable, given)
        self.notes = self._noted()

    def _noted(self) -> list[tuple[str, str]]:
        """Return what was done, for people to read."""
        columns = {
            call.out.storage.root()[0] for call in self.schedule.calls if call.out is not None and call.out.turned
        }
        parts = sum(1 for node, view in self.placed.items() if node.op is not None and node.op.name != "concatenate")
        fused = len(self.masks) + len(self.contracted) + len(self.listed) + len(self.scaled)
        told = {
            "fuse": f"{fused} products with what feeds or ends them: sums, comparisons, factors",
            "layout": f"{len(columns)} buffers by columns; {len(self.with_bias) // 2} bias gradients within a product",
            "keep": f"{sum(root.private for root in columns)} layers' inputs keep their row of ones from step to step",
            "place": f"{parts} parts computed where they are joined, {len(self.targets)} results in variables' memory",
            "reuse": f"{self.schedule.overwritten} results written over operands; "
            f"workspace {self.schedule.workspace:,} bytes for {self.schedule.unshared:,}",
        }
        return [(name, "switched off" if name in self.disable else text) for name, text in told.items()]

    # Leaves ------------------------------------------------------------------------------------------------------

    def _lower_leaves(self) -> None:
        for place, node in enumerate(self.program.arguments):
            memory = Storage(node.size, node.dtype, "argument")
            self.value[node] = Local(f"_a{place}", node.shape, node.dtype, frozenset({memory}))
        self.loads: list[tuple[str, Variable]] = []
        for node, variable in self.program.reads.items():
            if node.shape == ():
                name = f"_v{len(self.loads)}"
                self.loads.append((name, variable))
                self.value[node] = Local(name, (), node.dtype, plain=node.dtype == np.float64)
            else:
                self.value[node] = self.variable_view(variable)

    def variable_view(self, variable: Variable) -> View:
        """Return the memory of a variable, which from now on is written in place."""
        storage = self._storages.get(variable)
        if storage is None:
            if not variable._value.flags.c_contiguous:
                variable._value = np.ascontiguousarray(variable._value)
            variable.pin()
            storage = Storage(variable.size, variable.dtype, "variable", variable)
            self._storages[variable] = storage
        label = variable.name or ("parameters" if variable.home is not None else "variable")
        return View(storage, variable.shape, dense_strides(variable.shape), 0, variable.dtype, label)

    def _lower_static_views(self) -> None:
        """Find the views of variables, so that what follows knows which parameters lie side by side."""
        for node in self.order:
            if node.op is not None and node.op.name in VIEWS and len(node.inputs) == 1:
                source = self.value.get(node.inputs[0])
                if isinstance(source, View):
                    view = self.viewed(node, source)
                    if view is not None:
                        self.value[node] = replace(view, label=node.name or view.label)

    @staticmethod
    def viewed(node: Tensor, source: View) -> View | None:
        """Return the view that a node is, or None where strides do not allow one."""
        assert node.op is not None
        name = node.op.name
        if name == "reshape":
            return source.reshaped(node.shape)
        if name == "permute_dims":
            return source.permuted(node.attributes["axes"])
        if name == "broadcast_to":
            return source.broadcast(node.shape)
        template = node.attributes["template"]
        return source.indexed(template)

    # What to look out for -----------------------------------------------------------------------------------------

    def only_user(self, node: Tensor) -> Tensor | None:
        """Return the node that alone uses this one; None if there are several, or it is a result."""
        users = self.users.get(node, [])
        return users[0] if len(users) == 1 and node not in self.rooted else None

    # Memory -------------------------------------------------------------------------------------------------------

    def out(self, node: Tensor, columns: bool = False) -> View:
        """Return the memory for a result."""
        label = node.name or (node.op.name if node.op is not None else "argument")
        target = self.targets.get(node) or self.placed.get(node)
        if target is not None:
            return replace(target, label=target.label or label)
        if columns and node in self.affine:
            # In a small network the ones are written once and for all; a large array rather shares its memory.
            small = node.size * node.dtype.itemsize <= PRIVATE and "keep" not in self.disable
            storage = Storage(node.size + node.shape[0], node.dtype, private=small)
            storage.spare = node.shape[0]
        else:
            storage = Storage(node.size, node.dtype)
        return View(storage, node.shape, dense_strides(node.shape, columns), 0, node.dtype, label)

    def scratch(self, like: View, dtype: Any, label: str) -> View:
        """Return memory of the geometry of a view."""
        return View(Storage(like.size, dtype), like.shape, compact(like), 0, dtype, label)

    def constant(self, array: Any) -> View:
        """Return the memory of a constant; equal constants share it."""
        array = np.asarray(array, order="C")
        key = (array.dtype, array.shape, array.tobytes()) if array.size <= FULL else id(array)
        found = self.constants.get(key)
        if found is None:
            storage = Storage(array.size, array.dtype, "constant", array)
            label = numeral(array.reshape(())) if array.size == 1 else "constant"
            found = self.constants[key] = View(storage, array.shape, dense_strides(array.shape), 0, array.dtype, label)
        return found

    def full(self, number: Any, like: View, dtype: Any = None) -> View:
        """Return a constant of the geometry of a view without gaps."""
        constant = self.constant(np.full(like.size, number, dtype or like.dtype))
        return View(constant.storage, like.shape, compact(like), 0, constant.dtype, f"all_{numeral(number)}")

    def slot(self, number: Local, dtype: Any) -> View:
        """Return planned memory that holds a number of this step."""
        key = f"{number.text} {dtype}"
        found = self.slots.get(key)
        if found is None:
            found = self.slots[key] = View(Storage(1, dtype, "slot"), (), (), 0, dtype, "number")
            # Storing a Python float is three times as quick as storing an array scalar or calling `fill`.
            stored = "{0}[()] = float({1})" if dtype.kind == "f" and not number.plain else "{0}[()] = {1}"
            self.filling.append(Call(stored, (found, number)))
        return found

    def fresh(self) -> str:
        """Return a name for a value that is not in planned memory."""
        self._names += 1
        return f"_{self._names}"

    def operand(self, node: Tensor) -> Operand:
        """Return where the value of a node is; what was set aside for a pattern that does not come about is lowered."""
        found = self.value.get(node)
        if found is None and node.op is not None:
            self.skipped.discard(node)
            self.lower(node)
            found = self.value[node]
        elif found is None:
            found = self.value[node] = self.constant(node._value)
        return found

    def array(self, node: Tensor) -> Operand:
        """Return an operand of an elementwise call over arrays: numbers in slots, constants in full where that pays."""
        operand = self.operand(node)
        if isinstance(operand, Local) and not operand.shape:
            return self.slot(operand, node.dtype)
        return operand

    # Ops ----------------------------------------------------------------------------------------------------------

    @staticmethod
    def ufunc(op: Operation) -> Any:
        """Return the NumPy ufunc that computes an op, or None."""
        found = getattr(np, op.function, None)
        return found if isinstance(found, np.ufunc) and op.kind == "elementwise" else None

    def lower(self, node: Tensor) -> None:
        """Append the calls that compute a node."""
        if node in self.value or node in self.skipped:
            return
        self._lower_op(node)
        made = self.value.get(node)
        if node in self.affine and isinstance(made, View):
            self.write_ones(made, node)

    def write_ones(self, made: View, node: Tensor) -> None:
        """Put ones behind a layer's input where they are not kept."""
        storage = made.storage
        if ends_at_ones(made) and not storage.private:
            ones = View(storage, (storage.spare,), (1,), made.shift + made.size, made.dtype, "ones")
            self.calls.append(Call((ones, "fill"), (1,), ones, "-", node=node))

    def _lower_op(self, node: Tensor) -> None:
        assert node.op is not None
        special = LOWERINGS.get(node.op.name)
        if special is not None and special(self, node):
            return
        if not node.shape and number(self, node):
            return
        if node.op.name in VIEWS and viewed_or_copied(self, node):
            return
        if node.op.kind == "elementwise" and node.size and elementwise(self, node):
            return
        self.by_kernel(node)

    def by_kernel(self, node: Tensor) -> None:
        """Fall back on the op's own kernel, which allocates its result."""
        assert node.op is not None
        kernel = node.op.kernel(node.backend)
        if node.attributes:
            kernel = partial(kernel, **node.attributes)
        operands = tuple(boxed(self.operand(operand)) for operand in node.inputs)
        roots = {Storage(node.size, node.dtype, "allocated")} if node.shape else set()
        for operand in operands if node.shape else ():
            roots |= {operand.storage} if isinstance(operand, View) else operand.roots
        assigned = Local(self.fresh(), node.shape, node.dtype, frozenset(roots))
        self.calls.append(Call(kernel, operands, assigns=assigned, node=node))
        self.value[node] = assigned

    # The end of a step --------------------------------------------------------------------------------------------

    def _updates(self) -> list[Call]:
        """Return the calls that copy new values into variables which were not computed there."""
        self.numbers: list[tuple[Variable, Local]] = []
        staged = []
        for variable, node in self.program.updates.items():
            if node in self.targets:
                continue
            if not variable.shape:
                operand = self.operand(node)
                if isinstance(operand, View):
                    taken = Local(self.fresh(), (), node.dtype)
                    self.calls.append(Call("{0}[()]", (operand,), assigns=taken, node=node))
                    operand = taken
                number = boxed(operand)
                assert isinstance(number, Local)
                self.numbers.append((variable, number))
                continue
            place = self.variable_view(variable)
            source = self.operand(node)
            if isinstance(source, Local) or source.storage.kind == "variable":
                stage = View(Storage(node.size, node.dtype), node.shape, dense_strides(node.shape), 0, node.dtype)
                self.calls.append(Call(np.copyto, (stage, source), stage, "-", node=node))
                source = stage
            staged.append(Call(np.copyto, (place, source), place, "-", node=node))
        return staged

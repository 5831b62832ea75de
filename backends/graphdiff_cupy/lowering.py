"""What a program becomes: units, products and fallbacks, in an order in which they can run.

Decided here is what has memory of its own, what is computed in one loop with what, and where results lie. A node
without memory is computed wherever it is read; that is so for whatever only moves elements, for what is cheap, and for
what is read once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from graphdiff.plan.passes import scalar
from graphdiff.plan.program import Program, Tensor, Variable
from graphdiff.plan.schedule import Storage, View, dense_strides
from graphdiff_cupy.emit import INDEXING, can_emit, is_pointwise
from graphdiff_cupy.expressions import REDUCTIONS, TYPES
from graphdiff_cupy.patterns import Epilog, find_epilogs
from graphdiff_cupy.units import Copied, Fallback, Output, Product, Step, Unit

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
_HALF = {"bf16", "fp16"}


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
        self.masks: dict[Tensor, View] = {}
        self.casts: dict[tuple[Storage, int, Any, str], View] = {}
        self.epilogs: dict[Tensor, Epilog] = {}
        self.absorbed: set[Tensor] = set()
        self.by_product: set[Tensor] = set()

        self.arguments = [self._argument(node) for node in program.arguments]
        for node, variable in program.reads.items():
            self.views[node] = self.variable_view(variable)
        if "epilog" not in disable:
            self._find_epilogs()
        self._place_parts()
        for node in self.order:
            self._lower(node)
        self._finish()

    # Leaves -------------------------------------------------------------------------------------------------------

    def _argument(self, node: Tensor) -> View:
        view = self.views[node] = self._dense(node, Storage(node.size, node.dtype, private=True))
        return view

    @staticmethod
    def _dense(node: Tensor, storage: Storage) -> View:
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
            found = self.constants[id(node._value)] = self._dense(node, storage)
        return found

    # Nodes --------------------------------------------------------------------------------------------------------

    def _lower(self, node: Tensor) -> None:
        if node in self.views or node in self.absorbed:
            return
        if node.op is None:
            view = self._constant(node)
            if view is not None:
                self.views[node] = view
            return
        if node in self.epilogs:
            self._product(self.epilogs[node])
            return
        if node.op.name in INDEXING and len(node.inputs) == 1 and self._viewed(node):
            return
        if node.op.name == "concatenate" and node in self.placed:
            self._join(node)
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
        if node.op.name in CHEAP:
            return False
        if len(readers) != 1:
            return True
        (user,) = readers
        if user.op is not None and user.op.name in SUMS | {"max", "min", "prod", "any", "all"}:
            return False
        return user.size != node.size or len(self.users[node]) != 1

    def _reads_memory(self, user: Tensor) -> bool:
        """Whether a node reads its operands from memory, not by what computes them."""
        if user in self.epilogs or user in self.absorbed or user in self.placed or user.op is None:
            return True
        name = user.op.name
        return name == "matmul" or not (can_emit(user) or (name in REDUCTIONS and _can_reduce(user)))

    # Units --------------------------------------------------------------------------------------------------------

    def memory(self, node: Tensor, out: View | None = None) -> View:
        """Return the memory of a node, which is computed into it now if it has none yet."""
        found = self.views.get(node)
        if found is not None:
            return found
        assert node.op is not None or scalar(node) is not None
        out = out or self.placed.get(node) or self._new(node)
        unit = self._unit_for(node)
        unit.outputs.append(Output(node, out))
        self._enter(node, unit)
        self.views[node] = out
        self.makers.setdefault(out.place()[0], set()).add(unit)
        return out

    def _new(self, node: Tensor) -> View:
        label = node.name or (node.op.name if node.op is not None else "number")
        return replace(self._dense(node, Storage(max(node.size, 1), node.dtype)), label=label)

    def _enter(self, node: Tensor, unit: Unit) -> None:
        unit.members.add(node)
        self.home_of[node] = unit
        reads, _ = self._sources(node, unit)
        unit.reads += reads

    def _sources(self, node: Tensor, unit: Unit | None) -> tuple[list[View], set[Tensor]]:
        """Return the memory that computing a node reads, and which of the unit's own nodes it reads in place."""
        views: list[View] = []
        own: set[Tensor] = set()
        pending, seen = [(operand, _is_aligned(node, operand)) for operand in node.inputs], set()
        while pending:
            operand, aligned = pending.pop()
            if (operand, aligned) in seen:
                continue
            seen.add((operand, aligned))
            view = self.views.get(operand)
            if view is None:
                pending += [(below, aligned and _is_aligned(operand, below)) for below in operand.inputs]
            elif aligned and unit is not None and self.home_of.get(operand) is unit:
                own.add(operand)
            else:
                views.append(view)
        return views, own

    def _earliest(self, node: Tensor) -> int:
        """Return the first place among the steps at which everything that a node reads is there."""
        views, _ = self._sources(node, None)
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
        return {view.place()[0] for view in self._sources(node, None)[0]}

    def _fits(self, node: Tensor, unit: Unit) -> bool:
        """Whether a loop can compute a node: it reads of the loop's own results only those at the same place."""
        views, _ = self._sources(node, unit)
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
            unit.reads += self._sources(node, None)[0]
        self.steps.append(unit)
        self.makers.setdefault(out.place()[0], set()).add(unit)
        if shape != node.shape:  # every element of a row is the row's sum
            out = replace(out, shape=node.shape, strides=(*out.strides, 0))
        self.views[node] = out
        if node in self.rooted and shape != node.shape:
            self.views[node] = self._copied(node, out)

    def _partials(self, node: Tensor) -> View:
        """Put a long array together in as many parts as keep the whole device busy; return their memory."""
        size = node.inputs[0].size
        chunk = -(-size // min(PARTS, size // LONG * 8))
        count = -(-size // chunk)
        view = View(Storage(count, node.dtype), (count,), (1,), 0, node.dtype, "partial results")
        unit = Unit((count,), [Output(node, view)], node, chunk=chunk)
        unit.reads += self._sources(node, None)[0]
        self.steps.append(unit)
        self.makers.setdefault(view.storage, set()).add(unit)
        return view

    def memory_or_number(self, node: Tensor) -> View | None:
        """Return the memory of a node; None for a constant number, which needs none."""
        return None if node.op is None and node not in self.views else self.memory(node)

    def _copied(self, node: Tensor, source: View, out: View | None = None, kind: str = "") -> View:
        """Copy memory, in a loop of its own, into memory by rows."""
        if out is None:
            out = self._dense(node, Storage(max(source.size, 1), source.dtype))
            out = replace(out, shape=source.shape, strides=dense_strides(source.shape))
        unit = Unit(source.shape, [Output(Copied(node, source), out, kind)], reads=[source])
        self.steps.append(unit)
        self.makers.setdefault(out.place()[0], set()).add(unit)
        return out

    # Products -----------------------------------------------------------------------------------------------------

    def _find_epilogs(self) -> None:
        self.epilogs = find_epilogs(self.order, self.users, self.rooted, _is_large_product)
        for epilog in self.epilogs.values():
            self.absorbed.update(epilog.absorbed)

    def _product(self, epilog: Epilog) -> None:
        """Compute a product with what follows it; what the device cannot do so is computed by itself."""
        node = epilog.product
        compute = "float64" if node.dtype.itemsize == 8 else self.precision
        x, y = (self._operand(operand, compute) for operand in node.inputs)
        out = self.placed.get(epilog.end) or self._new(epilog.end)
        bias = None if epilog.bias is None else self._vector(epilog.bias)
        product = Product(epilog.end, x, y, out, bias, epilog.relu, compute=compute)
        if epilog.relu and any(other.masked_by is epilog.end for other in self.epilogs.values()):
            # A bit per element, rows of multiples of 128 bits.
            row = -(-node.shape[1] // 128) * 16
            storage = Storage(node.shape[0] * row, _BYTE)
            product.mask = View(storage, (node.shape[0], row), (row, 1), 0, _BYTE, "positive")
        if epilog.masked_by is not None:
            product.mask = self.masks.get(epilog.masked_by)
        if epilog.total is not None and epilog.total not in self.views:
            product.bias_gradient = self.placed.get(epilog.total) or self._new(epilog.total)
        wanted = product.mask is not None or epilog.masked_by is None
        if not wanted or not self.supports(product):
            self._apart(epilog, product)
            return
        self._append(product)
        if epilog.relu and product.mask is not None:
            self.masks[epilog.end] = product.mask
        if product.bias_gradient is not None and epilog.total is not None:
            self.views[epilog.total] = product.bias_gradient
        self.views[epilog.end] = out

    def _append(self, product: Product) -> None:
        self.steps.append(product)
        for view in product.writes:
            self.makers.setdefault(view.place()[0], set()).add(product)

    def _apart(self, epilog: Epilog, wanted: Product) -> None:
        """Compute a product alone, and what would have been its epilog in loops."""
        smaller = replace(wanted, mask=None, bias_gradient=None)
        reads_sign = epilog.masked_by is not None
        if (epilog.relu or epilog.bias is not None) and not reads_sign and self.supports(smaller):
            self._append(smaller)
            self.views[epilog.end] = smaller.out
            return
        out = wanted.out if epilog.end is epilog.product else self._new(epilog.product)
        self._append(Product(epilog.product, wanted.x, wanted.y, out, compute=wanted.compute))
        self.views[epilog.product] = out
        self.absorbed.difference_update(epilog.absorbed)
        if epilog.end is not epilog.product:
            del self.epilogs[epilog.end]
            for node in sorted({*epilog.absorbed, epilog.end}, key=lambda node: node.serial):
                self._lower(node)

    def _operand(self, node: Tensor, compute: str) -> View:
        """Return a matrix as a product reads it: with an axis of stride 1, in the precision wanted."""
        view = self.memory_or_number(node)
        if view is None:
            view = self.memory(node)
        kind = compute if compute in _HALF else ""
        if not kind and _has_leading_axis(view):
            return view
        key = (*view.place(), (view.shape, view.strides), kind)
        found = self.casts.get(key)
        if found is not None:
            return found
        turned = view.turned  # the copy lies as the original does, so that neither order costs more
        source = view.T if turned else view
        dtype = _HALVES[kind] if kind else view.dtype
        storage = Storage(view.size, dtype)
        out = View(
            storage, source.shape, dense_strides(source.shape), 0, dtype, f"{view.label or 'operand'}_{kind or 'copy'}"
        )
        self._copied(node, source, out, kind)
        self.casts[key] = out.T if turned else out
        return self.casts[key]

    def _vector(self, node: Tensor) -> View:
        view = self.memory_or_number(node)
        view = self.memory(node) if view is None else view
        return view if view.by_rows else self._copied(node, view)

    # Joined parts -------------------------------------------------------------------------------------------------

    def _place_parts(self) -> None:
        """Let what is joined along the first axis be computed where it is joined."""
        if "fuse" in self.disable:
            return
        for node in self.order:
            if node.op is None or node.op.name != "concatenate" or node.attributes["axis"] != 0 or not node.size:
                continue
            if node.dtype.name not in TYPES or any(part.dtype != node.dtype for part in node.inputs):
                continue
            whole = self.placed.get(node) or self._dense(node, Storage(node.size, node.dtype))
            self.placed[node] = whole
            shift = whole.shift
            for part in node.inputs:
                base = part
                while base.op is not None and base.op.name == "reshape":
                    base = base.inputs[0]
                fresh = base.op is not None and base.op.name not in INDEXING and base.op.name != "sum_wide"
                if fresh and base not in self.placed and base.size and base not in self.rooted:
                    strides = dense_strides(base.shape)
                    self.placed[base] = View(whole.storage, base.shape, strides, shift, base.dtype, base.name or "part")
                shift += part.size

    def _join(self, node: Tensor) -> None:
        whole = self.placed[node]
        shift = whole.shift
        for part in node.inputs:
            place = View(whole.storage, part.shape, dense_strides(part.shape), shift, node.dtype, part.name or "part")
            shift += part.size
            if not part.size:
                continue
            source = self.views.get(part)
            if source is None:
                self._copied_node(part, place)
            elif source.place() != place.place() or not source.by_rows:
                self._copied(part, source, place)
        self.views[node] = whole

    def _copied_node(self, node: Tensor, place: View) -> None:
        """Compute a node that has no memory into a place, or write a constant number there."""
        unit = Unit(node.shape, [Output(node, place)], members={node})
        unit.reads += self._sources(node, None)[0]
        self.steps.append(unit)
        self.makers.setdefault(place.place()[0], set()).add(unit)

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
                self.views[operand] = self._dense(operand, storage)
            reads.append(self.memory(operand))
        out = self.placed.get(node) or self._new(node)
        step = Fallback(node, kernel, reads, out, _why_not(node))
        self.steps.append(step)
        self.makers.setdefault(out.place()[0], set()).add(step)
        self.views[node] = out

    # The end of a step --------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Find where outputs are, and bring new values into variables."""
        updated = {self.variable_view(variable).storage for variable in self.program.updates}

        def result(node: Tensor) -> View:
            view = self.memory(node)
            # What lies in a variable is overwritten before it is returned.
            return self._copied(node, view) if view.storage in updated or not view.by_rows else view

        self.outputs = [result(node) for node in self.program.outputs]
        self.gradients = [(variable, result(node)) for variable, node in self.program.gradients.items()]
        staged: list[tuple[Tensor, View, View]] = []
        self.in_place = 0
        for variable, node in self.program.updates.items():
            place, value = self.variable_view(variable), self.memory(node)
            if self._move_into(node, value, place):
                self.in_place += 1
                continue
            if value.storage.kind in ("variable", "constant") or not value.by_rows:
                value = self._copied(node, value)
            staged.append((node, value, place))
        for node, value, place in staged:
            self._copied(node, value, place)

    def _move_into(self, node: Tensor, value: View, place: View) -> bool:
        """Compute a variable's new value where it lies, if nobody reads the old one afterwards."""
        root, shift = value.place()
        makers = self.makers.get(root, set())
        step = next(iter(makers), None)
        whole = root.kind == "scratch" and not root.private and shift == 0 and root.size == place.storage.size
        if not whole or len(makers) != 1 or not isinstance(step, Unit) or step.reduced is not None or not value.by_rows:
            return False
        at = self.steps.index(step)
        later = self.steps[at + 1 :]
        if any(isinstance(other, Fallback) for other in later):
            return False  # it may raise, and then no variable is changed
        if any(view.place()[0] is place.storage for other in later for view in (*other.reads, *other.writes)):
            return False
        old = [view for view in step.reads if view.place()[0] is place.storage]
        if any(not view.by_rows or view.shape != step.shape or view.shift for view in old):
            return False
        if any(not self._reads_in_place(member, place.storage) for member in step.members):
            return False
        root.become(place.storage, 0)
        self.makers.setdefault(place.storage, set()).add(step)
        return True

    def _reads_in_place(self, member: Tensor, storage: Storage) -> bool:
        """Whether a node reads a variable only at the place that it computes."""
        pending, seen = [(operand, _is_aligned(member, operand)) for operand in member.inputs], set()
        while pending:
            operand, aligned = pending.pop()
            if (operand, aligned) in seen:
                continue
            seen.add((operand, aligned))
            view = self.views.get(operand)
            if view is None or self.home_of.get(operand) is self.home_of.get(member):
                pending += [(below, aligned and _is_aligned(operand, below)) for below in operand.inputs]
            if view is not None and view.place()[0] is storage and not aligned:
                return False
        return True


def _is_aligned(node: Tensor, operand: Tensor) -> bool:
    """Whether a node reads an operand at the place that it computes."""
    return node.op is not None and is_pointwise(node) and operand.shape == node.shape


def _has_leading_axis(view: View) -> bool:
    rows, columns = view.strides
    dense = columns == 1 and (rows >= view.shape[1] or view.shape[0] == 1)
    return dense or (rows == 1 and (columns >= view.shape[0] or view.shape[1] == 1))


def _is_large_product(node: Tensor) -> bool:
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
        return node.dtype.kind == "f" and not _is_large_product(node) and node.size * inner <= LOOPS
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


def _dtypes() -> tuple[Any, dict[str, Any]]:
    import numpy as np

    half = np.dtype("uint16")
    return np.dtype("uint8"), {"bf16": half, "fp16": half}


_BYTE, _HALVES = _dtypes()

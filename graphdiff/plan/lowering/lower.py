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
from graphdiff.plan.lowering.epilogs import Epilog, find_epilogs
from graphdiff.plan.lowering.expressions import CASTS, REDUCTIONS, has_type
from graphdiff.plan.lowering.instructions import Check, Fallback, Output, Unit
from graphdiff.plan.lowering.lowered import Lowered
from graphdiff.plan.lowering.products import multiply
from graphdiff.plan.lowering.results import join, place_parts, place_results
from graphdiff.plan.lowering.target import Target
from graphdiff.plan.lowering.values import INDEXING, can_emit, is_array
from graphdiff.plan.lowering.views import Storage, View, dense_strides
from graphdiff.plan.program import Program, Tensor

__all__ = ["Lowering"]

PARTS = 1 << 8
"""The most results of the first stage."""
DEPTH = 40
"""How many nodes without memory may lie above one another."""
CHEAP = {"astype", "negative", "within", "label_weights", "logical_not", "equal", "not_equal", "stop_gradient"}
CHEAP |= {"less", "less_equal", "greater", "greater_equal", *INDEXING}
SUMS = {"sum", "mean", "sum_wide"}


class Lowering(Lowered):
    """Turns a program into steps over views of memory.

    Parameters
    ----------
    program : Program
    disable : frozenset of str
        "fuse": every node has its own loop; "epilog": products compute nothing besides.
    target : Target
        What it is lowered for.
    """

    def __init__(self, program: Program, disable: frozenset[str], target: Target) -> None:
        super().__init__(program, disable, target)
        self._find_products()
        place_parts(self)
        for node in self.order:
            self.lower(node)
        place_results(self)

    def _find_products(self) -> None:
        """Find the matrix products, and what each of them computes besides."""
        if not self.target.epilogs or "epilog" in self.disable:
            self.epilogs = {node: Epilog(node, node) for node in self.order if self.is_product(node)}
            return
        # A product whose result is stored in 16 bits would store the sum of its rows so, too.
        sums_masked = self.target.precision not in CASTS
        self.epilogs = find_epilogs(self.order, self.users, self.rooted, self.is_product, sums_masked)
        for epilog in self.epilogs.values():
            self.absorbed.update(epilog.absorbed)
            if epilog.total is not None and epilog.masked_by is None:
                self.absorbed.add(epilog.total)  # it waits for its product

    def is_product(self, node: Tensor) -> bool:
        """Whether a node is a matrix product with an instruction of its own."""
        if node.op is None or node.op.name != "matmul" or any(operand.ndim != 2 for operand in node.inputs):
            return False
        same = all(operand.dtype == node.dtype for operand in node.inputs) and node.dtype.name in ("float32", "float64")
        return same and node.size * node.inputs[0].shape[1] > self.target.tiny

    # Nodes --------------------------------------------------------------------------------------------------------

    def lower(self, node: Tensor) -> None:
        if node in self.views or node in self.absorbed:
            return
        if node.op is not None and node.op.name == "permute_dims" and node.inputs[0] in self.narrow:
            self.narrow[node] = self.narrow[node.inputs[0]].permuted(node.attributes["axes"])
            return
        if node.op is None:
            view = self.constant(node)
            if view is not None:
                self.views[node] = view
            return
        if self.target.refuses:
            self._demand(node)
        if node in self.epilogs:
            multiply(self, self.epilogs[node])
            return
        if node.op.name in INDEXING and len(node.inputs) == 1 and self._viewed(node):
            return
        if node.op.name == "concatenate" and node in self.placed:
            join(self, node)
        elif node.op.name in REDUCTIONS and self.can_reduce(node):
            self._reduce(node)
        elif self.can_emit(node) and node.size:
            if node.op.name == "random_draw":
                self.draws.setdefault(id(node.attributes["generator"]), []).append(node)
            self.depth[node] = 1 + max((self.depth.get(operand, 0) for operand in node.inputs), default=0)
            if self._needs_memory(node):
                self.memory(node)
        else:
            self._fall_back(node)

    def _demand(self, node: Tensor) -> None:
        """Check what an op refuses, before anything is computed with it."""
        for operand, low, high in demands(node):
            self.add(Check(node, [self.memory(operand)], low, high))

    def can_emit(self, node: Tensor) -> bool:
        """Whether the elements of a node are computed in loops."""
        return can_emit(node) and (self.target.draws or node.op is None or node.op.name != "random_draw")

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
        return joined or name == "matmul" or not (self.can_emit(user) or (name in REDUCTIONS and self.can_reduce(user)))

    # Units --------------------------------------------------------------------------------------------------------

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
        if unit.size == 1 and unit.inner > self.target.long and node.op.name != "matmul":
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
        chunk = -(-size // min(PARTS, size // self.target.long * 8))
        count = -(-size // chunk)
        view = View(Storage(count, node.dtype), (count,), (1,), 0, node.dtype, "partial results")
        unit = Unit((count,), [Output(node, view)], node, chunk=chunk)
        unit.reads += self.sources(node, None)
        self.add(unit)
        return view

    def can_reduce(self, node: Tensor) -> bool:
        """Whether a loop is written for a reduction."""
        assert node.op is not None
        source = node.inputs[0]
        if any(not has_type(each.dtype) for each in (node, *node.inputs)) or not node.size or not source.size:
            return False
        if node.op.name == "matmul":
            work = node.size * source.shape[-1]
            return node.dtype.kind == "f" and not self.is_product(node) and work <= self.target.stacked
        return node.dtype.kind in "fiub"

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


def demands(node: Tensor) -> list[tuple[Tensor, float, float]]:
    """Return the operands whose elements an op wants to lie in [low, high], with these bounds."""
    assert node.op is not None
    name, attributes = node.op.name, node.attributes
    if not can_emit(node):
        return []  # its kernel refuses them
    if name == "label_weights":
        return [(node.inputs[0], 0, attributes["classes"] - 1)]
    if name == "within":
        return [(node.inputs[1], attributes["low"], attributes["high"])]
    if name != "getitem" or len(node.inputs) == 1:
        return []
    source, *arrays = node.inputs
    axes = [entry for entry in attributes["template"] if entry is not None]
    lengths = [length for entry, length in zip(axes, source.shape, strict=False) if is_array(entry)]
    return [(array, -length, length - 1) for array, length in zip(arrays, lengths, strict=True)]


def _why_not(node: Tensor) -> str:
    """Return why no kernel is generated for a node."""
    assert node.op is not None
    other = next((each.dtype for each in (node, *node.inputs) if not has_type(each.dtype)), None)
    if other is not None:
        return f"{other} has no type in the generated kernels"
    if not node.size or any(not operand.size for operand in node.inputs):
        return "it has no elements to compute or to put together"
    if node.op.name == "random_draw":
        return "only uniform numbers are drawn on the device"
    return f"no kernel is generated for {node.op.name} of these operands"

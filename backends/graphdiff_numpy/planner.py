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
- the derivative of relu multiplies the bits of the adjoint, read as integers, by 0 or 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from graphdiff.op import Op
from graphdiff.plan.passes import scalar
from graphdiff.plan.program import Program, Tensor, Variable
from graphdiff.plan.schedule import Call, Local, Operand, Schedule, Storage, View, dense_strides
from graphdiff_numpy import label_table

__all__ = ["Planner"]

_FULL = 1 << 17  # elements up to which a constant is kept in full
_EXACT = 1 << 12  # elements up to which a sum may be a product with ones: beyond, NumPy's pairwise sum is more accurate
_QUICK = 1 << 19  # multiplications up to which a product lies by columns
_PRIVATE = 1 << 16  # bytes up to which a layer's input keeps its memory to itself
_SMALL = 1 << 12  # elements up to which an argument is copied to lie by columns
_TEXT = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "power": "{0} ** {1}",
    "negative": "-{0}",
    "sqrt": "{0} ** 0.5 if {0} > 0 else root({0})",
}
_VIEWS = {"reshape", "permute_dims", "getitem", "broadcast_to"}


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
        self._names = 0
        self._storages: dict[Variable, Storage] = {}
        roots = program.roots
        self.rooted = set(roots)

        self._lower_leaves()
        self._lower_static_views()
        self.affine = set() if "layout" in disable else self._find_affine()
        self.with_bias: dict[Tensor, Tensor] = {}
        if "place" not in disable:
            self._place_parts()
        self.targets = {} if "place" in disable else self._find_targets()
        self._find_patterns()

        late = self._late(self.targets)
        for node in self.order:
            if node.op is not None and node not in late:
                self._lower(node)
        staged = self._updates()
        compute = self.filling = self.calls
        self.calls = []
        for node in self.order:
            if node in late and node.op is not None:
                self._lower(node)
        commit = self.calls + staged
        self.outputs = [_boxed(self._operand(node)) for node in program.outputs]
        self.gradients = [(variable, _boxed(self._operand(node))) for variable, node in program.gradients.items()]
        kept = [*self.outputs, *(operand for _, operand in self.gradients), *(local for _, local in self.numbers)]
        self.schedule = Schedule(compute, commit, kept, reuse="reuse" not in disable)
        self.notes = self._noted()

    def _noted(self) -> list[tuple[str, str]]:
        """Return what was done, for people to read."""
        columns = {
            call.out.storage.root()[0]
            for call in self.schedule.calls
            if call.out is not None and call.out.by_columns and not call.out.by_rows
        }
        parts = sum(1 for node, view in self.placed.items() if node.op is not None and node.op.name != "concatenate")
        fused = len(self.masks) + len(self.contracted) + len(self.scaled)
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
            self.value[node] = Local(f"_a{place}", node.shape, node.dtype)
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
            if node.op is not None and node.op.name in _VIEWS and len(node.inputs) == 1:
                source = self.value.get(node.inputs[0])
                if isinstance(source, View):
                    view = self._viewed(node, source)
                    if view is not None:
                        self.value[node] = replace(view, label=node.name or view.label)

    @staticmethod
    def _viewed(node: Tensor, source: View) -> View | None:
        assert node.op is not None
        name = node.op.name
        if name == "reshape":
            return source.reshaped(node.shape)
        if name == "permute_dims":
            return source.permuted(node.attributes["axes"])
        if name == "broadcast_to":
            return source.broadcast(node.shape)
        template = node.attributes["template"]
        if any(isinstance(entry, str) or entry is Ellipsis for entry in template):
            return None
        return source.indexed(template)

    # What to look out for -----------------------------------------------------------------------------------------

    def _only_user(self, node: Tensor) -> Tensor | None:
        users = self.users.get(node, [])
        return users[0] if len(users) == 1 and node not in self.rooted else None

    def _find_affine(self) -> set[Tensor]:
        """Return the inputs of layers whose bias lies right behind their weights."""
        found = set()
        for node in self.order:
            match = self._affine_parts(node)
            if match is not None:
                found.add(match[0])
        return found

    def _affine_parts(self, node: Tensor) -> tuple[Tensor, View] | None:
        """Return (x, weights with the bias as a last row) where `node` is x @ W + b with b behind W."""
        if node.op is None or node.op.name != "add" or len(node.shape) != 2:
            return None
        product, bias = node.inputs
        if product.op is None or product.op.name != "matmul" or bias.shape != node.shape[1:]:
            return None
        x, weights = product.inputs
        W, b = self.value.get(weights), self.value.get(bias)
        if self._only_user(product) is not node or len(x.shape) != 2 or not node.dtype == x.dtype == product.dtype:
            return None
        if not isinstance(W, View) or not isinstance(b, View) or not W.by_rows or W.storage.kind != "variable":
            return None
        if b.storage is not W.storage or b.shift != W.shift + W.size or not b.by_rows:
            return None
        rows, columns = W.shape
        return x, View(W.storage, (rows + 1, columns), (columns, 1), W.shift, W.dtype, f"{W.label}_with_{b.label}")

    def _place_parts(self) -> None:
        """Let what is joined by a concatenation be computed where it ends up."""
        for node in self.order:
            if node.op is None or node.op.name != "concatenate" or node.attributes["axis"] != 0 or len(node.shape) != 1:
                continue
            storage = Storage(node.size, node.dtype)
            shift = 0
            owners: list[Tensor] = []
            for part in node.inputs:
                owner = part.inputs[0] if part.op is not None and part.op.name == "reshape" else part
                owners.append(owner)
                computed = owner.op is not None and owner.op.name not in _VIEWS | {"concatenate"}
                if computed and owner not in self.placed and part.dtype == node.dtype and owner.shape:
                    strides = dense_strides(owner.shape)
                    self.placed[owner] = View(storage, owner.shape, strides, shift, node.dtype)
                shift += part.size
            self.placed[node] = View(storage, node.shape, (1,), 0, node.dtype, node.name or "joined")
            for owner, following in zip(owners, owners[1:], strict=False):
                self._join_bias(owner, following)

    def _join_bias(self, product: Tensor, total: Tensor) -> None:
        """Note that xᵀ @ a and the sum of a over its rows lie side by side: one product gives both."""
        if product.op is None or product.op.name != "matmul" or total.op is None or total.op.name != "sum":
            return
        turned, adjoint = product.inputs
        if turned.op is None or turned.op.name != "permute_dims" or turned.inputs[0] not in self.affine:
            return
        matches = total.inputs[0] is adjoint and total.attributes["axis"] == (0,) and total.shape == product.shape[1:]
        if matches and product in self.placed and total in self.placed:
            self.with_bias[total] = product
            self.with_bias[product] = total

    def _find_targets(self) -> dict[Tensor, View]:
        """Return the nodes that may be computed in the memory of the variable that they update."""
        targets: dict[Tensor, View] = {}
        for variable, node in self.program.updates.items():
            if variable.shape and self._in_place(node) and node not in targets:
                targets[node] = self.variable_view(variable)
        while targets:
            late = self._late(targets)
            bad = next((node for node in targets if not self._may_write(node, targets[node], late)), None)
            if bad is None:
                bad = self._held_up(targets, late)
            if bad is None and all(self._in_place(node) for node in late):
                break
            targets.pop(bad if bad is not None else next(iter(targets)))
        for node, view in list(targets.items()):
            self._extend(node, view, targets)
        return targets

    def _extend(self, node: Tensor, view: View, targets: dict[Tensor, View]) -> None:
        """Let an operand that only `node` needs be computed in the variable's memory too."""
        for operand in node.inputs:
            if operand.shape == node.shape and self._in_place(operand) and self._only_user(operand) is node:
                tried = {**targets, operand: view}
                late = self._late(tried)
                if self._held_up(tried, late) is None and all(
                    self._may_write(other, place, late) for other, place in tried.items()
                ):
                    targets[operand] = view
                    return

    def _held_up(self, targets: dict[Tensor, View], late: set[Tensor]) -> Tensor | None:
        """Return a target that a variable's new value waits for, though that is copied and must be known before."""
        for node in self.program.updates.values():
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

    def _in_place(self, node: Tensor) -> bool:
        if node.op is None or node in self.value or node in self.placed:
            return False
        arrays = all(
            isinstance(self.value.get(operand), View) or operand.op is not None or not operand.recorded
            for operand in node.inputs
        )
        return bool(node.shape) and node.op.kind == "elementwise" and self.ufunc(node.op) is not None and arrays

    def _late(self, targets: dict[Tensor, View]) -> set[Tensor]:
        """Return what runs when everything that can fail has been done: what writes variables, and what follows it."""
        late: set[Tensor] = set(targets)
        if not late:
            return late
        for node in self.order:
            if node.op is not None and any(operand in late for operand in node.inputs):
                late.add(node)
        for node in reversed(self.order):
            users = self.users.get(node)
            if users and node not in self.rooted and self._in_place(node) and all(user in late for user in users):
                late.add(node)
        return late

    def _may_write(self, writer: Tensor, view: View, late: set[Tensor]) -> bool:
        """Whether nobody reads the variable's old value after `writer` has begun to overwrite it."""
        reached = False
        for node in self.order:
            if node is writer:
                reached = True
                continue
            if node in late and reached and any(self._lies_in(operand, view) for operand in node.inputs):
                return False
        for operand in writer.inputs:
            value = self.value.get(operand)
            if self._lies_in(operand, view) and not (isinstance(value, View) and value.fits(view)):
                return False
        return not any(self._lies_in(root, view) for root in self.rooted)

    def _lies_in(self, node: Tensor, view: View) -> bool:
        value = self.value.get(node)
        return isinstance(value, View) and value.storage is view.storage

    def _find_patterns(self) -> None:
        """Note what needs no call of its own, because the call that uses it does both."""
        self.masks: dict[Tensor, Tensor] = {}
        self.contracted: set[Tensor] = set()
        self.wide: dict[Tensor, Tensor] = {}
        self.scaled: dict[Tensor, Tensor] = {}
        for node in self.order:
            if node.op is None:
                continue
            if self._affine_parts(node) is not None:
                self.skipped.add(node.inputs[0])
            if "fuse" in self.disable:
                continue
            if node.op.name == "multiply":
                self._find_mask(node)
            elif node.op.name in ("sum", "mean") and not node.shape:
                x = node.inputs[0]
                if self._is_product(x) and self._only_user(x) is node:
                    self.contracted.add(node)
                    self.skipped.add(x)
            elif node.op.name == "sum_wide":
                self.wide[node.inputs[0]] = node
                self._find_scaled(node)

    def _find_scaled(self, wide: Tensor) -> None:
        for total in self.users.get(wide.inputs[0], []):
            if total.op is None or total.op.name != "sum" or total.attributes["axis"] != (1,):
                continue
            product = self._only_user(total)
            if product is None or product.op is None or product.op.name != "multiply":
                continue
            if product.inputs[0] is total and scalar(product.inputs[1]) == wide.attributes["scale"]:
                self.scaled[product] = wide
                self.skipped.add(total)

    @staticmethod
    def _is_product(x: Tensor) -> bool:
        if x.op is None or x.op.name != "multiply" or x.dtype.kind != "f" or x.size > 1 << 16:
            return False
        left, right = x.inputs
        return left.shape == right.shape == x.shape and left.dtype == right.dtype and left.recorded and right.recorded

    def _find_mask(self, node: Tensor) -> None:
        """Find g · (relu(x) > 0), the adjoint of relu."""
        for adjoint, mask in (node.inputs, reversed(node.inputs)):
            if mask.op is None or mask.op.name != "astype" or self._only_user(mask) is not node:
                continue
            test = mask.inputs[0]
            if test.op is None or test.op.name != "greater" or self._only_user(test) is not mask:
                continue
            out, bound = test.inputs
            rectified = out.op is not None and out.op.name == "maximum" and scalar(out.inputs[1]) == 0
            alike = adjoint.shape == out.shape == node.shape and node.dtype == out.dtype == adjoint.dtype
            if rectified and alike and scalar(bound) == 0 and adjoint is not mask and node.dtype.itemsize in (4, 8):
                self.masks[node] = out
                self.skipped |= {mask, test}
                return

    # Memory -------------------------------------------------------------------------------------------------------

    def _out(self, node: Tensor, columns: bool = False) -> View:
        """Return the memory for a result."""
        label = node.name or (node.op.name if node.op is not None else "argument")
        target = self.targets.get(node) or self.placed.get(node)
        if target is not None:
            return replace(target, label=target.label or label)
        if columns and node in self.affine:
            # In a small network the ones are written once and for all; a large array rather shares its memory.
            small = node.size * node.dtype.itemsize <= _PRIVATE and "keep" not in self.disable
            storage = Storage(node.size + node.shape[0], node.dtype, private=small)
            storage.spare = node.shape[0]
        else:
            storage = Storage(node.size, node.dtype)
        return View(storage, node.shape, dense_strides(node.shape, columns), 0, node.dtype, label)

    def _scratch(self, like: View, dtype: Any, label: str) -> View:
        return View(Storage(like.size, dtype), like.shape, _compact(like), 0, dtype, label)

    def _constant(self, array: Any) -> View:
        array = np.asarray(array, order="C")
        key = (array.dtype, array.shape, array.tobytes()) if array.size <= _FULL else id(array)
        found = self.constants.get(key)
        if found is None:
            storage = Storage(array.size, array.dtype, "constant", array)
            label = _numeral(array.reshape(())) if array.size == 1 else "constant"
            found = self.constants[key] = View(storage, array.shape, dense_strides(array.shape), 0, array.dtype, label)
        return found

    def _full(self, number: Any, like: View, dtype: Any = None) -> View:
        """Return a constant of the geometry of a view without gaps."""
        constant = self._constant(np.full(like.size, number, dtype or like.dtype))
        return View(constant.storage, like.shape, _compact(like), 0, constant.dtype, f"all_{_numeral(number)}")

    def _slot(self, number: Local, dtype: Any) -> View:
        """Return planned memory that holds a number of this step."""
        key = f"{number.text} {dtype}"
        found = self.slots.get(key)
        if found is None:
            found = self.slots[key] = View(Storage(1, dtype, "slot"), (), (), 0, dtype, "number")
            # Storing a Python float is three times as quick as storing an array scalar or calling `fill`.
            stored = "{0}[()] = float({1})" if dtype.kind == "f" and not number.plain else "{0}[()] = {1}"
            self.filling.append(Call(stored, (found, number)))
        return found

    def _name(self) -> str:
        self._names += 1
        return f"_{self._names}"

    def _operand(self, node: Tensor) -> Operand:
        found = self.value.get(node)
        if found is None:
            assert node.op is None, f"{node.op} was not lowered"
            found = self.value[node] = self._constant(node._value)
        return found

    def _array(self, node: Tensor, shape: tuple[int, ...]) -> Operand:
        """Return an operand of an elementwise call over arrays: numbers in slots, constants in full where that pays."""
        operand = self._operand(node)
        if isinstance(operand, Local) and not operand.shape:
            return self._slot(operand, node.dtype)
        return operand

    # Ops ----------------------------------------------------------------------------------------------------------

    @staticmethod
    def ufunc(op: Op) -> Any:
        """Return the NumPy ufunc that computes an op, or None."""
        found = getattr(np, op.function, None)
        return found if isinstance(found, np.ufunc) and op.kind == "elementwise" else None

    def _lower(self, node: Tensor) -> None:
        """Append the calls that compute a node."""
        if node in self.value or node in self.skipped:
            return
        self._lower_op(node)
        made = self.value.get(node)
        if node in self.affine and isinstance(made, View):
            self._write_ones(made, node)

    def _write_ones(self, made: View, node: Tensor) -> None:
        """Put ones behind a layer's input where they are not kept."""
        storage = made.storage
        if storage.spare and not storage.private:
            ones = View(storage, (storage.spare,), (1,), made.shift + made.size, made.dtype, "ones")
            self.calls.append(Call((ones, "fill"), (1,), ones, "-", node=node))

    def _lower_op(self, node: Tensor) -> None:
        assert node.op is not None
        special: Callable[[Tensor], bool] | None = getattr(self, f"_{node.op.name}", None)
        if special is not None and special(node):
            return
        if not node.shape and self._number(node):
            return
        if node.op.name in _VIEWS and self._view(node):
            return
        if node.op.kind == "elementwise" and node.size and self._elementwise(node):
            return
        self._kernel(node)

    def _barrier(self, node: Tensor) -> bool:
        self.value[node] = self._operand(node.inputs[0])
        return True

    def _view(self, node: Tensor) -> bool:
        source = self._operand(node.inputs[0])
        if len(node.inputs) > 1:
            return False
        if isinstance(source, View):
            view = self._viewed(node, source)
            if view is None:
                if node.op.name != "reshape" or not node.size:  # type: ignore[union-attr]
                    return False
                out = self._out(node)
                turned = View(out.storage, source.shape, dense_strides(source.shape), out.shift, out.dtype)
                self.calls.append(Call(np.copyto, (turned, source), turned, "-", node=node))
                view = out
            self.value[node] = view
            return True
        if node.op.name == "permute_dims" and node.attributes["axes"] == tuple(reversed(range(len(node.shape)))):  # type: ignore[union-attr]
            self.value[node] = Local(f"{source.text}.T", node.shape, node.dtype, source.roots)
            return True
        return False

    def _number(self, node: Tensor) -> bool:
        """Compute with numbers in Python's own expressions: NumPy's array scalars are quick there."""
        assert node.op is not None
        operands = [self._operand(operand) for operand in node.inputs]
        if any(operand.shape for operand in operands) or node.op.kind != "elementwise":
            return False
        name = node.op.name
        if name not in _TEXT or node.dtype.kind != "f" or any(each.dtype != node.dtype for each in node.inputs):
            return False
        texts = [self._text(operand, place) for operand, place in zip(operands, node.inputs, strict=True)]
        if name == "power" and not (isinstance(texts[0], str) and float(texts[0]) > 0):
            return False  # a negative base would give a complex number
        plain = all(isinstance(each, str) or (isinstance(each, Local) and each.plain) for each in texts)
        assigned = Local(self._name(), (), node.dtype, plain=plain)
        self.calls.append(Call(_TEXT[name], tuple(texts), assigns=assigned, node=node, flops=1))
        self.value[node] = assigned
        return True

    def _text(self, operand: Operand, node: Tensor) -> Any:
        number = scalar(node)
        if isinstance(operand, View) and number is not None and node.dtype.kind == "f" and math.isfinite(number):
            return repr(number)
        return operand

    def _astype(self, node: Tensor) -> bool:
        source = self._operand(node.inputs[0])
        if not node.shape:
            if isinstance(source, Local) and node.dtype.kind == "f" and source.dtype.kind == "f":
                only = self.users.get(node, [])
                if all(user.shape for user in only) and node not in self.rooted:
                    self.value[node] = replace(source, dtype=node.dtype)  # the slot it fills casts it
                    return True
            return False
        out = self._out(node, isinstance(source, View) and source.by_columns and not source.by_rows)
        self.calls.append(Call(np.copyto, (out, source, "unsafe"), out, "-", node=node))
        self.value[node] = out
        return True

    def _elementwise(self, node: Tensor) -> bool:
        assert node.op is not None
        ufunc = self.ufunc(node.op)
        if ufunc is None or node.attributes:
            return False
        operands = [self._array(operand, node.shape) for operand in node.inputs]
        views = [operand for operand in operands if isinstance(operand, View) and operand.shape == node.shape]
        columns = len(node.shape) == 2 and any(view.by_columns and not view.by_rows for view in views)
        out = self._out(node, columns)
        if ufunc in (np.maximum, np.minimum) and out.size <= _FULL:
            for place, given in enumerate(node.inputs):
                number = scalar(given)
                if number is not None and given.size == 1 and (out.by_rows or out.by_columns):
                    operands[place] = self._full(number, out)
        keyword = "out" if ufunc in (np.maximum, np.minimum) else ""
        over = tuple(
            place
            for place, operand in enumerate(operands)
            if isinstance(operand, View) and operand.dtype == node.dtype and operand.shape == node.shape
        )
        flops = node.op.flops if isinstance(node.op.flops, int) else 1
        if node not in self.targets and node not in self.placed and self._by_column(node, ufunc, operands, out):
            return True
        self.calls.append(
            Call(ufunc, tuple(operands), out, keyword, node=node, over=over, elementwise=True, flops=flops * node.size)
        )
        self.value[node] = out
        return True

    def _by_column(self, node: Tensor, ufunc: Any, given: list[Operand], out: View) -> bool:
        """Combine a matrix of two columns with one column in two calls: each takes a third of a broadcast's time."""
        operands = [operand for operand in given if isinstance(operand, View)]
        if len(node.shape) != 2 or node.shape[1] != 2 or len(operands) != 2 or out.by_rows or not out.by_columns:
            return False
        if len(given) != 2 or {operand.shape for operand in operands} != {node.shape, (node.shape[0], 1)}:
            return False
        for source, operand in zip(node.inputs, operands, strict=True):
            last_use = self._only_user(source) is node and operand.storage.root()[0].kind == "scratch"
            if operand.shape == node.shape and operand.by_columns and last_use and operand.dtype == out.dtype:
                out = operand
        for place in (0, 1):
            parts = [view.indexed((slice(None), place if view.shape[1] > 1 else 0)) for view in operands]
            self.calls.append(
                Call(ufunc, tuple(parts), out.indexed((slice(None), place)), node=node, flops=node.shape[0])
            )
        self.value[node] = out
        return True

    def _multiply(self, node: Tensor) -> bool:
        rectified = self.masks.get(node)
        if rectified is None:
            return self._scaled_sum(node)
        mask = self._operand(rectified)
        adjoint_node = next(x for x in node.inputs if x not in self.skipped)
        adjoint = self._operand(adjoint_node)
        if not isinstance(mask, View) or not isinstance(adjoint, View):
            factor = next(x for x in node.inputs if x in self.skipped)
            self.skipped -= {factor, factor.inputs[0]}
            self._lower(factor.inputs[0])
            self._lower(factor)
            return False
        integer = np.dtype(f"i{node.dtype.itemsize}")
        ones = self._full(1, mask, integer) if mask.size <= _FULL else self._constant(np.ones((), integer))
        bits = self._scratch(mask, integer, "mask")
        self.calls.append(Call(np.fmin, (mask.retyped(integer), ones), bits, node=node, over=(0,), elementwise=True))
        out = self._out(node, adjoint.by_columns and not adjoint.by_rows)
        call = Call(np.multiply, (adjoint.retyped(integer), bits), out.retyped(integer), node=node, over=(0, 1))
        call.elementwise, call.flops = True, node.size
        self.calls.append(call)
        self.value[node] = out
        return True

    def _scaled_sum(self, node: Tensor) -> bool:
        """Take a multiple of a matrix's sums out of the wide sum that has them in every column."""
        total = node.inputs[0]
        wide = self.scaled.get(node)
        if wide is None:
            return False
        self._lower(wide)
        summed = self._operand(wide)
        if not isinstance(summed, View):
            self.skipped.discard(total)
            self._lower(total)
            return False
        self.value[node] = summed.indexed((slice(None), 0 if len(node.shape) == 1 else slice(0, 1)))
        return True

    def _where(self, node: Tensor) -> bool:
        condition, x, y = (self._operand(operand) for operand in node.inputs)
        if not node.size or not node.shape or node.inputs[0].dtype.kind != "b":
            return False
        views = [operand for operand in (x, y) if isinstance(operand, View) and operand.shape == node.shape]
        out = self._out(node, len(node.shape) == 2 and any(v.by_columns and not v.by_rows for v in views))
        self.calls.append(Call(np.copyto, (out, y, "unsafe"), out, "-", node=node))
        self.calls.append(Call(np.copyto, (out, x, "unsafe", condition), out, "-", node=node, flops=node.size))
        self.value[node] = out
        return True

    # Products -----------------------------------------------------------------------------------------------------

    def _by_columns(self, rows: int, columns: int, inner: int) -> bool:
        """Whether a product lies by columns: if it is tall, and small enough for calls to matter more than BLAS."""
        return "layout" not in self.disable and rows >= columns and rows * columns * inner <= _QUICK

    def _beside(self, node: Tensor) -> bool | None:
        """Whether the matrices that `node` is combined with lie by columns; None where there are none yet.

        Combining matrices of both orders takes many times as long as combining two of one.
        """
        for user in self.users.get(node, []):
            if user.op is not None and user.op.kind == "elementwise" and user.shape == node.shape:
                for other in user.inputs:
                    found = None if other is node else self._lies_by_columns(other, node.shape, 4)
                    if found is not None:
                        return found
        return None

    def _lies_by_columns(self, node: Tensor, shape: tuple[int, ...], depth: int) -> bool | None:
        view = self.value.get(node)
        if isinstance(view, View):
            return view.by_columns and not view.by_rows if view.shape == shape else None
        if depth == 0 or node.op is None or node.op.name in ("matmul", "permute_dims"):
            return None
        found = (self._lies_by_columns(operand, shape, depth - 1) for operand in node.inputs)
        return next((each for each in found if each is not None), None)

    def _add(self, node: Tensor) -> bool:
        match = self._affine_parts(node)
        if match is None:
            return False
        x_node, weights = match
        x = self._with_ones(x_node)
        if x is None:
            self.skipped.discard(node.inputs[0])
            self._lower(node.inputs[0])
            return False
        out = self._out(node, columns=True)
        self._dot(weights.T, x, out.T, node)
        self.value[node] = out
        return True

    def _with_ones(self, node: Tensor) -> View | None:
        """Return a layer's input of shape (features + 1, examples) whose last row is ones, or None."""
        x = self._operand(node)
        examples, features = node.shape
        if isinstance(x, Local) and node.size <= _SMALL and examples >= 2 * features:
            copy = self._out(node, columns=True)
            self.calls.append(Call(np.copyto, (copy, x), copy, "-", node=node))
            x = self.value[node] = copy
            self._write_ones(copy, node)
        if not isinstance(x, View) or not x.storage.spare or not x.by_columns:
            return None
        return View(x.storage, (features + 1, examples), (examples, 1), x.shift, x.dtype, f"{x.label}_and_ones")

    def _matmul(self, node: Tensor) -> bool:
        x, y = (self._operand(operand) for operand in node.inputs)
        if not node.size or not node.inputs[0].size or node.inputs[0].dtype != node.inputs[1].dtype:
            return False
        ranks = len(x.shape), len(y.shape)
        if ranks == (1, 1):
            return self._inner(node, x, y)
        if max(ranks) > 2:
            out = self._out(node)
            flops = 2 * node.size * x.shape[-1]
            self.calls.append(Call(np.matmul, (x, y), out, node=node, flops=flops))
            self.value[node] = out
            return True
        if node in self.with_bias and self._product_with_bias(node):
            return True
        columns = False
        if ranks == (2, 2) and node not in self.placed:
            beside = self._beside(node)
            columns = self._by_columns(node.shape[0], node.shape[1], x.shape[1]) if beside is None else beside
        out = self._out(node, columns)
        if columns:
            self._dot(_turned(y), _turned(x), out.T, node)
        else:
            self._dot(x, y, out, node)
        self.value[node] = out
        return True

    def _dot(self, x: Operand, y: Operand, out: View, node: Tensor) -> None:
        flops = 2 * out.size * x.shape[-1]
        if isinstance(x, View):
            self.calls.append(Call((x, "dot"), (y,), out, node=node, flops=flops))
        else:
            self.calls.append(Call("{0}.dot({1}, {2})", (x, y, out), out, "-", node=node, flops=flops))

    def _product_with_bias(self, node: Tensor) -> bool:
        """Compute xᵀ @ a and the sum of a's rows in one product."""
        total = self.with_bias[node]
        turned, adjoint_node = node.inputs
        x = self.value.get(turned.inputs[0])
        adjoint = self._operand(adjoint_node)
        if not isinstance(x, View) or not x.storage.spare or total in self.value:
            return False
        rows = self._with_ones(turned.inputs[0])
        if rows is None:
            return False
        place = self.placed[node]
        features, outputs = node.shape
        whole = replace(place, shape=(features + 1, outputs), strides=(outputs, 1), label="gradient_with_bias")
        self._dot(rows, adjoint, whole, node)
        self.value[node], self.value[total] = place, self.placed[total]
        return True

    def _inner(self, node: Tensor, x: Operand, y: Operand) -> bool:
        assigned = Local(self._name(), (), node.dtype)
        if isinstance(x, View):
            call = Call((x, "dot"), (y,), assigns=assigned, node=node, flops=2 * x.size)
        else:
            call = Call(np.dot, (x, y), assigns=assigned, node=node)
        self.calls.append(call)
        self.value[node] = assigned
        return True

    # Reductions ---------------------------------------------------------------------------------------------------

    def _sum(self, node: Tensor) -> bool:
        return self._reduced(node, 1.0)

    def _mean(self, node: Tensor) -> bool:
        count = math.prod(node.inputs[0].shape[axis] for axis in node.attributes["axis"])
        return bool(count) and self._reduced(node, 1.0 / count)

    def _reduced(self, node: Tensor, weight: float) -> bool:
        """Sum, and multiply by a weight."""
        x_node = node.inputs[0]
        if node.dtype.kind != "f" or x_node.dtype != node.dtype or not x_node.size or not node.attributes["axis"]:
            return False
        if node in self.contracted:
            if self._contracted(node, x_node, weight):
                return True
            self.skipped.discard(x_node)
            self._lower(x_node)
        partner = self.with_bias.get(node)
        if partner is not None:
            # The product that gives this sum too comes later or earlier; what it needs is there by now.
            for operand in partner.inputs:
                if operand not in self.value and operand.op is not None:
                    self._lower(operand)
            if partner not in self.value and self._product_with_bias(partner):
                return True
        x = self._operand(x_node)
        axes = node.attributes["axis"]
        if len(axes) == len(x.shape):
            return self._total(node, x, weight)
        wide = self.wide.get(x_node)
        if len(x.shape) == 2 and axes == (1,) and wide is not None and wide.attributes["scale"] == weight:
            self._lower(wide)
            summed = self._operand(wide)
            if isinstance(summed, View):
                column = summed.indexed((slice(None), 0))
                self.value[node] = (
                    column
                    if column is None or not node.attributes.get("keepdims")
                    else (summed.indexed((slice(None), slice(0, 1))))
                )
                return True
        if len(x.shape) == 2 and x.shape[axes[0]] <= _EXACT:
            return self._summed_matrix(node, x, axes[0], weight)
        out, reduced = self._reduction_out(node, axes)
        self.calls.append(
            Call(np.add.reduce, (x, axes if len(axes) > 1 else axes[0], None), reduced, node=node, flops=x_node.size)
        )
        if weight != 1.0:
            factor = self._constant(np.asarray(weight, node.dtype))
            self.calls.append(Call(np.multiply, (out, factor), out, node=node, elementwise=True, flops=out.size))
        self.value[node] = out
        return True

    def _reduction_out(self, node: Tensor, axes: tuple[int, ...]) -> tuple[View, View]:
        """Return the memory for a reduction, with and without the axes that it keeps."""
        out = self._out(node)
        if not node.attributes.get("keepdims"):
            return out, out
        kept = [axis for axis in range(len(node.shape)) if axis not in axes]
        shape, strides = tuple(out.shape[a] for a in kept), tuple(out.strides[a] for a in kept)
        return out, replace(out, shape=shape, strides=strides)

    def _contracted(self, node: Tensor, product: Tensor, weight: float) -> bool:
        left, right = (self._operand(operand) for operand in product.inputs)
        if not isinstance(left, View) or not isinstance(right, View):
            return False
        if not ((left.by_rows and right.by_rows) or (left.by_columns and right.by_columns)):
            return False
        assigned = Local(self._name(), (), node.dtype)
        self.calls.append(Call((left.flat(), "dot"), (right.flat(),), assigns=assigned, node=node, flops=2 * left.size))
        self.value[node] = self._weighted(assigned, weight, node)
        return True

    def _weighted(self, number: Local, weight: float, node: Tensor) -> Local:
        if weight == 1.0:
            return number
        assigned = Local(self._name(), (), node.dtype)
        self.calls.append(Call("{0} * {1}", (number, repr(weight)), assigns=assigned, node=node, flops=1))
        return assigned

    def _total(self, node: Tensor, x: View | Local, weight: float) -> bool:
        if node.shape:
            return False
        assigned = Local(self._name(), (), node.dtype)
        if isinstance(x, View) and x.size <= _EXACT and (x.by_rows or x.by_columns):
            flat = x.flat()
            weights = self._full(weight, flat)
            self.calls.append(Call((flat, "dot"), (weights,), assigns=assigned, node=node, flops=x.size))
            self.value[node] = assigned
        else:
            self.calls.append(Call(np.add.reduce, (x, None), assigns=assigned, node=node, flops=node.inputs[0].size))
            self.value[node] = self._weighted(assigned, weight, node)
        return True

    def _summed_matrix(self, node: Tensor, x: View | Local, axis: int, weight: float) -> bool:
        out = self._out(node)
        length = x.shape[axis]
        weights = self._constant(np.full(length, weight, node.dtype))
        vector = replace(out, shape=(x.shape[1 - axis],), strides=(1,))
        self._dot(x if axis == 1 else _turned(x), weights, vector, node)
        self.value[node] = out
        return True

    def _sum_wide(self, node: Tensor) -> bool:
        x = self._operand(node.inputs[0])
        if not isinstance(x, View) or len(node.shape) != 2 or node.dtype.kind != "f":
            return False
        columns = x.by_columns and not x.by_rows
        out = self._out(node, columns)
        ones = self._constant(np.full((node.shape[1], node.shape[1]), node.attributes["scale"], node.dtype))
        if columns:
            self._dot(ones, x.T, out.T, node)
        else:
            self._dot(x, ones, out, node)
        self.value[node] = out
        return True

    def _extreme(self, node: Tensor, ufunc: Any) -> bool:
        x, axes, size = self._operand(node.inputs[0]), node.attributes["axis"], node.inputs[0].size
        if not axes or len(axes) == len(x.shape) or not node.size or not size:
            return False
        out, reduced = self._reduction_out(node, axes)
        if isinstance(x, View) and len(x.shape) == 2 and x.shape[axes[0]] == 2:
            first, second = (x.indexed((slice(None),) * axes[0] + (place,)) for place in (0, 1))
            self.calls.append(Call(ufunc, (first, second), reduced, "out", node=node, flops=size))
        else:
            call = Call(ufunc.reduce, (x, axes if len(axes) > 1 else axes[0], None), reduced, node=node, flops=size)
            self.calls.append(call)
        self.value[node] = out
        return True

    def _max(self, node: Tensor) -> bool:
        return self._extreme(node, np.maximum)

    def _min(self, node: Tensor) -> bool:
        return self._extreme(node, np.minimum)

    # Moving -------------------------------------------------------------------------------------------------------

    def _label_weights(self, node: Tensor) -> bool:
        labels, classes = self._operand(node.inputs[0]), node.attributes["classes"]
        if len(node.shape) != 2 or node.inputs[0].dtype != np.int64:
            return False
        # Labels outside the classes wrap around to NaN, so that they cannot go unnoticed.
        table = label_table(classes, node.attributes["value"], node.dtype)
        columns = bool(self._beside(node))
        out = self._out(node, columns)
        rows = self._constant(table.T if columns else table)
        operands = (labels, 1, out.T, "wrap") if columns else (labels, 0, out, "wrap")
        self.calls.append(Call((rows, "take"), operands, out, "-", node=node))
        self.value[node] = out
        return True

    def _concatenate(self, node: Tensor) -> bool:
        out = self.placed.get(node)
        if out is None:
            return False
        shift = 0
        for part in node.inputs:
            piece = View(out.storage, part.shape, (1,), out.shift + shift, out.dtype)
            shift += part.size
            source = self._operand(part)
            if isinstance(source, View) and source.place() == piece.place() and source.by_rows:
                continue
            if part.size:
                self.calls.append(Call(np.copyto, (piece, source), piece, "-", node=node))
        self.value[node] = out
        return True

    def _index_set(self, node: Tensor) -> bool:
        template = node.attributes["template"]
        if len(node.inputs) != 2 or any(isinstance(e, str) or e is Ellipsis for e in template) or not node.size:
            return False
        out = self._out(node)
        place = out.indexed(template)
        if place is None or not node.shape:
            return False
        self.calls.append(Call(np.copyto, (out, self._operand(node.inputs[0])), out, "-", node=node))
        self.calls.append(Call(np.copyto, (place, self._operand(node.inputs[1]), "unsafe"), place, "-", node=node))
        self.value[node] = out
        return True

    def _scatter_add(self, node: Tensor) -> bool:
        template = node.attributes["template"]
        if len(node.inputs) != 1 or any(isinstance(e, str) or e is Ellipsis for e in template) or not node.size:
            return False
        if not node.shape:
            return False
        out = self._out(node)
        place = out.indexed(template)
        if place is None:
            return False
        self.calls.append(Call((out, "fill"), (0,), out, "-", node=node))
        self.calls.append(Call(np.copyto, (place, self._operand(node.inputs[0])), place, "-", node=node))
        self.value[node] = out
        return True

    def _kernel(self, node: Tensor) -> None:
        """Fall back on the op's own kernel, which allocates its result."""
        assert node.op is not None
        kernel = node.op.kernel(node.backend)
        if node.attributes:
            kernel = partial(kernel, **node.attributes)
        operands = tuple(_boxed(self._operand(operand)) for operand in node.inputs)
        roots = frozenset(
            storage
            for operand in operands
            if node.shape
            for storage in ([operand.storage] if isinstance(operand, View) else operand.roots)
        )
        assigned = Local(self._name(), node.shape, node.dtype, roots)
        flops = node.op.flops
        counted = flops * node.size if isinstance(flops, int) else int(flops(node, *node.inputs))
        self.calls.append(Call(kernel, operands, assigns=assigned, node=node, flops=counted))
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
                operand = self._operand(node)
                if isinstance(operand, View):
                    number = Local(self._name(), (), node.dtype)
                    self.calls.append(Call("{0}[()]", (operand,), assigns=number, node=node))
                    operand = number
                boxed = _boxed(operand)
                assert isinstance(boxed, Local)
                self.numbers.append((variable, boxed))
                continue
            place = self.variable_view(variable)
            source = self._operand(node)
            if isinstance(source, Local) or source.storage.kind == "variable":
                stage = View(Storage(node.size, node.dtype), node.shape, dense_strides(node.shape), 0, node.dtype)
                self.calls.append(Call(np.copyto, (stage, source), stage, "-", node=node))
                source = stage
            staged.append(Call(np.copyto, (place, source), place, "-", node=node))
        return staged


def _numeral(number: Any) -> str:
    """Return a number as part of a name."""
    return re.sub(r"\W", "_", f"{float(number):.6g}".replace("-", "minus_")) if np.isrealobj(number) else "constant"


def _boxed(operand: Operand) -> Operand:
    """Return a plain number as NumPy's scalar, as everything outside of a plan's own arithmetic expects it."""
    if isinstance(operand, Local) and operand.plain:
        return Local(f"float64({operand.text})", (), operand.dtype)
    return operand


def _turned(operand: Operand) -> Operand:
    if isinstance(operand, View):
        return operand.T
    return Local(f"{operand.text}.T", tuple(reversed(operand.shape)), operand.dtype, operand.roots)


def _compact(view: View) -> tuple[int, ...]:
    return dense_strides(view.shape, columns=view.by_columns and not view.by_rows)

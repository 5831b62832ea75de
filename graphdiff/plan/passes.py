"""Passes: small pure functions from program to program.

Each is given the program and returns another that computes the same. `PASSES` names them in the order in which they
run; every one can be switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from graphdiff.op import OPS, Composite
from graphdiff.plan.identities import simpler
from graphdiff.plan.program import Program, clone, rewrite
from graphdiff.tensor import Tensor

__all__ = ["PASSES", "attribute_key", "operand_key", "optimize"]


# Opening: composites and evaluations written in other ops ---------------------------------------------------------


def open_ops(program: Program) -> Program:
    """Replace ops that are written in other ops by what they stand for, so that later passes see it."""
    for _ in range(8):
        opened = rewrite(program, _open)
        if not any(_can_open(node) for node in opened.nodes()):
            return opened
        program = opened
    return program


def _can_open(node: Tensor) -> bool:
    op = node.op
    if op is None or not op.pure or op.name in node.backend.kernels or op.name in _KEPT:
        return False
    return isinstance(op, Composite) or op.may_be_written(node.inputs)


_KEPT = {"label_weights", "sum_wide"}
"""Ops that planners know how to run better than what they stand for."""


def _open_anonymous(node: Tensor, operands: tuple[Tensor, ...]) -> Tensor | None:
    """Open what has no kernel: functions that were made an op for this one program."""
    op = node.op
    return op.open(operands, node.attributes) if isinstance(op, Composite) and op.name not in OPS else None


def _open(node: Tensor, operands: tuple[Tensor, ...]) -> Tensor | None:
    if not _can_open(node):
        return None
    op = node.op
    assert op is not None
    if not isinstance(op, Composite):
        return op.written(node, operands)
    made = op.open(operands, node.attributes)
    return made if (made.shape, made.dtype) == (node.shape, node.dtype) else None


# Simplification ---------------------------------------------------------------------------------------------------


def simplify(program: Program) -> Program:
    """Apply identities: x + 0, x · 1, −(−x), reshapes of reshapes and products of factors that are known."""
    count = len(program.nodes())
    for _ in range(4):
        simplified = rewrite(program, simpler)
        if simplified is program:
            break
        program = simplified
        before, count = count, len(program.nodes())
        if count == before:
            break
    return program


# Constants and what nobody needs --------------------------------------------------------------------------------


def fold_constants(program: Program) -> Program:
    """Compute now what depends on constants alone."""
    return rewrite(program, _folded)


def _folded(node: Tensor, operands: tuple[Tensor, ...]) -> Tensor | None:
    assert node.op is not None
    if not operands or not node.op.pure or any(operand.recorded for operand in operands):
        return None
    return node.op.node(operands, node.attributes)


def drop_dead(program: Program) -> Program:
    """Drop variables that are read for nothing, and assignments of a variable's own value."""
    updates = {v: node for v, node in program.updates.items() if program.reads.get(node) is not v}
    kept = replace(program, updates=updates)
    needed = set(kept.nodes())
    return replace(kept, reads={symbol: v for symbol, v in program.reads.items() if symbol in needed or v in updates})


# Common subexpressions --------------------------------------------------------------------------------------------


def merge_common(program: Program) -> Program:
    """Compute once what is written twice: same op, same operands, same attributes."""
    seen: dict[Any, Tensor] = {}
    met = False  # until something is written twice, every node stays itself

    def merged(node: Tensor, operands: tuple[Tensor, ...]) -> Tensor | None:
        nonlocal met
        assert node.op is not None
        if not node.op.pure:
            return None
        attributes = attribute_key(node.attributes) if node.attributes else ()
        key = (node.op.name, tuple(map(operand_key, operands)), attributes)
        found = seen.get(key)
        met = met or found is not None
        if found is None:
            seen[key] = found = clone(node, operands) if met else node
        return found if met else None

    return rewrite(program, merged)


def operand_key(operand: Tensor) -> Any:
    """Return what is equal for equal operands: literals are made afresh wherever they are written."""
    if operand.op is None and not operand.recorded and operand.size <= 1:
        return operand.dtype, operand.shape, operand.numpy().tobytes()
    return id(operand)


def attribute_key(value: Any) -> Any:
    """Return something hashable that is equal for equal attributes."""
    if isinstance(value, dict):
        return tuple((name, attribute_key(item)) for name, item in sorted(value.items()))
    if isinstance(value, (tuple, list)):
        return tuple(attribute_key(item) for item in value)
    if isinstance(value, slice):
        return ("slice", value.start, value.stop, value.step)
    if isinstance(value, float):
        return ("float", repr(value))  # 0.0 and -0.0 are equal, and NaN equals nothing
    try:
        hash(value)
    except TypeError:
        return ("id", id(value))
    return (value.__class__.__name__, value)


# Wide sums --------------------------------------------------------------------------------------------------------

_WIDE = 32


def widen_sums(program: Program) -> Program:
    """Keep short sums in every element that they are combined with.

    x / sum(x) along a short axis of a matrix is a product with a matrix of ones and a division of equal shapes: two
    quick calls, where a reduction and a broadcast are two slow ones.
    """

    def wide(column: Tensor, shape: tuple[int, ...]) -> Tensor | None:
        """Return what broadcasts from a column, computed at full width; None where it is not made of a sum."""
        if not column.recorded:
            return column if column.size == 1 else None
        if column.op is None:
            return column if not column.shape else None
        if column.op.name == "reshape":
            inner = column.inputs[0]
            return wide(inner, shape) if inner.size == shape[0] else None
        if column.dtype.kind != "f":
            return None
        if column.op.name == "sum" and column.inputs[0].shape == shape and column.attributes["axis"] == (1,):
            return OPS["sum_wide"].node((column.inputs[0],), {"scale": 1.0})
        if column.op.kind == "elementwise" and len(column.inputs) <= 2 and column.size == shape[0]:
            parts = [wide(operand, shape) if operand.shape else operand for operand in column.inputs]
            if all(part is not None for part in parts) and any(part.shape == shape for part in parts):  # type: ignore[union-attr]
                return column.op.node(tuple(parts), column.attributes)  # type: ignore[arg-type]
        return None

    def widened(node: Tensor, operands: tuple[Tensor, ...]) -> Tensor | None:
        assert node.op is not None
        if node.op.kind != "elementwise" or len(operands) != 2 or len(node.shape) != 2 or node.dtype.kind != "f":
            return None
        if not 1 < node.shape[1] <= _WIDE:
            return None
        made = list(operands)
        for place, operand in enumerate(operands):
            if operand.shape == (node.shape[0], 1) and operands[1 - place].shape == node.shape:
                found = wide(operand, node.shape)
                made[place] = operand if found is None else found
        if all(new is old for new, old in zip(made, operands, strict=True)):
            return None
        return clone(node, tuple(made))

    return rewrite(program, widened)


# The pipeline -----------------------------------------------------------------------------------------------------

PASSES: Mapping[str, Callable[[Program], Program]] = {
    "open": open_ops,
    "fold": fold_constants,
    "simplify": simplify,
    "merge": merge_common,
    "widen": widen_sums,
    "dead": drop_dead,
}


_AGAIN = {"widen": ("simplify", "merge")}
"""Passes before, to which what a pass makes is new: they run again behind it."""


def optimize(program: Program, disabled: frozenset[str]) -> tuple[Program, list[tuple[str, str]]]:
    """Run the passes, and report what each did. What no root reaches any more is gone of itself."""
    reports = []
    size = _size(program)
    for name, work in PASSES.items():
        if name in disabled:
            reports.append((name, "switched off"))
            if name == "open":
                program = rewrite(program, _open_anonymous)
                size = _size(program)
            continue
        program = work(program)
        for again in _AGAIN.get(name, ()):
            program = program if again in disabled else PASSES[again](program)
        before, size = size, _size(program)
        reports.append((name, _change(before, size)))
    return program, reports


def _size(program: Program) -> tuple[int, int, int]:
    nodes = program.nodes()
    ops = sum(1 for node in nodes if node.op is not None)
    return ops, len(program.reads), sum(1 for node in nodes if node.op is None and not node.recorded)


def _change(before: tuple[int, int, int], after: tuple[int, int, int]) -> str:
    told = [
        f"{old} → {new} {what}"
        for old, new, what in zip(before, after, ("ops", "variables", "constants"))
        if old != new
    ]
    return ", ".join(told) or "nothing to do"

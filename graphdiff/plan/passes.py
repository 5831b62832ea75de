"""Passes: small pure functions from program to program.

Each is given the program and returns another that computes the same. `PASSES` names them in the order in which they
run; every one can be switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from graphdiff.backend import ARRAY
from graphdiff.op import FUNCTIONS, OPS, Composite
from graphdiff.plan.program import Program, clone, rewrite
from graphdiff.tensor import Tensor

__all__ = ["PASSES", "attribute_key", "optimize", "scalar", "simpler"]


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


def simpler(node: Tensor, operands: tuple[Tensor, ...]) -> Tensor | None:
    """Return what an identity puts in a node's place, once its operands are these; None where there is none."""
    assert node.op is not None
    rule = _IDENTITIES.get(node.op.name)
    if rule is None:
        return None
    made = rule(node, *operands)
    if made is None or made.shape != node.shape or made.dtype != node.dtype:
        return None
    return made  # type: ignore[no-any-return]


def scalar(node: Tensor) -> Any:
    """Return the number that a constant holds in every element, or None."""
    if node.recorded:
        return None
    if node.size == 1:
        return node.item()
    if node.op is not None or node.dtype.kind not in "fiu" or node.size == 0:
        return None
    values = node.numpy()
    first = values.reshape(-1)[0]
    return first.item() if (values == first).all() else None


def _is(node: Tensor, name: str) -> bool:
    return node.op is not None and node.op.name == name


def _narrow(x: Tensor, shape: tuple[int, ...], others: tuple[Tensor, ...]) -> Tensor:
    """Return what `x` was broadcast from, where the other operands bring about the shape by themselves."""
    while _is(x, "broadcast_to") and any(other.shape == shape for other in others):
        x = x.inputs[0]
    return x


def _narrowed(node: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    left = _narrow(x, node.shape, (y,))
    return left, _narrow(y, node.shape, (left,))


def _rebuilt(node: Tensor, x: Tensor, y: Tensor, left: Tensor, right: Tensor) -> Tensor | None:
    return None if left is x and right is y else clone(node, (left, right))


def _constant_last(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return (y, x) if not x.recorded and y.recorded else (x, y)


def _constant(value: float, like: Tensor) -> Tensor:
    return FUNCTIONS["full"]((), value, dtype=like.dtype)  # type: ignore[no-any-return]


def _add(node: Tensor, x: Tensor, y: Tensor) -> Tensor | None:
    left, right = _narrowed(node, x, y)
    first, last = _constant_last(left, right)
    if scalar(last) == 0 and first.shape == node.shape:
        return first
    if _is(right, "negative"):
        return FUNCTIONS["subtract"](left, right.inputs[0])  # type: ignore[no-any-return]
    if _is(left, "negative"):
        return FUNCTIONS["subtract"](right, left.inputs[0])  # type: ignore[no-any-return]
    return _rebuilt(node, x, y, left, right)


def _subtract(node: Tensor, x: Tensor, y: Tensor) -> Tensor | None:
    left, right = _narrowed(node, x, y)
    if scalar(right) == 0 and left.shape == node.shape:
        return left
    if _is(right, "negative"):
        return FUNCTIONS["add"](left, right.inputs[0])  # type: ignore[no-any-return]
    return _rebuilt(node, x, y, left, right)


def _multiply(node: Tensor, x: Tensor, y: Tensor) -> Tensor | None:
    left, right = _narrowed(node, x, y)
    first, last = _constant_last(left, right)
    factor = scalar(last)
    if factor is None:
        quotient = _quotient(node, left, right)
        return _rebuilt(node, x, y, left, right) if quotient is None else quotient
    if factor == 1 and first.shape == node.shape:
        return first
    if node.dtype.kind != "f" or first.shape != node.shape:
        return _rebuilt(node, x, y, left, right)
    if factor == -1:
        return FUNCTIONS["negative"](first)  # type: ignore[no-any-return]
    if _is(first, "negative"):
        return FUNCTIONS["multiply"](first.inputs[0], _constant(-factor, node))  # type: ignore[no-any-return]
    if first.op is not None and first.op.name in ("multiply", "divide"):
        inner, other = first.inputs
        inner_factor, other_factor = scalar(inner), scalar(other)
        if inner_factor is not None and first.op.name == "divide":  # c · (d / x) is (c d) / x
            return FUNCTIONS["divide"](_constant(factor * inner_factor, node), other)  # type: ignore[no-any-return]
        if other_factor is not None and first.op.name == "multiply":
            return FUNCTIONS["multiply"](inner, _constant(factor * other_factor, node))  # type: ignore[no-any-return]
        if inner_factor is not None:
            return FUNCTIONS["multiply"](other, _constant(factor * inner_factor, node))  # type: ignore[no-any-return]
    if _is(first, "sum_wide"):
        scale = factor * first.attributes["scale"]
        return OPS["sum_wide"].node(first.inputs, {"scale": scale})
    return _rebuilt(node, x, y, left, right)


def _quotient(node: Tensor, left: Tensor, right: Tensor) -> Tensor | None:
    """Turn x · (1 / y) into x / y."""
    for factor, inverse in ((left, right), (right, left)):
        if _is(inverse, "divide") and scalar(inverse.inputs[0]) == 1 and factor.recorded:
            return FUNCTIONS["divide"](factor, inverse.inputs[1])  # type: ignore[no-any-return]
    return None


def _divide(node: Tensor, x: Tensor, y: Tensor) -> Tensor | None:
    left, right = _narrowed(node, x, y)
    if scalar(right) == 1 and left.shape == node.shape:
        return left
    return _rebuilt(node, x, y, left, right)


def _negative(node: Tensor, x: Tensor) -> Tensor | None:
    if _is(x, "negative"):
        return x.inputs[0]
    if _is(x, "subtract"):
        return FUNCTIONS["subtract"](x.inputs[1], x.inputs[0])  # type: ignore[no-any-return]
    return None


def _reshape(node: Tensor, x: Tensor) -> Tensor | None:
    if x.shape == node.shape:
        return x
    return FUNCTIONS["reshape"](x.inputs[0], node.shape) if _is(x, "reshape") else None


def _permute(node: Tensor, x: Tensor) -> Tensor | None:
    axes = node.attributes["axes"]
    if axes == tuple(range(len(axes))):
        return x
    if _is(x, "permute_dims"):
        inner = x.attributes["axes"]
        return FUNCTIONS["permute_dims"](x.inputs[0], tuple(inner[axis] for axis in axes))  # type: ignore[no-any-return]
    return None


def _broadcast(node: Tensor, x: Tensor) -> Tensor | None:
    if x.shape == node.shape:
        return x
    return FUNCTIONS["broadcast_to"](x.inputs[0], node.shape) if _is(x, "broadcast_to") else None


def _sum(node: Tensor, x: Tensor) -> Tensor | None:
    if all(x.shape[axis] == 1 for axis in node.attributes["axis"]):
        return FUNCTIONS["reshape"](x, node.shape)  # type: ignore[no-any-return]
    return None


def _astype(node: Tensor, x: Tensor) -> Tensor | None:
    return x if x.dtype == node.dtype else None


def _getitem(node: Tensor, x: Tensor, *arrays: Tensor) -> Tensor | None:
    template = node.attributes["template"]
    if arrays or x.shape != node.shape or any(entry == ARRAY for entry in template):
        return None
    return x if all(isinstance(entry, slice) and (entry.step or 1) > 0 for entry in template) else None


_IDENTITIES: Mapping[str, Callable[..., Tensor | None]] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "negative": _negative,
    "positive": lambda node, x: x,
    "stop_gradient": lambda node, x: x,
    "reshape": _reshape,
    "permute_dims": _permute,
    "broadcast_to": _broadcast,
    "sum": _sum,
    "astype": _astype,
    "getitem": _getitem,
}


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
    constants: dict[Any, Tensor] = {}

    def identity(operand: Tensor) -> Any:
        # Small constants are the same if their values are: literals are made afresh wherever they are written.
        if operand.op is None and not operand.recorded and operand.size <= 1:
            key = (operand.dtype, operand.shape, operand.numpy().tobytes())
            return id(constants.setdefault(key, operand))
        return id(operand)

    met = False  # until something is written twice, every node stays itself

    def merged(node: Tensor, operands: tuple[Tensor, ...]) -> Tensor | None:
        nonlocal met
        assert node.op is not None
        if not node.op.pure:
            return None
        attributes = attribute_key(node.attributes) if node.attributes else ()
        key = (node.op.name, tuple([identity(operand) for operand in operands]), attributes)
        found = seen.get(key)
        met = met or found is not None
        if found is None:
            seen[key] = found = clone(node, operands) if met else node
        return found if met else None

    return rewrite(program, merged)


def attribute_key(value: Any) -> Any:
    """Return something hashable that is equal for equal attributes."""
    if isinstance(value, dict):
        return tuple((name, attribute_key(item)) for name, item in sorted(value.items()))
    if isinstance(value, (tuple, list)):
        return tuple(attribute_key(item) for item in value)
    if isinstance(value, slice):
        return ("slice", value.start, value.stop, value.step)
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
        if name == "widen":  # what was widened is new to the passes before
            for again in ("simplify", "merge"):
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

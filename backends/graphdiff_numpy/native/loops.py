"""Loops over elements, and reductions, as C.

Indices are one number per axis wherever a flat one would have to be divided; the axis that lies densest in memory is
the innermost loop, so that a compiler makes vectors of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from graphdiff.plan.lowering.expressions import REDUCTIONS, TYPES, cast
from graphdiff.plan.lowering.instructions import Copied, Unit
from graphdiff.plan.lowering.reductions import axes_of, factors, finished, identity
from graphdiff.plan.lowering.values import Body, Index, operands_below
from graphdiff.plan.lowering.views import View
from graphdiff.plan.program import Tensor
from graphdiff.typing import Shape

__all__ = ["MEMORY", "Loops"]

MOVED = {
    "float16": "unsigned short",
    "complex64": "float _Complex",
    "complex128": "double _Complex",
    **dict.fromkeys(("float96", "float128"), "long double"),
    **dict.fromkeys(("complex192", "complex256"), "long double _Complex"),
}
"""What is moved, but not computed with."""
MEMORY = TYPES | MOVED | {"bool": "unsigned char"}
"""C types of what lies in memory, by dtype."""
LOCAL = TYPES | MOVED | {"bool": "int"}
"""C types of values: a truth is an int, since compilers make no vectors of `_Bool`."""
BLOCK = 128
"""Values that are summed in the precision of the values; longer sums are put together of such in a higher one."""
SUMS = ("sum", "mean", "sum_wide", "matmul")


class CBody(Body):
    """Lines of C. A name is as wide as in memory, but for truths."""

    divides = False

    def let(self, kind: str, text: str) -> str:
        self.divides = self.divides or (kind == "Count" and (" / " in text or " % " in text))
        return super().let("int" if kind == "bool" else kind, text)


class Loops:
    """Writes units as the inside of C functions.

    Parameters
    ----------
    views : dict of Tensor to View
    element : callable
        ``element(view, place)`` is the C of an element of memory.
    """

    def __init__(self, views: dict[Tensor, View], element: Callable[[View, str], str]) -> None:
        self.views, self.element = views, element

    def write(self, unit: Unit) -> list[str]:
        """Return the lines that compute a unit."""
        return self._elements(unit) if unit.reduced is None else self._reduction(unit)

    def _body(self, unit: Unit) -> CBody:
        def no_streams(node: Tensor) -> tuple[str, int]:
            raise AssertionError(node)

        return CBody(
            self.views, lambda view, place, flat: self.element(view, place), frozenset(unit.members), no_streams
        )

    # Elements ---------------------------------------------------------------------------------------------------------

    def _elements(self, unit: Unit) -> list[str]:
        flat, divides = self._stores(unit, Index(unit.shape, "i" if unit.size > 1 else "0"))
        if unit.size == 1:
            return flat
        if not divides and all(output.view.by_rows for output in unit.outputs):
            return [f"for (Count i = 0; i < {unit.size}; ++i) {{", *flat, "}"]
        lines, _ = self._stores(unit, Index(unit.shape, "", _named(unit.shape)))
        order = _densest_last(unit.shape, unit.outputs[0].view.strides)
        return _nested(unit.shape, order, lines)

    def _stores(self, unit: Unit, index: Index) -> tuple[list[str], bool]:
        """Return lines that compute and store an element of every result, and whether they divide indices."""
        body, found = self._body(unit), []
        for output in unit.outputs:
            node = output.node
            if isinstance(node, Copied):
                value = body.let(LOCAL[node.source.dtype.name], body.loaded(node.source, index))
            else:
                value = body.value(node, index)
            found.append((output.view, body.place(output.view, index), value))
        stores = [f"{self.element(view, place)} = {value};" for view, place, value in found]
        return [*body.lines, *stores], body.divides

    # Reductions -------------------------------------------------------------------------------------------------------

    def _reduction(self, unit: Unit) -> list[str]:
        node = unit.reduced
        assert node is not None
        assert node.op is not None
        if node.op.name == "matmul":
            return self._dots(unit, node)
        source = node.inputs[0]
        axes = [axis for axis in axes_of(node) if source.shape[axis] > 1]
        kept = [axis for axis in range(source.ndim) if axis not in axes_of(node) and source.shape[axis] > 1]
        body = self._body(unit)
        parts = _named(source.shape)
        value = body.value(source, Index(source.shape, "", parts))
        value = body.let(LOCAL[node.dtype.name], cast(value, source.dtype, node.dtype))
        order = _densest_last(source.shape, self._strides_of(source))
        out = self._result_at(unit, node, parts)
        inner = [axis for axis in order if axis in axes]
        if order and order[-1] in kept:
            return self._side_by_side(node, source.shape, order, inner, body.lines, value, out)
        lines = self._one_by_one(node, source.shape, inner, body.lines, value, out)
        return _nested(source.shape, [axis for axis in order if axis in kept], lines)

    def _result_at(self, unit: Unit, node: Tensor, parts: Sequence[str]) -> str:
        """Return the result that the element at some place of the source is part of."""
        rank = len(parts)
        kept = [part for axis, part in enumerate(parts) if axis not in axes_of(node)]
        own = ["0" if axis in axes_of(node) else part for axis, part in enumerate(parts)]
        (output,) = unit.outputs
        index = Index(unit.shape, "", tuple(own if len(unit.shape) == rank else kept))
        return self.element(output.view, self._body(unit).place(output.view, index))

    def _strides_of(self, node: Tensor) -> Shape:
        """Return how an array lies in memory, or what it is computed from."""
        if node in self.views:
            return self.views[node].strides
        below = operands_below([node], lambda node, operand: True, lambda operand: operand not in self.views)
        lying = [self.views[each] for each, _ in below if each in self.views and each.shape == node.shape]
        turned = next((view for view in lying if view.turned), None)
        found = turned or next(iter(lying), None)
        return tuple(range(node.ndim, 0, -1)) if found is None else found.strides

    @staticmethod
    def _one_by_one(node: Tensor, shape: Shape, inner: list[int], lines: list[str], value: str, out: str) -> list[str]:
        """Put together what lies densest: each result in a number of its own, long sums in blocks."""
        assert node.op is not None
        kind, merge = LOCAL[node.dtype.name], REDUCTIONS[node.op.name]
        count = math.prod(shape[axis] for axis in inner)
        head = f"{kind} total = {identity(node)};"
        store = f"{out} = {finished(node, 'total')};"
        if not inner or node.op.name not in SUMS or node.dtype.kind != "f":
            return [head, *_nested(shape, inner, [*lines, f"total = {merge.format('total', value)};"]), store]
        last = inner[-1]
        if count <= BLOCK:
            part = _part(node, f"i{last}", "0", str(shape[last]), lines, value)
            return [head, *_nested(shape, inner[:-1], [*part, "total += part;"]), store]
        blocks = _nested(shape, inner[:-1], _blocks(node, f"i{last}", shape[last], lines, value))
        return [*_begun(node), *blocks, f"{kind} total = {_added_up(node)};", store]

    @staticmethod
    def _side_by_side(
        node: Tensor, shape: Shape, order: list[int], inner: list[int], lines: list[str], value: str, out: str
    ) -> list[str]:
        """Put together results that lie side by side: each turn goes over all of them."""
        assert node.op is not None
        merge, last = REDUCTIONS[node.op.name], order[-1]
        outer = [axis for axis in order[:-1] if axis not in inner]
        each = f"for (Count i{last} = 0; i{last} < {shape[last]}; ++i{last}) {{"
        first = [each, f"{out} = {identity(node)};", "}"]
        turn = [each, *lines, f"{out} = {merge.format(out, value)};", "}"]
        end = finished(node, out)
        ended = [each, f"{out} = {end};", "}"] if end != out else []
        return _nested(shape, outer, [*first, *_nested(shape, inner, turn), *ended])

    def _dots(self, unit: Unit, node: Tensor) -> list[str]:
        """Products of vectors, and of stacks of matrices."""
        body = self._body(unit)
        (output,) = unit.outputs
        parts = _named(unit.shape)
        value = factors(node, body, parts)
        length = node.inputs[0].shape[-1]
        place = body.place(output.view, Index(unit.shape, "", parts))
        store = f"{self.element(output.view, place)} = "
        order = [axis for axis, size in enumerate(unit.shape) if size > 1]
        if length <= BLOCK:
            return _nested(unit.shape, order, [*_part(node, "k", "0", str(length), body.lines, value), f"{store}part;"])
        blocks = _blocks(node, "k", length, body.lines, value)
        return _nested(unit.shape, order, [*_begun(node), *blocks, f"{store}{_added_up(node)};"])


def _part(node: Tensor, index: str, first: str, end: str, lines: list[str], value: str) -> list[str]:
    """Sum what lies densest, in the precision of the values."""
    return [
        f"{LOCAL[node.dtype.name]} part = {identity(node)};",
        "#pragma omp simd reduction(+:part)",
        f"for (Count {index} = {first}; {index} < {end}; ++{index}) {{",
        *lines,
        f"part += {value};",
        "}",
    ]


def _blocks(node: Tensor, index: str, length: int, lines: list[str], value: str) -> list[str]:
    """Add what lies densest to a sum, block by block."""
    return [
        f"for (Count block = 0; block < {length}; block += {BLOCK}) {{",
        f"const Count end = block + {BLOCK} < {length} ? block + {BLOCK} : {length};",
        *_part(node, index, "block", "end", lines, value),
        *_added(node, "part"),
        "}",
    ]


def _begun(node: Tensor) -> list[str]:
    """Begin a sum of parts: in double precision, or with what rounding loses kept apart."""
    return ["double sum = 0;"] if node.dtype.itemsize == 4 else ["double sum = 0, lost = 0;"]


def _added(node: Tensor, part: str) -> list[str]:
    """Add a part to a sum."""
    if node.dtype.itemsize == 4:
        return [f"sum += {part};"]
    # A. Neumaier, Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen, ZAMM 54 (1974).
    larger = "__builtin_fabs(sum) >= __builtin_fabs(part) ? (sum - next) + part : (part - next) + sum"
    return [f"const double next = sum + {part};", f"lost += {larger};", "sum = next;"]


def _added_up(node: Tensor) -> str:
    # Beyond the greatest number nothing was lost but the number itself.
    return "(float)sum" if node.dtype.itemsize == 4 else "sum + (lost == lost ? lost : 0)"


def _named(shape: Shape) -> tuple[str, ...]:
    """Return a name for the index of every axis."""
    return tuple(f"i{axis}" if length > 1 else "0" for axis, length in enumerate(shape))


def _densest_last(shape: Shape, strides: Shape) -> list[int]:
    """Return the axes that have an index, those that lie densest last."""
    axes = [axis for axis, length in enumerate(shape) if length > 1]
    return sorted(axes, key=lambda axis: (-abs(strides[axis]) if strides[axis] else -math.inf, axis))


def _nested(shape: Shape, order: Sequence[int], lines: list[str]) -> list[str]:
    """Return lines within a loop over each of some axes."""
    heads = [f"for (Count i{axis} = 0; i{axis} < {shape[axis]}; ++i{axis}) {{" for axis in order]
    return [*heads, *lines, *["}"] * len(heads)]

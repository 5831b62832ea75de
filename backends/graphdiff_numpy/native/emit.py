"""A lowered program as the text of a C file: a function for each step, and one for each segment that calls them."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from graphdiff.plan.lowering.expressions import number
from graphdiff.plan.lowering.instructions import Check, Product, Step, Unit
from graphdiff.plan.lowering.views import Storage, View
from graphdiff.plan.program import Tensor
from graphdiff_numpy.native.blas import Blas
from graphdiff_numpy.native.loops import MEMORY, Loops
from graphdiff_numpy.native.lower import Native
from graphdiff_numpy.native.products import Matrix, Multiplication, lane_sums

__all__ = ["FIXED", "Emitter", "whole"]

HEADERS = ("math.h", "products.h", "times.h")

FIXED = 4
"""Entries of the table before those of memory: the workspace, the two products of BLAS, and where times are noted."""
OWN = 1 << 19
"""Multiplications up to which a product is written out here."""


class Emitter:
    """Writes a program.

    Attributes
    ----------
    source : str
    table : list of Storage
        What the entries of the table behind the fixed ones point to.
    scratch : int
        Bytes behind the workspace that products need besides.
    """

    def __init__(self, native: Native, blas: Blas | None, width: int) -> None:
        self.native, self.blas, self.width = native, blas, width
        self.table: list[Storage] = []
        self.scratch = 0
        self._functions: list[str] = []
        segments = []
        place = 0
        for turn, steps in enumerate(native.segments):
            lines = []
            for step in steps:
                lines += [*self._call(place, step), f"MARK({place})"]
                place += 1
            if turn % 2 == 0:
                segments.append("\n    ".join([f"int segment{turn}(void **t) {{", *lines, "return 0;"]) + "\n}")
        head = [f'#include "{name}"' for name in HEADERS]
        integer = f"typedef {blas.integer if blas is not None else 'int'} BlasInt;"
        kinds = {(name, width // size) for name, size in (("float", 4), ("double", 8)) if width // size >= 4}
        used = [each for each in sorted(kinds) if f"sums_{each[0]}{each[1]}(" in "".join(self._functions)]
        head += [lane_sums(*each) for each in used]
        self.source = "\n".join([integer, *head, *self._functions, *segments]) + "\n"

    def _call(self, place: int, step: Step) -> list[str]:
        """Write the function of a step; return the lines that call it."""
        memory = _Parameters()
        kind, lines = "void", []
        scratch = 0
        if isinstance(step, Unit):
            lines = Loops(self.native.lowering.views, memory.element).write(step)
        elif isinstance(step, Product):
            lines, scratch = self._product(step, memory)
        elif isinstance(step, Check):
            kind, lines = "int", _checked(step, memory)
        else:
            return []
        parameters = [f"{kind_of} *restrict p{at}" for at, (_, kind_of) in enumerate(memory.found)]
        pointers = [f"({kind_of} *){self._address(root)}" for root, kind_of in memory.found]
        if scratch:
            kind_of = MEMORY[step.writes[0].dtype.name]
            parameters.append(f"{kind_of} *restrict scratch")
            pointers.append(f"({kind_of} *)((char *)t[0] + {self.native.schedule.workspace})")
            self.scratch = max(self.scratch, scratch * step.writes[0].dtype.itemsize)
        if memory.blas:
            parameters.append("void **t")
            pointers.append("t")
        fused = ("FUSED ", ["FUSE"]) if isinstance(step, Product) else ("", [])
        head = f"{fused[0]}static {kind} step{place}({', '.join(parameters)}) {{"
        text = _indented([f"// {_told(step)}", head, *fused[1], *lines, "}"])
        self._functions.append(text)
        call = f"step{place}({', '.join(pointers)});"
        return [f"if ({call[:-1]}) return {place + 1};"] if kind == "int" else [call]

    def _address(self, root: Storage) -> str:
        if root.is_shared:
            return f"((char *)t[0] + {root.offset})"
        if root not in self.table:
            self.table.append(root)
        return f"t[{FIXED + self.table.index(root)}]"

    def _product(self, step: Product, memory: _Parameters) -> tuple[list[str], int]:
        rows, columns, inner = step.sizes
        x, y, out = (memory.matrix(view) for view in (step.x, step.y, step.out))
        if self.blas is not None and rows * columns * inner > OWN:
            memory.blas = True
            return _by_blas(step, x, y, out), 0
        multiplication = Multiplication(step.out.dtype, self.width)
        return multiplication.write(rows, columns, inner, x, y, out), multiplication.scratch


def whole(source: str) -> str:
    """Return the text of a plan with its headers in their places."""
    for name in HEADERS:
        text = files("graphdiff_numpy.native").joinpath(name).read_text("utf-8")
        source = source.replace(f'#include "{name}"', text, 1)
    return source


class _Parameters:
    """The memory that a step's function is given."""

    def __init__(self) -> None:
        self.found: list[tuple[Storage, str]] = []
        self.blas = False

    def pointer(self, view: View) -> tuple[str, int]:
        root, shift = view.place()
        key = (root, MEMORY[view.dtype.name])
        if key not in self.found:
            self.found.append(key)
        return f"p{self.found.index(key)}", shift

    def element(self, view: View, place: str) -> str:
        name, shift = self.pointer(view)
        return f"{name}[{shift} + {place}]" if shift else f"{name}[{place}]"

    def matrix(self, view: View) -> Matrix:
        name, shift = self.pointer(view)
        root, _ = view.place()
        row, column = view.strides
        padded = root.is_shared and not shift and root.size < max(row, column) * min(view.shape)
        return Matrix(f"({name} + {shift})" if shift else name, row, column, padded)


def _checked(step: Check, memory: _Parameters) -> list[str]:
    """Write the search for an element that is refused."""
    (view,) = step.reads
    whole = view.dtype.kind in "iu"
    bounds = []
    for bound, sign in ((step.low, ">="), (step.high, "<=")):
        if whole and bound == int(bound) and abs(bound) < 1 << 62:
            bounds.append(f"(long long)v {sign} {int(bound)}LL")
        else:
            bounds.append(f"(double)v {sign} {_double(bound)}")
    if whole and view.dtype.kind == "u" and view.dtype.itemsize == 8:
        bounds.append("v >> 63 == 0")
    heads = [f"for (Count i{axis} = 0; i{axis} < {length}; ++i{axis}) {{" for axis, length in enumerate(view.shape)]
    place = " + ".join(f"i{axis} * {stride}" for axis, stride in enumerate(view.strides)) or "0"
    load = f"const {MEMORY[view.dtype.name]} v = {memory.element(view, place)};"
    return [
        "int refused = 0;",
        *heads,
        load,
        f"refused |= !({' && '.join(bounds)});",
        *["}"] * len(heads),
        "return refused;",
    ]


def _double(value: float) -> str:
    return number(value, np.dtype(np.float64))


def _by_blas(step: Product, x: Matrix, y: Matrix, out: Matrix) -> list[str]:
    """Write a call of BLAS's product of matrices, which lie by rows."""
    rows, columns, inner = step.sizes
    if out.column != 1:
        rows, columns, x, y, out = columns, rows, y.T, x.T, out.T
    orders = ["112, " if matrix.column != 1 else "111, " for matrix in (x, y)]
    leading = [max(matrix.row, matrix.column) if matrix.column != 1 or matrix.row != 1 else 1 for matrix in (x, y, out)]
    least = [(inner, rows), (columns, inner), (columns, columns)]
    sizes = [max(lead, own[matrix.column != 1]) for lead, own, matrix in zip(leading, least, (x, y, out), strict=True)]
    function = f"(({'SingleProduct' if step.out.dtype.itemsize == 4 else 'DoubleProduct'})"
    entry = 1 if step.out.dtype.itemsize == 4 else 2
    return [
        f"{function}t[{entry}])(101, {''.join(orders)}{rows}, {columns}, {inner}, 1, "
        f"{x.pointer}, {sizes[0]}, {y.pointer}, {sizes[1]}, 0, {out.pointer}, {sizes[2]});"
    ]


def _told(step: Step) -> str:
    """Return what a step computes, for people to read."""
    if isinstance(step, Product):
        return "matmul {}×{} by {}".format(*(step.sizes[place] for place in (0, 1, 2)))
    if isinstance(step, Unit):
        return ", ".join(_name(output.node) for output in step.outputs)
    return _name(step.node) + (": what it refuses" if isinstance(step, Check) else "")


def _name(node: object) -> str:
    if not isinstance(node, Tensor):
        return "copy"
    return (node.op.name if node.op is not None else "number") + f" {list(node.shape)}"


def _indented(lines: list[str]) -> str:
    depth, found = 0, []
    for line in lines:
        depth -= line.startswith("}")
        found.append(line if line.startswith("#") else "    " * depth + line)
        depth += line.count("{") - line.count("}") + line.startswith("}")
    return "\n".join(found)

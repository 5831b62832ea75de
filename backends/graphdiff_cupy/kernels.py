"""Units put together into kernels, and kernels written out as CUDA C++.

Every kernel is right for any number of blocks and threads, one included: loops stride over the grid, and sums over a
block's threads go through shared memory. So the same text runs on a CPU, where it is tested.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from graphdiff.plan.lowering.expressions import CASTS, REDUCTIONS, TYPES, WIDENED, cast
from graphdiff.plan.lowering.instructions import Copied, Output, Unit
from graphdiff.plan.lowering.reductions import axes_of, factors, finished, identity
from graphdiff.plan.lowering.values import Body, Index
from graphdiff.plan.lowering.views import Storage, View
from graphdiff.plan.program import Tensor
from graphdiff_cupy.grouping import Group
from graphdiff_cupy.ordering import Access, accesses
from graphdiff_cupy.sizes import BLOCKS, launch_size, sums_rows, threads_for_one

__all__ = ["Kernel", "write_kernel"]

WIDTH = 16
"""Bytes that a thread reads at once where the layout allows."""
WARP = 32
"""Threads that can hand values on to each other."""
_WORDS = re.compile(r"[A-Za-z_]\w*")


@dataclass(eq=False)
class Kernel:
    """A kernel as text, and how it is launched.

    Attributes
    ----------
    name, text : str
    parameters : list of (Storage or int, str)
        What each pointer points to: memory, or the state of the random generator of that id; and its C++ type.
    blocks, threads : int
    group : Group
    vectorised : bool
        Whether threads read several elements at once.
    shared : bool
        Whether threads meet in shared memory.
    """

    name: str
    group: Group
    threads: int
    blocks: int
    text: str = ""
    parameters: list[tuple[Storage | int, str]] = field(default_factory=list)
    vectorised: bool = False
    shared: bool = False

    def pointer(self, target: Storage | int, kind: str) -> str:
        """Return the parameter that points to memory, by its type."""
        key = (target, kind)
        if key not in self.parameters:
            self.parameters.append(key)
        return f"p{self.parameters.index(key)}"


def write_kernel(name: str, group: Group, draws: dict[int, list[Tensor]]) -> Kernel:
    """Write a group of units as one kernel."""
    kernel = Kernel(name, group, *launch_size(group))
    writer = _Writer(kernel, draws)
    lines = writer.rows() if group.rows else writer.block() if len(group.units) > 1 else writer.grid(group.units[0])
    # One piece of memory for all sums of the kernel: they are made one after the other.
    head = [f"__shared__ double shared[{kernel.threads}];"] if kernel.shared else []
    parameters = ", ".join(f"{kind}* p{place}" for place, (_, kind) in enumerate(kernel.parameters))
    opening = f'extern "C" __global__ void __launch_bounds__({kernel.threads}) {name}({parameters}) {{'
    kernel.text = "\n".join([opening, *_indented([*head, *lines]), "}"])
    return kernel


def _indented(lines: list[str]) -> list[str]:
    depth, found = 1, []
    for line in lines:
        depth -= line.startswith("}")
        found.append("    " * depth + line if line and not line.startswith("#") else line)
        depth += line.endswith("{")
    return found


def _apart(lines: list[str], *running: str) -> tuple[list[str], list[str]]:
    """Part the lines of a loop's body: those that are the same at every turn, and those that need what is running.

    The compiler cannot: for all it knows, what a turn stores is what the next one reads.
    """
    varying, once, each = set(running), [], []
    for line in lines:
        name, text = line.removesuffix(";").split(" = ", 1)
        if varying.isdisjoint(_WORDS.findall(text)):
            once.append(line)
        else:
            varying.add(name.rsplit(" ", 1)[1])
            each.append(line)
    return once, each


def _after(once: list[str], loop: list[str]) -> list[str]:
    """Return a loop behind the lines that it needs, in a scope of their own."""
    return ["{", *once, *loop, "}"] if once else loop


def _barriers(units: list[Unit]) -> list[bool]:
    """Return for every unit of a block whether its threads must first wait for each other."""
    found: list[bool] = []
    since: list[Access] = []
    for unit in units:
        own = accesses(unit.reads, unit.writes)
        found.append(any(each.meets(other) for each in own for other in since))
        since = own if found[-1] else since + own
    return found


class _Writer:
    def __init__(self, kernel: Kernel, draws: dict[int, list[Tensor]]) -> None:
        self.kernel, self.draws, self.views = kernel, draws, kernel.group.views

    # The three ways in which a kernel goes over its units ------------------------------------------------------------

    def grid(self, unit: Unit) -> list[str]:
        """One unit, over the whole grid."""
        if unit.reduced is not None:
            return self.reduction(unit, 0, "blockIdx.x * lanes", str(unit.size), "gridDim.x * lanes")
        wide = self.wide(unit)
        if wide is not None:
            return wide
        first, step = "blockIdx.x * blockDim.x + threadIdx.x", "gridDim.x * blockDim.x"
        return self.loop(unit, first, str(unit.size), step)

    def block(self) -> list[str]:
        """Small units one after the other, by one block."""
        lines: list[str] = ["if (blockIdx.x > 0) return;"]
        for unit, waiting in zip(self.kernel.group.units, _barriers(self.kernel.group.units), strict=True):
            lines += ["__syncthreads();"] if waiting else []
            if unit.reduced is not None:
                lines += self.reduction(unit, unit.size, "0", str(unit.size), "lanes")
            else:
                lines += self.loop(unit, "threadIdx.x", str(unit.size), "blockDim.x")
        return lines

    def rows(self) -> list[str]:
        """Units one after the other for each row, every row by one block."""
        rows = self.kernel.group.rows
        lines = [f"for (Count row = blockIdx.x; row < {rows}; row += gridDim.x) {{"]
        for unit, waiting in zip(self.kernel.group.units, _barriers(self.kernel.group.units), strict=True):
            lines += ["__syncthreads();"] if waiting else []
            length = unit.size // rows
            if unit.reduced is not None:
                lines += self.reduction(unit, length, f"row * {length}", f"(row + 1) * {length}", "lanes")
            else:
                lines += self.loop(unit, f"row * {length} + threadIdx.x", f"(row + 1) * {length}", "blockDim.x")
        return [*lines, "__syncthreads();", "}"]

    # Loops ------------------------------------------------------------------------------------------------------------

    def loop(self, unit: Unit, first: str, end: str, step: str) -> list[str]:
        """A loop over elements."""
        body = self.body(unit, self.load)
        stores = self.stores(unit, body)
        once, lines = _apart(body.lines, "i")
        return _after(once, [f"for (Count i = {first}; i < {end}; i += {step}) {{", *lines, *stores, "}"])

    def body(self, unit: Unit, load: Any) -> Body:
        return Body(self.views, load, frozenset(unit.members), self.stream)

    def stores(self, unit: Unit, body: Body) -> list[str]:
        """Compute the results of an element, and store them; the lines are those of the body and the stores."""
        index, found = Index(unit.shape, "i"), []
        for output in unit.outputs:
            value = self.value(body, output, index)
            found.append((output, body.place(output.view, index), value))
        return [f"{self.element(output.view, place)} = {value};" for output, place, value in found]

    @staticmethod
    def value(body: Body, output: Output, index: Index) -> str:
        node = output.node
        text = body.loaded(node.source, index) if isinstance(node, Copied) else body.value(node, index)
        dtype = node.source.dtype if isinstance(node, Copied) else node.dtype
        kind = TYPES[output.view.dtype.name if output.cast else dtype.name]
        return body.let(kind, (CASTS | WIDENED)[output.cast].format(text) if output.cast else text)

    def element(self, view: View, place: str) -> str:
        root, shift = view.place()
        pointer = self.kernel.pointer(root, TYPES[view.dtype.name])
        return f"{pointer}[{shift} + {place}]" if shift else f"{pointer}[{place}]"

    def load(self, view: View, place: str, flat: bool) -> str:
        return self.element(view, place)

    def stream(self, node: Tensor) -> tuple[str, int]:
        """Return the state of a random generator, and how many numbers are drawn from it before this node's."""
        generator = id(node.attributes["generator"])
        drawn = self.draws[generator]
        earlier = sum(other.size for other in drawn if other.serial < node.serial)
        return self.kernel.pointer(generator, "unsigned long long"), earlier

    def wide(self, unit: Unit) -> list[str] | None:
        """A loop over several elements at once, or None where memory is not laid out for it."""
        seen: list[View] = []
        plain = True

        def noted(view: View, place: str, flat: bool) -> str:
            nonlocal plain
            if flat and place == "i":
                seen.append(view)
            else:
                plain = plain and place.isdigit()
            return self.element(view, place)

        trial = self.body(unit, noted)
        self.stores(unit, trial)
        outs = [output.view for output in unit.outputs]
        width = WIDTH // max(view.dtype.itemsize for view in [*seen, *outs])
        aligned = all(view.place()[1] % width == 0 for view in [*seen, *outs])
        if not plain or not aligned or width < 2 or unit.size < 2 * width or not all(view.by_rows for view in outs):
            return None
        packs: dict[str, str] = {}

        def packed(view: View, place: str, flat: bool) -> str:
            text = self.element(view, place)
            if not flat or place != "i":
                return text
            return f"{packs.setdefault(text, f'a{len(packs)}')}.at[e]"

        types: dict[str, str] = {self.element(view, "i"): TYPES[view.dtype.name] for view in [*seen, *outs]}
        body = self.body(unit, packed)
        results = []
        for output in unit.outputs:
            results.append((self.element(output.view, "i"), self.value(body, output, Index(unit.shape, "i"))))
        main = unit.size // width * width
        start = f"{width} * (blockIdx.x * blockDim.x + threadIdx.x)"
        once, each = _apart(body.lines, "i", "e")
        lines = [f"for (Count first = {start}; first < {main}; first += {width} * (gridDim.x * blockDim.x)) {{"]
        for text, name in packs.items():
            kind = f"Pack<{types[text]}, {width}>"
            lines.append(f"const {kind} {name} = *(const {kind}*)&{_at(text, 'first')};")
        lines += [f"Pack<{types[text]}, {width}> r{place};" for place, (text, _) in enumerate(results)]
        lines += ["#pragma unroll", f"for (int e = 0; e < {width}; ++e) {{", "const Count i = first + e;", *each]
        lines += [f"r{place}.at[e] = {value};" for place, (_, value) in enumerate(results)]
        lines.append("}")
        for place, (text, _) in enumerate(results):
            lines.append(f"*(Pack<{types[text]}, {width}>*)&{_at(text, 'first')} = r{place};")
        lines.append("}")
        lines = _after(once, lines)
        self.kernel.vectorised = True
        self.kernel.blocks = min(-(-unit.size // (width * self.kernel.threads)), BLOCKS)
        if main == unit.size:
            return lines
        rest = f"{main} + blockIdx.x * blockDim.x + threadIdx.x"
        loop = self.loop(unit, rest, str(unit.size), "gridDim.x * blockDim.x")
        return [*lines, f"if ({rest} < {unit.size}) {{", *loop, "}"]

    # Reductions -------------------------------------------------------------------------------------------------------

    def reduction(self, unit: Unit, outputs: int, first: str, end: str, step: str) -> list[str]:
        """Put values together: each result by several threads, which then meet in shared memory."""
        node = unit.reduced
        assert node is not None
        assert node.op is not None
        kind, name = TYPES[node.dtype.name], node.op.name
        parts = threads_for_one(unit, self.kernel.threads, outputs)
        neighbours = sums_rows(unit)
        # Neighbouring threads read neighbouring elements.
        part, lane = ("% parts", "/ parts") if neighbours else ("/ lanes", "% lanes")
        body = self.body(unit, self.load)
        item = self.item(unit, body)
        merge = REDUCTIONS[name]
        result = "total" if unit.chunk else finished(node, "total")
        bound = f"k < {unit.inner}"
        if unit.chunk:
            bound += f" && i * {unit.chunk} + k < {node.inputs[0].size}"
        (output,) = unit.outputs
        lines = [
            "{",
            f"const int parts = blockDim.x < {parts} ? blockDim.x : {parts}, lanes = blockDim.x / parts;",
            f"const int part = threadIdx.x {part}, lane = threadIdx.x {lane};",
            f"for (Count begin = {first}; begin < {end}; begin += {step}) {{",
            "const Count i = begin + lane;",
            f"{kind} total = {identity(node)};",
            f"if (i < {end}) {{",
            f"for (Count k = part; {bound}; k += parts) {{",
            *body.lines,
            f"total = {merge.format('total', item)};",
            "}",
            "}",
            *self.meeting(kind, merge, parts, neighbours),
            f"if (part == 0 && i < {end}) {self.element(output.view, 'i')} = {result};",
            "}",
            "}",
        ]
        return lines

    def meeting(self, kind: str, merge: str, parts: int, neighbours: bool) -> list[str]:
        """Put together what the threads of one result have; the first of them has it then.

        Threads of a warp hand their values on to each other; others meet in shared memory.
        """
        last = WARP if neighbours else 1
        lines = []
        if parts > last:
            self.kernel.shared = True
            other = f"shared_values[threadIdx.x + half * {'1' if neighbours else 'lanes'}]"
            lines = [
                f"{kind}* shared_values = ({kind}*)shared;",
                "__syncthreads();",  # what another result has left there has been read
                "shared_values[threadIdx.x] = total;",
                "__syncthreads();",
                f"for (int half = parts / 2; half >= {last}; half /= 2) {{",
                f"if (part < half) shared_values[threadIdx.x] = {merge.format('shared_values[threadIdx.x]', other)};",
                "__syncthreads();",
                "}",
                "total = shared_values[threadIdx.x];",
            ]
        if neighbours and parts > 1:
            lines += [
                f"for (int half = parts < {WARP} ? parts / 2 : {WARP // 2}; half > 0; half /= 2) {{",
                f"const {kind} next = from_lane(total, half);",
                f"total = {merge.format('total', 'next')};",
                "}",
            ]
        return lines

    def item(self, unit: Unit, body: Body) -> str:
        """Return the k-th of the values that are put together into result i."""
        node = unit.reduced
        assert node is not None
        assert node.op is not None
        if unit.partials is not None:
            return body.let(TYPES[node.dtype.name], body.loaded(unit.partials, Index(unit.partials.shape, "k")))
        if node.op.name == "matmul":
            return factors(node, body, body.parts(Index(unit.shape, "i")) if unit.shape else ())
        source = node.inputs[0]
        if unit.chunk:
            index = Index(source.shape, body.let("Count", f"i * {unit.chunk} + k"))
            return body.let(TYPES[node.dtype.name], cast(body.value(source, index), source.dtype, node.dtype))
        axes, kept = axes_of(node), [axis for axis in range(source.ndim) if axis not in axes_of(node)]
        outer, inner = unit.size, unit.inner
        if not kept or kept[-1] < axes[0]:
            index = Index(source.shape, body.let("Count", f"i * {inner} + k" if kept else "k"))
        elif axes[-1] < kept[0]:
            index = Index(source.shape, body.let("Count", f"k * {outer} + i"))
        else:
            outside = iter(body.parts(Index(tuple(source.shape[axis] for axis in kept), "i")))
            inside = iter(body.parts(Index(tuple(source.shape[axis] for axis in axes), "k")))
            parts = tuple(next(inside) if axis in axes else next(outside) for axis in range(source.ndim))
            index = Index(source.shape, "", parts)
        return body.let(TYPES[node.dtype.name], cast(body.value(source, index), source.dtype, node.dtype))


def _at(element: str, place: str) -> str:
    """Return the element of a text like ``p0[64 + i]`` at another place."""
    return element.replace("+ i]", f"+ {place}]").replace("[i]", f"[{place}]")

"""What each launch of a plan is, in words and numbers: for explanations and profiles."""

from __future__ import annotations

import math
from typing import Any

from graphdiff.plan.lowering.calls import Instruction
from graphdiff.plan.lowering.instructions import Copied, Fallback, Product
from graphdiff.plan.program import counted_flops
from graphdiff_cupy.kernels import Kernel

__all__ = ["instruction"]


def instruction(part: Kernel | Product | Fallback) -> Instruction:
    """Return what a part of a plan computes, from and to how much memory, and where its result lies."""
    reads, writes = (part.group.reads, part.group.writes) if isinstance(part, Kernel) else (part.reads, part.writes)
    touched = {view.place(): math.prod(view.shape) * view.dtype.itemsize for view in (*reads, *writes)}
    where, shape = writes[-1].where, writes[-1].shape
    if isinstance(part, Kernel):
        nodes = {node for unit in part.group.units for node in (*unit.members, unit.reduced) if node is not None}
        flops = sum(counted_flops(node) for node in nodes if node.op is not None)
        names = [_told(unit.outputs[-1].node) for unit in part.group.units]
        return Instruction(f"{part.name}: {', '.join(names)}", "kernel", shape, where, flops, sum(touched.values()))
    if isinstance(part, Product):
        rows, columns, inner = part.sizes
        text = f"cublasLt {part.epilog} {rows}×{inner} @ {inner}×{columns} in {part.compute}"
        return Instruction(text, "matmul", part.out.shape, where, 2 * rows * columns * inner, sum(touched.values()))
    assert part.node.op is not None
    text = f"eager {part.node.op.name} ({part.reason})"
    return Instruction(text, part.node.op.name, shape, where, counted_flops(part.node), sum(touched.values()))


def _told(node: Any) -> str:
    if isinstance(node, Copied):
        return "copy"
    return str(node.name or (node.op.name if node.op is not None else "number"))

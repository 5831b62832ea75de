"""A runner for any backend: the ops' kernels, one after the other. Nothing is reused, everything works."""

from __future__ import annotations

import math
from itertools import pairwise
from time import perf_counter_ns
from typing import Any

from graphdiff.plan.failures import ARRAY_ERRORS, told
from graphdiff.plan.lowering.calls import Instruction
from graphdiff.plan.program import Program, counted_flops
from graphdiff.plan.streams import Streams
from graphdiff.tensor import Tensor

__all__ = ["GenericRunner"]


class GenericRunner:
    """Runs a program node by node; the lines of its `source` are the ops in the order in which they run."""

    def __init__(self, program: Program, disable: frozenset[str] = frozenset()) -> None:
        self.program = program
        self._nodes = program.nodes()
        computed = [node for node in self._nodes if node.op is not None]
        self.instructions = [_instruction(node) for node in computed]
        self.source = "\n".join(instruction.text for instruction in self.instructions)
        self.notes: list[tuple[str, str]] = []
        self._streams = Streams(program)
        self.memory = sum(math.prod(node.shape) * node.dtype.itemsize for node in computed)

    def run(self, *arrays: Any) -> list[Any]:
        """Compute everything, then assign the variables, then return the outputs."""
        return self._run(arrays, None)

    def timed(self, *arrays: Any) -> tuple[list[int], int]:
        """Run once; return the nanoseconds of every op, and those of the whole run."""
        marks: list[int] = []
        start = perf_counter_ns()
        self._run(arrays, marks)
        end = perf_counter_ns()
        return [after - before for before, after in pairwise(marks)], end - start

    def _run(self, arrays: tuple[Any, ...], marks: list[int] | None) -> list[Any]:
        program = self.program
        self._streams.mark()
        try:
            values = self._computed(arrays, marks)
        except BaseException:
            self._streams.rewind()
            raise
        # A value may be an argument's memory, a variable's or another output's: what is handed out is its own.
        outputs = [node.backend.copy(values[node]) for node in program.outputs]
        assigned = [(variable, values[node]) for variable, node in program.updates.items()]
        gradients = [(variable, node.backend.copy(values[node])) for variable, node in program.gradients.items()]
        for variable, value in assigned:
            variable._replace(variable.backend.copy(value))
            if variable.home is not None and not variable.backend.in_place:
                variable.home.show()
        for variable, value in gradients:
            variable._grad = value
        return outputs

    def _computed(self, arrays: tuple[Any, ...], marks: list[int] | None) -> dict[Tensor, Any]:
        """Return the value of every node; with `marks`, note the time after each."""
        program = self.program
        values: dict[Tensor, Any] = dict(zip(program.arguments, arrays, strict=True))
        for symbol, variable in program.reads.items():
            if variable.home is not None:
                variable.home.gather()
            values[symbol] = variable._value
        if marks is not None:
            marks.append(perf_counter_ns())
        for node in self._nodes:
            if node.op is None:
                if node not in values:
                    values[node] = node._value
                continue
            kernel = node.op.kernel(node.backend)
            try:
                values[node] = kernel(*[values[operand] for operand in node.inputs], **node.attributes)
            except ARRAY_ERRORS as error:
                raise told(node, error) from error
            if marks is not None:
                node.backend.synchronize()
                marks.append(perf_counter_ns())
        return values


def _instruction(node: Tensor) -> Instruction:
    op = node.op
    assert op is not None
    operands = ", ".join(operand.name or operand.describe() for operand in node.inputs)
    moved = sum(math.prod(each.shape) * each.dtype.itemsize for each in (node, *node.inputs))
    flops = counted_flops(node)
    return Instruction(f"{node.name or op.name} = {op.name}({operands})", op.name, node.shape, "returned", flops, moved)

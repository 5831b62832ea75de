"""A runner for any backend: the ops' kernels, one after the other. Nothing is reused, everything works."""

from __future__ import annotations

from typing import Any

from graphdiff.plan.program import Program
from graphdiff.tensor import Tensor

__all__ = ["GenericRunner"]


class GenericRunner:
    """Runs a program node by node; the lines of its `source` are the ops in the order in which they run."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._nodes = program.nodes()
        self._computed = [node for node in self._nodes if node.op is not None and node not in program.reads]
        self.source = "\n".join(
            f"{node.name or node.op.name}({', '.join(operand.describe() for operand in node.inputs)})"  # type: ignore[union-attr]
            for node in self._computed
        )

    def run(self, *arrays: Any) -> list[Any]:
        """Compute everything, then assign the variables, then return the outputs."""
        program = self.program
        values: dict[Tensor, Any] = dict(zip(program.arguments, arrays, strict=True))
        for symbol, variable in program.reads.items():
            if variable.home is not None:
                variable.home.gather()
            values[symbol] = variable._value
        for node in self._nodes:
            if node.op is None:
                if node not in values:
                    values[node] = node._value
            else:
                kernel = node.op.kernel(node.backend)
                values[node] = kernel(*[values[operand] for operand in node.inputs], **node.attributes)
        outputs = [values[node] for node in program.outputs]
        assigned = [(variable, values[node]) for variable, node in program.updates.items()]
        gradients = [(variable, values[node]) for variable, node in program.gradients.items()]
        for variable, value in assigned:
            variable._replace(variable.backend.copy(value))
            if variable.home is not None and not variable.backend.in_place:
                variable.home.show()
        for variable, value in gradients:
            variable.grad = value
        return outputs

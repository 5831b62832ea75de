"""What is planned: a graph with its arguments, the variables it reads, its outputs and the variables it updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from operator import attrgetter

from graphdiff.costs.node import node_cost
from graphdiff.tensor import MOVES, Tensor, Variable, next_serial

__all__ = ["MOVES", "Program", "Tensor", "Variable", "clone", "counted_flops", "next_serial", "rewrite"]

_SERIAL = attrgetter("serial")
Rule = Callable[[Tensor, tuple[Tensor, ...]], Tensor | None]


@dataclass
class Program:
    """A graph made by tracing.

    Attributes
    ----------
    arguments : list of Tensor
        Placeholders, in the order of the traced function's flattened arguments.
    reads : dict of Tensor to Variable
        Placeholders that stand for a variable's value before the step.
    outputs : list of Tensor
    updates : dict of Variable to Tensor
        The values that variables take when the whole step has succeeded.
    gradients : dict of Variable to Tensor
        What `.grad` of a variable becomes.
    kept : list of Tensor
        What is computed though nothing needs it: numbers drawn from streams, which go on by it.
    inherited : list of Variable
        Those whose `.grad` of before the step is read: the last of `arguments` stand for them.
    effects : list of callable
        What else the step changes: called without arguments when it has succeeded.
    """

    arguments: list[Tensor]
    reads: dict[Tensor, Variable]
    outputs: list[Tensor]
    updates: dict[Variable, Tensor] = field(default_factory=dict)
    gradients: dict[Variable, Tensor] = field(default_factory=dict)
    kept: list[Tensor] = field(default_factory=list)
    inherited: list[Variable] = field(default_factory=list)
    effects: list[Callable[[], None]] = field(default_factory=list)
    _nodes: list[Tensor] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def roots(self) -> list[Tensor]:
        """What must be computed."""
        return [*self.outputs, *self.updates.values(), *self.gradients.values(), *self.kept]

    def nodes(self) -> list[Tensor]:
        """Return everything the roots depend on, constants included, inputs before users."""
        if self._nodes is None:
            self._nodes = self._collected()
        return self._nodes

    def _collected(self) -> list[Tensor]:
        seen: set[Tensor] = set()
        pending = self.roots
        while pending:
            node = pending.pop()
            if node not in seen:
                seen.add(node)
                pending.extend(node.inputs)
        return sorted(seen, key=_SERIAL)

    def users(self) -> dict[Tensor, list[Tensor]]:
        """Return the nodes that use each node, one entry per use; roots are not uses."""
        users: dict[Tensor, list[Tensor]] = {}
        for node in self.nodes():
            for operand in node.inputs:
                users.setdefault(operand, []).append(node)
        return users

    def replaced(self, new: dict[Tensor, Tensor]) -> Program:
        """Return the program with its roots replaced."""
        return replace(
            self,
            outputs=[new[node] for node in self.outputs],
            updates={variable: new[node] for variable, node in self.updates.items()},
            gradients={variable: new[node] for variable, node in self.gradients.items()},
            kept=[new[node] for node in self.kept],
        )


def clone(node: Tensor, operands: tuple[Tensor, ...]) -> Tensor:
    """Return a node like `node` over other operands."""
    made = Tensor.__new__(Tensor)  # whose initialisation looks for the user's line, which is the node's
    made.op, made.inputs, made.attributes, made.backend = node.op, operands, node.attributes, node.backend
    made._value, made._signature, made.recorded, made.serial = None, (node.shape, node.dtype), True, next_serial()
    made.name, made.scope = node.name, node.scope
    made._code, made._instruction = node._code, node._instruction
    return made


def rewrite(program: Program, rule: Rule) -> Program:
    """Rebuild the graph from the leaves up, each node as the rule says; what comes before the first change stays.

    Parameters
    ----------
    program : Program
    rule : callable
        ``rule(node, operands)``, with the operands already rebuilt; returns what takes the node's place, or None to
        keep it. What it returns must have the node's shape and dtype.

    Returns
    -------
    Program
        The same one where nothing was changed.
    """
    nodes = program.nodes()
    # Empty until something changes. What follows is all made anew, so that the order in which nodes were made stays
    # the order.
    new: dict[Tensor, Tensor] = {}
    for place, node in enumerate(nodes):
        if node.op is None:
            if new:
                new[node] = node
            continue
        operands = tuple([new[operand] for operand in node.inputs]) if new else node.inputs
        made = rule(node, operands)
        if made is None:
            if new:
                new[node] = clone(node, operands)
            continue
        if node.name and made.name is None and made.op is not None:
            made.name = node.name
        if not new:
            new = {earlier: earlier for earlier in nodes[:place]}
        new[node] = made
    return program.replaced(new) if new else program


def counted_flops(node: Tensor) -> int:
    """Return the floating-point operations of a node: what `graphdiff.cost` counts."""
    return node_cost(node).flops

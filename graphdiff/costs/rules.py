"""What an op's tangent or adjoint costs, counted from what its rule builds; looked up once per kind of node."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TypeAlias

from graphdiff.costs.liveness import Step
from graphdiff.costs.node import Cost, nbytes, node_cost
from graphdiff.graph import opened, topological_order
from graphdiff.host import is_real_floating
from graphdiff.op import GRAPH, sum_to
from graphdiff.tensor import Tensor, placeholder
from graphdiff.typing import Attribute

__all__ = ["Rule", "Rules"]

Slot: TypeAlias = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Rule:
    """What one op's tangent or adjoint costs.

    Attributes
    ----------
    each, partials : Cost
        Per direction, and once: what does not depend on the direction.
    shared : int
        Bytes that all directions together read once.
    reads : frozenset of int
        The operands whose values it reads; -1 is the output's.
    steps : sequence of Step
        What it computes, in turn: of values known as ("seed", place), ("operand", place), ("out", 0) or, where they
        are steps themselves, ("each", place) if there is one per direction, else ("once", place).
    result : tuple of (str, int)
        Which of these it returns.
    """

    each: Cost
    partials: Cost
    shared: int
    reads: frozenset[int]
    steps: Sequence[Step]
    result: Slot

    @property
    def once(self) -> Cost:
        """What is spent once, however many directions there are."""
        return self.partials + Cost(nbytes=self.shared)


class Rules:
    """The rules of a graph's nodes, each counted once per kind of node.

    Parameters
    ----------
    dependent : set of Tensor
        The nodes that derivatives flow through.
    stands : dict of Tensor to Tensor
        What stands for the composites that have been opened.
    """

    def __init__(self, dependent: AbstractSet[Tensor], stands: Mapping[Tensor, Tensor]) -> None:
        self._dependent, self._stands = dependent, stands
        self._kinds: dict[Tensor, int] = {}
        self._numbered: dict[Hashable, int] = {}
        self._rules: dict[tuple[int, str, int], Rule | None] = {}

    def inputs(self, node: Tensor) -> list[Tensor]:
        """Return a node's operands, opened."""
        return [self._stands.get(each, each) for each in node.inputs]

    def kind(self, node: Tensor) -> int:
        """Return the number of a node's kind: nodes of one kind cost the same, and so do their derivatives."""
        found = self._kinds.get(node)
        if found is None:
            needed = tuple([operand in self._dependent for operand in self.inputs(node)])
            operands = tuple([_operand_kind(node, operand) for operand in node.inputs])
            attributes = str(sorted(map(_attribute_kind, node.attributes.items()))) if node.attributes else ""
            key = node.op, needed, operands, node.shape, node.dtype, attributes
            found = self._kinds[node] = self._numbered.setdefault(key, len(self._numbered))
        return found

    def of(self, node: Tensor, kind: str, position: int = 0) -> Rule | None:
        """Return what a rule costs, or None where its result is zero."""
        key = self.kind(node), kind, position
        if key not in self._rules:
            self._rules[key] = self._rule_afresh(node, kind, position)
        return self._rules[key]

    def _rule_afresh(self, node: Tensor, kind: str, position: int) -> Rule | None:
        op = node.op
        assert op is not None
        needed = [operand in self._dependent for operand in self.inputs(node)]
        real = [o.recorded and is_real_floating(o.dtype) for o in node.inputs]
        operands = [placeholder(o.shape, o.dtype) if known else o for o, known in zip(node.inputs, real, strict=True)]
        out = placeholder(node.shape, node.dtype)
        if kind == "reverse":
            seeds = [placeholder(node.shape, node.dtype)]
            result = op.adjoint(GRAPH, seeds[0], position, out, operands, node.attributes)
            if result is not None:
                wanted = operands[position]
                result = sum_to(GRAPH, result, wanted.shape) if result.shape != wanted.shape else result
                result = result.astype(wanted.dtype)
        else:
            seeds = [placeholder(o.shape, o.dtype) for o in node.inputs]
            moved = [seed if use else None for seed, use in zip(seeds, needed, strict=True)]
            result = op.tangent(GRAPH, moved, out, operands, node.attributes)
            if result is not None and result.shape != node.shape:
                result = GRAPH.broadcast_to(result, node.shape)
        return None if result is None else self._counted(result, operands, seeds, out, real)

    def _counted(
        self, result: Tensor, operands: list[Tensor], seeds: list[Tensor], out: Tensor, real: list[bool]
    ) -> Rule:
        """Return what a rule costs that has built a result from operands, seeds and the node's value."""
        boundary = frozenset((*operands, *seeds, out))
        order, stands = opened(topological_order([result], boundary=boundary), boundary)
        moving = set(seeds)
        each, once, shared = Cost(), Cost(), 0
        slots: dict[Tensor, Slot] = {seed: ("seed", place) for place, seed in enumerate(seeds)}
        slots |= {operand: ("operand", place) for place, operand in enumerate(operands)} | {out: ("out", 0)}
        steps: list[Step] = []
        for inner in order:
            if inner in boundary or inner.op is None:
                continue
            read = [slots[below] for o in inner.inputs if (below := stands.get(o, o)) in slots]
            moves = any(stands.get(o, o) in moving for o in inner.inputs)
            slots[inner] = "each" if moves else "once", len(steps)
            steps.append(Step(slots[inner], nbytes(inner), read))
            if moves:
                moving.add(inner)
                whole = node_cost(inner)
                # What does not depend on the direction is read once, however many directions there are.
                still = [o for o in inner.inputs if stands.get(o, o) not in moving] if whole.nbytes else []
                saved = sum(map(nbytes, still))
                # Along directions it is broadcast, which takes an inner loop for each.
                turns = 1 if inner.op.kind == "elementwise" and any(o.size > 1 for o in still) else 0
                each += replace(whole, nbytes=whole.nbytes - saved, turns=max(whole.turns, turns))
                shared += saved
            else:
                once += node_cost(inner)
        met = set(order)
        reads = {index for index, operand in enumerate(operands) if real[index] and operand in met}
        last = slots.get(stands.get(result, result), ("constant", 0))
        return Rule(each, once, shared, frozenset(reads | ({-1} if out in met else set())), steps, last)


def _operand_kind(node: Tensor, operand: Tensor) -> Hashable:
    """Return what of an operand the cost of a node and of its derivatives may depend on."""
    if operand.recorded:
        return operand.shape, operand.dtype
    if node.op is None or node.op.kind == "custom":
        return id(operand)
    # Rules look at single numbers, such as an exponent, but not into arrays.
    return operand.shape, operand.dtype, None if operand.shape else operand.item()


def _attribute_kind(attribute: tuple[str, Attribute]) -> tuple[str, str]:
    """Return what of an attribute a cost may depend on: of an index only what sort of entries it has."""
    name, value = attribute
    if name == "template" and isinstance(value, tuple):
        return name, str([type(entry).__name__ for entry in value])
    return name, str(value)

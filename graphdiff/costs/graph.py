"""What a graph costs, and what its derivatives will cost: counted from the ops' declarations before they are built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphdiff.arguments import require_function
from graphdiff.costs.liveness import Step, peak
from graphdiff.costs.node import Cost, nbytes, node_cost
from graphdiff.errors import GraphError
from graphdiff.graph import Graph, opened, topological_order
from graphdiff.guard import guarded
from graphdiff.host import is_real_floating
from graphdiff.op import GRAPH, sum_to
from graphdiff.tensor import Tensor, placeholder
from graphdiff.tree import flatten
from graphdiff.typing import Function

__all__ = ["MODES", "Cost", "cost", "graph_cost"]

MODES = ("value", "forward", "batched forward", "reverse", "batched reverse", "finite differences")

Slot = tuple[str, int]


@dataclass(frozen=True, eq=False)
class _Rule:
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


class _Counted:
    """A graph as a list of nodes, opened, with the rules' costs looked up once per kind of node."""

    def __init__(self, outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> None:
        sources = frozenset(leaves)
        order = topological_order(outputs, boundary=sources)
        self.nodes, self.stands = opened(order, sources)
        self.leaves = list(leaves)
        self._sources = sources
        self.outputs = [self.stands.get(output, output) for output in outputs]
        self.dependent = set(leaves)
        for node in self.nodes:
            smooth = node.op is not None and is_real_floating(node.dtype)
            if smooth and node not in sources and any(each in self.dependent for each in self.inputs(node)):
                self.dependent.add(node)
        self.computed = [node for node in self.nodes if node.op is not None and node not in sources]
        self._kinds: dict[Tensor, int] = {}
        self._numbered: dict[Any, int] = {}
        self._rules: dict[tuple[int, str, int], _Rule | None] = {}
        self._steps = [Step(node, nbytes(node), self.inputs(node)) for node in self.computed]

    def inputs(self, node: Tensor) -> list[Tensor]:
        return [self.stands.get(each, each) for each in node.inputs]

    def value(self) -> Cost:
        alike: dict[int, list[Tensor]] = {}
        for node in self.computed:
            alike.setdefault(self._kind(node), []).append(node)
        total = sum((node_cost(nodes[0]).times(len(nodes)) for nodes in alike.values()), Cost())
        return _with_memory(total, self._peak(self._values()), 0)

    def _values(self) -> list[Step]:
        return list(self._steps)

    def _peak(self, steps: Sequence[Step], results: Sequence[Hashable] = (), seeds: int = 0) -> int:
        """Return the most bytes alive in these steps; the leaves, the seeds, the outputs and the results stay."""
        given: dict[Hashable, int] = {leaf: nbytes(leaf) for leaf in self.leaves}
        return peak(given | {"seeds": seeds}, steps, {*self.outputs, *results})

    def _kind(self, node: Tensor) -> int:
        """Return the number of a node's kind: nodes of one kind cost the same, and so do their derivatives."""
        found = self._kinds.get(node)
        if found is None:
            needed = tuple([operand in self.dependent for operand in self.inputs(node)])
            operands = tuple([_operand_kind(node, operand) for operand in node.inputs])
            attributes = str(sorted(map(_attribute_kind, node.attributes.items()))) if node.attributes else ""
            key = node.op, needed, operands, node.shape, node.dtype, attributes
            found = self._kinds[node] = self._numbered.setdefault(key, len(self._numbered))
        return found

    def _rule(self, node: Tensor, kind: str, position: int = 0) -> _Rule | None:
        """Return what a rule costs, or None where its result is zero."""
        key = self._kind(node), kind, position
        if key not in self._rules:
            self._rules[key] = self._rule_afresh(node, kind, position)
        return self._rules[key]

    def _rule_afresh(self, node: Tensor, kind: str, position: int) -> _Rule | None:
        op = node.op
        assert op is not None
        needed = [operand in self.dependent for operand in self.inputs(node)]
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
    ) -> _Rule:
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
            slots[inner] = "each" if any(stands.get(o, o) in moving for o in inner.inputs) else "once", len(steps)
            steps.append(Step(slots[inner], nbytes(inner), read))
            if any(stands.get(o, o) in moving for o in inner.inputs):
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
        return _Rule(each, once, shared, frozenset(reads | ({-1} if out in met else set())), steps, last)

    # Derivatives -------------------------------------------------------------------------------------------------

    def forward(self, folded: bool = False) -> tuple[Cost, Cost]:
        """Return what tangents cost per direction, and once however many directions there are.

        If `folded`, the directions are known beforehand, and so is what a plan makes of them and of constants alone.
        """
        applied: Counter[_Rule] = Counter()
        known = set(self.leaves) if folded else set()
        for node in self.computed:
            if node not in self.dependent:
                continue
            rule = self._rule(node, "forward")
            if rule is None:
                continue
            if not rule.reads and all(operand in known for operand in self.inputs(node) if operand in self.dependent):
                known.add(node)
                continue
            applied[rule] += 1
        return _together(applied)

    def reverse(self, outputs: Sequence[Tensor], folded: bool = False) -> tuple[Cost, Cost]:
        """Return what adjoints of `outputs` cost per direction, and once; with what is stored for them.

        If `folded`, as in `forward`.
        """
        applied: Counter[_Rule] = Counter()
        sums: Counter[tuple[int, int, int]] = Counter()
        known = dict.fromkeys(outputs, folded)
        arrived = set(outputs)
        stored: set[Tensor] = set()
        for node in reversed(self.computed):
            if node not in arrived or node not in self.dependent:
                continue
            inputs = self.inputs(node)
            for position, operand in enumerate(inputs):
                if operand not in self.dependent:
                    continue
                rule = self._rule(node, "reverse", position)
                if rule is None:
                    continue
                constant = known.get(node, False) and not rule.reads
                if not constant:
                    applied[rule] += 1
                stored |= {node if place < 0 else inputs[place] for place in rule.reads}
                both = constant and known.get(operand, True)
                known[operand] = both
                if operand in arrived and not both:
                    sums[operand.size, nbytes(operand), 0 if operand.shape else 1] += 1
                arrived.add(operand)
        each, once = _together(applied)
        for (size, width, number), times in sums.items():
            each += Cost(0, size, 0, 1, 3 * width, numbers=number).times(times)
        kept = sum(nbytes(node) for node in stored if node in self.dependent and node not in self._sources)
        return each, _with_memory(once, 0, kept)

    def _applied(self, rule: _Rule, node: Tensor, seeds: Sequence[Hashable], width: int, steps: list[Step]) -> Hashable:
        """Add the steps of a rule at a node, for so many directions, and return what stands for its result."""
        known: dict[Hashable, Hashable] = {("seed", place): seed for place, seed in enumerate(seeds)}
        known |= {("operand", place): operand for place, operand in enumerate(self.inputs(node))}
        known["out", 0] = node
        for step in rule.steps:
            made = known[step.made] = object()
            wide = width if step.made[0] == "each" else 1  # type: ignore[index]
            steps.append(Step(made, wide * step.nbytes, [known[value] for value in step.read]))
        return known.get(rule.result)

    def _forward_peak(self, width: int) -> int:
        """Return the most bytes alive while values are computed, and then tangents in so many directions."""
        steps = self._values()
        tangent: dict[Tensor, Hashable] = dict.fromkeys(self.leaves, "seeds")
        for node in self.computed:
            rule = self._rule(node, "forward") if node in self.dependent else None
            if rule is not None:
                moved = [tangent.get(operand) for operand in self.inputs(node)]
                tangent[node] = self._applied(rule, node, moved, width, steps)
        results = [tangent.get(output) for output in self.outputs]
        return self._peak(steps, results, width * sum(map(nbytes, self.leaves)))

    def _reverse_peak(self, output: Tensor, width: int) -> int:
        """Return the most bytes alive while values are computed, and then so many adjoints of one output."""
        steps = self._values()
        adjoint: dict[Tensor, Hashable] = {output: "seeds"}
        for node in reversed(self.computed):
            if node not in adjoint or node not in self.dependent:
                continue
            for position, operand in enumerate(self.inputs(node)):
                rule = self._rule(node, "reverse", position) if operand in self.dependent else None
                if rule is None:
                    continue
                found = self._applied(rule, node, [adjoint[node]], width, steps)
                if operand in adjoint:
                    pair, found = (adjoint[operand], found), object()
                    steps.append(Step(found, width * nbytes(operand), pair))
                adjoint[operand] = found
        results = [adjoint.get(leaf) for leaf in self.leaves]
        return self._peak(steps, results, width * nbytes(output))

    def of(self, mode: str) -> Cost:
        """Return what a whole Jacobian costs in a mode, the function's value included."""
        value = replace(self.value(), runs=1)
        n, m = sum(leaf.size for leaf in self.leaves), sum(output.size for output in self.outputs)
        if mode == "value":
            _, once = self.reverse(self.outputs)
            return value + Cost(stored=once.stored)
        if mode == "partials":
            rules = (self._rule(node, "forward") for node in self.computed if node in self.dependent)
            return sum((rule.partials for rule in rules if rule is not None), value)
        if mode == "finite differences":
            differences = Cost(n * m, n * m, 0, 2 * n, 8 * n * m * 3)
            return value.times(n + 1) + differences
        if mode in ("forward", "batched forward"):
            each, once = self.forward(folded=mode == "batched forward")
            if mode == "forward":
                return _with_memory((value + each + once).times(n), self._forward_peak(1), 0)
            return _with_memory(value + once + each.wide(n), self._forward_peak(n), 0)
        if mode in ("reverse", "batched reverse"):
            total = Cost() if mode == "reverse" else value
            most = stored = 0
            for output in self.outputs:
                each, once = self.reverse([output], folded=mode == "batched reverse")
                width = output.size
                total += (value + each + once).times(width) if mode == "reverse" else once + each.wide(width)
                most = max(most, self._reverse_peak(output, 1 if mode == "reverse" else width))
                stored = max(stored, once.stored)
            return _with_memory(total, most, stored)
        raise GraphError(f"costs are counted in the modes {', '.join(MODES)}, not {mode!r}")


def _operand_kind(node: Tensor, operand: Tensor) -> Any:
    """Return what of an operand the cost of a node and of its derivatives may depend on."""
    if operand.recorded:
        return operand.shape, operand.dtype
    if node.op is None or node.op.kind == "custom":
        return id(operand)
    # Rules look at single numbers, such as an exponent, but not into arrays.
    return operand.shape, operand.dtype, None if operand.shape else operand.item()


def _attribute_kind(attribute: tuple[str, Any]) -> tuple[str, str]:
    """Return what of an attribute a cost may depend on: of an index only what sort of entries it has."""
    name, value = attribute
    return name, str([type(entry).__name__ for entry in value] if name == "template" else value)


def _together(applied: Counter[_Rule]) -> tuple[Cost, Cost]:
    """Return what rules cost, each applied so many times: for each direction, and once."""
    each = sum((rule.each.times(times) for rule, times in applied.items()), Cost())
    return each, sum((rule.once.times(times) for rule, times in applied.items()), Cost())


def per_direction(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> dict[str, tuple[Cost, Cost]]:
    """Return what a batched pass costs once, the value included, and for each direction: forward and reverse."""
    counted = _Counted(outputs, leaves)
    value, (tangent, tangents), (adjoint, adjoints) = (
        replace(counted.value(), runs=1),
        counted.forward(),
        counted.reverse(counted.outputs),
    )
    return {"forward": (value + tangents, tangent), "reverse": (value + adjoints, adjoint)}


def _with_memory(total: Cost, peak: int, stored: int) -> Cost:
    return replace(total, peak_memory=peak, stored=stored)


def predict(outputs: Sequence[Tensor], leaves: Sequence[Tensor], modes: Sequence[str]) -> dict[str, Cost]:
    """Return the cost of the whole Jacobian in each mode."""
    counted = _Counted(outputs, leaves)
    return {mode: counted.of(mode) for mode in modes}


def graph_cost(graph: Graph, mode: str = "value") -> Cost:
    """Return what a graph, or the whole Jacobian of its outputs by its inputs, costs; nothing of it is built.

    Parameters
    ----------
    graph : Graph
    mode : {"value", "forward", "batched forward", "reverse", "batched reverse", "finite differences"}
        Forward and reverse take one pass per element of inputs or outputs; batched ones take all together. Each
        includes the value.

    Returns
    -------
    Cost

    Raises
    ------
    GraphError
        No such mode.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable(2.0)
    >>> g = gd.Graph(gd.sin(x) * x)
    >>> g.cost().multiplications, g.cost().transcendental
    (1, 1)
    >>> g.cost("reverse").multiplications
    4
    """
    return _Counted(graph.outputs, graph.inputs).of(mode)


@guarded
def cost(function: Function[object] | Graph | Tensor, *arguments: object, mode: str = "value") -> Cost:
    """Return what a function costs at these arguments, or its whole Jacobian by them; see `Graph.cost`.

    Parameters
    ----------
    function : callable, Graph or Tensor
    *arguments : array, number, Tensor or nested structure
    mode : str
        As in `Graph.cost`.

    Examples
    --------
    >>> import numpy as np, graphdiff as gd
    >>> gd.cost(lambda x: x @ x, np.ones(10))
    Cost(multiplications=10, additions=9, transcendental=0, calls=1, nbytes=168, peak_memory=88, stored=0)
    """
    if isinstance(function, (Graph, Tensor)):
        return graph_cost(function if isinstance(function, Graph) else Graph(function), mode)
    require_function(function, "cost")
    from graphdiff.op import as_tensor
    from graphdiff.tensor import variable
    from graphdiff.tree import map_leaves

    fresh = map_leaves(lambda leaf: variable(as_tensor(leaf).value), list(arguments))
    outputs = [as_tensor(output) for output in flatten(function(*fresh))[0]]
    leaves = [leaf for leaf in flatten(fresh)[0] if is_real_floating(leaf.dtype)]
    return _Counted(outputs, leaves).of(mode)

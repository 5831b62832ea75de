"""What a graph's derivatives will cost in each mode: counted from the ops' declarations before they are built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace

from graphdiff.costs.liveness import Step, peak
from graphdiff.costs.node import Cost, nbytes, node_cost
from graphdiff.costs.rules import Rule, Rules
from graphdiff.errors import GraphError
from graphdiff.graph import opened, topological_order
from graphdiff.host import is_real_floating
from graphdiff.tensor import Tensor

__all__ = ["MODES", "Counted", "per_direction", "predict"]

MODES = ("value", "forward", "batched forward", "reverse", "batched reverse", "finite differences")


class Counted:
    """A graph as a list of nodes, opened, with the rules' costs looked up once per kind of node."""

    def __init__(self, outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> None:
        sources = frozenset(leaves)
        order = topological_order(outputs, boundary=sources)
        self.nodes, self.stands = opened(order, sources)
        self.leaves = list(leaves)
        self._sources = sources
        self.outputs = [self.stands.get(output, output) for output in outputs]
        self.dependent = set(leaves)
        self._rules = Rules(self.dependent, self.stands)
        self.inputs, self._rule = self._rules.inputs, self._rules.of
        for node in self.nodes:
            smooth = node.op is not None and is_real_floating(node.dtype)
            if smooth and node not in sources and any(each in self.dependent for each in self.inputs(node)):
                self.dependent.add(node)
        self.computed = [node for node in self.nodes if node.op is not None and node not in sources]
        self._steps = [Step(node, nbytes(node), self.inputs(node)) for node in self.computed]

    def value(self) -> Cost:
        """Return what the values cost."""
        alike: dict[int, list[Tensor]] = {}
        for node in self.computed:
            alike.setdefault(self._rules.kind(node), []).append(node)
        total = sum((node_cost(nodes[0]).times(len(nodes)) for nodes in alike.values()), Cost())
        return _with_memory(total, self._peak(self._steps), 0)

    def _peak(self, steps: Sequence[Step], results: Sequence[Hashable] = (), seeds: int = 0) -> int:
        """Return the most bytes alive in these steps; the leaves, the seeds, the outputs and the results stay."""
        given: dict[Hashable, int] = {leaf: nbytes(leaf) for leaf in self.leaves}
        return peak(given | {"seeds": seeds}, steps, {*self.outputs, *results})

    # Derivatives -------------------------------------------------------------------------------------------------

    def forward(self, folded: bool = False) -> tuple[Cost, Cost]:
        """Return what tangents cost per direction, and once however many directions there are.

        If `folded`, the directions are known beforehand, and so is what a plan makes of them and of constants alone.
        """
        applied: Counter[Rule] = Counter()
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
        applied: Counter[Rule] = Counter()
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

    def _applied(self, rule: Rule, node: Tensor, seeds: Sequence[Hashable], width: int, steps: list[Step]) -> Hashable:
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
        steps = list(self._steps)
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
        steps = list(self._steps)
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


def _together(applied: Counter[Rule]) -> tuple[Cost, Cost]:
    """Return what rules cost, each applied so many times: for each direction, and once."""
    each = sum((rule.each.times(times) for rule, times in applied.items()), Cost())
    return each, sum((rule.once.times(times) for rule, times in applied.items()), Cost())


def per_direction(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> dict[str, tuple[Cost, Cost]]:
    """Return what a batched pass costs once, the value included, and for each direction: forward and reverse."""
    counted = Counted(outputs, leaves)
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
    counted = Counted(outputs, leaves)
    return {mode: counted.of(mode) for mode in modes}

"""What a graph costs, and what its derivatives will cost: counted from the ops' declarations before they are built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from graphdiff.errors import GraphError
from graphdiff.graph import Graph, topological_order
from graphdiff.host import is_real_floating
from graphdiff.op import GRAPH, Composite, sum_to
from graphdiff.rates import current
from graphdiff.structure import flatten
from graphdiff.tensor import Tensor, placeholder

__all__ = ["MODES", "Cost", "cost", "graph_cost"]

MODES = ("value", "forward", "batched forward", "reverse", "batched reverse", "finite differences")

MULTIPLICATIONS = frozenset({"multiply", "divide", "reciprocal", "square", "floor_divide", "remainder"})
ADDITIONS = frozenset({"add", "subtract"})
_TRANSCENDENTAL = (
    "acos acosh asin asinh atan atan2 atanh cos cosh elu erf exp expm1 gelu hypot log log10 log1p log2 "
    "logaddexp power sigmoid sin sinh softplus sqrt tan tanh"
)
TRANSCENDENTAL = frozenset(_TRANSCENDENTAL.split())
_MOVES = (
    "argsort astype barrier broadcast_to concatenate flip getitem index_set label_weights negative pad "
    "permute_dims positive random_draw reshape roll stop_gradient tril triu where"
)
MOVES = frozenset(_MOVES.split())
VIEWS = frozenset({"barrier", "broadcast_to", "getitem", "permute_dims", "positive", "reshape", "stop_gradient"})
"""Of the moves, those that a plan makes without touching an element, if nothing but an array's strides changes."""


@dataclass(frozen=True)
class Cost:
    """What one run costs.

    Attributes
    ----------
    multiplications, additions, transcendental : int
        Floating-point operations; divisions are multiplications, subtractions additions, and roots, powers and
        elementary functions transcendental. Changes of sign, comparisons and moves are none.
    calls : int
        Ops that run, moves included.
    nbytes : int
        Bytes read and written by all ops together.
    peak_memory : int
        The most bytes alive at once, when each value goes after its last use and inputs stay.
    stored : int
        Bytes of computed values that the backward pass reads, and that must be kept for it.
    products : int
        Of the operations, those within matrix products, which run at another rate.
    numbers, views : int
        Of the calls, those that do arithmetic on single numbers, and those that only look at an array differently and
        move nothing.
    """

    multiplications: int = 0
    additions: int = 0
    transcendental: int = 0
    calls: int = 0
    nbytes: int = 0
    peak_memory: int = 0
    stored: int = 0
    products: int = field(default=0, repr=False)
    numbers: int = field(default=0, repr=False)
    views: int = field(default=0, repr=False)

    @property
    def flops(self) -> int:
        """All floating-point operations."""
        return self.multiplications + self.additions + self.transcendental

    def __add__(self, other: Cost) -> Cost:
        summed = {name: getattr(self, name) + getattr(other, name) for name in _SUMMED}
        highest = {name: max(getattr(self, name), getattr(other, name)) for name in _HIGHEST}
        return Cost(**summed, **highest)

    def times(self, passes: int) -> Cost:
        """Return the cost of so many passes, one after the other."""
        return replace(self, **{name: getattr(self, name) * passes for name in _SUMMED})

    def wide(self, width: int) -> Cost:
        """Return the cost of one pass with a leading axis of that length: as many calls, each for more."""
        once = ("calls", "views")
        more = {each.name: getattr(self, each.name) * width for each in fields(self) if each.name not in once}
        return replace(self, **{**more, "numbers": 0})

    @property
    def seconds(self) -> float:
        """A rough time of a compiled run on one core, at the rates in use: see `graphdiff.rates`."""
        rate = current()
        return (
            rate.call * (self.calls - self.numbers - self.views)
            + rate.number * self.numbers
            + rate.view * self.views
            + rate.product * self.products
            + rate.function * self.transcendental
            + rate.byte * self.nbytes
        )


_HIGHEST = ("peak_memory", "stored")
_SUMMED = tuple(each.name for each in fields(Cost) if each.name not in _HIGHEST)


def nbytes(node: Tensor) -> int:
    """Return the bytes of a node's value."""
    return node.size * node.dtype.itemsize


def node_cost(node: Tensor) -> Cost:
    """Return what evaluating one node costs, its inputs given."""
    op = node.op
    if op is None:
        return Cost()
    name, size = op.name, node.size
    moved = nbytes(node) + sum(map(nbytes, node.inputs))
    number = 0 if node.shape else 1
    if name in VIEWS and len(node.inputs) == 1:
        return Cost(calls=1, views=1)
    if name in MOVES:
        return Cost(calls=1, nbytes=moved, numbers=number if name == "negative" else 0)
    if name in MULTIPLICATIONS:
        return Cost(size, 0, 0, 1, moved, numbers=number)
    if name in ADDITIONS:
        return Cost(0, size, 0, 1, moved, numbers=number)
    if name in TRANSCENDENTAL:
        return Cost(0, 0, size, 1, moved)
    if name in ("sum", "sum_wide", "mean", "scatter_add", "cumsum"):
        return Cost(size if name == "mean" else 0, max(0, node.inputs[0].size - size), 0, 1, moved)
    if name == "matmul":
        inner = node.inputs[0].shape[-1]
        whole = size * inner + size * max(0, inner - 1)
        return Cost(size * inner, whole - size * inner, 0, 1, moved, products=whole)
    if name in ("softmax", "log_softmax", "logsumexp"):
        whole = node.inputs[0].size
        return Cost(size if name == "softmax" else 0, 2 * whole, whole, 1, moved)
    if op.kind == "elementwise" and not is_real_floating(node.dtype):
        return Cost(calls=1, nbytes=moved)
    if op.kind == "elementwise":
        return Cost(calls=1, nbytes=moved)  # abs, sign, floor, relu, maximum …: comparisons
    declared = op.flops * size if isinstance(op.flops, (int, float)) else op.flops(node, *node.inputs)
    return Cost(int(declared) - int(declared) // 2, int(declared) // 2, 0, 1, moved)


# Values ----------------------------------------------------------------------------------------------------------


def opened(order: Sequence[Tensor], boundary: frozenset[Tensor]) -> tuple[list[Tensor], dict[Tensor, Tensor]]:
    """Return the nodes with composites replaced by what they stand for, and what stands for each."""
    found: list[Tensor] = []
    stands: dict[Tensor, Tensor] = {}
    for node in order:
        if isinstance(node.op, Composite) and node not in boundary:
            inside = node.op.open(node.inputs, node.attributes)
            below = topological_order([inside], boundary=frozenset(node.inputs))
            given = frozenset(node.inputs)
            inner, more = opened([each for each in below if each not in given], boundary)
            stands |= more
            stands[node] = stands.get(inside, inside)
            found += inner
        else:
            found.append(node)
    return found, stands


@dataclass(frozen=True)
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
    """

    each: Cost
    partials: Cost
    shared: int
    reads: frozenset[int]

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
        self._rules: dict[Any, _Rule | None] = {}

    def inputs(self, node: Tensor) -> list[Tensor]:
        return [self.stands.get(each, each) for each in node.inputs]

    def value(self) -> Cost:
        total = sum((node_cost(node) for node in self.computed), Cost())
        return _with_memory(total, self._peak(1), 0)

    def _peak(self, width: int) -> int:
        """Return the most bytes alive, what depends on the inputs counted `width` times."""
        weight = {node: nbytes(node) * (width if node in self.dependent else 1) for node in self.nodes}
        last: dict[Tensor, int] = {}
        for place, node in enumerate(self.computed):
            for operand in self.inputs(node):
                last[operand] = place
        live = peak = sum(weight.get(leaf, 0) for leaf in self.leaves)
        kept = {*self.leaves, *self.outputs}
        for place, node in enumerate(self.computed):
            live += weight[node]
            peak = max(peak, live)
            for operand in set(self.inputs(node)):
                if last[operand] == place and operand not in kept and operand in weight and operand.op is not None:
                    live -= weight[operand]
        return peak

    def _rule(self, node: Tensor, kind: str, position: int = 0) -> _Rule | None:
        """Return what a rule costs, or None where its result is zero."""
        needed = tuple(operand in self.dependent for operand in self.inputs(node))
        signature = tuple((o.shape, str(o.dtype)) if o.recorded else id(o) for o in node.inputs)
        key = (node.op, kind, position, needed, signature, node.shape, str(sorted(node.attributes.items(), key=str)))
        if key not in self._rules:
            self._rules[key] = self._rule_afresh(node, kind, position, needed)
        return self._rules[key]

    def _rule_afresh(self, node: Tensor, kind: str, position: int, needed: Sequence[bool]) -> _Rule | None:
        op = node.op
        assert op is not None
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
        if result is None:
            return None
        boundary = frozenset((*operands, *seeds, out))
        order, stands = opened(topological_order([result], boundary=boundary), boundary)
        moving = set(seeds)
        each, once, shared = Cost(), Cost(), 0
        for inner in order:
            if inner in boundary or inner.op is None:
                continue
            if any(stands.get(o, o) in moving for o in inner.inputs):
                moving.add(inner)
                whole = node_cost(inner)
                # What does not depend on the direction is read once, however many directions there are.
                still = sum(nbytes(o) for o in inner.inputs if stands.get(o, o) not in moving) if whole.nbytes else 0
                each += replace(whole, nbytes=whole.nbytes - still)
                shared += still
            else:
                once += node_cost(inner)
        met = set(order)
        read = {index for index, operand in enumerate(operands) if real[index] and operand in met}
        return _Rule(each, once, shared, frozenset(read | ({-1} if out in met else set())))

    # Derivatives -------------------------------------------------------------------------------------------------

    def forward(self, folded: bool = False) -> tuple[Cost, Cost]:
        """Return what tangents cost per direction, and once however many directions there are.

        If `folded`, the directions are known beforehand, and so is what a plan makes of them and of constants alone.
        """
        each, once = Cost(), Cost()
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
            each, once = each + rule.each, once + rule.once
        return each, once

    def reverse(self, outputs: Sequence[Tensor], folded: bool = False) -> tuple[Cost, Cost]:
        """Return what adjoints of `outputs` cost per direction, and once; with the memory of one backward pass.

        If `folded`, as in `forward`.
        """
        each, once = Cost(), Cost()
        known = dict.fromkeys(outputs, folded)
        arrived: dict[Tensor, int] = dict.fromkeys(outputs, 1)
        stored: set[Tensor] = set()
        live = peak = sum(map(nbytes, arrived))
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
                    each, once = each + rule.each, once + rule.once
                stored |= {node if place < 0 else inputs[place] for place in rule.reads}
                both = constant and known.get(operand, True)
                known[operand] = both
                if operand in arrived:
                    if not both:
                        number = 0 if operand.shape else 1
                        each += Cost(0, operand.size, 0, 1, 3 * nbytes(operand), numbers=number)
                else:
                    arrived[operand] = 1
                    live += nbytes(operand)
                peak = max(peak, live)
            live -= nbytes(node)
        kept = sum(nbytes(node) for node in stored if node in self.dependent and node not in self._sources)
        return _with_memory(each, peak, 0), _with_memory(once, 0, kept)

    def of(self, mode: str) -> Cost:
        """Return what a whole Jacobian costs in a mode, the function's value included."""
        value = self.value()
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
                return _with_memory((value + each + once).times(n), self._peak(2), 0)
            return _with_memory(value + once + each.wide(n), self._peak(1 + n), 0)
        if mode in ("reverse", "batched reverse"):
            total = Cost() if mode == "reverse" else value
            peak = stored = 0
            for output in self.outputs:
                each, once = self.reverse([output], folded=mode == "batched reverse")
                width = output.size
                total += (value + each + once).times(width) if mode == "reverse" else once + each.wide(width)
                peak = max(peak, once.stored + each.peak_memory * (1 if mode == "reverse" else width))
                stored = max(stored, once.stored)
            return _with_memory(total, max(peak, value.peak_memory), stored)
        raise GraphError(f"costs are counted in the modes {', '.join(MODES)}, not {mode!r}")


def per_direction(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> dict[str, tuple[Cost, Cost]]:
    """Return what a batched pass costs once, the value included, and for each direction: forward and reverse."""
    counted = _Counted(outputs, leaves)
    value, (tangent, tangents), (adjoint, adjoints) = (
        counted.value(),
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


def cost(function: Callable[..., Any] | Graph | Tensor, *arguments: Any, mode: str = "value") -> Cost:
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
    from graphdiff.op import as_tensor
    from graphdiff.structure import map_leaves
    from graphdiff.tensor import variable

    fresh = map_leaves(lambda leaf: variable(as_tensor(leaf).value), list(arguments))
    outputs = [as_tensor(output) for output in flatten(function(*fresh))[0]]
    leaves = [leaf for leaf in flatten(fresh)[0] if is_real_floating(leaf.dtype)]
    return _Counted(outputs, leaves).of(mode)

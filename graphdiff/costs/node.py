"""What evaluating one node costs: operations, calls and bytes, as the ops' declarations say."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace

from graphdiff.costs.rates import current
from graphdiff.graph import opened, topological_order
from graphdiff.tensor import Tensor, placeholder
from graphdiff.typing import Operation

__all__ = ["Cost", "nbytes", "node_cost"]

_COUNTED = {"multiplication": "multiplications", "addition": "additions", "transcendental": "transcendental"}
"""The sorts of work that are operations, by what counts them."""
_ARITHMETIC = ("multiplication", "addition", "sign")
"""Those that plans do on single numbers without calling NumPy."""


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
        The most bytes alive at once, when each value goes after its last use and inputs, seeds and results stay; of
        derivatives, when all values are computed first. A plan that computes in place needs less.
    stored : int
        Bytes of computed values that the backward pass reads, and that must be kept for it.
    products : int
        Of the operations, those within matrix products, which run at another rate.
    numbers, views : int
        Of the calls, those that do arithmetic on single numbers, and those that only look at an array differently and
        move nothing.
    turns : int
        How often an inner loop begins anew within the calls: for each row that is reduced, or that meets an array which
        is broadcast along it.
    runs : int
        How often a compiled function is entered.
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
    turns: int = field(default=0, repr=False)
    runs: int = field(default=0, repr=False)

    @property
    def flops(self) -> int:
        """All floating-point operations."""
        return self.multiplications + self.additions + self.transcendental

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.multiplications + other.multiplications,
            self.additions + other.additions,
            self.transcendental + other.transcendental,
            self.calls + other.calls,
            self.nbytes + other.nbytes,
            max(self.peak_memory, other.peak_memory),
            max(self.stored, other.stored),
            self.products + other.products,
            self.numbers + other.numbers,
            self.views + other.views,
            self.turns + other.turns,
            self.runs + other.runs,
        )

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
        """A rough time of a compiled run on one core, at the rates in use: see `graphdiff.costs.rates`."""
        rate = current()
        return (
            rate.call * (self.calls - self.numbers - self.views)
            + rate.number * self.numbers
            + rate.view * self.views
            + rate.product * self.products
            + rate.function * self.transcendental
            + rate.byte * self.nbytes
            + rate.turn * self.turns
            + rate.run * self.runs
        )


_SUMMED = tuple(each.name for each in fields(Cost) if each.name not in ("peak_memory", "stored"))


def nbytes(node: Tensor) -> int:
    """Return the bytes of a node's value."""
    return node.size * node.dtype.itemsize


def node_cost(node: Tensor) -> Cost:
    """Return what evaluating one node costs, its inputs given."""
    op = node.op
    if op is None:
        return Cost()
    moved = nbytes(node) + sum(map(nbytes, node.inputs))
    if op.work is None:
        return _undeclared_cost(op, node, moved)
    if op.work == "view" and len(node.inputs) == 1:
        return Cost(calls=1, views=1)
    if op.work in ("view", "move"):
        return Cost(calls=1, nbytes=moved)
    if callable(op.work):
        work = op.work(node, *node.inputs)
        turns = _turns(node) if work.by_rows else 0
        return Cost(work.multiplications, work.additions, 0, 1, moved, products=work.products, turns=turns)
    numbers = 1 if op.work in _ARITHMETIC and not node.shape else 0
    counted = {_COUNTED[op.work]: node.size} if op.work in _COUNTED else {}
    return Cost(**counted, calls=1, nbytes=moved, numbers=numbers, turns=_turns(node))


def _undeclared_cost(op: Operation, node: Tensor, moved: int) -> Cost:
    """Return what the ops cost that the evaluation is written in; if there are none, the declared operations."""
    operands = [placeholder(each.shape, each.dtype) for each in node.inputs]
    written = op.written(node, operands)
    if written is not None:
        boundary = frozenset(operands)
        return sum(map(node_cost, opened(topological_order([written], boundary=boundary), boundary)[0]), Cost())
    declared = op.flops_of(node)
    return Cost(declared - declared // 2, declared // 2, 0, op.calls, moved, turns=_turns(node))


def _turns(node: Tensor) -> int:
    """Return the rows of the larger operand where shapes differ by more than axes in front."""
    shapes = [each.shape for each in (node, *node.inputs) if each.size > 1]
    largest = max(shapes, key=math.prod, default=())
    rows = math.prod(largest[:-1])
    return 0 if rows < 2 or all(shape == largest for shape in shapes) else rows

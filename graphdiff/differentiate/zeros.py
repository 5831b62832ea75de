"""Zeros that are structural: what is not chosen, or does not move, contributes exactly zero to every derivative.

A zero that comes of the graph's structure, below a choice that was not taken or beside a unit direction, must survive a
multiplication by an infinite partial derivative; one that comes of the numbers must not, since the product of what
tends to 0 and what tends to infinity may be anything. So the walks carry along, as masks, where a derivative is `live`:
where it may differ from zero (`graphdiff.differentiate.masked`). They do so only in graphs where such a product can
occur: here it is found out whether it can.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from graphdiff.errors import NoValueError
from graphdiff.graph import topological_order
from graphdiff.op import GRAPH, OPS, Composite, Multilinear
from graphdiff.tensor import NO_ATTRIBUTES, Tensor

__all__ = ["ROW_BY_ROW", "exposed", "inside", "is_guarded", "still", "traits"]

_DEEPEST = 8
"""Ops that are looked through to find out whether a number is positive."""

_NEVER_NEGATIVE = frozenset(
    {"abs", "square", "sqrt", "exp", "relu", "sigmoid", "softplus", "var", "std", "norm", "hypot", "softmax"}
)
_KEEPING_SIGNS = frozenset(
    {"astype", "reshape", "broadcast_to", "getitem", "permute_dims", "positive", "sum", "mean", "max", "min"}
)
ROW_BY_ROW = frozenset({"max", "min", "norm", "std", "logsumexp", "softmax", "log_softmax"})
"""Ops that work along their `axis`, each row on its own."""


def exposed(order: Sequence[Tensor], *, looking: bool = False) -> Collection[Tensor]:
    """Return the nodes of a graph where a partial derivative may be infinite or NaN; none where no op has a pole.

    These are the ops with poles and all that is computed from them, since factors of products may then be infinite. A
    graph with a `where` guards against whatever there is, infinite arguments too: all of its nodes. Otherwise arguments
    count as finite, unless `looking` at those whose value is known shows that one is not.
    """
    found_ops = [node.op for node in order if node.op is not None and node.op.is_suspect]  # mostly none
    if OPS["where"] in found_ops or (looking and not all(map(_is_finite, _leaves(order)))):
        return set(order)
    if not found_ops:
        return ()
    found: set[Tensor] = set()
    for node in order:
        if node.op is not None and (_has_pole(node) or any(operand in found for operand in node.inputs)):
            found.add(node)
    return found


def _leaves(order: Sequence[Tensor]) -> set[Tensor]:
    """Return the leaves of a graph, constants too, which stand in no order."""
    return {leaf for node in order for leaf in (node, *node.inputs) if leaf.op is None}


def is_guarded(order: Sequence[Tensor]) -> bool:
    """Whether something in a graph chooses, and something else has a pole: a zero may meet an infinite derivative.

    The two walks keep these apart; the matrices of elimination do not know which of their entries are structurally
    zero. Where values are known, entries left out where elements are moved can be tried first: NaN shows what met.
    """
    computed = [node for node in order if node.op is not None]
    known = all(node.has_value for node in computed)
    choosing = (node for node in computed if not (known and _moves(node)))
    return any(_may_choose(node) or _moves(node) for node in choosing) and bool(exposed(order))


def _moves(node: Tensor) -> bool:
    """Whether zeros stand among the entries of an op's own matrix: of what it leaves out, or keeps apart by rows."""
    op = node.op
    assert op is not None
    if isinstance(op, Multilinear) or op.name in ROW_BY_ROW:
        return any(operand.recorded and operand.ndim > 1 for operand in node.inputs)
    return op.name in ("getitem", "scatter_add", "concatenate", "pad", "cumsum")


def _may_choose(node: Tensor) -> bool:
    if isinstance(node.op, Composite):
        return inside(node)[1]
    return node.op is not None and node.op.chooses


def _is_finite(leaf: Tensor) -> bool:
    return not leaf.has_value or leaf.dtype.kind != "f" or bool(GRAPH.all(GRAPH.isfinite(still(leaf))))


def inside(node: Tensor) -> tuple[bool, bool]:
    """Whether there are poles among the ops that a composite stands for, and ops that choose: opened once."""
    op = node.op
    assert isinstance(op, Composite)
    if op.inside is None:
        operands = [
            Tensor(None, (), NO_ATTRIBUTES, None, operand.backend, True, (operand.shape, operand.dtype))
            for operand in node.inputs
        ]
        op.inside = traits(topological_order([op.open(operands, node.attributes)]))
    return op.inside


def traits(order: Sequence[Tensor]) -> tuple[bool, bool]:
    """Whether there are poles in a graph, and ops that choose."""
    computed = [node for node in order if node.op is not None]
    return any(map(_has_pole, computed)), any(map(_may_choose, computed))


def _has_pole(node: Tensor) -> bool:
    op = node.op
    if isinstance(op, Composite):
        return inside(node)[0]
    poles = op is not None and op.poles
    if isinstance(poles, bool):
        return poles
    if op is OPS["power"] and _is_number_of_factors(node.inputs[1]):
        return False
    return not all(_is_apart_from_zero(node.inputs[position]) for position in poles)


def _is_apart_from_zero(x: Tensor) -> bool:
    return _is_positive(x) if x.recorded else bool((x != 0).numpy().all())


def _is_number_of_factors(exponent: Tensor) -> bool:
    if exponent.recorded or exponent.size != 1:
        return False
    number = float(exponent.item())
    return number >= 0 and number.is_integer()


def _is_positive(x: Tensor, depth: int = _DEEPEST) -> bool:
    """Whether a tensor is known to be above 0 by how it is made, as the root of a variance and a small number is."""
    if not x.recorded:
        return bool((x > 0).numpy().all())
    if x.op is None or not depth:
        return False
    name, inputs = x.op.name, x.inputs
    if name == "add":
        pairs = (inputs, inputs[::-1])
        return any(_is_positive(one, depth - 1) and _is_never_negative(other, depth - 1) for one, other in pairs)
    return (name == "sqrt" or name in _KEEPING_SIGNS) and _is_positive(inputs[0], depth - 1)


def _is_never_negative(x: Tensor, depth: int) -> bool:
    if _is_positive(x, depth):
        return True
    if x.op is None or not depth:
        return not x.recorded and bool((x >= 0).numpy().all())
    if x.op.name == "multiply":
        return x.inputs[0] is x.inputs[1]
    if x.op.name in _KEEPING_SIGNS:
        return _is_never_negative(x.inputs[0], depth - 1)
    return x.op.name in _NEVER_NEGATIVE


def still(node: Tensor) -> Tensor:
    """Return a node as a constant: its value and no graph."""
    if not node.has_value:
        raise NoValueError(f"{node.describe()}, made at {node.source}, decides the structure of the graph: feed it")
    return Tensor(None, (), NO_ATTRIBUTES, node._value, node.backend, False)

"""Zeros that are structural: what is not chosen, or does not move, contributes exactly zero to every derivative.

A zero that comes of the graph's structure, below a choice that was not taken or beside a unit direction, must survive a
multiplication by an infinite partial derivative; one that comes of the numbers must not, since the product of what
tends to 0 and what tends to infinity may be anything. So the walks carry along, as masks, where a derivative is `live`:
where it may differ from zero. They do so only in graphs where such a product can occur.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from graphdiff.errors import NoValueError
from graphdiff.graph import topological_order
from graphdiff.op import GRAPH, OPS, Composite, Elementwise, Multilinear
from graphdiff.tensor import NO_ATTRIBUTES, Tensor
from graphdiff.typing import Array, Attributes, Namespace, Operation

__all__ = [
    "REDUCTIONS",
    "Masked",
    "along_rows",
    "chosen",
    "exposed",
    "finite_product",
    "inside",
    "is_guarded",
    "is_without_sign",
    "joined",
    "kept",
    "some",
    "still",
    "suspects",
    "traits",
]

_DEEPEST = 8
"""Ops that are looked through to find out whether a number is positive."""

_NEVER_NEGATIVE = frozenset(
    {"abs", "square", "sqrt", "exp", "relu", "sigmoid", "softplus", "var", "std", "norm", "hypot", "softmax"}
)
_KEEPING_SIGNS = frozenset(
    {"astype", "reshape", "broadcast_to", "getitem", "permute_dims", "positive", "sum", "mean", "max", "min"}
)
_ROW_BY_ROW = frozenset({"max", "min", "norm", "std", "logsumexp", "softmax", "log_softmax"})
"""Ops that work along their `axis`, each row on its own."""
REDUCTIONS = frozenset({"max", "min", "norm", "std", "logsumexp"})
"""Of these, ops that make one number of a row: their tangent is the sum of the elements', each by its own slope."""
_WITHOUT_SIGN = frozenset(
    {"sum", "mean", "sum_wide", "cumsum", "scatter_add", "pad", "tril", "triu", "barrier", "matmul", "einsum_op"}
)
"""Ops whose coefficients are all of one sign, so that a sum of ones that they make is 0 only where nothing is added."""


# Where a zero may meet an infinite partial derivative -----------------------------------------------------------


def suspects(order: Sequence[Tensor]) -> list[Operation]:
    """Return the ops of a graph on account of which it may have to be looked through; mostly there are none."""
    return [node.op for node in order if node.op is not None and node.op.is_suspect]


def exposed(order: Sequence[Tensor], *, looking: bool = False) -> Collection[Tensor]:
    """Return the nodes of a graph where a partial derivative may be infinite or NaN; none where no op has a pole.

    These are the ops with poles and all that is computed from them, since factors of products may then be infinite. A
    graph with a `where` guards against whatever there is, infinite arguments too: all of its nodes. Otherwise arguments
    count as finite, unless `looking` at those whose value is known shows that one is not.
    """
    found_ops = suspects(order)
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
    if isinstance(op, Multilinear) or op.name in _ROW_BY_ROW:
        return any(operand.recorded and operand.ndim > 1 for operand in node.inputs)
    return op.name in ("getitem", "scatter_add", "concatenate", "pad", "cumsum")


def _may_choose(node: Tensor) -> bool:
    return inside(node)[1] if isinstance(node.op, Composite) else node.op.chooses  # type: ignore[union-attr]


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
    poles = op.poles  # type: ignore[union-attr]
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


# Masks -----------------------------------------------------------------------------------------------------------


def some(F: Namespace, pattern: Array) -> Array:
    """Return where a pattern of numbers is not zero."""
    return pattern != F.zeros_like(pattern)  # of booleans too: namespaces compare them with booleans alone


def joined(F: Namespace, one: Array, other: Array) -> Array:
    """Return where one of two masks is live; None stands for everywhere."""
    return None if one is None or other is None else F.logical_or(one, other)


def is_without_sign(op: Operation) -> bool:
    """Whether an op over zeros and ones tells what depends on what: nothing in it can cancel."""
    return op.chooses or op.keeps is not None or op.name in _WITHOUT_SIGN


def along_rows(F: Namespace, mask: Any, op: Operation, attributes: Attributes, shape: tuple[int, ...]) -> Any:
    """Return a mask for elements of another shape: live where a live element stands in the same row.

    A row is what lies along the op's axes, or everything together if nothing is known of the op.
    """
    if op.name not in _ROW_BY_ROW:
        return F.broadcast_to(F.any(mask, axis=tuple(range(len(mask.shape)))), shape)
    axis = attributes["axis"]
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if len(mask.shape) < len(shape):  # from the result of a reduction down to its operand
        return F.broadcast_to(F.reshape(mask, tuple(1 if i in axes else n for i, n in enumerate(shape))), shape)
    rows = F.any(mask, axis=axes, keepdims=True)
    return F.broadcast_to(rows, shape) if len(shape) == len(mask.shape) else F.reshape(rows, shape)


def chosen(
    F: Namespace, rule: Any, vector: Array, mask: Array, op: Operation, attributes: Attributes, shape: tuple[int, ...]
) -> Any:
    """Return where what an op has chosen is live; None where the rule says that nothing flows.

    Parameters
    ----------
    rule : callable
        The op's tangent or adjoint, of a vector alone.
    vector, mask : array
        The derivative that comes, and where that is live (None: everywhere).
    shape : tuple of int
        The shape of what the rule returns.
    """
    if mask is not None and op.__class__ is not Elementwise and op.name not in _ROW_BY_ROW:
        weight = rule(F.astype(mask, vector.dtype))
        return None if weight is None else some(F, weight)
    weight = rule(F.ones_like(vector))
    if weight is None or mask is None:
        return None if weight is None else some(F, weight)
    # Not the mask's own weights: a partial derivative may be NaN, which no zero of a mask takes away.
    rows = mask if op.__class__ is Elementwise else along_rows(F, mask, op, attributes, shape)
    return F.logical_and(some(F, weight), rows)


def kept(F: Namespace, mask: Array, contribution: Array) -> Array:
    """Return a contribution with exact zeros where the mask says that nothing flows."""
    return F.where(mask, contribution, F.zeros_like(contribution))


def finite_product(F: Namespace, product: Any, position: int, vector: Any, mask: Any, factors: Sequence[Any]) -> Any:
    """Return a product of a derivative with other factors, in which a zero of the mask times an infinite one is zero.

    Factors that are not finite count as zero, except where they meet a live element of the vector.

    Parameters
    ----------
    product : callable
        ``product(vector, factors)``; the factor at `position` is not read.
    position : int
    vector, mask : array
        The derivative, and where it is live.
    factors : sequence of array
    """
    plain = product(vector, factors)
    finite = [F.isfinite(factor) for factor in factors]
    others = [place for place in range(len(factors)) if place != position]
    if not F.is_graph and all(bool(F.all(finite[place])) for place in others):
        return plain
    clean = product(vector, [kept(F, ok, factor) for ok, factor in zip(finite, factors, strict=True)])
    weight = F.astype(mask, vector.dtype)
    touched: Any = False
    for place in others:
        bad = [F.ones_like(factor) for factor in factors]
        bad[place] = 1 - F.astype(finite[place], factors[place].dtype)
        touched = (product(weight, bad) > 0) | touched
    return F.where(touched, plain, clean)


class Masked:
    """A number that knows whether it may differ from zero: if not, its products are zero, whatever by.

    Parameters
    ----------
    F : namespace
    value : scalar of `F`
    live : truth value of `F`, or None
        None where it may.
    """

    def __init__(self, F: Namespace, value: Array, live: Any = None) -> None:
        self.F, self.value, self.live = F, value, live

    def __mul__(self, other: Any) -> Masked:
        value, live = self.value, self.live
        if isinstance(other, Masked):
            other, more = other.value, other.live
            live = more if live is None else live if more is None else self.F.logical_and(live, more)
        product = value * other
        return Masked(self.F, product if live is None else kept(self.F, live, product), live)

    __rmul__ = __mul__

    def __neg__(self) -> Masked:
        return Masked(self.F, -self.value, self.live)

    def __add__(self, other: Any) -> Masked:
        if isinstance(other, Masked):
            return Masked(self.F, self.value + other.value, joined(self.F, self.live, other.live))
        return Masked(self.F, self.value + other)

    __radd__ = __add__

"""Masks: where derivatives are live in the graphs in which structural zeros may meet infinite partial derivatives.

What is said of such zeros in `graphdiff.differentiate.zeros` is done here, for one node at a time: what it adds to the
adjoints of its operands or to its own tangent, and where that may differ from zero. A mask is an array of truth values,
or None for everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import reduce
from typing import TypeAlias, cast

from graphdiff.differentiate.zeros import ROW_BY_ROW, exposed
from graphdiff.op import Custom, Elementwise, Linear, Multilinear, sum_to
from graphdiff.tensor import Tensor
from graphdiff.typing import Array, Attributes, Namespace, Operation, Shape

__all__ = ["Mask", "Masked", "Masks", "Part", "masked_tangent", "masks_of", "read"]

Mask: TypeAlias = Array | None
Part: TypeAlias = tuple[Array | None, Mask]
"""A contribution, None if it is zero, and where it is live."""
_Product: TypeAlias = Callable[[Array, Sequence[Array]], Array]

_REDUCTIONS = frozenset({"max", "min", "norm", "std", "logsumexp"})
"""Ops that make one number of a row: their tangent is the sum of the elements', each by its own slope."""
_WITHOUT_SIGN = frozenset(
    {"sum", "mean", "sum_wide", "cumsum", "scatter_add", "pad", "tril", "triu", "barrier", "matmul", "einsum_op"}
)
"""Ops whose coefficients are all of one sign, so that a sum of ones that they make is 0 only where nothing is added."""

# Operations on masks -----------------------------------------------------------------------------------------------

# Operations on masks -----------------------------------------------------------------------------------------------


def some(F: Namespace, pattern: Array) -> Array:
    """Return where a pattern of numbers is not zero."""
    return pattern != F.zeros_like(pattern)  # of booleans too: namespaces compare them with booleans alone


def joined(F: Namespace, one: Mask, other: Mask) -> Mask:
    """Return where one of two masks is live."""
    return None if one is None or other is None else F.logical_or(one, other)


def is_without_sign(op: Operation) -> bool:
    """Whether an op over zeros and ones tells what depends on what: nothing in it can cancel."""
    return op.chooses or op.keeps is not None or op.name in _WITHOUT_SIGN


def along_rows(F: Namespace, mask: Array, op: Operation, attributes: Attributes, shape: Shape) -> Array:
    """Return a mask for elements of another shape: live where a live element stands in the same row.

    A row is what lies along the op's axes, or everything together if nothing is known of the op.
    """
    if op.name not in ROW_BY_ROW:
        return F.broadcast_to(F.any(mask, axis=tuple(range(len(mask.shape)))), shape)
    axis = attributes["axis"]
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if len(mask.shape) < len(shape):  # from the result of a reduction down to its operand
        return F.broadcast_to(F.reshape(mask, tuple(1 if i in axes else n for i, n in enumerate(shape))), shape)
    rows = F.any(mask, axis=axes, keepdims=True)
    return F.broadcast_to(rows, shape) if len(shape) == len(mask.shape) else F.reshape(rows, shape)


def chosen(
    F: Namespace,
    rule: Callable[[Array], Array | None],
    vector: Array,
    mask: Mask,
    op: Operation,
    attributes: Attributes,
    shape: Shape,
) -> Mask:
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
    by_mask = mask is not None and op.__class__ is not Elementwise and op.name not in ROW_BY_ROW
    weight = rule(F.astype(mask, vector.dtype) if by_mask else F.ones_like(vector))
    if weight is None:
        return None
    if by_mask or mask is None:
        return some(F, weight)
    # Not the mask's own weights: a partial derivative may be NaN, which no zero of a mask takes away.
    rows = mask if op.__class__ is Elementwise else along_rows(F, mask, op, attributes, shape)
    return F.logical_and(some(F, weight), rows)


def kept(F: Namespace, mask: Array, contribution: Array) -> Array:
    """Return a contribution with exact zeros where the mask says that nothing flows."""
    return F.where(mask, contribution, F.zeros_like(contribution))


def finite_product(
    F: Namespace,
    product: Callable[[Array, Sequence[Array]], Array],
    position: int,
    vector: Array,
    mask: Array,
    factors: Sequence[Array],
) -> Array:
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
    touched: Array | bool = False
    for place in others:
        bad = [F.ones_like(factor) for factor in factors]
        bad[place] = 1 - F.astype(finite[place], factors[place].dtype)
        touched = (product(weight, bad) > 0) | touched
    return F.where(touched, plain, clean)


# One node of a walk --------------------------------------------------------------------------------------------------


def read(F: Namespace, node: Tensor) -> tuple[Operation, Array, Sequence[Array]]:
    """Return a node's op, the node and its operands as the op's rules take them: tensors for graph, else arrays."""
    assert node.op is not None
    if F.is_graph:
        return node.op, node, node.inputs
    return node.op, node._value, [operand._value for operand in node.inputs]


def _part(
    F: Namespace,
    op: Operation,
    attributes: Attributes,
    rule: Callable[[Array, Sequence[Array]], Array | None],
    vector: Array,
    mask: Mask,
    position: int,
    values: Sequence[Array],
    shape: Shape,
    at_risk: bool,
    tracked: bool = True,
) -> Part:
    """Return what a node makes of one derivative, and where that is live (None also if it is not `tracked`).

    `rule` is the op's adjoint or tangent for the operand at `position`, of the derivative and the operands; `shape` is
    that of its result.
    """
    if op.chooses:
        reached = chosen(F, lambda alone: rule(alone, values), vector, mask, op, attributes, shape)
        made = None if reached is None else rule(vector, values)
        if reached is None or made is None:
            return None, None
        return kept(F, reached, made), reached if tracked else None
    if isinstance(op, Multilinear) and at_risk and mask is not None:
        made = finite_product(F, cast(_Product, rule), position, vector, mask, values)
    else:
        made = rule(vector, values)
    if made is None or mask is None:
        return made, None
    if op.__class__ is Elementwise:
        return kept(F, mask, made) if at_risk else made, mask if tracked else None
    if not (tracked or isinstance(op, Custom)):
        return made, None
    if isinstance(op, (Linear, Multilinear)) and is_without_sign(op):
        ones = values if isinstance(op, Linear) else [F.ones_like(value) for value in values]
        weight = rule(F.astype(mask, vector.dtype), ones)
        return made, None if weight is None else some(F, weight)
    reached = along_rows(F, mask, op, attributes, shape)
    return kept(F, reached, made) if isinstance(op, Custom) else made, reached if tracked else None


class Masks:
    """Where the adjoints of a walk may differ from zero.

    Parameters
    ----------
    F : namespace
    live : dict of Tensor to array
        Filled as the walk goes down. A node without an entry is live everywhere, or lies below all of `at_risk`.
    at_risk : collection of Tensor
        Nodes whose partial derivatives may be infinite.
    """

    def __init__(self, F: Namespace, live: dict[Tensor, Array], at_risk: Collection[Tensor]) -> None:
        self.F, self.live, self.at_risk = F, live, at_risk
        self._floor = min(each.serial for each in at_risk)

    def parts(
        self, node: Tensor, cotangent: Array, needed: Collection[Tensor]
    ) -> Iterator[tuple[Tensor, Array, Array, Mask]]:
        """Yield each operand, what stands for it in the walk, what it gets of the adjoint, and where that is live."""
        F, mask = self.F, self.live.pop(node, None)
        op, out, values = read(F, node)
        for position, (operand, value) in enumerate(zip(node.inputs, values, strict=True)):
            if operand not in needed:
                continue

            def pulled(vector: Array, operands: Sequence[Array], position: int = position) -> Array | None:
                return op.adjoint(F, vector, position, out, operands, node.attributes)

            shape, tracked = tuple(value.shape), operand.serial >= self._floor
            part, reached = _part(
                F, op, node.attributes, pulled, cotangent, mask, position, values, shape, node in self.at_risk, tracked
            )
            if part is not None:
                if reached is not None and reached.shape != shape:
                    reached = sum_to(F, F.astype(F.broadcast_to(reached, node.shape), value.dtype), shape) > 0
                yield operand, value, part, reached

    def of_opened(self, node: Tensor, opened: Tensor) -> dict[Tensor, Array]:
        """Return what is live to begin with in what a composite stands for."""
        mask = self.live.pop(node, None)
        return {} if mask is None else {opened: mask}

    def widen(self, operand: Tensor, reached: Mask, fresh: bool) -> None:
        """Join a contribution's mask to what is live of its operand, where it is not the first."""
        if not fresh:
            reached = joined(self.F, self.live.pop(operand, None), reached)
        if reached is not None:
            self.live[operand] = reached


def masks_of(
    F: Namespace, order: Sequence[Tensor], live: dict[Tensor, Array] | None, at_risk: Collection[Tensor] | None
) -> Masks | None:
    """Return the masks of a walk down, None in a graph that needs none; see `pull_back` for the parameters."""
    if live is None or at_risk is None:
        at_risk = exposed(order, looking=live is not None)
    return Masks(F, {} if live is None else live, at_risk) if at_risk else None


def masked_tangent(
    F: Namespace, node: Tensor, moved: Sequence[Array | None], live: dict[Tensor, Array], at_risk: bool
) -> Part:
    """Return a node's tangent and where it is live, structural zeros kept from infinite partial derivatives."""
    op, out, values = read(F, node)
    attributes = node.attributes
    masks = [live.get(operand) for operand in node.inputs]
    if op.__class__ is Elementwise or isinstance(op, Multilinear):
        return _sum_of_terms(F, node, moved, masks, at_risk)
    if op.name in _REDUCTIONS and (masks[0] is not None or op.chooses):
        return _reduced(F, node, cast(Array, moved[0]), masks[0])
    result = op.tangent(F, moved, out, values, attributes)
    if result is None:
        return None, None
    if is_without_sign(op):
        if op.keeps == "places" or (op.keeps == "elements" and len(values) == 1 and masks[0] is None):
            return result, masks[0]
        weights = [_weights(F, *each) for each in zip(moved, masks, strict=True)]
        return result, some(F, cast(Array, op.tangent(F, weights, out, values, attributes)))
    met = [mask for vector, mask in zip(moved, masks, strict=True) if vector is not None]
    rows = [along_rows(F, mask, op, attributes, node.shape) for mask in met if mask is not None]
    if len(rows) < len(met):
        return result, None
    mask = reduce(F.logical_or, rows)
    return kept(F, mask, result), mask


def _reduced(F: Namespace, node: Tensor, vector: Array, mask: Mask) -> Part:
    """Return the tangent of a reduction, from its slope by each element, and where it is live."""
    op, out, values = read(F, node)
    attributes = node.attributes
    slope = cast(Array, op.adjoint(F, F.ones_like(out), 0, out, values, attributes))
    bounds = (some(F, slope) if op.chooses else None, mask)
    reached = reduce(F.logical_and, [bound for bound in bounds if bound is not None])
    axis, keepdims = attributes["axis"], attributes.get("keepdims", False)
    result = F.sum(kept(F, reached, vector * slope), axis=axis, keepdims=keepdims)
    return result, along_rows(F, reached, op, attributes, node.shape)


def _weights(F: Namespace, vector: Array | None, mask: Mask) -> Array | None:
    """Return one where an operand's tangent may differ from zero, and zero elsewhere."""
    if vector is None:
        return None
    return F.ones_like(vector) if mask is None else F.astype(mask, vector.dtype)


def _sum_of_terms(
    F: Namespace, node: Tensor, moved: Sequence[Array | None], masks: Sequence[Mask], at_risk: bool
) -> Part:
    """Return the tangent of an op that adds a term per operand, and where it is live."""
    op, out, values = read(F, node)
    total: Array | None = None
    where: Mask = None
    for position, (vector, mask) in enumerate(zip(moved, masks, strict=True)):
        if vector is None:
            continue

        def pushed(vector: Array, operands: Sequence[Array], position: int = position) -> Array | None:
            alone = [vector if place == position else None for place in range(len(operands))]
            return op.tangent(F, alone, out, operands, node.attributes)

        term, reached = _part(F, op, node.attributes, pushed, vector, mask, position, values, node.shape, at_risk)
        if term is not None:
            where = reached if total is None else joined(F, where, reached)
            total = term if total is None else total + term
    return total, where


# Masked numbers ---------------------------------------------------------------------------------------------------


class Masked:
    """A number that knows whether it may differ from zero: if not, its products are zero, whatever by.

    Parameters
    ----------
    F : namespace
    value : scalar of `F`
    live : truth value of `F`, or None
        None where it may.
    """

    def __init__(self, F: Namespace, value: Array, live: Mask = None) -> None:
        self.F, self.value, self.live = F, value, live

    def __mul__(self, other: Masked | Array | complex) -> Masked:
        factor, more = (other.value, other.live) if isinstance(other, Masked) else (other, None)
        product, masks = self.value * factor, [mask for mask in (self.live, more) if mask is not None]
        if not masks:
            return Masked(self.F, product)
        live = reduce(self.F.logical_and, masks)
        return Masked(self.F, kept(self.F, live, product), live)

    __rmul__ = __mul__

    def __neg__(self) -> Masked:
        return Masked(self.F, -self.value, self.live)

    def __add__(self, other: Masked | Array | complex) -> Masked:
        if isinstance(other, Masked):
            return Masked(self.F, self.value + other.value, joined(self.F, self.live, other.live))
        return Masked(self.F, self.value + other)

    __radd__ = __add__

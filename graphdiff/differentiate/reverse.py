"""Reverse mode: adjoints, from the outputs down, in reverse topological order.

One walk serves numbers and graph. Given a backend's namespace it computes arrays; given graphdiff's functions it builds
the graph of the derivative, which can be drawn, compiled and differentiated again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar, cast

from graphdiff.differentiate.zeros import (
    along_rows,
    chosen,
    exposed,
    finite_product,
    is_without_sign,
    joined,
    kept,
    some,
    suspects,
)
from graphdiff.errors import OpError
from graphdiff.graph import collector_paused, inside
from graphdiff.host import PYTHON_SCALARS, broadcasts_to
from graphdiff.op import (
    Composite,
    Custom,
    Elementwise,
    Linear,
    Multilinear,
    raise_complex,
    sum_to,
)
from graphdiff.tensor import WATCHES, Tensor
from graphdiff.typing import Array, ArrayLike, Namespace

__all__ = ["below", "fitted", "pull_back"]


def below(order: Iterable[Tensor], sources: Collection[Tensor]) -> set[Tensor]:
    """Return the nodes of `order` that depend on one of `sources`, sources included."""
    dependent = set(sources)
    for node in order:
        if node not in dependent and any(operand in dependent for operand in node.inputs):
            dependent.add(node)
    return dependent


Fitted = TypeVar("Fitted", bound=Array)


def fitted(F: Namespace, contribution: Fitted, operand: Fitted) -> Fitted:
    """Sum a contribution down to its operand's shape and cast it to its dtype: the one place where both happen."""
    try:
        differs = contribution.shape != operand.shape
    except AttributeError:
        contribution = _as_array(F, contribution, operand)
        differs = contribution.shape != operand.shape
    if differs:
        try:
            contribution = sum_to(F, contribution, operand.shape)
        except (ValueError, IndexError, TypeError) as error:
            if broadcasts_to(operand.shape, tuple(contribution.shape)):
                raise
            raise OpError(
                f"an adjoint rule returned shape {tuple(contribution.shape)} for an operand of shape {operand.shape}: "
                "it has the operand's shape, or one that this broadcasts to"
            ) from error
    if contribution.dtype == operand.dtype:
        return contribution
    given = contribution.dtype if F.is_graph else F.backend.host_dtype(contribution)
    if given.kind == "c":
        raise_complex()
    return cast(Fitted, F.astype(contribution, operand.dtype))


def _as_array(F: Namespace, contribution: object, operand: Fitted) -> Fitted:
    """Return a number that an adjoint rule returned, such as a constant derivative, as an array."""
    if not isinstance(contribution, PYTHON_SCALARS):
        raise OpError(f"an adjoint rule returned {type(contribution).__name__}: it returns arrays, or None for zero")
    return cast(Fitted, F.full((), contribution, dtype=operand.dtype))


@collector_paused
def pull_back(
    order: Sequence[Tensor],
    adjoint: dict[Tensor, Any],
    F: Namespace,
    needed: Collection[Tensor],
    keep: bool = False,
    boundary: Collection[Tensor] = frozenset(),
    live: dict[Tensor, Any] | None = None,
    at_risk: Collection[Tensor] | None = None,
) -> None:
    """Carry the adjoints in `adjoint` from the outputs down to the leaves.

    Parameters
    ----------
    order : sequence of Tensor
        Topological.
    adjoint : dict
        The outputs' adjoints; filled with those of the nodes below.
    F : namespace
        A backend's numbers, or graphdiff's functions to build graph.
    needed : collection of Tensor
        Only these nodes receive adjoints.
    keep : bool
        Keep the adjoints of inner nodes too.
    boundary : collection of Tensor
        Nodes not to go below.
    live : dict, optional
        Where adjoints may differ from zero, if not everywhere; filled as `adjoint` is.
    at_risk : collection of Tensor, optional
        Nodes whose partial derivatives may be infinite; by default they are looked for.
    """
    as_graph = F.is_graph
    # Looked for at the first op that chooses: graphs without poles pay one comparison per node.
    floor: int | None = None
    if live is None:
        live = {}
        at_risk = None if suspects(order) else ()
    elif at_risk is None:
        at_risk = exposed(order, looking=True)
    watches = WATCHES and WATCHES.here()
    for node in reversed(order):
        op = node.op
        if watches and node in adjoint:
            for watch in watches:
                watch.adjoint(node, adjoint[node])
        if op is None or node in boundary:
            continue
        cotangent = adjoint.get(node) if keep else adjoint.pop(node, None)
        if cotangent is None:
            continue
        inputs = node.inputs
        out: Any
        values: Sequence[Any]
        if as_graph:
            out, values = node, inputs
        else:
            out, values = node._value, [operand._value for operand in inputs]
        attributes = node.attributes
        if at_risk is None and op.chooses:
            at_risk = exposed(order)
        if at_risk:
            if floor is None:
                floor = min(each.serial for each in at_risk)
            _pull_carefully(F, node, cotangent, needed, adjoint, live, node in at_risk, floor)
        elif op.__class__ is Elementwise:
            partials: Sequence[Any] = op.partials
            for operand, value, partial in zip(inputs, values, partials):
                if partial is None or operand not in needed:
                    continue
                if partial.__class__ is int:
                    contribution = cotangent if partial == 1 else -cotangent
                else:
                    contribution = cotangent * partial(F, out, *values, **attributes)
                if contribution.shape != value.shape or contribution.dtype != value.dtype:
                    contribution = fitted(F, contribution, value)
                earlier = adjoint.get(operand)
                adjoint[operand] = contribution if earlier is None else earlier + contribution
        elif isinstance(op, Composite):
            _pull_through(F, node, cotangent, needed, adjoint)
        else:
            for position, operand in enumerate(inputs):
                if operand in needed:
                    contribution = op.adjoint(F, cotangent, position, out, values, attributes)
                    if contribution is not None:
                        _add(F, adjoint, operand, fitted(F, contribution, values[position]))


def _add(F: Namespace, adjoint: dict[Tensor, Array], operand: Tensor, contribution: Array) -> None:
    earlier = adjoint.get(operand)
    adjoint[operand] = contribution if earlier is None else earlier + contribution


def _pull_through(
    F: Namespace, node: Tensor, cotangent: Array, needed: Collection[Tensor], adjoint: dict[Tensor, Array]
) -> None:
    """Differentiate a composite by opening it."""
    for operand, contribution in _opened_adjoints(F, node, cotangent, needed).items():
        _add(F, adjoint, operand, contribution)


def _opened_adjoints(
    F: Namespace, node: Tensor, cotangent: Array, needed: Collection[Tensor], live: dict[Tensor, Array] | None = None
) -> dict[Tensor, Array]:
    opened, order = inside(node, again=True)
    wanted = {operand for operand in node.inputs if operand in needed}
    if live is not None and node in live:
        live[opened] = live.pop(node)
    inner = {opened: cotangent}
    pull_back(
        order, inner, F, below(order, wanted), boundary=wanted, live=live, at_risk=None if live is None else set(order)
    )
    return {operand: inner[operand] for operand in wanted if operand in inner}


def _pull_carefully(
    F: Namespace,
    node: Tensor,
    cotangent: Array,
    needed: Collection[Tensor],
    adjoint: dict[Tensor, Array],
    live: dict[Tensor, Array],
    at_risk: bool,
    floor: int,
) -> None:
    """Pull back one node where zeros that are structural may meet infinite partials: contributions are zero there.

    `live[node]` tells where the node's adjoint may differ from zero; a node without an entry is live everywhere, or
    lies below the serial number `floor`, where no partial is infinite.
    """
    if isinstance(node.op, Composite):
        inner = {node: live.pop(node)} if node in live else {}
        for operand, contribution in _opened_adjoints(F, node, cotangent, needed, inner).items():
            _widen(F, live, operand, inner.get(operand), operand not in adjoint)
            _add(F, adjoint, operand, contribution)
        return
    mask = live.pop(node, None)
    values = node.inputs if F.is_graph else [operand._value for operand in node.inputs]
    for position, operand in enumerate(node.inputs):
        if operand not in needed:
            continue
        tracked = operand.serial >= floor
        contribution, reached = _careful_part(F, node, cotangent, mask, position, values, at_risk, tracked)
        if contribution is None:
            continue
        value = values[position]
        if reached is not None and reached.shape != value.shape:
            reached = sum_to(F, F.astype(F.broadcast_to(reached, node.shape), value.dtype), value.shape) > 0
        _widen(F, live, operand, reached, operand not in adjoint)
        _add(F, adjoint, operand, fitted(F, contribution, value))


def _careful_part(
    F: Namespace,
    node: Tensor,
    cotangent: Any,
    mask: Any,
    position: int,
    values: Sequence[Any],
    at_risk: bool,
    tracked: bool,
) -> tuple[Any, Any]:
    """Return what a node adds to an operand's adjoint, and where that is live (None: everywhere, or not tracked)."""
    op, attributes = node.op, node.attributes
    assert op is not None
    out = node if F.is_graph else node._value

    def pulled(vector: ArrayLike, operands: Sequence[object]) -> Any:
        return op.adjoint(F, vector, position, out, operands, attributes)

    if op.chooses:
        shape = tuple(values[position].shape)
        reached = chosen(F, lambda vector: pulled(vector, values), cotangent, mask, op, attributes, shape)
        if reached is None:
            return None, None
        return kept(F, reached, pulled(cotangent, values)), reached if tracked else None
    if mask is None:
        return pulled(cotangent, values), None
    if op.__class__ is Elementwise:
        contribution = pulled(cotangent, values)
        kept_part = kept(F, mask, contribution) if at_risk and contribution is not None else contribution
        return kept_part, mask if tracked else None
    if isinstance(op, Multilinear) and at_risk:
        contribution = finite_product(F, pulled, position, cotangent, mask, values)
    else:
        contribution = pulled(cotangent, values)
    if contribution is None or not (tracked or isinstance(op, Custom)):
        return contribution, None
    if isinstance(op, (Linear, Multilinear)) and is_without_sign(op):
        ones = values if isinstance(op, Linear) else [F.ones_like(value) for value in values]
        return contribution, some(F, pulled(F.astype(mask, cotangent.dtype), ones))
    reached = along_rows(F, mask, op, attributes, tuple(values[position].shape))
    return (kept(F, reached, contribution) if isinstance(op, Custom) else contribution), reached if tracked else None


def _widen(F: Namespace, live: dict[Tensor, Any], operand: Tensor, reached: Any, fresh: bool) -> None:
    """Join a contribution's mask to what is live of its operand; None means everywhere."""
    if not fresh:
        reached = joined(F, live.pop(operand, None), reached)
    if reached is not None:
        live[operand] = reached

"""Reverse mode: adjoints, from the outputs down, in reverse topological order.

One walk serves numbers and graph. Given a backend's namespace it computes arrays; given graphdiff's functions it builds
the graph of the derivative, which can be drawn, compiled and differentiated again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar, cast

from graphdiff.differentiate.masked import Masks, masks_of
from graphdiff.errors import OpError
from graphdiff.graph import collector_paused, inside
from graphdiff.host import PYTHON_SCALARS, broadcasts_to
from graphdiff.op import Composite, Elementwise, raise_complex, sum_to
from graphdiff.tensor import WATCHES, Tensor
from graphdiff.typing import Array, Namespace, Operation

__all__ = ["below", "fitted", "pull_back"]


def below(order: Iterable[Tensor], sources: Collection[Tensor]) -> set[Tensor]:
    """Return the nodes of `order` that depend on one of `sources`, sources included."""
    dependent = set(sources)
    for node in order:
        if not dependent.isdisjoint(node.inputs):
            dependent.add(node)
    return dependent


Fitted = TypeVar("Fitted", bound=Array)


def fitted(F: Namespace, contribution: Fitted, operand: Fitted) -> Fitted:
    """Sum a contribution down to its operand's shape and cast it to its dtype: the one place where both happen."""
    if isinstance(contribution, Tensor) and isinstance(operand, Tensor):
        given, wanted = contribution._value, operand._value
        if given is not None and wanted is not None and given.shape == wanted.shape and given.dtype == wanted.dtype:
            return contribution  # seen without a property being called
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
    adjoint: dict[Tensor, Array],
    F: Namespace,
    needed: Collection[Tensor],
    keep: bool = False,
    boundary: Collection[Tensor] = frozenset(),
    live: dict[Tensor, Array] | None = None,
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
    masks = None if live is None else masks_of(F, order, live, at_risk)
    looked = live is not None
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
        if not looked and op.chooses:  # graphs in which nothing is chosen need not be looked through
            masks, looked = masks_of(F, order, None, None), True
        if masks is not None or op.__class__ is not Elementwise:
            _pull(F, node, op, cotangent, needed, adjoint, masks)
            continue
        # Most nodes are elementwise, and the walk's time goes here: no call per node.
        inputs = node.inputs
        out, values = (node, inputs) if as_graph else (node._value, [operand._value for operand in inputs])
        for operand, value, partial in zip(inputs, values, op.partials):
            if partial is None or operand not in needed:
                continue
            if callable(partial):
                part = cotangent * partial(F, out, *values, **node.attributes)
            else:
                part = cotangent if partial == 1 else -cotangent
            if as_graph or part.shape != value.shape or part.dtype != value.dtype:
                part = fitted(F, part, value)
            earlier = adjoint.get(operand)
            adjoint[operand] = part if earlier is None else earlier + part


def _pull(
    F: Namespace,
    node: Tensor,
    op: Operation,
    cotangent: Array,
    needed: Collection[Tensor],
    adjoint: dict[Tensor, Array],
    masks: Masks | None,
) -> None:
    """Add what a node's adjoint makes of those of its operands: opened, masked, or by the op's adjoint rule."""
    if isinstance(op, Composite):
        _pull_through(F, node, cotangent, needed, adjoint, masks)
    elif masks is not None:
        for operand, value, part, reached in masks.parts(node, cotangent, needed):
            masks.widen(operand, reached, operand not in adjoint)
            _add(adjoint, operand, fitted(F, part, value))
    else:
        inputs = node.inputs
        out, values = (node, inputs) if F.is_graph else (node._value, [operand._value for operand in inputs])
        for position, operand in enumerate(inputs):
            made = op.adjoint(F, cotangent, position, out, values, node.attributes) if operand in needed else None
            if made is not None:
                made, earlier = fitted(F, made, values[position]), adjoint.get(operand)
                adjoint[operand] = made if earlier is None else earlier + made


def _pull_through(
    F: Namespace,
    node: Tensor,
    cotangent: Array,
    needed: Collection[Tensor],
    adjoint: dict[Tensor, Array],
    masks: Masks | None,
) -> None:
    """Differentiate a composite by opening it."""
    opened, order = inside(node, again=True)
    wanted = {operand for operand in node.inputs if operand in needed}
    live = at_risk = None
    if masks is not None:
        live, at_risk = masks.of_opened(node, opened), set(order)
    inner = {opened: cotangent}
    pull_back(order, inner, F, below(order, wanted), boundary=wanted, live=live, at_risk=at_risk)
    for operand in wanted.intersection(inner):
        if masks is not None and live is not None:
            masks.widen(operand, live.get(operand), operand not in adjoint)
        _add(adjoint, operand, inner[operand])


def _add(adjoint: dict[Tensor, Array], operand: Tensor, part: Array) -> None:
    earlier = adjoint.get(operand)
    adjoint[operand] = part if earlier is None else earlier + part

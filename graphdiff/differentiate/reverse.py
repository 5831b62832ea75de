"""Reverse mode: adjoints, from the outputs down, in reverse topological order.

One walk serves numbers and graph. Given a backend's namespace it computes arrays; given graphdiff's functions it builds
the graph of the derivative, which can be drawn, compiled and differentiated again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from graphdiff.backend import working_on
from graphdiff.differentiate.seeds import seed_for
from graphdiff.errors import DTypeError, OpError
from graphdiff.graph import collector_paused, topological_order
from graphdiff.host import broadcasts_to, is_real_floating
from graphdiff.op import (
    GRAPH,
    OPS,
    Composite,
    Elementwise,
    Linear,
    Multilinear,
    Op,
    as_tensor,
    raise_complex,
    sum_to,
)
from graphdiff.tensor import WATCHES, Tensor, Variable, current_trace

__all__ = ["adjoints", "backward", "below", "fitted", "gradients_of", "pull_back"]


def below(order: Iterable[Tensor], sources: Collection[Tensor]) -> set[Tensor]:
    """Return the nodes of `order` that depend on one of `sources`, sources included."""
    dependent = set(sources)
    for node in order:
        if node not in dependent and any(operand in dependent for operand in node.inputs):
            dependent.add(node)
    return dependent


def fitted(F: Any, contribution: Any, operand: Any) -> Any:
    """Sum a contribution down to its operand's shape and cast it to its dtype: the one place where both happen."""
    if contribution.shape != operand.shape:
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
    return F.astype(contribution, operand.dtype)


@collector_paused
def pull_back(
    order: Sequence[Tensor],
    adjoint: dict[Tensor, Any],
    F: Any,
    needed: Collection[Tensor],
    keep: bool = False,
    boundary: Collection[Tensor] = frozenset(),
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
    """
    as_graph = F.is_graph
    # Where a node's adjoint is structurally zero: below the branch of a `where` that was not taken. Such zeros must
    # survive a multiplication by an infinite partial. Empty, and free, in graphs without `where`.
    live: dict[Tensor, Any] = {}
    where = OPS["where"]
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
        if live or op is where:
            _pull_masked(F, node, op, cotangent, out, values, needed, adjoint, live)
        elif op.__class__ is Elementwise:
            partials: Sequence[Any] = op.partials  # type: ignore[attr-defined]
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


def _add(F: Any, adjoint: dict[Tensor, Any], operand: Tensor, contribution: Any) -> None:
    earlier = adjoint.get(operand)
    adjoint[operand] = contribution if earlier is None else earlier + contribution


def _pull_through(F: Any, node: Tensor, cotangent: Any, needed: Collection[Tensor], adjoint: dict[Tensor, Any]) -> None:
    """Differentiate a composite by opening it."""
    for operand, contribution in _opened_adjoints(F, node, cotangent, needed).items():
        _add(F, adjoint, operand, contribution)


def _opened_adjoints(F: Any, node: Tensor, cotangent: Any, needed: Collection[Tensor]) -> dict[Tensor, Any]:
    opened = node.op.again(node.inputs, node.attributes)  # type: ignore[union-attr]
    order = topological_order([opened], boundary=frozenset(node.inputs))
    wanted = {operand for operand in node.inputs if operand in needed}
    inner = {opened: cotangent}
    pull_back(order, inner, F, below(order, wanted), boundary=wanted)
    return {operand: inner[operand] for operand in wanted if operand in inner}


def _pull_masked(
    F: Any,
    node: Tensor,
    op: Op,
    cotangent: Any,
    out: Any,
    values: Sequence[Any],
    needed: Collection[Tensor],
    adjoint: dict[Tensor, Any],
    live: dict[Tensor, Any],
) -> None:
    """Pull back one node below a `where`: contributions to what was not taken are exactly zero, whatever the partial.

    `live[node]` tells where the node's adjoint may differ from zero; a node without an entry is live everywhere.
    """
    mask = live.pop(node, None)
    opened: dict[Tensor, Any] = {}
    if isinstance(op, Composite):
        opened = _opened_adjoints(F, node, cotangent, needed)
    done: set[Tensor] = set()
    for position, operand in enumerate(node.inputs):
        if operand not in needed or (opened and operand in done):
            continue
        value = values[position]
        reached: Any = None
        if isinstance(op, Composite):
            contribution = opened.get(operand)
            done.add(operand)
        elif mask is not None and op.__class__ is Multilinear:
            contribution = _finite_adjoint(F, op, cotangent, mask, position, out, values, node.attributes)
        else:
            contribution = op.adjoint(F, cotangent, position, out, values, node.attributes)
        if contribution is None:
            continue
        if op is OPS["where"]:
            chosen = F.astype(values[0], _boolean(F))
            taken = chosen if position == 1 else F.logical_not(chosen)
            taken = F.broadcast_to(taken, out.shape)
            reached = taken if mask is None else F.logical_and(mask, taken)
        elif mask is not None and op.__class__ is Elementwise:
            contribution = F.where(mask, contribution, F.zeros_like(contribution))
            reached = mask
        elif mask is not None and isinstance(op, (Linear, Multilinear)):
            reached = _reached(F, op, mask, position, out, values, node.attributes)
        if reached is not None and reached.shape != value.shape:
            reached = sum_to(F, F.astype(reached, value.dtype), value.shape) > 0
        fresh = operand not in adjoint
        _add(F, adjoint, operand, fitted(F, contribution, value))
        _widen(F, live, operand, reached, fresh)


def _widen(F: Any, live: dict[Tensor, Any], operand: Tensor, reached: Any, fresh: bool) -> None:
    """Join a contribution's mask to what is live of its operand; None means everywhere."""
    if fresh:
        if reached is not None:
            live[operand] = reached
    elif reached is None:
        live.pop(operand, None)
    elif operand in live:
        live[operand] = F.logical_or(live[operand], reached)


def _boolean(F: Any) -> Any:
    return "bool" if F.is_graph else F.bool


def _reached(
    F: Any, op: Op, mask: Any, position: int, out: Any, values: Sequence[Any], attributes: dict[str, Any]
) -> Any:
    """Return which elements of an operand a live element of the output depends on."""
    operands = values if isinstance(op, Linear) else [F.ones_like(value) for value in values]
    pattern = op.adjoint(F, F.astype(mask, values[position].dtype), position, out, operands, attributes)
    return pattern != F.zeros_like(pattern)  # of booleans too: namespaces compare them with booleans alone


def _finite_adjoint(
    F: Any,
    op: Op,
    cotangent: Any,
    mask: Any,
    position: int,
    out: Any,
    values: Sequence[Any],
    attributes: dict[str, Any],
) -> Any:
    """Pull back a product so that a zero of the mask times an infinite factor is zero.

    Factors that are not finite count as zero, except where they meet a live element of the cotangent.
    """
    finite = [F.isfinite(value) for value in values]
    safe = [F.where(ok, value, F.zeros_like(value)) for ok, value in zip(finite, values, strict=True)]
    plain = op.adjoint(F, cotangent, position, out, values, attributes)
    clean = op.adjoint(F, cotangent, position, out, safe, attributes)
    weight = F.astype(mask, values[position].dtype)
    touched: Any = False
    for other, ok in enumerate(finite):
        if other != position:
            bad = [F.ones_like(value) for value in values]
            bad[other] = 1 - F.astype(ok, values[other].dtype)
            touched = (op.adjoint(F, weight, position, out, bad, attributes) > 0) | touched
    return F.where(touched, plain, clean)


# The public functions --------------------------------------------------------------------------------------------


def backward(output: Tensor, seed: Any = None, *, accumulate: bool = False) -> None:
    """Compute the gradient of `output` with respect to every variable below it, and set each one's `.grad`.

    Parameters
    ----------
    output : Tensor
        A scalar, unless a seed is given.
    seed : array-like of the output's shape, optional
        The output's adjoint.
    accumulate : bool
        Add to what `.grad` holds instead of setting it afresh.

    Raises
    ------
    NonScalarError, DTypeError, NoValueError, StaleError
        Nothing is changed then.

    Examples
    --------
    >>> import graphdiff as gd
    >>> a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    >>> ((a + b) * (b + 1)).backward()
    >>> float(a.grad), float(b.grad)
    (2.0, 5.0)
    """
    gradients = gradients_of(output, seed)
    trace = current_trace()
    if trace is not None:
        for leaf, gradient in gradients.items():
            held = trace.gradient(leaf) if accumulate else None
            trace.set_gradient(leaf, gradient if held is None else held + gradient)
        return
    if accumulate:
        gradients = {leaf: part if leaf._grad is None else leaf._grad + part for leaf, part in gradients.items()}
    for leaf, gradient in _apart(gradients, seed).items():
        leaf._grad = gradient


def gradients_of(output: Tensor, seed: Any = None) -> dict[Variable, Any]:
    """Return the gradient of `output` by every real floating variable below it.

    Integers, such as the number of a batch, carry none and are passed over.

    Returns
    -------
    dict of Variable to array of the backend
        Tensors instead of arrays while a function is traced.

    Raises
    ------
    NonScalarError, DTypeError, NoValueError, StaleError
    """
    output = as_tensor(output)
    start = seed_for(output, seed)
    leaves: dict[Tensor, Variable]
    trace = current_trace()
    if trace is not None:
        leaves = trace.leaves(output)
        order = topological_order([output], boundary=frozenset(leaves))
    else:
        output.value  # noqa: B018 - raises if a placeholder is not fed
        order = topological_order([output])
        leaves = {node: node for node in order if node.__class__ is Variable}  # type: ignore[misc]
    if not leaves:
        raise DTypeError(f"{output.describe()} depends on no variable: there is nothing to differentiate by")
    smooth = {leaf: variable for leaf, variable in leaves.items() if is_real_floating(leaf.dtype)}
    if not smooth:
        raise DTypeError(
            f"{next(iter(leaves)).describe()} carries no gradient: only real floating tensors do. Make it a float: "
            "gd.variable(2.0), or dtype='float64'."
        )
    leaves = smooth
    backend = output.backend
    F = GRAPH if trace is not None else backend.numbers
    found: dict[Tensor, Any] = {output: start if trace is not None else start.value}
    with working_on(backend):
        if trace is not None:
            pull_back(order, found, F, below(order, leaves), boundary=leaves)
        else:
            pull_back(order, found, F, set(order))
    gradients = {}
    for leaf, variable in leaves.items():
        gradient = found.get(leaf)
        if gradient is None:
            gradient = F.zeros_like(leaf if trace is not None else leaf._value)
        gradients[variable] = gradient if trace is not None else backend.normalize(gradient)
    return gradients


def _apart(gradients: dict[Variable, Any], seed: Any) -> dict[Variable, Any]:
    """Return gradients that share no memory: whoever changes one in place must not change another, nor the seed."""
    taken = {_memory(seed._value if isinstance(seed, Tensor) else seed)}
    apart = {}
    for variable, gradient in gradients.items():
        if _memory(gradient) in taken:
            gradient = variable.backend.copy(gradient)
        taken.add(_memory(gradient))
        apart[variable] = gradient
    return apart


def _memory(array: Any) -> int:
    """Return what tells apart the arrays that views are of."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return id(array)


def adjoints(
    output: Tensor, seed: Any = None, wrt: Tensor | Collection[Tensor] | None = None
) -> Mapping[Tensor, Tensor]:
    """Return the adjoint of every node that `output` depends on, as Tensors that can be differentiated again.

    Parameters
    ----------
    output : Tensor
    seed : array-like, optional
        The output's adjoint; needed unless it is a scalar.
    wrt : Tensor or collection of Tensors, optional
        Only nodes between these and the output.

    Returns
    -------
    dict of Tensor to Tensor
        Nodes that do not influence the output smoothly (through integers, comparisons) have no entry.

    Raises
    ------
    NonScalarError, DTypeError, ShapeError, BackendError
        The output is no scalar and no seed is given, it is not real floating, or the seed does not fit it.

    Examples
    --------
    >>> import graphdiff as gd
    >>> a, b = gd.variable(2.0), gd.variable(1.0)
    >>> c = a + b
    >>> e = c * (b + 1)
    >>> gd.adjoints(e)[c].item()
    2.0
    """
    order = topological_order([output])
    needed = set(order) if wrt is None else below(order, [wrt] if isinstance(wrt, Tensor) else wrt)
    found: dict[Tensor, Any] = {output: seed_for(output, seed)}
    with working_on(output.backend):
        pull_back(order, found, GRAPH, needed, keep=True)
    return found

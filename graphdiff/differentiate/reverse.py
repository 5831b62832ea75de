"""Reverse mode: adjoints, from the outputs down, in reverse topological order.

One walk serves numbers and graph. Given a backend's namespace it computes arrays; given graphdiff's functions it builds
the graph of the derivative, which can be drawn, compiled and differentiated again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from graphdiff.arguments import listed, require_tensor
from graphdiff.backend import working_on
from graphdiff.differentiate.derivatives import Derivatives
from graphdiff.differentiate.detached import tell_of_returns
from graphdiff.differentiate.seeds import seed_for
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
from graphdiff.errors import DTypeError, OpError
from graphdiff.graph import collector_paused, topological_order
from graphdiff.guard import guarded
from graphdiff.host import PYTHON_SCALARS, broadcasts_to, is_real_floating
from graphdiff.op import (
    GRAPH,
    Composite,
    Custom,
    Elementwise,
    Linear,
    Multilinear,
    as_tensor,
    raise_complex,
    sum_to,
)
from graphdiff.ops.decompositions import TIED
from graphdiff.tensor import WATCHES, Tensor, Variable, current_trace
from graphdiff.typing import Array, ArrayLike, Namespace

__all__ = ["adjoints", "backward", "below", "fitted", "gradients_of", "pull_back"]


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
    opened = node.op.again(node.inputs, node.attributes)  # type: ignore[union-attr]
    order = topological_order([opened], boundary=frozenset(node.inputs))
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


# The public functions --------------------------------------------------------------------------------------------


@guarded
def backward(output: Tensor, seed: ArrayLike | None = None, *, accumulate: bool = False) -> None:
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


def gradients_of(output: Tensor, seed: ArrayLike | None = None) -> dict[Variable, Any]:
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
        if not output.has_value:
            output.value  # noqa: B018 - raises, and says which placeholder is not fed
        output = _untied(output)
        order = topological_order([output])
        tell_of_returns(order)
        leaves = {node: node for node in order if node.__class__ is Variable}  # type: ignore[misc]
    if not leaves:
        raise DTypeError(
            f"{output.describe()}, made at {output.source}, depends on no variable: there is nothing to differentiate "
            "by. What is made of values, such as gd.constant(x.value), np.asarray(x) and x.item(), is constant."
        )
    smooth = {leaf: variable for leaf, variable in leaves.items() if is_real_floating(leaf.dtype)}
    if not smooth:
        raise DTypeError(
            f"{next(iter(leaves)).describe()} carries no gradient: only real floating tensors do. Make it a float: "
            "gd.variable(2.0), or dtype='float64'."
        )
    leaves = smooth
    backend = output.backend
    F = GRAPH if trace is not None else backend.numbers
    found: dict[Tensor, Any] = {output: start if trace is not None else start._value}
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


def _untied(output: Tensor) -> Tensor:
    """Return an output whose derivatives are right where decompositions below it have ties."""
    if not TIED:
        return output
    from graphdiff.differentiate.ties import untied  # which walks, too

    return untied([output])[0]


def _apart(gradients: dict[Variable, Array], seed: Any) -> dict[Variable, Array]:
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


@guarded
def adjoints(
    output: Tensor, seed: ArrayLike | None = None, wrt: Tensor | Collection[Tensor] | None = None
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
    require_tensor(output, "the output of adjoints")
    wrt = [wrt] if isinstance(wrt, Tensor) else None if wrt is None else listed(wrt, "adjoints: wrt")
    for node in wrt or ():
        require_tensor(node, "what is in wrt")
    order = topological_order([output])
    tell_of_returns(order)
    needed = set(order) if wrt is None else below(order, wrt)
    found: dict[Tensor, Any] = {output: seed_for(output, seed)}
    with working_on(output.backend):
        pull_back(order, found, GRAPH, needed, keep=True)
        limit = _untied(output)
        if limit is not output:
            again = topological_order([limit])
            limits: dict[Tensor, Any] = {limit: found[output]}
            pull_back(again, limits, GRAPH, below(again, needed.intersection(again)), keep=True)
            found.update((node, limits[node]) for node in needed.intersection(limits))
    return Derivatives(found, "adjoint")

"""Derivatives of graphs, as users call for them: gradients by all variables, adjoints and tangents of any node."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NoReturn, cast

from graphdiff.arguments import listed, require_tensor
from graphdiff.backend import working_on
from graphdiff.differentiate.derivatives import Derivatives
from graphdiff.differentiate.detached import tell_of_returns
from graphdiff.differentiate.forward import push_forward
from graphdiff.differentiate.reverse import below, pull_back
from graphdiff.differentiate.seeds import seed_for, starting_tangent
from graphdiff.differentiate.ties import untied
from graphdiff.errors import DTypeError, GraphError
from graphdiff.graph import topological_order
from graphdiff.guard import guarded
from graphdiff.host import is_real_floating
from graphdiff.op import GRAPH, as_tensor
from graphdiff.ops.decompositions import TIED
from graphdiff.tensor import TRACES, Tensor, Variable, current_trace
from graphdiff.typing import Array, ArrayLike

__all__ = ["adjoints", "backward", "gradients_of", "tangents"]


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
    trace = current_trace() if TRACES else None
    if trace is not None:
        for leaf, gradient in gradients.items():
            held = trace.gradient(leaf) if accumulate else None
            trace.set_gradient(leaf, gradient if held is None else held + gradient)
        return
    if accumulate:
        gradients = {leaf: part if leaf._grad is None else leaf._grad + part for leaf, part in gradients.items()}
    for leaf, gradient in _apart(gradients, seed).items():
        leaf._grad = gradient


def gradients_of(output: Tensor, seed: ArrayLike | None = None) -> dict[Variable, Array]:
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
    if output.__class__ is not Tensor or TRACES:
        output = as_tensor(output)
    start = seed_for(output, seed)
    trace = current_trace() if TRACES else None
    if trace is not None:
        return _traced_gradients(output, start, trace.leaves(output))
    if output._value is None:
        output.value  # noqa: B018 - raises, and says which placeholder is not fed
    if TIED:
        (output,) = untied([output])
    order = topological_order([output])
    tell_of_returns(order)
    leaves = _smooth_leaves(output, {node: node for node in order if node.__class__ is Variable})
    backend = output.backend
    found: dict[Tensor, Array] = {output: start._value}
    with working_on(backend):
        pull_back(order, found, backend.numbers, set(order))
    gradients = {}
    for leaf, variable in leaves.items():
        gradient = found.get(leaf)
        gradients[variable] = backend.normalize(
            backend.numbers.zeros_like(leaf._value) if gradient is None else gradient
        )
    return gradients


def _traced_gradients(output: Tensor, start: Tensor, leaves: Mapping[Tensor, Variable]) -> dict[Variable, Array]:
    """Return the gradients as graph; in a trace other tensors stand for the variables, which `leaves` maps to them."""
    order = topological_order([output], boundary=frozenset(leaves))
    smooth = _smooth_leaves(output, leaves)
    found: dict[Tensor, Array] = {output: start}
    with working_on(output.backend):
        pull_back(order, found, GRAPH, below(order, smooth), boundary=smooth)
    return {variable: found[leaf] if leaf in found else GRAPH.zeros_like(leaf) for leaf, variable in smooth.items()}


def _smooth_leaves(output: Tensor, leaves: Mapping[Tensor, Variable]) -> dict[Tensor, Variable]:
    """Return those that carry a gradient; raise an error if there are none."""
    smooth = {leaf: variable for leaf, variable in leaves.items() if is_real_floating(leaf.dtype)}
    return smooth or _raise_constant(output, leaves)


def _raise_constant(output: Tensor, leaves: Mapping[Tensor, Variable]) -> NoReturn:
    """Say why there is nothing to differentiate an output by."""
    if not leaves:
        raise DTypeError(
            f"{output.describe()}, made at {output.source}, depends on no variable: there is nothing to differentiate "
            "by. What is made of values, such as gd.constant(x.value), np.asarray(x) and x.item(), is constant."
        )
    raise DTypeError(
        f"{next(iter(leaves)).describe()} carries no gradient: only real floating tensors do. Make it a float: "
        "gd.variable(2.0), or dtype='float64'."
    )


def _apart(gradients: dict[Variable, Array], seed: ArrayLike | None) -> dict[Variable, Array]:
    """Return gradients that share no memory: whoever changes one in place must not change another, nor the seed."""
    taken = {_memory(seed._value if isinstance(seed, Tensor) else seed)}
    apart = {}
    for variable, gradient in gradients.items():
        memory = _memory(gradient)
        if memory in taken:
            gradient = variable.backend.copy(gradient)
            memory = _memory(gradient)
        taken.add(memory)
        apart[variable] = gradient
    return apart


def _memory(array: object) -> int:
    """Return what tells apart the arrays that views are of."""
    while (base := getattr(array, "base", None)) is not None:
        array = base
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
    found: dict[Tensor, Array] = {output: seed_for(output, seed)}
    with working_on(output.backend):
        pull_back(order, found, GRAPH, needed, keep=True)
        (limit,) = untied([output])
        if limit is not output:
            again = topological_order([limit])
            limits: dict[Tensor, Array] = {limit: found[output]}
            pull_back(again, limits, GRAPH, below(again, needed.intersection(again)), keep=True)
            found.update((node, limits[node]) for node in needed.intersection(limits))
    return Derivatives(cast(dict[Tensor, Tensor], found), "adjoint")


@guarded
def tangents(outputs: Tensor | Collection[Tensor], seeds: Mapping[Tensor, ArrayLike]) -> Mapping[Tensor, Tensor]:
    """Return the tangent of every node between the seeded ones and the outputs, as differentiable Tensors.

    Parameters
    ----------
    outputs : Tensor or collection of Tensors
        Where to stop.
    seeds : mapping of Tensor to array-like
        The tangents to start from, each of its node's shape.

    Returns
    -------
    dict of Tensor to Tensor
        A node without an entry does not depend on the seeded ones.

    Raises
    ------
    GraphError
        There are no outputs, or the seeds are no mapping.
    ShapeError, DTypeError, BackendError
        A seed does not have its node's shape, its node is not real floating, or it is on another backend.

    Examples
    --------
    >>> import graphdiff as gd
    >>> a, b = gd.variable(2.0), gd.variable(1.0)
    >>> e = (a + b) * (b + 1)
    >>> gd.tangents(e, {b: 1.0})[e].item()
    5.0
    """
    ends = [outputs] if isinstance(outputs, Tensor) else listed(outputs, "tangents")
    for node in ends:
        require_tensor(node, "an output of tangents")
    if not ends:
        raise GraphError("tangents needs at least one output to stop at")
    if not isinstance(seeds, Mapping):
        raise GraphError(f"seeds map nodes to their tangents, such as {{x: 1.0}}, and are no {type(seeds).__name__}")
    for node in seeds:
        require_tensor(node, "what a seed is given for")
    found: dict[Tensor, Array] = {node: starting_tangent(node, seed) for node, seed in seeds.items()}
    order = topological_order(ends)
    tell_of_returns(order)
    with working_on(ends[0].backend):
        push_forward(order, found, GRAPH)
        for end, limit in zip(ends, untied(ends), strict=True):
            if limit is not end:
                push_forward(topological_order([limit]), found, GRAPH)
                found[end] = found[limit]
    return Derivatives(cast(dict[Tensor, Tensor], found), "tangent")

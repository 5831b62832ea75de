"""jacobian and hessian: whole matrices of derivatives, batched from the walks or accumulated by elimination."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol, cast

from graphdiff import host
from graphdiff.backend import working_on
from graphdiff.differentiate.batch import batch
from graphdiff.differentiate.functions import (
    ArgNums,
    Differentiated,
    grad,
    pulled_back,
    pushed_forward,
    settled,
    stands_alone,
)
from graphdiff.differentiate.reverse import below, pull_back
from graphdiff.differentiate.seeds import seed_for
from graphdiff.differentiate.ties import untied
from graphdiff.differentiate.zeros import exposed, is_guarded
from graphdiff.errors import DTypeError, GraphError
from graphdiff.graph import topological_order
from graphdiff.guard import guarded
from graphdiff.op import GRAPH, raise_complex
from graphdiff.tensor import Tensor, placeholder
from graphdiff.tree import Structure, unflatten
from graphdiff.typing import Derivative, Function

if TYPE_CHECKING:
    from graphdiff.elimination.orders import EliminationOrder
    from graphdiff.jacobians.choose import Choice

__all__ = ["hessian", "hessian_of", "jacobian"]


def _identity_rows(leaves: Sequence[Tensor]) -> tuple[list[Tensor], int]:
    """Return, for each leaf, a batch of unit directions through all leaves together: rows of the identity."""
    size = sum(leaf.size for leaf in leaves)
    rows, start = [], 0
    for leaf in leaves:
        block = GRAPH.eye(size, leaf.size, k=-start, dtype=leaf.dtype)
        rows.append(GRAPH.reshape(block, (size, *leaf.shape)))
        start += leaf.size
    return rows, size


def _forward_columns(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> list[list[Tensor]]:
    """Return the Jacobian by pushing all unit tangents at once; entry [output][leaf]."""
    seeds = {leaf: placeholder(leaf.shape, leaf.dtype) for leaf in leaves}
    live = {leaf: placeholder(leaf.shape, "bool") for leaf in leaves}
    moved = pushed_forward(outputs, dict(seeds), dict(live))
    rows, size = _identity_rows(leaves)
    given: dict[Tensor, Tensor] = {}
    for leaf, row in zip(leaves, rows, strict=True):
        given |= {seeds[leaf]: row, live[leaf]: row != 0}
    wide = batch(moved, given, size)
    table = []
    for output, tangent in zip(outputs, wide, strict=True):
        last = GRAPH.moveaxis(tangent, 0, -1)
        parts, start = [], 0
        for leaf in leaves:
            parts.append(GRAPH.reshape(last[..., start : start + leaf.size], (*output.shape, *leaf.shape)))
            start += leaf.size
        table.append(parts)
    return table


def _reverse_rows(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> list[list[Tensor]]:
    """Return the Jacobian by pulling all unit adjoints back at once; entry [output][leaf]."""
    table = []
    for output in outputs:
        seed, live = placeholder(output.shape, output.dtype), placeholder(output.shape, "bool")
        pulled = pulled_back(output, leaves, seed, live if output.size > 1 else None)
        (row,), size = _identity_rows([output])
        wide = batch(pulled, {seed: row, live: row != 0}, size)
        table.append(
            [GRAPH.reshape(part, (*output.shape, *leaf.shape)) for part, leaf in zip(wide, leaves, strict=True)]
        )
    return table


MODES = ("auto", "forward", "reverse", "elimination")


def _eliminated(
    outputs: Sequence[Tensor], leaves: Sequence[Tensor], order: Any, blocks: Sequence[int] | None = None
) -> list[list[Tensor]]:
    """Return the Jacobian by elimination: of numbers if an order says so or there is nothing else, else of blocks."""
    from graphdiff.elimination.accumulate import accumulate
    from graphdiff.elimination.eliminate import eliminate
    from graphdiff.jacobians.choose import computed, is_of_numbers

    sources = frozenset(leaves)
    reached = topological_order(outputs, boundary=sources)
    if any(node.dtype.kind == "c" for node in below(reached, sources)):
        raise_complex()
    if order is None and not is_of_numbers(computed(outputs, leaves)):
        if is_guarded(reached):
            return _reverse_rows(outputs, leaves)
        table = accumulate(outputs, leaves, blocks)
        met = any(block.has_value and bool(GRAPH.any(GRAPH.isnan(block))) for row in table for block in row)
        return _reverse_rows(outputs, leaves) if met and exposed(reached, looking=True) else table
    return eliminate(outputs, leaves, order, stands_alone(reached, sources))


def _table(
    outputs: Sequence[Tensor], leaves: Sequence[Tensor], mode: str | EliminationOrder, choice: Choice | None
) -> list[list[Tensor]]:
    """Return a row of Tensors per output, one per leaf, in a given mode or as chosen."""
    way = mode if choice is None else choice.mode
    with working_on(outputs[0].backend):
        if way == "forward":
            return _forward_columns(outputs, leaves)
        if way == "reverse":
            return _reverse_rows(outputs, leaves)
        order = None if isinstance(way, str) else way
        return _eliminated(outputs, leaves, order, choice.order if choice is not None else None)


class _Cheapest:
    """The cheapest ways that have been found for a function.

    Another branch of the function is another graph, for which another way may be the cheapest, or the right one.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, Choice] = {}

    def __call__(self, outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> Choice:
        from graphdiff.jacobians.choose import choose

        order = topological_order(outputs, boundary=frozenset(leaves))
        ops = tuple(node.op.name for node in order if node.op is not None)
        key = ops, tuple(leaf.shape for leaf in leaves), tuple(output.shape for output in outputs)
        if key not in self._known:
            if len(self._known) >= 256:
                self._known.clear()
            with working_on(outputs[0].backend):
                self._known[key] = choose(outputs, leaves)
        return self._known[key]


class Explained(Derivative, Protocol):
    """A derivative that can be taken in several ways."""

    def explain(self, *arguments: Any, **options: Any) -> Choice:
        """Return the choice that mode "auto" makes at these arguments, with what each mode costs; prints as a table."""


@guarded
def jacobian(function: Function[object], argnums: ArgNums = 0, mode: str | EliminationOrder = "auto") -> Explained:
    """Return a function that gives the whole Jacobian in one batched pass.

    Parameters
    ----------
    function : callable
        Returns a Tensor, or a nested tuple, list or dict of them.
    argnums : int or sequence of int
    mode : {"auto", "forward", "reverse", "elimination"} or EliminationOrder
        ``"auto"`` takes what costs least as counted from the graph: ``.explain(*arguments)`` of the function
        returned says which that is, and what the others cost;
        ``"elimination"`` accumulates the Jacobian by eliminating the nodes in between, in the best order found: of a
        function written in numbers on the graph of numbers, else block by block, choosing per segment between tangents
        and adjoints. An order from `elimination_order` of the function's graph accumulates it in that one.

    Returns
    -------
    callable
        For each output and each leaf of the arguments a Tensor of shape ``output.shape + leaf.shape``, nested as the
        outputs, then as the arguments.

    Raises
    ------
    GraphError
        There is no such mode, the order is another function's, or the function returns something that is no tensor.
    DTypeError
        An argument or output is not real floating.

    Examples
    --------
    >>> import graphdiff as gd
    >>> f = lambda x: gd.stack([x[0] ** 2 + x[1] ** 2, x[1] ** 2 + x[2] ** 2 * x[1]])
    >>> gd.jacobian(f)(gd.constant([1.0, 2.0, 3.0])).tolist()
    [[2.0, 4.0, 0.0], [0.0, 13.0, 12.0]]
    """
    if isinstance(mode, str) and mode not in MODES:
        raise GraphError(f"the modes of jacobian are {', '.join(MODES)} and an elimination order, not {mode!r}")
    if not isinstance(mode, str) and not hasattr(mode, "numbers"):
        raise GraphError(f"a mode is a name or an order from elimination_order, not {type(mode).__name__}")

    cheapest = _Cheapest()

    def begun(arguments: Sequence[Any], options: dict[str, Any]) -> tuple[Differentiated, list[Tensor], Structure]:
        call = Differentiated(arguments, argnums)
        outputs, structure = call.outputs(function, options)
        for output in outputs:
            if not host.is_real_floating(output.dtype):
                raise DTypeError(f"{output.describe()} has no Jacobian: it is not real floating")
        return call, untied(outputs, frozenset(call.leaves)), structure

    @wraps(function)
    def evaluated(*arguments: Any, **options: Any) -> Any:
        call, outputs, structure = begun(arguments, options)
        choice = cheapest(outputs, call.leaves) if isinstance(mode, str) and mode == "auto" else None
        table = _table(outputs, call.leaves, mode, choice)
        flat = settled([block for row in table for block in row], call.leaves)
        rows = [flat[start : start + len(call.leaves)] for start in range(0, len(flat), len(call.leaves))]
        return unflatten(structure, [call.restore(row) for row in rows])

    def explain(*arguments: object, **options: object) -> Choice:
        """Return the choice that mode "auto" makes at these arguments, with what each mode costs; prints as a table."""
        call, outputs, _ = begun(arguments, options)
        return cheapest(outputs, call.leaves)

    explained = cast(Explained, evaluated)
    explained.explain = explain  # type: ignore[method-assign]
    return explained


@guarded
def hessian(function: Function[object], argnums: ArgNums = 0, mode: str | EliminationOrder = "auto") -> Explained:
    """Return a function that gives the Hessian of a scalar function: the Jacobian of its gradient.

    Parameters
    ----------
    function : callable
        Returns a scalar Tensor.
    argnums : int or sequence of int
    mode : {"auto", "forward", "reverse", "elimination"}
        How the gradient, which reverse mode gives, is differentiated: ``"forward"`` is forward over reverse,
        ``"reverse"`` reverse over reverse, and ``"elimination"`` accumulates block by block, which leaves out what is
        known to be zero. ``"auto"`` takes what costs least as counted from the graph; ``.explain(*arguments)`` of the
        function returned says which that is.

    Returns
    -------
    callable
        For each two leaves of the arguments a Tensor of both shapes, nested as the arguments, twice.

    Raises
    ------
    NonScalarError
        The function returns no scalar.
    GraphError, DTypeError
        As for `jacobian`.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.hessian(lambda t: t[0] ** 2 - t[1] ** 2)(gd.constant([0.0, 0.0])).tolist()
    [[2.0, 0.0], [0.0, -2.0]]
    """
    evaluated = jacobian(grad(function, argnums), argnums, mode)
    explained = evaluated.explain

    def explain(*arguments: object, **options: object) -> Choice:
        """Return the choice that mode "auto" makes at these arguments, with what each mode costs; prints as a table."""
        from dataclasses import replace  # costs a tenth of `import graphdiff`

        return replace(explained(*arguments, **options), title="Hessian, as the Jacobian of the gradient,")

    evaluated.explain = explain  # type: ignore[method-assign]
    return evaluated


def hessian_of(output: Tensor, leaves: Sequence[Tensor]) -> Tensor:
    """Return the Hessian of a scalar graph by leaves below it, laid flat one behind the other: a square matrix.

    Examples
    --------
    >>> import graphdiff as gd
    >>> a, b = gd.variable(2.0), gd.variable([1.0, 3.0])
    >>> gd.jacobians.jacobian.hessian_of(a * gd.sum(b**2), [a, b]).tolist()
    [[0.0, 2.0, 6.0], [2.0, 4.0, 0.0], [6.0, 0.0, 4.0]]
    """
    with working_on(output.backend):
        sources = frozenset(leaves)
        (output,) = untied([output], sources)
        order = topological_order([output], boundary=sources)
        found: dict[Tensor, Any] = {output: seed_for(output, None)}
        pull_back(order, found, GRAPH, below(order, sources), boundary=sources)
        slopes = [found[leaf] if leaf in found else GRAPH.zeros_like(leaf) for leaf in leaves]
        flat = [GRAPH.reshape(slope, (-1,)) for slope in slopes]
        rows = _forward_columns(flat, leaves)
        blocks = [
            GRAPH.concat(
                [GRAPH.reshape(block, (slope.size, leaf.size)) for block, leaf in zip(row, leaves, strict=True)], axis=1
            )
            for slope, row in zip(flat, rows, strict=True)
        ]
        return GRAPH.concat(blocks, axis=0)

"""grad, vjp, jvp, jacobian, hessian, hvp and vmap: derivatives of Python functions, over the three walks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

from graphdiff import host
from graphdiff.backend import use_backend, working_on
from graphdiff.differentiate.batch import batch
from graphdiff.differentiate.departures import called_attentively
from graphdiff.differentiate.forward import push_forward
from graphdiff.differentiate.reverse import below, pull_back, seed_for
from graphdiff.errors import DTypeError, GraphError, ShapeError
from graphdiff.graph import topological_order
from graphdiff.op import FUNCTIONS, GRAPH, as_tensor, raise_complex
from graphdiff.structure import Structure, flatten, leaf_paths, leaves_like, map_leaves, unflatten
from graphdiff.tensor import NO_ATTRIBUTES, Tensor, placeholder

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp", "vmap"]

ArgNums = int | Sequence[int]


def _fresh_leaf(value: Any, path: Callable[[], str]) -> Tensor:
    """Return a recorded leaf with the value of `value`.

    Where `value` is itself recorded, the leaf is an identity node over it, so that outer derivatives flow through.
    """
    try:
        tensor = as_tensor(value)
    except DTypeError as error:
        raise DTypeError(f"cannot differentiate with respect to {path()}: {error}") from error
    if not host.is_real_floating(tensor.dtype):
        raise DTypeError(
            f"cannot differentiate with respect to {path()}, {tensor.describe()}: only real floating tensors carry "
            "derivatives. Write 2.0 instead of 2, or cast with astype('float64')."
        )
    if tensor.recorded:
        return FUNCTIONS["positive"](tensor)  # type: ignore[no-any-return]
    return Tensor(None, (), NO_ATTRIBUTES, tensor._value, tensor.backend, True)


def _output(value: Any) -> Tensor:
    if isinstance(value, (Tensor, *host.PYTHON_SCALARS)) or host.is_host_array(value):
        return as_tensor(value)
    raise GraphError(f"a differentiated function returns tensors, not {type(value).__name__}")


def _argument_numbers(argnums: ArgNums, count: int) -> tuple[int, ...]:
    """Return which arguments of `count` are meant, none of them twice."""
    if isinstance(argnums, int) and 0 <= argnums < count:
        return (argnums,)
    given = argnums if isinstance(argnums, (tuple, list, range)) else (argnums,)
    if not all(host.is_integer(number) for number in given):
        raise GraphError(f"argnums is the number of an argument or a sequence of such numbers, not {argnums!r}")
    for number in given:
        if not -count <= number < count:
            raise GraphError(f"argnums names argument {number}, and the function was called with {count}")
    numbers = tuple(number % count for number in given)
    if len(set(numbers)) < len(numbers):
        raise GraphError(f"argnums {argnums!r} names an argument twice")
    return numbers


class _Differentiated:
    """The arguments of one call: which leaves are differentiated by, and how to put results back."""

    def __init__(self, arguments: Sequence[Any], argnums: ArgNums) -> None:
        self.single = not isinstance(argnums, (tuple, list, range))
        self.numbers = _argument_numbers(argnums, len(arguments))
        self.arguments = list(arguments)
        self.leaves: list[Tensor] = []
        self.structures: list[Structure] = []
        self.counts: list[int] = []
        for number in self.numbers:
            given, structure = flatten(arguments[number])
            self.structures.append(structure)
            self.counts.append(len(given))
            start = len(self.leaves)
            for leaf in given:
                self.leaves.append(_fresh_leaf(leaf, lambda: self.paths()[len(self.leaves)]))
            self.arguments[number] = unflatten(structure, self.leaves[start:])

    def paths(self) -> list[str]:
        """Return how errors and warnings speak of each leaf of the arguments met so far."""
        met = zip(self.numbers, self.structures, strict=False)
        return [f"argument {number}{path}" for number, structure in met for path in leaf_paths(structure)]

    def run(self, function: Callable[..., Any], options: dict[str, Any] | None = None) -> Any:
        """Call the function with the fresh leaves among its arguments."""
        return called_attentively(function, self.arguments, options or {}, self.leaves, self.paths)

    def restore(self, results: Sequence[Any]) -> Any:
        """Return one result per leaf in the structure of the arguments."""
        restored, start = [], 0
        for structure, count in zip(self.structures, self.counts, strict=True):
            restored.append(unflatten(structure, list(results[start : start + count])))
            start += count
        return restored[0] if self.single else tuple(restored)


def _ends_here(order: Sequence[Tensor], sources: frozenset[Tensor]) -> bool:
    """Whether the graph hangs on `sources` alone, each made for this call: then nobody can differentiate the result.

    Plain numbers will do in that case, and they are quicker than graph.
    """
    return all(node.has_value and (node.op is None) == (node in sources) for node in order)


def _pulled(output: Tensor, leaves: Sequence[Tensor], seed: Tensor) -> list[Tensor]:
    """Return the adjoints of `leaves`: as graph where something below is recorded, else as plain numbers."""
    sources = frozenset(leaves)
    order = topological_order([output], boundary=sources)
    found: dict[Tensor, Any] = {output: seed}
    backend = output.backend
    numeric = not seed.recorded and _ends_here(order, sources)
    with working_on(backend):
        needed = below(order, sources)
        if numeric:
            found[output] = seed.value
            pull_back(order, found, backend.numbers, needed, boundary=sources)
        else:
            pull_back(order, found, GRAPH, needed, boundary=sources)
    results = []
    for leaf in leaves:
        gradient = found.get(leaf)
        if gradient is None:
            gradient = GRAPH.zeros_like(leaf)
        elif numeric:
            gradient = Tensor(None, (), NO_ATTRIBUTES, backend.normalize(gradient), backend, False)
        results.append(gradient)
    return results


def value_and_grad(function: Callable[..., Any], argnums: ArgNums = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """Return a function that gives (value, gradient) of a scalar function.

    Parameters
    ----------
    function : callable
        Returns a scalar Tensor.
    argnums : int or sequence of int
        Which arguments to differentiate by; each may be a number, array, Tensor or nested tuple, list or dict.
    has_aux : bool
        Whether the function returns a pair: the scalar, and anything else, which is handed through.

    Returns
    -------
    callable
        Gives (value, gradient), or with `has_aux` ((value, rest), gradient). The gradient is a Tensor per leaf, in the
        structure of the argument; a tuple of them if `argnums` is one.

    Raises
    ------
    NonScalarError
        The function returns no scalar.
    DTypeError
        An argument is of integers.

    Examples
    --------
    >>> import graphdiff as gd
    >>> value, gradient = gd.value_and_grad(lambda p: gd.sum(p["w"] ** 2))({"w": gd.constant([1.0, 2.0])})
    >>> value.item()
    5.0
    >>> gradient["w"].tolist()
    [2.0, 4.0]
    """

    @wraps(function)
    def evaluated(*arguments: Any, **options: Any) -> tuple[Any, Any]:
        call = _Differentiated(arguments, argnums)
        returned = call.run(function, options)
        if has_aux:
            if not isinstance(returned, tuple) or len(returned) != 2:
                raise GraphError("with has_aux a function returns two things, what is differentiated and the rest")
            returned, rest = returned
        output = _output(returned)
        gradient = call.restore(_pulled(output, call.leaves, seed_for(output)))
        return ((output, rest) if has_aux else output), gradient

    return evaluated


def grad(function: Callable[..., Any], argnums: ArgNums = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """Return a function that gives the gradient of a scalar function, with `has_aux` (gradient, rest).

    See `value_and_grad` for the parameters.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.grad(gd.grad(lambda x: x**3))(2.0).item()
    12.0
    """
    with_value = value_and_grad(function, argnums, has_aux=has_aux)

    @wraps(function)
    def gradient(*arguments: Any, **options: Any) -> Any:
        value, slope = with_value(*arguments, **options)
        return (slope, value[1]) if has_aux else slope

    return gradient


def vjp(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Return the function's value and the map from output adjoints to argument adjoints.

    Examples
    --------
    >>> import graphdiff as gd
    >>> value, pull = gd.vjp(lambda x, y: x * y, 2.0, 3.0)
    >>> [adjoint.item() for adjoint in pull(1.0)]
    [3.0, 2.0]
    """
    call = _Differentiated(arguments, tuple(range(len(arguments))))
    outputs, structure = flatten(call.run(function))
    outputs = [_output(output) for output in outputs]

    def pull(cotangents: Any) -> tuple[Any, ...]:
        seeds = leaves_like(structure, cotangents, "the adjoint of the result")
        totals: list[Any] = [None] * len(call.leaves)
        for output, seed in zip(outputs, seeds, strict=True):
            for index, part in enumerate(_pulled(output, call.leaves, seed_for(output, seed))):
                totals[index] = part if totals[index] is None else totals[index] + part
        return call.restore(totals)  # type: ignore[no-any-return]

    return unflatten(structure, outputs), pull


def jvp(function: Callable[..., Any], arguments: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Return the function's value and its derivative along a direction.

    Parameters
    ----------
    function : callable
    arguments, tangents : sequence
        One tangent per argument, of its structure and shapes.

    Examples
    --------
    >>> import graphdiff as gd
    >>> value, tangent = gd.jvp(gd.sin, (0.0,), (2.0,))
    >>> tangent.item()
    2.0
    """
    for given, title in ((arguments, "arguments"), (tangents, "tangents")):
        if not isinstance(given, (tuple, list)):
            kind = type(given).__name__
            raise GraphError(f"jvp: the {title} come as a tuple with one item per argument, not as {kind}")
    if len(arguments) != len(tangents):
        raise ShapeError(f"jvp: {len(arguments)} arguments and {len(tangents)} tangents")
    call = _Differentiated(arguments, tuple(range(len(arguments))))
    seeds: list[Any] = []
    for number, (structure, tangent) in enumerate(zip(call.structures, tangents, strict=True)):
        seeds += leaves_like(structure, tangent, f"jvp: the tangent of argument {number}")
    started: dict[Tensor, Any] = {}
    for leaf, seed in zip(call.leaves, seeds, strict=True):
        with use_backend(leaf.backend):
            start = as_tensor(seed)
        if start.shape != leaf.shape:
            raise ShapeError(f"jvp: the tangent {start.describe()} does not have the shape of {leaf.describe()}")
        started[leaf] = start.astype(leaf.dtype)
    outputs, structure = flatten(call.run(function))
    outputs = [_output(output) for output in outputs]
    moved = _pushed(outputs, started)
    return unflatten(structure, outputs), unflatten(structure, moved)


def _pushed(outputs: Sequence[Tensor], started: dict[Tensor, Any]) -> list[Tensor]:
    found = dict(started)
    with working_on(outputs[0].backend):
        push_forward(topological_order(outputs, boundary=frozenset(started)), found, GRAPH)
    return [found[output] if output in found else GRAPH.zeros_like(output) for output in outputs]


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
    moved = _pushed(outputs, dict(seeds))
    rows, size = _identity_rows(leaves)
    wide = batch(moved, {seeds[leaf]: row for leaf, row in zip(leaves, rows, strict=True)}, size)
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
        seed = placeholder(output.shape, output.dtype)
        pulled = _pulled(output, leaves, seed)
        row, size = _identity_rows([output])
        wide = batch(pulled, {seed: row[0]}, size)
        table.append(
            [GRAPH.reshape(part, (*output.shape, *leaf.shape)) for part, leaf in zip(wide, leaves, strict=True)]
        )
    return table


MODES = ("auto", "forward", "reverse", "elimination")


def _eliminated(
    outputs: Sequence[Tensor], leaves: Sequence[Tensor], order: Any, blocks: Sequence[int] | None = None
) -> list[list[Tensor]]:
    """Return the Jacobian by elimination: of numbers if an order says so or there is nothing else, else of blocks."""
    from graphdiff.differentiate.accumulate import accumulate
    from graphdiff.differentiate.choose import computed, is_of_numbers
    from graphdiff.differentiate.eliminate import eliminate

    sources = frozenset(leaves)
    reached = topological_order(outputs, boundary=sources)
    if any(node.dtype.kind == "c" for node in below(reached, sources)):
        raise_complex()
    if order is None and not is_of_numbers(computed(outputs, leaves)):
        return accumulate(outputs, leaves, blocks)
    return eliminate(outputs, leaves, order, _ends_here(reached, sources))


def jacobian(function: Callable[..., Any], argnums: ArgNums = 0, mode: Any = "auto") -> Callable[..., Any]:
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

    chosen: dict[Any, Any] = {}

    def begun(arguments: Sequence[Any], options: dict[str, Any]) -> tuple[_Differentiated, list[Tensor], Structure]:
        call = _Differentiated(arguments, argnums)
        outputs, structure = flatten(call.run(function, options))
        outputs = [_output(output) for output in outputs]
        for output in outputs:
            if not host.is_real_floating(output.dtype):
                raise DTypeError(f"{output.describe()} has no Jacobian: it is not real floating")
        return call, outputs, structure

    def cheapest(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> Any:
        from graphdiff.differentiate.choose import choose

        length = len(topological_order(outputs, boundary=frozenset(leaves)))
        key = length, tuple(leaf.shape for leaf in leaves), tuple(output.shape for output in outputs)
        if key not in chosen:
            if len(chosen) >= 256:
                chosen.clear()
            with working_on(outputs[0].backend):
                chosen[key] = choose(outputs, leaves)
        return chosen[key]

    @wraps(function)
    def evaluated(*arguments: Any, **options: Any) -> Any:
        call, outputs, structure = begun(arguments, options)
        choice = cheapest(outputs, call.leaves) if isinstance(mode, str) and mode == "auto" else None
        way = mode if choice is None else choice.mode
        with working_on(outputs[0].backend):
            if way == "forward":
                table = _forward_columns(outputs, call.leaves)
            elif way == "reverse":
                table = _reverse_rows(outputs, call.leaves)
            else:
                order = None if isinstance(way, str) else way
                table = _eliminated(outputs, call.leaves, order, choice.order if choice is not None else None)
        return unflatten(structure, [call.restore(row) for row in table])

    def explain(*arguments: Any, **options: Any) -> Any:
        """Return the choice that mode "auto" makes at these arguments, with what each mode costs; prints as a table."""
        call, outputs, _ = begun(arguments, options)
        return cheapest(outputs, call.leaves)

    evaluated.explain = explain  # type: ignore[attr-defined]
    return evaluated


def hessian(function: Callable[..., Any], argnums: ArgNums = 0, mode: Any = "auto") -> Callable[..., Any]:
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

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.hessian(lambda t: t[0] ** 2 - t[1] ** 2)(gd.constant([0.0, 0.0])).tolist()
    [[2.0, 0.0], [0.0, -2.0]]
    """
    evaluated = jacobian(grad(function, argnums), argnums, mode)
    explained = evaluated.explain  # type: ignore[attr-defined]

    def explain(*arguments: Any, **options: Any) -> Any:
        """Return the choice that mode "auto" makes at these arguments, with what each mode costs; prints as a table."""
        return replace(explained(*arguments, **options), title="Hessian, as the Jacobian of the gradient,")

    evaluated.explain = explain  # type: ignore[attr-defined]
    return evaluated


def hessian_of(output: Tensor, leaves: Sequence[Tensor]) -> Tensor:
    """Return the Hessian of a scalar graph by leaves below it, laid flat one behind the other: a square matrix.

    Examples
    --------
    >>> import graphdiff as gd
    >>> a, b = gd.variable(2.0), gd.variable([1.0, 3.0])
    >>> gd.differentiate.functions.hessian_of(a * gd.sum(b**2), [a, b]).tolist()
    [[0.0, 2.0, 6.0], [2.0, 4.0, 0.0], [6.0, 0.0, 4.0]]
    """
    with working_on(output.backend):
        sources = frozenset(leaves)
        order = topological_order([output], boundary=sources)
        found: dict[Tensor, Any] = {output: seed_for(output, None)}
        pull_back(order, found, GRAPH, below(order, sources), boundary=sources)
        slopes = [found[leaf] if leaf in found else GRAPH.zeros_like(leaf) for leaf in leaves]
        flat = [GRAPH.reshape(slope, (-1,)) for slope in slopes]
        rows = _forward_columns(flat, leaves)
        blocks = [
            GRAPH.concat([GRAPH.reshape(block, (slope.size, -1)) for block in row], axis=1)
            for slope, row in zip(flat, rows, strict=True)
        ]
        return GRAPH.concat(blocks, axis=0)  # type: ignore[no-any-return]


def hvp(function: Callable[..., Any], arguments: Any, vector: Any) -> Any:
    """Return the Hessian of a scalar function times a vector, without forming the Hessian.

    Parameters
    ----------
    function : callable
        Of one argument.
    arguments : array, number, Tensor or nested structure of them
    vector : of the same structure and shapes

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.hvp(lambda x: gd.sum(x**3), gd.constant([1.0, 2.0]), gd.constant([1.0, 0.0])).tolist()
    [6.0, 0.0]
    """
    return jvp(grad(function), (arguments,), (vector,))[1]


def vmap(function: Callable[..., Any], in_axes: Any = 0, out_axes: int = 0) -> Callable[..., Any]:
    """Return a function that maps over an axis of its arguments, in one pass instead of a loop.

    Parameters
    ----------
    function : callable
        Of arguments without that axis. It is traced without values, so Python's `if` cannot look at them.
    in_axes : int, None, or a sequence with one of these per argument
        None gives the same argument to every call.
    out_axes : int
        Where the axis goes in the outputs.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.vmap(lambda row: gd.sum(row * row))(gd.constant([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [5.0, 25.0]
    """

    @wraps(function)
    def mapped(*arguments: Any) -> Any:
        axes = tuple(in_axes) if isinstance(in_axes, (tuple, list)) else (in_axes,) * len(arguments)
        if len(axes) != len(arguments):
            raise ShapeError(f"vmap: in_axes names {len(axes)} arguments, and {len(arguments)} are given")
        wide: dict[Tensor, Tensor] = {}
        inner = [_slot(argument, axis, wide) for argument, axis in zip(arguments, axes, strict=True)]
        sizes = {tensor.shape[0] for tensor in wide.values()}
        if len(sizes) != 1:
            raise ShapeError(f"vmap: the mapped axes must have one common length, and have {sorted(sizes)}")
        outputs, structure = flatten(function(*inner))
        with use_backend(next(iter(wide)).backend):
            batched = batch([_output(output) for output in outputs], wide, sizes.pop())
            moved = [GRAPH.moveaxis(output, 0, out_axes) if out_axes else output for output in batched]
        return unflatten(structure, moved)

    return mapped


def _slot(argument: Any, axis: int | None, wide: dict[Tensor, Tensor]) -> Any:
    """Return an argument as placeholders without the mapped axis, remembered in `wide`."""
    if axis is None:
        return argument

    def leaf_slot(leaf: Any) -> Tensor:
        tensor = as_tensor(leaf)
        if not tensor.ndim:
            raise ShapeError(f"vmap: {tensor.describe()} is 0-d and has no axis to map over; give in_axes=None")
        front = GRAPH.moveaxis(tensor, axis, 0) if axis else tensor
        with use_backend(tensor.backend):
            slot = placeholder(front.shape[1:], front.dtype)
        wide[slot] = front
        return slot

    return map_leaves(leaf_slot, argument)

"""grad, vjp, jvp, hvp and vmap: derivatives of Python functions, over the three walks."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce, wraps
from typing import Any, Literal, TypeAlias, TypeVar, cast, overload

from graphdiff import host
from graphdiff.arguments import require_function, whole
from graphdiff.backend import use_backend, working_on
from graphdiff.differentiate.batch import batch
from graphdiff.differentiate.detached import called_attentively
from graphdiff.differentiate.forward import push_forward
from graphdiff.differentiate.reverse import below, pull_back
from graphdiff.differentiate.seeds import seed_for, starting_tangent
from graphdiff.differentiate.ties import untied
from graphdiff.differentiate.zeros import still
from graphdiff.errors import DTypeError, GraphError, ShapeError
from graphdiff.graph import topological_order
from graphdiff.guard import guarded
from graphdiff.op import FUNCTIONS, GRAPH, as_tensor
from graphdiff.ops.decompositions import TIED
from graphdiff.tensor import NO_ATTRIBUTES, TRACES, Tensor, placeholder
from graphdiff.tree import Structure, flatten, leaf_paths, leaves_like, map_leaves, unflatten
from graphdiff.typing import (
    Array,
    ArrayData,
    ArrayLike,
    Derivative,
    Entry,
    Function,
    Tree,
    ValueAndGradient,
)

__all__ = [
    "ArgNums",
    "Differentiated",
    "as_output",
    "grad",
    "hvp",
    "jvp",
    "pulled_back",
    "pushed_forward",
    "settled",
    "stands_alone",
    "value_and_grad",
    "vjp",
    "vmap",
]

ArgNums = int | Sequence[int]
Axes: TypeAlias = "int | Sequence[Axes] | Mapping[Any, Axes] | None"
"""An axis per argument, or per leaf of one."""
Result = TypeVar("Result")
Returned = TypeVar("Returned")
NO_OPTIONS: Mapping[str, object] = {}


def _fresh_leaf(value: ArrayLike, path: Callable[[], str]) -> Tensor:
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
        return FUNCTIONS["positive"](tensor)
    return Tensor(None, (), NO_ATTRIBUTES, tensor._value, tensor.backend, True)


def as_output(value: object) -> Tensor:
    """Return what a differentiated function returned as a Tensor, if it can be one."""
    if value.__class__ is Tensor and not TRACES:
        return value
    if isinstance(value, (Tensor, *host.PYTHON_SCALARS)) or host.is_host_array(value):
        return as_tensor(cast(ArrayLike, value))
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
    if not given:
        raise GraphError("argnums names no argument to differentiate by")
    numbers = tuple(number % count for number in given)
    if len(set(numbers)) < len(numbers):
        raise GraphError(f"argnums {argnums!r} names an argument twice")
    return numbers


class Differentiated:
    """The arguments of one call: which leaves are differentiated by, and how to put results back."""

    def __init__(self, arguments: Sequence[Tree[ArrayLike]], argnums: ArgNums) -> None:
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
            made = self.leaves[start:]
            self.arguments[number] = made[0] if structure is None else unflatten(structure, made)

    def paths(self) -> list[str]:
        """Return how errors and warnings speak of each leaf of the arguments met so far."""
        met = zip(self.numbers, self.structures, strict=False)
        return [f"argument {number}{path}" for number, structure in met for path in leaf_paths(structure)]

    def run(self, function: Function[Returned], options: Mapping[str, object] = NO_OPTIONS) -> Returned:
        """Call the function with the fresh leaves among its arguments."""
        return called_attentively(function, self.arguments, options, self.leaves, self.paths)

    def outputs(
        self, function: Function[object], options: Mapping[str, object] = NO_OPTIONS
    ) -> tuple[list[Tensor], Structure]:
        """Call the function, and return what it returned as a list of Tensors, and its structure."""
        found, structure = flatten(self.run(function, options))
        if not found:
            raise GraphError("the function returned nothing to differentiate")
        return [as_output(output) for output in found], structure

    def restore(self, results: Sequence[Result]) -> Tree[Result]:
        """Return one result per leaf in the structure of the arguments."""
        restored: list[Tree[Result]] = []
        start = 0
        for structure, count in zip(self.structures, self.counts, strict=True):
            part = list(results[start : start + count])
            restored.append(part[0] if structure is None else unflatten(structure, part))
            start += count
        return restored[0] if self.single else tuple(restored)


def stands_alone(order: Sequence[Tensor], sources: frozenset[Tensor]) -> bool:
    """Whether the graph hangs on `sources` alone, each made for this call: then nobody can differentiate the result.

    Plain numbers will do in that case, and they are quicker than graph.
    """
    for node in order:  # noqa: SIM110 - a generator is resumed for every node
        if node._value is None or (node.op is None) != (node in sources):
            return False
    return True


def settled(results: Sequence[Result], leaves: Sequence[Tensor]) -> list[Result | Tensor]:
    """Return results as constants where they hang on `leaves` alone: kept, they would keep the graph for nobody."""
    tensors = [each for each in results if isinstance(each, Tensor) and each.recorded]
    sources = frozenset(leaves)
    alone = {
        tensor
        for group in ([tensors] if _hang_on(tensors, sources) else [[tensor] for tensor in tensors])
        if _hang_on(group, sources)
        for tensor in group
    }
    return [still(each) if isinstance(each, Tensor) and each in alone else each for each in results]


def _hang_on(outputs: Sequence[Tensor], sources: frozenset[Tensor]) -> bool:
    return stands_alone(topological_order(outputs, boundary=sources), sources)


def _settled_tree(tree: object, leaves: Sequence[Tensor]) -> object:
    """Return what a function returned beside its result with constants where tensors hang on `leaves` alone."""
    given, structure = flatten(tree)
    made = settled(given, leaves)
    return tree if all(map(operator.is_, made, given)) else unflatten(structure, made)


def pulled_back(output: Tensor, leaves: Sequence[Tensor], seed: Tensor, live: Tensor | None = None) -> list[Tensor]:
    """Return the adjoints of `leaves`: as graph where something below is recorded, else as plain numbers.

    `live` tells where the seed may differ from zero, if not everywhere.
    """
    return _pulled_back(output, leaves, seed, live)[0]


def _pulled_back(
    output: Tensor, leaves: Sequence[Tensor], seed: Tensor, live: Tensor | None = None
) -> tuple[list[Tensor], bool]:
    """Return the adjoints of `leaves`, and whether they are plain numbers, since nothing else below is recorded."""
    sources = frozenset(leaves)
    if TIED:
        (output,) = untied([output], sources)
    order = topological_order([output], boundary=sources)
    found: dict[Tensor, Array] = {output: seed}
    backend = output.backend
    numeric = not seed.recorded and stands_alone(order, sources)
    with working_on(backend):
        needed = below(order, sources)
        if numeric:
            found[output] = seed._value
            pull_back(order, found, backend.numbers, needed, boundary=sources)
        else:
            masks: dict[Tensor, Array] | None = None if live is None else {output: live}
            pull_back(order, found, GRAPH, needed, boundary=sources, live=masks)
    results = []
    for leaf in leaves:
        gradient = found.get(leaf)
        if gradient is None:
            gradient = GRAPH.zeros_like(leaf)
        elif numeric:
            gradient = Tensor(None, (), NO_ATTRIBUTES, backend.normalize(gradient), backend, False)
        results.append(cast(Tensor, gradient))
    return results, numeric


@overload
def value_and_grad(
    function: Function[object], argnums: int = 0, *, has_aux: Literal[False] = False
) -> ValueAndGradient: ...
@overload
def value_and_grad(
    function: Function[object], argnums: Sequence[int], *, has_aux: Literal[False] = False
) -> Function[tuple[Tensor, tuple[Any, ...]]]: ...
@overload
def value_and_grad(function: Function[object], argnums: ArgNums = 0, *, has_aux: bool) -> Function[tuple[Any, Any]]: ...
@guarded
def value_and_grad(function: Function[object], argnums: ArgNums = 0, *, has_aux: bool = False) -> Function[object]:
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
    def evaluated(*arguments: Tree[ArrayLike], **options: object) -> tuple[object, Tree[Tensor]]:
        call = Differentiated(arguments, argnums)
        returned = call.run(function, options)
        rest: object = None
        if has_aux:
            if not isinstance(returned, tuple) or len(returned) != 2:
                raise GraphError("with has_aux a function returns two things, what is differentiated and the rest")
            returned, rest = returned
        output = as_output(returned)
        found, alone = _pulled_back(output, call.leaves, seed_for(output))
        value = still(output) if alone and output.recorded else output
        return ((value, _settled_tree(rest, call.leaves)) if has_aux else value), call.restore(found)

    return evaluated


@overload
def grad(function: Function[object], argnums: int = 0, *, has_aux: Literal[False] = False) -> Derivative: ...
@overload
def grad(
    function: Function[object], argnums: Sequence[int], *, has_aux: Literal[False] = False
) -> Function[tuple[Any, ...]]: ...
@overload
def grad(function: Function[object], argnums: ArgNums = 0, *, has_aux: bool) -> Function[tuple[Any, Any]]: ...
@guarded
def grad(function: Function[object], argnums: ArgNums = 0, *, has_aux: bool = False) -> Function[object]:
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
    def gradient(*arguments: Tree[ArrayLike], **options: object) -> object:
        value, slope = with_value(*arguments, **options)
        return (slope, value[1]) if has_aux else slope

    return gradient


@guarded
def vjp(function: Function[Returned], *arguments: Tree[ArrayLike]) -> tuple[Returned, Function[tuple[Any, ...]]]:
    """Return the function's value and the map from output adjoints to argument adjoints.

    Parameters
    ----------
    function : callable
        Returns a Tensor, or a nested tuple, list or dict of them.
    *arguments : array, number, Tensor or nested structure of them, real floating

    Returns
    -------
    value : Tensor or structure of them
        As the function returned it.
    pull : callable
        Takes an adjoint of the structure and shapes of the value; returns a tuple with one adjoint per argument, each
        of its structure and shapes. It may be called any number of times.

    Raises
    ------
    DTypeError
        An argument is not real floating.
    GraphError
        The function returns something that is no tensor.
    ShapeError
        Raised by `pull`: an adjoint does not have the shape of its output.

    Examples
    --------
    >>> import graphdiff as gd
    >>> value, pull = gd.vjp(lambda x, y: x * y, 2.0, 3.0)
    >>> [adjoint.item() for adjoint in pull(1.0)]
    [3.0, 2.0]
    """
    call = Differentiated(arguments, tuple(range(len(arguments))))
    outputs, structure = call.outputs(function)

    def pull(cotangents: Tree[ArrayLike]) -> tuple[Tree[Tensor], ...]:
        seeds = leaves_like(structure, cotangents, "the adjoint of the result")
        seeded = [seed_for(output, seed) for output, seed in zip(outputs, seeds, strict=True)]
        parts = [pulled_back(output, call.leaves, seed) for output, seed in zip(outputs, seeded, strict=True)]
        totals = [reduce(operator.add, of_leaf) for of_leaf in zip(*parts, strict=True)]
        return cast("tuple[Tree[Tensor], ...]", call.restore(totals))

    return unflatten(structure, settled(outputs, call.leaves)), pull


@guarded
def jvp(
    function: Function[Returned], arguments: Sequence[Tree[ArrayLike]], tangents: Sequence[Tree[ArrayLike]]
) -> tuple[Returned, Returned]:
    """Return the function's value and its derivative along a direction.

    Parameters
    ----------
    function : callable
    arguments, tangents : sequence
        One tangent per argument, of its structure and shapes.

    Returns
    -------
    value, tangent : Tensor or structure of them
        Both as the function returned its value.

    Raises
    ------
    DTypeError
        An argument is not real floating.
    GraphError
        Arguments or tangents do not come as a tuple, or the function returns something that is no tensor.
    ShapeError, BackendError
        A tangent does not have its argument's shape, or is on another backend; there are more of one than of the other.

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
    call = Differentiated(arguments, tuple(range(len(arguments))))
    seeds: list[ArrayLike] = []
    for number, structure in enumerate(call.structures):
        seeds += leaves_like(structure, tangents[number], f"jvp: the tangent of argument {number}")
    started = {leaf: starting_tangent(leaf, seed) for leaf, seed in zip(call.leaves, seeds, strict=True)}
    outputs, structure = call.outputs(function)
    moved = settled([*outputs, *pushed_forward(outputs, started)], call.leaves)
    return unflatten(structure, moved[: len(outputs)]), unflatten(structure, moved[len(outputs) :])


def pushed_forward(
    outputs: Sequence[Tensor], started: Mapping[Tensor, Array], live: dict[Tensor, Array] | None = None
) -> list[Tensor]:
    """Return the tangents of `outputs` as graph, from those of the leaves; `live` tells where these are not zero."""
    found = dict(started)
    outputs = untied(outputs, frozenset(started))
    with working_on(outputs[0].backend):
        push_forward(topological_order(outputs, boundary=frozenset(started)), found, GRAPH, live)
    return [cast(Tensor, found[output] if output in found else GRAPH.zeros_like(output)) for output in outputs]


@overload
def hvp(function: Function[object], argument: ArrayData | complex, vector: ArrayLike) -> Tensor: ...
@overload
def hvp(function: Function[object], argument: list[Entry], vector: Sequence[ArrayLike]) -> list[Tensor]: ...
@overload
def hvp(function: Function[object], argument: tuple[Entry, ...], vector: Sequence[ArrayLike]) -> tuple[Tensor, ...]: ...
@overload
def hvp(
    function: Function[object], argument: Mapping[str, Entry], vector: Mapping[str, ArrayLike]
) -> dict[str, Tensor]: ...
@overload
def hvp(function: Function[object], argument: object, vector: object) -> Tree[Tensor]: ...
@guarded
def hvp(function: Function[object], argument: object, vector: object) -> object:
    """Return the Hessian of a scalar function times a vector, without forming the Hessian.

    Parameters
    ----------
    function : callable
        Of one argument; returns a scalar Tensor.
    argument : array, number, Tensor or nested structure of them
    vector : of the same structure and shapes

    Returns
    -------
    Tensor, or structure of them as the argument's

    Raises
    ------
    NonScalarError
        The function returns no scalar.
    DTypeError, ShapeError
        As for `jvp`.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.hvp(lambda x: gd.sum(x**3), gd.constant([1.0, 2.0]), gd.constant([1.0, 0.0])).tolist()
    [6.0, 0.0]
    """
    slope: Function[object] = grad(function)
    return jvp(slope, (cast(ArrayLike, argument),), (cast(ArrayLike, vector),))[1]


@guarded
def vmap(function: Function[Returned], in_axes: Axes = 0, out_axes: int = 0) -> Function[Returned]:
    """Return a function that maps over an axis of its arguments, in one pass instead of a loop.

    Parameters
    ----------
    function : callable
        Of arguments without that axis. It is traced without values, so Python's `if` cannot look at them.
    in_axes : int, None, or a sequence with one of these per argument
        None gives the same argument to every call. For an argument that is a tuple, list or dict an axis may be such a
        structure of axes, too.
    out_axes : int
        Where the axis goes in the outputs.

    Raises
    ------
    ShapeError
        An argument has no such axis, or the mapped axes differ in length.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.vmap(lambda row: gd.sum(row * row))(gd.constant([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [5.0, 25.0]
    """
    require_function(function, "vmap")
    out_axes = whole(out_axes, "vmap: the axis of the outputs")

    @guarded
    @wraps(function)
    def mapped(*arguments: object) -> Returned:
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
            batched = batch([as_output(output) for output in outputs], wide, sizes.pop())
            moved = [GRAPH.moveaxis(output, 0, out_axes) if out_axes else output for output in batched]
        return cast(Returned, unflatten(structure, moved))

    return cast(Function[Returned], mapped)


def _slot(argument: object, axis: Axes, wide: dict[Tensor, Tensor]) -> object:
    """Return an argument as placeholders without the mapped axis, remembered in `wide`."""
    if axis is None:
        return argument
    if isinstance(axis, (dict, tuple, list)):
        return _slots(argument, axis, wide)
    axis = whole(axis, "vmap: an axis of in_axes")

    def leaf_slot(leaf: ArrayLike) -> Tensor:
        tensor = as_tensor(leaf)
        if not tensor.ndim:
            raise ShapeError(f"vmap: {tensor.describe()} is 0-d and has no axis to map over; give in_axes=None")
        front = GRAPH.moveaxis(tensor, axis, 0) if axis else tensor
        with use_backend(tensor.backend):
            slot = placeholder(front.shape[1:], front.dtype)
        wide[slot] = front
        return slot

    return map_leaves(leaf_slot, argument)


def _slots(argument: Any, axes: Sequence[Axes] | Mapping[Any, Axes], wide: dict[Tensor, Tensor]) -> Any:
    """Do so by the axes of a structure's parts."""
    fits = isinstance(argument, dict if isinstance(axes, dict) else (tuple, list)) and len(argument) == len(axes)
    if not fits or (isinstance(axes, dict) and axes.keys() != argument.keys()):
        raise ShapeError(f"vmap: in_axes has {axes!r} for an argument of another structure, {argument!r}")
    if isinstance(axes, dict):
        return {key: _slot(part, axes[key], wide) for key, part in argument.items()}
    parts = [_slot(part, axis, wide) for part, axis in zip(argument, axes, strict=True)]
    return argument._make(parts) if hasattr(argument, "_make") else type(argument)(parts)

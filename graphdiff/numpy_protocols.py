"""NumPy's functions on Tensors: ``np.tanh(x)``, ``array * x``, ``np.sum(x, axis=0)`` build graph.

What has no counterpart here is refused where a derivative would be lost. Of constants, such as a gradient that has been
computed, there is none to lose: NumPy's function is called on their values, and ``array -= rate * gradient`` works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from graphdiff import host
from graphdiff.errors import DTypeError, GraphDiffError, OpError
from graphdiff.op import FUNCTIONS, as_tensor, public
from graphdiff.tensor import Tensor, departure_of
from graphdiff.typing import Array, ArrayLike, Function, NamedFunction

if TYPE_CHECKING:
    import numpy as np

__all__ = ["array_function", "array_ufunc"]

_REDUCTIONS = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "max",
    "minimum": "min",
    "logical_and": "all",
    "logical_or": "any",
    "logaddexp": "logsumexp",
}
_ACCUMULATIONS = {"add": "cumsum", "multiply": "cumprod"}
_LOOKING = {
    *("allclose", "argwhere", "array2string", "array_equal", "array_equiv", "array_repr", "array_str", "count_nonzero"),
    *("digitize", "flatnonzero", "histogram", "isclose", "searchsorted"),
    *("can_cast", "common_type", "iscomplexobj", "isrealobj", "may_share_memory", "min_scalar_type", "result_type"),
    *("save", "savetxt", "savez", "savez_compressed", "shares_memory"),
}
"""NumPy's functions that look at values and carry no derivative: they return what they return of arrays."""
_CONVERTING = {"atleast_1d", "atleast_2d"}
"""What other libraries make arrays with: of constants they get arrays."""
_OF_A_TRIANGLE = {"cholesky", "eigh", "eigvalsh"}
_OWN = {"shape": lambda x: x.shape, "ndim": lambda x: x.ndim, "size": lambda x: x.size}
_RENAMED = {"clip": {"a_min": "min", "a_max": "max"}}


def array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: object, **options: object) -> object:
    """Serve NumPy's ufuncs: ``np.tanh(t)``, ``array * t``, ``np.add.reduce(t)``."""
    if any(hasattr(type(each), "__array_ufunc__") and not _is_known(each) for each in inputs):
        return NotImplemented  # that library may know what to do with a tensor
    name = ufunc.__name__
    unknown = name not in FUNCTIONS or method != "__call__" or options.keys() & {"out", "where"}
    if unknown and not _are_recorded((inputs, list(options.values()))):
        values = {key: _value(option) for key, option in options.items()}
        return getattr(ufunc, method)(*map(_value, inputs), **values)
    if options.get("out") is not None:
        _refuse(
            f"np.{name} cannot write a tensor into an array, where it would leave the graph: "
            "instead of `y += x` write `y = y + x`"
        )
    if "where" in options:
        _refuse(f"np.{name}(…, where=…) leaves elements unset; gd.where(condition, x, y) chooses between values")
    if method == "reduce" and name in _REDUCTIONS:
        return _called(_REDUCTIONS[name], inputs, {"axis": 0, **options})
    if method == "accumulate" and name in _ACCUMULATIONS:
        return _called(_ACCUMULATIONS[name], inputs, {"axis": 0, **options})
    if method == "outer" and name in FUNCTIONS:
        left, right = inputs
        return FUNCTIONS[name](FUNCTIONS["reshape"](left, (*_shape(left), *(1,) * len(_shape(right)))), right)
    if method != "__call__":
        _refuse(f"graphdiff has no counterpart of numpy.{name}.{method}; np.asarray(tensor) leaves the graph")
    if name not in FUNCTIONS:
        _refuse(f"graphdiff has no counterpart of numpy.{name}; np.asarray(tensor) leaves the graph")
    dtype = options.pop("dtype", None)
    result = _called(name, inputs, options)
    return result if dtype is None else FUNCTIONS["astype"](result, dtype)


def array_function(
    self: Tensor, numpy_function: NamedFunction[Any], types: object, arguments: tuple[Any, ...], options: dict[str, Any]
) -> object:
    """Serve NumPy's other functions: ``np.sum(t, axis=0)``, ``np.linalg.inv(t)``, ``np.allclose(t, array)``."""
    name = numpy_function.__name__
    module = getattr(numpy_function, "__module__", "")

    def of_values() -> object:
        return numpy_function(*map(_value, arguments), **{key: _value(option) for key, option in options.items()})

    if name in _OWN and len(arguments) == 1 and isinstance(arguments[0], Tensor):
        return _OWN[name](arguments[0])
    is_known = name in FUNCTIONS and name not in _CONVERTING
    recorded = _are_recorded((arguments, list(options.values())))
    if name == "unique" and recorded:
        return _unique(numpy_function, *arguments, **options)
    if name == "histogram" and recorded and _moves_edges(*arguments, **options):
        for tensor in (each for each in (*arguments, *options.values()) if isinstance(each, Tensor)):
            departure_of(tensor)
    if name in _LOOKING or not (is_known or recorded):
        return of_values()
    if name not in FUNCTIONS or module.startswith("numpy.fft"):
        _refuse(f"graphdiff has no counterpart of {module}.{name}; np.asarray(tensor) leaves the graph")
    if module.startswith("numpy.linalg") and name in _OF_A_TRIANGLE:
        return _of_a_triangle(name, *arguments, **options)
    if module.startswith("numpy.linalg") and name in {"trace", "diagonal"}:
        # The array API's functions of matrices, on stacks of them; NumPy's own take the first two axes.
        options = {"axis1": -2, "axis2": -1, **options}
    renamed = _RENAMED.get(name, {})
    try:
        return _called(name, arguments, {renamed.get(key, key): option for key, option in options.items()})
    except (OpError, DTypeError):  # of complex numbers too
        if recorded:
            raise
        return of_values()  # an option without a derivative, of which there is none to lose


def _of_a_triangle(name: str, x: ArrayLike, /, UPLO: str = "L", *, upper: bool = False) -> Tensor:
    """Apply a function of symmetric matrices as NumPy does, which reads one triangle; the other has derivative 0."""
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        _refuse(f"np.linalg.{name}: UPLO is 'L' or 'U', not {UPLO!r}")
    upper = bool(upper) or UPLO.upper() == "U"
    turned, lower = FUNCTIONS["matrix_transpose"], FUNCTIONS["tril"]
    read = turned(x) if upper else x
    found = FUNCTIONS[name](lower(read) + turned(lower(read, -1)))
    return turned(found) if upper and name == "cholesky" else found


def _unique(
    unique: Function[tuple[Array, ...]],
    x: ArrayLike,
    return_index: bool = False,
    *others: int | None,
    axis: int | None = None,
    **more: object,
) -> object:
    """Serve ``np.unique``: the elements that it picks are taken from the tensor, the first of those that are equal."""
    x = as_tensor(x)
    if not x.has_value:
        raise OpError(
            f"np.unique of {x.describe()}, made at {x.source}: how many elements there are depends on values, which "
            "are not known while a function is traced. Call it outside of gd.compile and gd.vmap."
        )
    if len(others) > 2:
        others, axis = others[:2], others[2]
    _, places, *counted = unique(_value(x), True, *others, axis=axis, **more)
    flat = FUNCTIONS["reshape"](x, (-1,)) if axis is None else x
    taken = FUNCTIONS["take"](flat, places, axis=axis or 0)
    rest = (*([places] if return_index else []), *counted)
    return (taken, *rest) if rest else taken


def _moves_edges(
    x: object, bins: object = 10, range: object = None, density: object = None, weights: object = None
) -> bool:
    """Whether what ``np.histogram`` returns varies smoothly: edges between the extremes of x, sums of weights."""
    return _are_recorded([bins, range, weights]) or (isinstance(bins, (int, str)) and range is None)


def _called(name: str, arguments: Sequence[object], options: Mapping[str, object]) -> object:
    function = public(FUNCTIONS[name])
    try:
        return function(*arguments, **options)
    except TypeError as error:
        if isinstance(error, GraphDiffError) or "argument" not in str(error):
            raise
        # NumPy's functions have options that graphdiff's have not.
        raise OpError(f"np.{name} of a tensor is gd.{name}, and {error}") from error


def _refuse(reason: str) -> NoReturn:
    raise OpError(reason)


def _is_known(value: object) -> bool:
    return isinstance(value, Tensor) or host.is_host_array(value)


def _are_recorded(tree: object) -> bool:
    """Whether there is a tensor in nested sequences that a derivative may flow through."""
    if isinstance(tree, Tensor):
        return tree.recorded
    return isinstance(tree, (list, tuple)) and any(map(_are_recorded, tree))


def _shape(value: object) -> host.Shape:
    return value.shape if isinstance(value, Tensor) else host.as_host(value).shape


def _value(given: object) -> object:
    """Return an argument with arrays in the place of tensors; without a note that values leave the graph."""
    if isinstance(given, Tensor):
        return host.as_host(given.backend.to_host(given.value))
    if type(given) is list:
        return list(map(_value, given))
    return tuple(map(_value, given)) if type(given) is tuple else given

"""The upward links of the fluent API, attached in this one place.

`Tensor` is the lowest class of the engine, and its operators, methods and NumPy protocols need the ops and the walks
above it. They are listed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphdiff.differentiate.gradients import backward
from graphdiff.differentiate.transpose import adjoint_by_tangent, tangent_by_adjoint
from graphdiff.graph import Graph
from graphdiff.graph.pickling import copy_tensor, deepcopy_tensor, reduce_graph, reduce_tensor
from graphdiff.guard import guarded
from graphdiff.host import PYTHON_SCALARS
from graphdiff.numpy_protocols import array_function, array_ufunc
from graphdiff.op import FUNCTIONS, Custom, Number, public
from graphdiff.ops.index import getitem
from graphdiff.tensor import Tensor
from graphdiff.typing import ArrayLike, Function, Index

OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}
COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}
UNARY = {"neg": "negative", "pos": "positive", "abs": "abs", "invert": "bitwise_invert"}
METHODS = (
    "all",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "astype",
    "clip",
    "copy",
    "cumprod",
    "cumsum",
    "diagonal",
    "dot",
    "flatten",
    "max",
    "mean",
    "min",
    "prod",
    "ravel",
    "repeat",
    "round",
    "sort",
    "squeeze",
    "std",
    "sum",
    "swapaxes",
    "take",
    "trace",
    "var",
)


def _reflected(function: Function[Tensor]) -> Callable[[Tensor, ArrayLike], Tensor]:
    def operator(self: Tensor, other: ArrayLike) -> Tensor:
        return function(other, self)

    return operator


def _of_numbers(function: Function[Tensor]) -> Function[Tensor]:
    """Return an operator whose result is again a number of flexible dtype where its operands are."""

    def operator(*operands: ArrayLike) -> Tensor:
        result = function(*operands)
        if all(isinstance(operand, (Number, *PYTHON_SCALARS)) for operand in operands):
            result.__class__ = Number
        return result

    return operator


def _shape_method(name: str) -> Function[Tensor]:
    """Return a method that takes a shape or axes as one sequence or as several integers."""
    function = public(FUNCTIONS[name])

    def method(self: Tensor, *lengths: int | Sequence[int]) -> Tensor:
        whole = lengths[0] if len(lengths) == 1 and not isinstance(lengths[0], int) else lengths
        return function(self, whole or None if name == "transpose" else whole)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = function.__doc__
    return guarded(method)


def _graph_cost(self: Graph, mode: str = "value") -> Any:
    """Return what the graph, or the Jacobian of its outputs by its inputs, costs; see `graphdiff.costs.graph_cost`."""
    from graphdiff.costs import graph_cost

    return graph_cost(self, mode)


def _graph_from_networkx(view: Any) -> Graph:
    """Build a graph from what `to_networkx` returns, or the like; see `graphdiff.graph.networkx_io.from_networkx`."""
    from graphdiff.graph.networkx_io import from_networkx

    return from_networkx(view)


def _tensor_html(self: Tensor) -> str | None:
    """Return the table and the drawing that a notebook shows; see `graphdiff.draw.rich`."""
    from graphdiff.draw.rich import tensor_html

    return tensor_html(self)


def _graph_bundle(self: Graph, include: object = None, exclude: object = None) -> dict[str, str] | None:
    """Return the drawing, or a large graph's summary, that a notebook shows; see `graphdiff.draw.rich`."""
    from graphdiff.draw.rich import graph_bundle

    return graph_bundle(self)


def attach() -> None:
    """Give `Tensor` its operators, methods and NumPy protocols."""
    for short, name in OPERATORS.items():
        setattr(Tensor, f"__{short}__", FUNCTIONS[name])
        setattr(Tensor, f"__r{short}__", _reflected(FUNCTIONS[name]))
    for short, name in {**COMPARISONS, **UNARY}.items():
        setattr(Tensor, f"__{short}__", FUNCTIONS[name])
    for special in (*(f"__{r}{short}__" for short in OPERATORS for r in ("", "r")), "__neg__", "__pos__", "__abs__"):
        setattr(Number, special, _of_numbers(getattr(Tensor, special)))
    for name in METHODS:
        setattr(Tensor, name, public(FUNCTIONS[name]))
    for name in ("reshape", "transpose"):
        setattr(Tensor, name, _shape_method(name))
    Tensor.__getitem__ = getitem  # type: ignore[method-assign]
    Tensor.__hash__ = object.__hash__  # type: ignore[method-assign,assignment]
    Tensor.T = property(FUNCTIONS["transpose"])  # type: ignore[assignment]
    Tensor.mT = property(FUNCTIONS["matrix_transpose"])  # type: ignore[assignment]
    Tensor.at = property(_AtProperty)  # type: ignore[method-assign,assignment]
    Tensor.backward = backward  # type: ignore[method-assign,assignment]
    Tensor.__reduce_ex__ = reduce_tensor  # type: ignore[assignment,method-assign]
    Tensor.__copy__ = copy_tensor  # type: ignore[attr-defined]
    Tensor.__deepcopy__ = deepcopy_tensor  # type: ignore[attr-defined]
    Custom.tangent_by_adjoint = tangent_by_adjoint
    Custom.adjoint_by_tangent = adjoint_by_tangent
    Graph.cost = _graph_cost  # type: ignore[method-assign]
    Graph.from_networkx = staticmethod(_graph_from_networkx)  # type: ignore[method-assign]
    Graph._repr_mimebundle_ = _graph_bundle  # type: ignore[attr-defined]
    Tensor._repr_html_ = _tensor_html  # type: ignore[attr-defined]
    Graph.__reduce_ex__ = reduce_graph  # type: ignore[assignment,method-assign]
    Tensor.__array_ufunc__ = array_ufunc  # type: ignore[attr-defined]
    Tensor.__array_function__ = array_function  # type: ignore[attr-defined]


_TABLE_OPTIONS = {"mode", "wrt", "seed", "named", "simplify", "digits"}


def trace(x: Any, /, *positions: Any, **options: Any) -> Any:
    """Return the trace table of an expression, or the sum of a matrix's diagonal, as NumPy's function of that name.

    A matrix's diagonal is summed where no option of `graphdiff.draw.trace` (mode, wrt, …) is given.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable(3.0, name="x")
    >>> gd.trace((x * x).named("y"), mode="reverse")["x"].derivative.item()
    6.0
    >>> gd.trace([[1.0, 2.0], [3.0, 4.0]]).item()
    5.0
    """
    if options.keys() & _TABLE_OPTIONS or (isinstance(x, Tensor) and x.ndim < 2 and not positions and not options):
        from graphdiff.draw import trace as table

        return table(x, *positions, **options)
    return public(FUNCTIONS["trace"])(x, *positions, **options)


class _AtProperty:
    """``x.at[index].set(value)``: the functional update under the name that JAX users know."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, index: Index) -> Tensor:
        return FUNCTIONS["at"](self._tensor, index)


__all__ = ["attach", "trace"]
